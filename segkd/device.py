"""An accelerator works behind the host: what is done with it here makes neither of them wait for the other.

Each number that the host reads from a device, and each tensor that it sends from ordinary memory, ends the queue of
what is still to do; a training step that does either leaves the device idle.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, final

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def processes() -> int:
    """How many processes train together (their world size); 1 for one that is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def at_once(device: torch.device) -> bool:
    """Whether numbers of a device are there as soon as they are asked for."""
    return device.type == "cpu"


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` of the host on `device`; what lies on a device already may stay or move."""
    pinned = device.type == "cuda" and at_once(values.device)
    return (values.pin_memory() if pinned else values).to(device, non_blocking=True)


@cache
def constant(rows: tuple[tuple[float, ...], ...], dtype: torch.dtype, device: torch.device) -> Float[Tensor, "_r _c"]:
    """A matrix that is the same in every step, sent to its device once."""
    with torch.inference_mode(False):  # it outlives the look that asked for it first
        return torch.tensor(rows, dtype=dtype, device=device)


@final
class Verdicts:
    """Judges numbers that a device works out, without waiting for them.

    On the CPU at once. An accelerator is waited for the first time, when a mistake is likeliest; from then on numbers
    are fetched beside its work, and judged when later ones are handed in, or by `settle`.
    """

    def __init__(self) -> None:
        self.open: list[tuple[Any, Tensor, Callable[[list[float]], None]]] = []
        self.met = False

    def judge(self, numbers: Float[Tensor, " _n"], judged: Callable[[list[float]], None]) -> None:
        """Hands in `numbers`; `judged` gets them, now or later, and raises what there is to raise."""
        if torch.compiler.is_compiling():  # what is compiled looks at no values
            return
        numbers = numbers.detach()
        if at_once(numbers.device):
            judged(numbers.tolist())
            return
        self.open.append((*fetched(numbers), judged))
        if not self.met:
            self.met = True
            self.settle()
        while self.open and self.open[0][0].query():
            self._fall()

    def settle(self) -> None:
        """Waits for all numbers that were handed in, and judges them: before anything that builds on them is kept."""
        while self.open:
            self._fall()

    def _fall(self) -> None:
        there, numbers, judged = self.open.pop(0)
        there.synchronize()
        try:
            judged(numbers.tolist())
        except Exception:
            self.open.clear()  # what came after the first fault has the same one
            raise


def fetched(numbers: Tensor) -> tuple[Any, Tensor]:
    """The event after which the numbers are there, and the memory of the host where they will be."""
    host = numbers.to("cpu", non_blocking=True)
    there = torch.Event(numbers.device)
    there.record()
    return there, host


VALUES = Verdicts()
"""Of images and tables that a function is given, which has no place of its own to remember them."""
