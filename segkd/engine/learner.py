"""`Learner`: student, disturbance and distiller as one module, so that wrapping it synchronises all that learns."""

from collections.abc import Sequence
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from segkd.distill.base import Distiller
from segkd.models.network import Network
from segkd.types import Batch, Disturbance


@final
class Learner(nn.Module):
    """Disturbs, predicts, compares.

    Args:
        student: the network that is trained and kept.
        distiller: the task loss and what is taught.
        disturbance: changes the images of a batch while training; None leaves them.
        frozen: layer paths of the student that do not learn; their BatchNorm keeps its statistics.
        average: decay of the exponential moving average of the student that is evaluated and kept; None for none.
        total: optimiser steps of the whole training, which schedules are relative to.
    """

    def __init__(
        self,
        student: Network,
        distiller: Distiller,
        disturbance: Disturbance | None = None,
        *,
        frozen: Sequence[str] = (),
        average: float | None = None,
        total: int = 1,
    ) -> None:
        super().__init__()
        self.student, self.distiller, self.disturbance = student, distiller, disturbance
        self.still = [student.layer(path) for path in frozen]
        for module in self.still:
            module.requires_grad_(False)
        self.average = _averaged(student, average) if average is not None else None
        self.total = total
        self.train()

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Named terms whose sum is the loss."""
        for module in self.still:
            module.eval()  # an evaluation puts the student, not the learner, back into training mode
        if self.disturbance is not None:
            batch = self.disturbance.seek(batch, self._task_loss)
        return self.distiller(self.student(batch.image), batch, self.student)

    def train(self, mode: bool = True) -> "Learner":
        """As torch's, but what is frozen and what is averaged stays in evaluation mode."""
        super().train(mode)
        for module in self.still:
            module.eval()
        if self.average is not None:
            self.average.eval()
        return self

    def follow(self, step: int) -> None:
        """After optimiser step number `step` (1 = first): averages, teachers and schedules move on."""
        if self.average is not None:
            self.average.update_parameters(self.student)
        self.distiller.follow(self.student, step)
        self.arrive(step / self.total)
        if self.disturbance is not None:
            self.disturbance.follow(step / self.total)

    def arrive(self, progress: float) -> None:
        """Sets all schedules to `progress` 0..1 of the training; nothing else moves, so that it serves a resume."""
        self.distiller.progress = progress
        if self.disturbance is not None:
            self.disturbance.progress = progress

    def _task_loss(self, batch: Batch) -> Float[Tensor, ""]:
        """For a disturbance that looks before it decides: no teacher, which may keep state, and no BatchNorm
        statistics of images that nobody trains on."""
        self.student.eval()
        loss = self.distiller.task(self.student(batch.image).logits, batch)
        self.student.train(self.training)
        for module in self.still:
            module.eval()
        return loss

    @property
    def kept(self) -> Network:
        """The network that is evaluated and saved: the average if there is one, else the student."""
        return self.student if self.average is None else cast(Network, self.average.module)


def _averaged(student: Network, decay: float) -> AveragedModel:
    def follow(slow: Sequence[Tensor], fast: Sequence[Tensor], updates: Tensor | int) -> None:
        # young averages move faster, or the random start would weigh for 1 / (1 - decay) steps
        share = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        if slow[0].is_floating_point():
            torch._foreach_lerp_(list(slow), list(fast), share)
        else:
            torch._foreach_copy_(list(slow), list(fast))

    average = AveragedModel(student, multi_avg_fn=follow, use_buffers=True)
    return average.requires_grad_(False)
