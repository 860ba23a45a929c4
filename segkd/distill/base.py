"""`Teacher`, `Knowledge`, and the `Distiller` that joins them to the task loss by scheduled weights."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segkd.losses import CrossEntropy, TaskLoss, resize_label, resize_shares
from segkd.types import IGNORE, Batch, InputError, Lesson, Prediction, Schedule, schedule_values, scheduled

Look = Callable[[Float[Tensor, "b 3 h w"]], Prediction]
"""The student's own forward, lent to a teacher that wants to look again; never stored."""


class Teacher(nn.Module, ABC):
    """Makes the target of a batch.

    Attributes:
        gives: the fields of the target `Prediction` that are filled.
        mirrors: those of them that are the student's own output; comparing a field with its mirror has no gradient.
        needs_soft: whether the loader has to compute `Batch.soft`.
    """

    gives: frozenset[str]
    mirrors: frozenset[str] = frozenset()
    needs_soft: bool = False

    @abstractmethod
    def forward(self, batch: Batch, student: Prediction, network: Look) -> Lesson:
        """The lesson of `batch`; `student` is its prediction, `network` the student's forward."""

    def follow(self, student: nn.Module, step: int) -> None:
        """Called after optimiser step number `step`; a label stands still, a slow copy moves."""


class Knowledge(nn.Module, ABC):
    """Compares the student with the target.

    Attributes:
        needs: the fields of the target that are read.
    """

    needs: frozenset[str]

    @abstractmethod
    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """The loss, a mean over the valid pixels of all processes; 0 when there are none."""


@final
class Distiller(nn.Module):
    """The task loss and the terms of one teacher, each times its scheduled weight.

    Args:
        task: the loss against the labels; cross-entropy when None.
        teacher: who teaches; None trains the plain baseline.
        knowledge: what is compared, each term under a name of its own.
        weights: weight of `task`, of `exits` (the task loss on side logits) and of each knowledge by name;
            a number, or {progress 0..1: weight} interpolated linearly. 1 where nothing is said.

    Raises:
        InputError: a knowledge reads what the teacher does not give, or compares the student with itself.
    """

    def __init__(
        self,
        task: TaskLoss | None = None,
        teacher: Teacher | None = None,
        knowledge: dict[str, Knowledge] | None = None,
        weights: dict[str, Schedule] | None = None,
    ) -> None:
        super().__init__()
        self.task = task or CrossEntropy()
        self.teacher = teacher
        self.knowledge = nn.ModuleDict(knowledge or {})
        self.weights: Mapping[str, Schedule] = weights or {}
        self.progress = 0.0
        self._refuse_misfits()
        for name, compare in (knowledge or {}).items():
            if teacher is not None:
                _refuse_misfit(name, compare, teacher)

    @property
    def needs_soft(self) -> bool:
        """Whether the loader has to compute `Batch.soft`."""
        return self.task.needs_soft or (self.teacher is not None and self.teacher.needs_soft)

    def weight(self, name: str) -> float:
        """The weight of a term at the current progress."""
        return scheduled(self.weights.get(name, 1.0), self.progress)

    def forward(self, student: Prediction, batch: Batch, network: Look) -> dict[str, Float[Tensor, ""]]:
        """Named, weighted terms whose sum is the loss."""
        terms = {"task": self.weight("task") * self.task(student.logits, batch)}
        if student.exits:
            losses = [self.task(logits, _at(batch, logits)) for logits in student.exits]
            terms["exits"] = self.weight("exits") * torch.stack(losses).mean()
        if self.teacher is not None:
            lesson = self.teacher(batch, student, network)
            taught = batch if lesson.mask is None else _only(batch, lesson.mask)
            for name, compare in self.knowledge.items():
                terms[name] = self.weight(name) * compare(student, lesson.target, taught)
            terms |= dict(lesson.terms)
        return terms

    def follow(self, student: nn.Module, step: int) -> None:
        """Lets the teacher follow the student after optimiser step `step`."""
        if self.teacher is not None:
            self.teacher.follow(student, step)

    def _refuse_misfits(self) -> None:
        if self.teacher is None and self.knowledge:
            raise InputError(f"distiller.knowledge names {list(self.knowledge)}, but there is no distiller.teacher.")
        if self.teacher is not None and not self.knowledge:
            raise InputError(f"distiller.teacher {_name(self.teacher)} teaches nothing: name a distiller.knowledge.")
        unknown = set(self.weights) - {"task", "exits", *self.knowledge}
        if unknown:
            choices = ", ".join(["task", "exits", *self.knowledge])
            raise InputError(f"distiller.weights names {sorted(unknown)}, which is no term; terms are: {choices}.")
        for name, weight in self.weights.items():
            schedule_values(f"distiller.weights.{name}", weight)
        reserved = {"task", "exits"} & set(self.knowledge)
        if reserved:
            raise InputError(f"distiller.knowledge may not be named {sorted(reserved)}: that is the task's own term.")


def _refuse_misfit(name: str, compare: Knowledge, teacher: Teacher) -> None:
    missing = compare.needs - teacher.gives
    if missing:
        raise InputError(
            f"{name!r} ({_name(compare)}) compares {sorted(compare.needs)}, but {_name(teacher)} gives "
            f"only {sorted(teacher.gives)}. Choose a teacher that gives {sorted(missing)}, or another knowledge."
        )
    if compare.needs <= teacher.mirrors:
        raise InputError(
            f"{name!r} ({_name(compare)}) would compare the student's {sorted(compare.needs)} with itself: "
            f"{_name(teacher)} mirrors them, and there would be no gradient."
        )


def _at(batch: Batch, logits: Tensor) -> Batch:
    """The batch at the size of side logits."""
    size = logits.shape[-2:]
    image = F.interpolate(batch.image, size=size, mode="area")
    clean = image if batch.clean is batch.image else F.interpolate(batch.clean, size=size, mode="area")
    soft = None
    if batch.soft is not None:  # shares of the valid part alone, as the loader's are
        soft = resize_shares(batch.soft.masked_fill(~batch.valid.unsqueeze(1), 0.0), size)
        soft = soft / soft.sum(dim=1, keepdim=True).clamp_min(1e-6)
    return Batch(image, clean, resize_label(batch.label, size), soft, batch.ids)


def _only(batch: Batch, mask: Tensor) -> Batch:
    return replace(batch, label=batch.label.masked_fill(~mask, IGNORE))


def _name(module: nn.Module | None) -> str:
    return type(module).__name__
