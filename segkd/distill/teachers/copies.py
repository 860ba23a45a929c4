"""Teachers in time: a slow copy of the student, the student as it was, and as it began."""

import copy
from typing import final

import torch
from torch import Tensor, nn

from segkd.distill.base import Look, Scene, Teacher, moved
from segkd.models.average import Average
from segkd.models.network import Network
from segkd.models.taps import evaluating, layers_alone, tapped
from segkd.types import Batch, InputError, Lesson, Prediction


@final
class MeanTeacher(Teacher):
    """The exponential moving average of the student, which sees the undisturbed images (Tarvainen and Valpola, NeurIPS
    2017). Departure: a young average moves faster (see `Average`), and BatchNorm statistics are averaged too.

    Args:
        decay: share of the average that stays at each optimiser step.
    """

    gives = frozenset({"logits", "features"})
    everywhere = True

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 < decay < 1:
            raise InputError(f"MeanTeacher: decay is a share, between 0 and 1, found {decay}.")
        self.decay = decay

    def meet(self, scene: Scene) -> None:
        """Copies the student."""
        self.slow, self.features = Average(scene.student, self.decay), scene.features

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the average predicts."""
        return Lesson(moved(tapped(self.slow.network, batch.clean, self.features), batch))

    def follow(self, student: Network, step: int) -> None:
        """Moves towards the student."""
        self.slow.follow(student)


@final
class Snapshot(Teacher):
    """The student as it was at the end of an earlier stretch of epochs: of the last one, PS-KD (Kim et al., ICCV 2021);
    of the last cycle of the learning rate, snapshot distillation (Yang et al., CVPR 2019).

    It sees the undisturbed view that the student learns from; until the first copy is taken it teaches nothing.

    Args:
        epochs: epochs between two copies; 1 where neither this nor `cycles` is said.
        cycles: in place of it, a copy at the end of each of so many cycles of the learning rate (as `optim.cycles`).
    """

    gives = frozenset({"logits", "features"})
    everywhere = True
    taken: Tensor

    def __init__(self, epochs: int | None = None, cycles: int | None = None) -> None:
        super().__init__()
        if epochs is not None and cycles is not None:
            raise InputError(f"Snapshot: expected epochs or cycles, found both ({epochs}, {cycles}). Set one to null.")
        if epochs is not None and epochs < 1:
            raise InputError(f"Snapshot: epochs between two copies must be at least 1, found {epochs}.")
        if cycles is not None and cycles < 2:
            raise InputError(f"Snapshot: cycles must be at least 2, as the last one teaches nobody, found {cycles}.")
        self.epochs, self.cycles = epochs or 1, cycles
        self.register_buffer("taken", torch.tensor(False))
        self.there: bool | None = None  # `taken` as the host knows it; None where it has to ask the device
        self.register_load_state_dict_post_hook(_forget)

    def meet(self, scene: Scene) -> None:
        """Makes room for the copy; doubts a training that ends before the first one is taken."""
        self.copies, self.during = 1, self.epochs * scene.steps_per_epoch
        if self.cycles is not None and scene.steps is not None:
            self.copies, self.during = self.cycles, scene.steps
            if scene.cycles not in (None, self.cycles):
                self.doubts = (
                    f"takes copies at the ends of {self.cycles} cycles, and the learning rate has {scene.cycles}: they "
                    f"are taken while it is high. Write optim.cycles: {self.cycles}",
                )
        elif scene.steps is not None and self.during >= scene.steps:
            self.doubts = (
                f"takes its first copy after {self.epochs} epochs, and the training has "
                f"{scene.steps // scene.steps_per_epoch}: it teaches nothing. Train longer (engine.epochs), or write "
                f"{self.key or 'Snapshot'}.epochs below that",
            )
        self.network, self.features = copy.deepcopy(scene.student).requires_grad_(False), scene.features

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the copy predicts; nowhere, and without asking it, before there is one."""
        if self.there is None:
            self.there = bool(self.taken)
        if not self.there:
            return Lesson(student.detached(), self.taken.expand_as(batch.label))
        with torch.no_grad(), evaluating(self.network):
            seen = moved(tapped(self.network, batch.clean, self.features), batch)
        return Lesson(seen, self.taken.expand_as(batch.label))

    def follow(self, student: Network, step: int) -> None:
        """Takes a copy at the end of a stretch, a whole number of steps or not."""
        if step * self.copies // self.during > (step - 1) * self.copies // self.during:
            self.network.load_state_dict(student.state_dict())
            self.taken.fill_(True)
            self.there = True


@final
class Start(Teacher):
    """The student before its first step: what its layers, trained on other images, knew of the undisturbed image
    (DELTA, Li et al., ICLR 2019, without its weights per channel). Its features are those of `distiller.features`; it
    runs no further than to the last of them.
    """

    gives = frozenset({"features"})

    def meet(self, scene: Scene) -> None:
        """Copies the student. Raises InputError where no layers are named: a decoder that is made at random knows
        nothing."""
        if scene.features is None:
            raise InputError(
                f"{self.owner}: teaches what layers knew before, and the student's own features come from a decoder "
                "that begins at random. Name layers that were trained before: --distiller.features '[encoder]'."
            )
        self.features, self.begun = scene.features, copy.deepcopy(scene.student).requires_grad_(False)
        known = ", ".join(scene.features)
        self.said = (f"teaches what {known} gave before the first step: pretrained weights, or those of --init",)

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the layers said at first."""
        with evaluating(self.begun):
            levels = layers_alone(self.begun, batch.clean, self.features)
        if batch.source is not None:
            levels = tuple(map(batch.moved, levels))
        return Lesson(Prediction(student.logits.detach(), levels))


def _forget(teacher: nn.Module, keys: object) -> None:
    """What the host knew is not of the state that was loaded."""
    teacher.there = None  # type: ignore[assignment]
