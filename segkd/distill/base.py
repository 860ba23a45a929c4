"""Who teaches and what is compared: `Teacher`, `Knowledge`, and the `Term` that joins one of each by a weight."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.datasets.sampler import Draw
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, Lesson, Prediction, Schedule

Look = Callable[[Float[Tensor, "b 3 h w"]], Prediction]
"""A look of the student at other images, lent to a teacher and never stored. Without gradient it leaves no trace:
the student looks in evaluation mode."""

Whole = Callable[[tuple[int, int], Sequence[int]], Iterable[Batch]]
"""Some of the training images, by number, in batches: whole, as they are, at a size (h, w)."""


@final
@dataclass(frozen=True)
class Scene:
    """What a teacher may read or copy when it meets the student, before the first step; it keeps none of it.

    Attributes:
        student: the network that is trained, with its initial weights.
        batch: one training batch, undisturbed.
        seen: the student's prediction of it, with exits if there are any.
        steps_per_epoch: optimiser steps in an epoch.
        another: one more network of the student's kind, with a random start of its own.
        names: of the classes, in order; None where they are not known.
        features: layer paths whose outputs are the student's features, and those of its copies; its own when None.
        ids: of all training images; () where they are not known yet.
        others: of the images without a label beside them, which are numbered after them.
        images: the training images themselves; None where they are not known yet.
        groups: finds the patient, video or sequence of each of `ids`, None where no `group` is said; None likewise.
        steps: optimiser steps of the whole training; None where that is not known yet.
        draw: which images an epoch holds; None where that is not known.
        cycles: of the learning rate; None where that is not known.
    """

    student: Network
    batch: Batch
    seen: Prediction
    steps_per_epoch: int
    another: Callable[[], Network]
    names: Sequence[str] | None = None
    features: Sequence[str] | None = None
    ids: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    images: Whole | None = None
    groups: Callable[[], Sequence[str | None]] | None = None
    steps: int | None = None
    draw: Draw | None = None
    cycles: int | None = None

    @property
    def classes(self) -> int:
        """The number of classes k."""
        return self.seen.logits.shape[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the classes, in order: their numbers where no names are known."""
        return tuple(self.names or map(str, range(self.classes)))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the batch."""
        h, w = self.batch.image.shape[2:]
        return h, w

    def whole(self, size: tuple[int, int], numbers: Sequence[int] | None = None) -> Iterable[Batch]:
        """Training images, whole and as they are at a size (h, w): all, in order, or those of `numbers`; where they are
        not known yet, the one batch."""
        if self.images is None:
            return [self.batch]
        return self.images(size, range(len(self.ids)) if numbers is None else numbers)


class Teacher(nn.Module, ABC):
    """Makes the target of a batch.

    A constructor takes settings and draws nothing, so that all recipes of one seed train from the same weights; what
    needs the student's shapes, or a draw, is built in `meet`. What is registered (parameters, buffers, modules) is
    trained, saved and equal on all processes; a network that never changes is held in a plain list.

    Attributes:
        gives: the fields of the target `Prediction` that are filled.
        learns: of whom this teacher learns itself: "label" (the task loss of its logits, or of `Lesson.own`), "student"
            (each of its terms the other way round). The distiller sees to both.
        needs_soft: whether the loader has to compute `Batch.soft`.
        remembers: whether it keeps something of each batch, so that it is asked in every step, heard or not.
        said: what the user should be told of it once it has met the student, a sentence each.
        doubts: what looks wrong in what it is to teach, likewise.
        key: where it stands in the configuration; the distiller says so.
        everywhere: whether it teaches images without a label, too.
    """

    gives: frozenset[str]
    learns: frozenset[str] = frozenset()
    needs_soft: bool = False
    remembers: bool = False
    said: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    key: str = ""
    everywhere: bool = False

    @property
    def owner(self) -> str:
        """Its name in an error."""
        return f"{self.key} ({named(self)})" if self.key else named(self)

    def meet(self, scene: Scene) -> None:
        """Called once, before the optimiser is made and a checkpoint is read: here things are built and drawn.

        Raises:
            InputError: the teacher does not fit the student; says what to write.
        """

    @abstractmethod
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """The lesson of `batch`; `student` is its prediction, `look` the student's look at other images.

        In evaluation mode it changes nothing and waits for no other process.
        """

    def follow(self, student: Network, step: int) -> None:
        """Called after optimiser step number `step`; a label stands still, a slow copy moves."""

    def alone(self) -> Network | None:
        """The teacher as a network, where it needs neither student nor label, so that it can be scored; else None."""
        return None

    def arrive(self, progress: float) -> None:
        """Called before that, and when a run is resumed, with how much of the training is behind, 0..1."""


class Knowledge(nn.Module, ABC):
    """Compares the student with a target, which carries no gradient.

    Attributes:
        reads: the fields of the student's prediction that are read.
        needs: the fields of the target that are read; none where the student alone is read, and then it has no teacher.
        across: whether one level of the student is compared with another, so that the student may be its own teacher.
    """

    reads: frozenset[str]
    needs: frozenset[str]
    across: bool = False

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Called once with a prediction of each: projectors are built here.

        Raises:
            InputError: the two do not fit; says what to write.
        """

    @abstractmethod
    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """The loss, a mean over the valid pixels of all processes; 0 when there are none."""


@dataclass
class Term:
    """One part of the loss: what is compared, with whom, and how much it counts.

    Args:
        knowledge: what is compared.
        teacher: name of the teacher in `distiller.teachers`; the only one when null, or the student itself where there
            is none and the knowledge compares levels. "student" is the student itself beside other teachers.
        weight: a number, or {progress 0..1 of the training: weight} interpolated linearly.
    """

    knowledge: Knowledge
    teacher: str | None = None
    weight: Schedule = 1.0


def moved(seen: Prediction, batch: Batch) -> Prediction:
    """A prediction of `batch.clean`, its pixels moved to where the disturbance put them; the same one if none moved."""
    if batch.source is None:
        return seen
    return Prediction(
        batch.moved(seen.logits), tuple(map(batch.moved, seen.features)), tuple(map(batch.moved, seen.exits))
    )


def only(batch: Batch, mask: Tensor) -> Batch:
    """The batch with every pixel outside `mask`, bool [b h w], ignored."""
    return replace(batch, label=batch.label.masked_fill(~mask, IGNORE))


def counted(batch: Batch, lesson: Lesson, sure: float | None) -> Batch:
    """The batch as a term counts its pixels: those that have a label and lie in the lesson's mask, and with `sure`, of
    images without a label, those whose likeliest class has at least this probability in the target. That class is
    their label there, as in FixMatch (Sohn et al., NeurIPS 2020, eq. 4)."""
    unknown = batch.unknown
    if unknown is not None and sure is not None:
        highest, guess = lesson.target.logits.detach().float().softmax(dim=1).max(dim=1)
        batch = replace(batch, label=torch.where(unknown & (highest >= sure), guess, batch.label))
    return batch if lesson.mask is None else only(batch, lesson.mask)


def learning(module: nn.Module | None) -> bool:
    """Whether any parameter of a module learns."""
    return module is not None and any(p.requires_grad for p in module.parameters())


def named(module: object) -> str:
    """The name of a part in an error."""
    return type(module).__name__
