"""Processes that train together must hold the same numbers: a teacher whose state drifts apart is noticed at once."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from jaxtyping import Int64
from torch import Tensor, nn

from segkd.device import processes
from segkd.engine.step import Engine
from segkd.types import InputError, some

PER_PROCESS = ("running_mean", "running_var")
"""BatchNorm statistics are each process's own until the next forward pass shares those of the first."""


def checksum(tensor: Tensor) -> Tensor:
    """A whole number that another content would hardly give: the sum of the tensor's bits, read as whole numbers."""
    flat = tensor.detach().contiguous().flatten()
    if flat.is_floating_point():
        flat = flat.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()])
    return flat.to(torch.int64).sum()


def checksums(module: nn.Module) -> dict[str, Tensor]:
    """The checksum of all that must be equal on all processes, by name."""
    return {name: checksum(tensor) for name, tensor in module.state_dict().items() if not name.endswith(PER_PROCESS)}


def apart(found: Int64[Tensor, "processes tensors"], names: Sequence[str]) -> list[str]:
    """The names of the tensors whose checksums are not the same on all processes."""
    return [name for name, column in zip(names, found.T) if not bool((column == column[0]).all())]


def averaged(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each number as its mean over all processes, which all call this: a loss over the pixels of all of them is the
    mean of what each adds to it."""
    if not numbers or processes() == 1:
        return dict(numbers)
    together = torch.stack([number.float() for number in numbers.values()])
    dist.all_reduce(together)
    return dict(zip(numbers, together / processes()))


def refuse_apart(engine: Engine) -> None:
    """Raises InputError where processes hold different parameters, averages or states of teachers (as EDM2 checks at
    every snapshot); called by all of them."""
    if engine.accelerator.num_processes == 1:
        return
    named = checksums(engine.bare)
    found = apart(engine.accelerator.gather(torch.stack(list(named.values())).unsqueeze(0)), list(named))
    if found:
        raise InputError(
            f"after step {engine.step} the processes hold different numbers in {some(found)}. What a "
            "teacher or a disturbance remembers must be gathered from all of them; the last checkpoint is from before."
        )
