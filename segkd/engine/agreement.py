"""Processes that train together must hold the same numbers: statistics are shared, and what drifts apart is noticed."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from accelerate import Accelerator
from jaxtyping import Int64
from torch import Tensor, nn

from segkd.device import processes
from segkd.types import InputError, some

STATISTICS = ("running_mean", "running_var")
"""What a normalisation follows of the images of its own process."""


@torch.no_grad()
def share_statistics(module: nn.Module) -> None:
    """Running statistics become those of the first process, on all of them.

    DDP's own broadcast comes with the next forward pass: too late for what looks in between (averages and teachers that
    follow, validation, probes of a draw).
    """
    if processes() == 1:
        return
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for name, buffer in module.named_buffers():
        if name.endswith(STATISTICS):
            kinds.setdefault(buffer.dtype, []).append(buffer)
    for own in kinds.values():
        together = torch.cat([buffer.flatten() for buffer in own])
        dist.broadcast(together, 0)
        parts = together.split([buffer.numel() for buffer in own])
        torch._foreach_copy_(own, [part.view_as(buffer) for part, buffer in zip(parts, own)])


def checksum(tensor: Tensor) -> Tensor:
    """A whole number that another content would hardly give: the sum of the tensor's bits, read as whole numbers."""
    flat = tensor.detach().contiguous().flatten()
    if flat.is_floating_point():
        flat = flat.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()])
    return flat.to(torch.int64).sum()


def checksums(module: nn.Module) -> dict[str, Tensor]:
    """The checksum of all that must be equal on all processes, by name."""
    return {name: checksum(tensor) for name, tensor in module.state_dict().items()}


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


def refuse_apart(accelerator: Accelerator, module: nn.Module, step: int) -> None:
    """Raises InputError where processes hold different parameters, averages or states of teachers (as EDM2 checks at
    every snapshot); called by all of them."""
    if accelerator.num_processes == 1:
        return
    named = checksums(module)
    found = apart(accelerator.gather(torch.stack(list(named.values())).unsqueeze(0)), list(named))
    if found:
        raise InputError(
            f"after step {step} the processes hold different numbers in {some(found)}. What a "
            "teacher or a disturbance remembers must be gathered from all of them; the last checkpoint is from before."
        )
