"""What a network costs: parameters, MACs, FLOPs."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from segkd.models.network import Network


@dataclass(frozen=True)
class Complexity:
    """Cost of one image at `size` (h, w).

    `macs` are multiply-accumulates of convolutions and matrix products; `flops` = 2 * macs. Element-wise
    work, normalisation, pooling and resizing are not counted (as everywhere in the field).
    """

    parameters: int
    trainable: int
    macs: int
    flops: int
    size: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{self.parameters / 1e6:.2f} M parameters ({self.trainable / 1e6:.2f} M trainable), "
            f"{self.macs / 1e9:.3f} GMACs = {self.flops / 1e9:.3f} GFLOPs at {self.size[0]}x{self.size[1]}"
        )


@torch.no_grad()
def complexity(network: Network, size: tuple[int, int]) -> Complexity:
    """Counts one forward pass of one image on the network's device; leaves the network as it was."""
    modes = [(module, module.training) for module in network.modules()]  # frozen layers are in evaluation mode already
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, *size, device=next(network.parameters()).device))
    for module, mode in modes:
        module.training = mode
    flops = counter.get_total_flops()
    parameters = [(p.numel(), p.requires_grad) for p in network.parameters()]
    total, trainable = sum(n for n, _ in parameters), sum(n for n, learns in parameters if learns)
    return Complexity(total, trainable, flops // 2, flops, size)
