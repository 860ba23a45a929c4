"""The exponential moving average of a network."""

import copy
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from segkd.models.network import Network


@final
class Average(nn.Module):
    """A slow copy of a network: weights and BatchNorm statistics; it neither learns nor trains.

    Args:
        network: what is averaged; the average begins as its copy.
        decay: share of the average that stays at each step, once it is old enough: after n steps it is
            min(decay, (1 + n) / (10 + n)), or the random start would weigh for 1 / (1 - decay) steps.
    """

    updates: Tensor

    def __init__(self, network: Network, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.tensor(0))
        self.pairs: tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]] | None = None
        self.age = 0  # `updates` as a number, which need not be fetched from the device
        self.eval()

    def train(self, mode: bool = True) -> "Average":
        """Stays in evaluation mode."""
        return super().train(False)

    def follow(self, network: Network) -> None:
        """Moves towards `network`, the same one every time; the first time it becomes its copy."""
        if self.pairs is None:  # tensors are looked up once: a look-up in each step costs as much as the average
            self.pairs, self.age = _paired(self.network, network), int(self.updates)
        slow, fast, counts = self.pairs
        if self.age == 0:
            torch._foreach_copy_(slow, fast)
        else:
            torch._foreach_lerp_(slow, fast, 1 - min(self.decay, (1 + self.age) / (10 + self.age)))
        for old, new in counts:
            old.copy_(new)
        self.updates += 1
        self.age += 1


def _paired(slow: nn.Module, fast: nn.Module) -> tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
    """Tensors that are averaged, and those that are taken as they are: whole numbers, and buffers with infinity."""
    old: Sequence[Tensor] = [*slow.parameters(), *slow.buffers()]
    new: Sequence[Tensor] = [*fast.parameters(), *fast.buffers()]
    # a mask of attention holds -inf, perhaps since its first forward, whose average with itself is NaN
    real = [a.is_floating_point() and (isinstance(a, nn.Parameter) or not (a.isinf() | b.isinf()).any())
            for a, b in zip(old, new)]  # fmt: skip
    return (
        [a for a, one in zip(old, real) if one],
        [b.detach() for b, one in zip(new, real) if one],
        [(a, b) for a, b, one in zip(old, new, real) if not one],
    )
