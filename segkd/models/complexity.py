"""What a network costs: parameters, MACs, FLOPs, time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from segkd.models.network import Network, device_of
from segkd.models.taps import evaluating

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


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


@contextmanager
def counting() -> Iterator["FlopCounterMode"]:
    """Counts FLOPs inside, those of attention too, of which torch counts none on the CPU."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count  # slow to import

    attention = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)
    }
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # nn.MultiheadAttention would be one operation as a whole
    try:
        with FlopCounterMode(display=False, custom_mapping=attention) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def complexity(network: Network, size: tuple[int, int]) -> Complexity:
    """Counts one forward pass of one image on the network's device; leaves the network as it was."""
    with evaluating(network), counting() as counter:
        network(torch.zeros(1, 3, *size, device=device_of(network)))
    flops = counter.get_total_flops()
    parameters = [(p.numel(), p.requires_grad) for p in network.parameters()]
    total, trainable = sum(n for n, _ in parameters), sum(n for n, learns in parameters if learns)
    return Complexity(total, trainable, flops // 2, flops, size)


@dataclass(frozen=True)
class Latency:
    """Milliseconds that a call takes: the median and the 95th percentile of several."""

    p50: float
    p95: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p95 {self.p95:.1f} ms"


def latency(call: Callable[[], object], runs: int, clock: Callable[[], float] = time.perf_counter) -> Latency:
    """Times `call` after a tenth as many calls that do not count, which warm caches and find kernels.

    Args:
        call: returns when its work is done: on a GPU it waits for it.
        runs: calls that are timed.
        clock: seconds; `time.process_time` counts those of the CPU's cores, which other programs disturb less.
    """
    spent = []
    for _ in range(runs + max(3, runs // 10)):
        start = clock()
        call()
        spent.append((clock() - start) * 1e3)
    counted = np.percentile(spent[-runs:], [50, 95])
    return Latency(float(counted[0]), float(counted[1]))
