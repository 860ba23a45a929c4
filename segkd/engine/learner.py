"""`Learner`: student, disturbance and distiller as one module, so that wrapping it synchronises all that learns."""

from collections.abc import Mapping, Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from segkd.distill.distiller import Distiller
from segkd.models.average import Average
from segkd.models.network import Network
from segkd.models.taps import evaluating
from segkd.types import Batch, Disturbance, InputError


@final
class Learner(nn.Module):
    """Disturbs, predicts, compares.

    Args:
        student: the network that is trained and kept.
        distiller: the task loss and what is taught; it has met the student.
        disturbance: changes the images of a batch while training; None leaves them.
        average: decay of the exponential moving average of the student that is evaluated and kept; None for none.
        total: optimiser steps of the whole training, which schedules are relative to.
        resting: progress -> layer paths of the student that do not learn from then on (`Network.rest`).

    Raises:
        InputError: there is no such layer, or at some time none is left that learns.
    """

    def __init__(
        self,
        student: Network,
        distiller: Distiller,
        disturbance: Disturbance | None = None,
        *,
        average: float | None = None,
        total: int = 1,
        resting: Mapping[float, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self.student, self.distiller, self.disturbance = student, distiller, disturbance
        self.average = Average(student, average) if average is not None else None
        self.total = total
        self.resting = sorted((resting or {}).items())
        for at, paths in self.resting:
            held = {id(p) for module in student.layers(paths) for p in module.parameters()}
            if not any(p.requires_grad and id(p) not in held for p in student.parameters()):
                raise InputError(f"nothing learns from {at} on: optim.freeze holds every parameter. Freeze less.")
        self.train()

    def forward(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Named terms whose sum is the loss."""
        if self.disturbance is not None:
            with evaluating(self.student):  # around its gradient too: recomputed blocks look again there
                batch = self.disturbance.seek(batch, self._task_loss)
        return self.distiller(batch, self.student)

    def follow(self, step: int) -> None:
        """After optimiser step number `step` (1 = first): averages, teachers and schedules move on."""
        if self.average is not None:
            self.average.follow(self.student)
        self.arrive(step / self.total)
        self.distiller.follow(self.student, step)
        if self.disturbance is not None:
            self.disturbance.follow(step / self.total)

    def arrive(self, progress: float) -> None:
        """Sets all schedules to `progress` 0..1 of the training; nothing else moves, so that it serves a resume."""
        if self.resting:
            self.student.rest(next((paths for at, paths in self.resting[::-1] if at <= progress), ()))
        self.distiller.arrive(progress)
        if self.disturbance is not None:
            self.disturbance.progress = progress

    def _task_loss(self, batch: Batch) -> Float[Tensor, ""]:
        """For a disturbance that looks before it decides: no teacher, which may keep state, and, as the student then is
        in evaluation mode, no BatchNorm statistics of images that nobody trains on."""
        return self.distiller.task(self.student(batch.image).logits, batch)

    @property
    def kept(self) -> Network:
        """The network that is evaluated and saved: the average if there is one, else the student."""
        return self.student if self.average is None else self.average.network
