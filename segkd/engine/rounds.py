"""Between the rounds of a draw that listens: losses of student and teacher on each domain's probe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from torch import Tensor

from segkd.datasets.draws.domains import DomainSampler
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.sampler import EpochBatches
from segkd.engine.checkpoint import Progress
from segkd.engine.record import Recorder
from segkd.engine.step import Engine
from segkd.models.taps import evaluating
from segkd.types import Batch, InputError

Sums = tuple[float, int]
"""Cross-entropy over pixels, and their number."""


@final
@dataclass
class Rounds:
    """The rounds of a guided draw.

    Args:
        engine: the training.
        draw: it has met the training split.
        batches: the stream of the training's batches, which begins anew with every round.
        dataset: the training split as it is, undisturbed and whole.
        batch_size: images that are looked at at a time.
        teacher: name of the teacher whose loss is asked for; None for one that makes no mistake.
    """

    engine: Engine
    draw: DomainSampler
    batches: EpochBatches
    dataset: SegmentationDataset
    batch_size: int
    teacher: str | None

    def due(self) -> bool:
        """Whether a round has ended of which the draw was not told: a function of what a checkpoint holds."""
        return self.engine.micro // self.batches.per_round > self.draw.round

    def turn(self, progress: Progress, recorder: Recorder) -> None:
        """Ends a round: tells the draw the losses, and begins the next one where the training stands."""
        losses = self.losses()
        self.draw.tell(losses, self.batches.per_round * self.batches.world * self.batches.batch_size)
        self.batches.start, progress.draw = self.engine.micro, self.draw.state()
        self.note(losses, recorder)

    def note(self, losses: Mapping[str, tuple[float, float]], recorder: Recorder) -> None:
        """A line of kind "domains": of each its weight from here on, the losses, and how many images were drawn."""
        step, shares = self.engine.step, self.draw.shares
        lines = {
            name: {"weight": shares[name], "student": student, "teacher": teacher, "seen": float(self.draw.seen[name])}
            for name, (student, teacher) in losses.items()
        }
        recorder.note("domains", step, {"domains": lines})
        recorder.scalars("domains", {f"{name}/weight": share for name, share in shares.items()}, step)

    @torch.no_grad()
    def losses(self) -> dict[str, tuple[float, float]]:
        """Mean cross-entropy of student and teacher over the labelled pixels of each domain's probe, the same numbers
        on all processes; nothing of the training changes.

        Raises:
            InputError: a probe has no labelled pixel of which the teacher says anything.
        """
        bare, accelerator = self.engine.bare, self.engine.accelerator
        mine = self.draw.held[accelerator.process_index :: accelerator.num_processes]
        with evaluating(bare.student, bare.distiller):
            found = [entry for batch, indices in self._batches(mine) for entry in self._of(batch, indices)]
        if accelerator.num_processes > 1:
            found = gather_object(found)
        sums = dict(found)
        return {name: self._mean(name, [sums[i] for i in probe]) for name, probe in self.draw.probes.items()}

    def _batches(self, indices: Sequence[int]) -> Iterator[tuple[Batch, Sequence[int]]]:
        for first in range(0, len(indices), self.batch_size):
            some = indices[first : first + self.batch_size]
            yield collate([self.dataset[0, i] for i in some]).to(self.engine.accelerator.device), some

    def _of(self, batch: Batch, indices: Sequence[int]) -> Iterator[tuple[int, tuple[Sums, Sums]]]:
        """Index -> sums of student and teacher, image by image."""
        bare = self.engine.bare
        if self.teacher is None:
            student = _sums(bare.student(batch.image).logits, batch, batch.valid)
            teacher = [(0.0, number) for _, number in student]
        else:
            seen, lessons = bare.distiller.lessons(batch, bare.student)
            lesson = lessons[self.teacher]
            student = _sums(seen.logits, batch, batch.valid)
            heard = batch.valid if lesson.mask is None else batch.valid & lesson.mask
            teacher = _sums(lesson.target.logits, batch, heard)
        yield from zip(indices, zip(student, teacher))

    def _mean(self, name: str, sums: Sequence[tuple[Sums, Sums]]) -> tuple[float, float]:
        """Image after image in the order of the probe, whichever process saw it."""
        means = []
        for who, parts in zip(("", f"of which teacher {self.teacher} says anything "), zip(*sums)):
            pixels = sum(number for _, number in parts)
            if not pixels:
                raise InputError(
                    f"draw: the probe of domain {name} ({len(sums)} images) has no labelled pixel {who}to "
                    "measure a loss on. Raise draw.probe, or look at the masks (segkd sheet)."
                )
            means.append(sum(total for total, _ in parts) / pixels)
        return means[0], means[1]


def _sums(logits: Tensor, batch: Batch, where: Tensor) -> list[Sums]:
    """Cross-entropy of each image, summed over the pixels `where`, bool [b h w]."""
    values = F.cross_entropy(logits.float(), batch.label.masked_fill(~where, 0), reduction="none")
    totals = values.masked_fill(~where, 0.0).double().sum(dim=(1, 2)).tolist()
    return list(zip(totals, where.sum(dim=(1, 2)).tolist()))
