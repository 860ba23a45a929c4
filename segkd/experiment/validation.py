"""What a validation does: scores, pictures for TensorBoard, and the best student on disk."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from jsonargparse import Namespace

from segkd.datasets.data import Data, Records
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.transforms import Transform
from segkd.engine.bands import BandErrors
from segkd.engine.checkpoint import Progress
from segkd.engine.evaluate import evaluate, nothing, predicted
from segkd.engine.panels import disturbed_panel, panel
from segkd.engine.record import Recorder, jsonable
from segkd.engine.step import Diverged, Engine
from segkd.experiment.settings import Evaluation
from segkd.frequency.rings import EDGES
from segkd.metrics.meter import LOWER_IS_BETTER, WORST, Meter, deciding_score, score_names
from segkd.models.network import Network
from segkd.models.store import ModelCard, read_card, save_student
from segkd.models.taps import evaluating
from segkd.types import Disturbance, InputError

PICTURED = 4

WORTH = 0.005
"""Difference of a score that is worth a word."""


@final
@dataclass
class Validation:
    """Validates the network that is kept (the average, if there is one) on the val split.

    `card` describes the student but for what only a validation knows: threshold, scores, step. `per_epoch` counts
    micro-steps. `workers` load the images, which is worth their start where none is kept in memory.
    """

    engine: Engine
    data: Data
    val: Records
    recorder: Recorder
    folder: Path
    card: ModelCard
    settings: Evaluation
    per_epoch: int
    workers: int = 0

    def __post_init__(self) -> None:
        k, shape = len(self.data.classes), self.data.shape
        self.dataset = SegmentationDataset(self.val, Transform(shape, None, k, soft=False), seed=0)
        soft = Transform(shape, None, k, soft=self.engine.bare.distiller.needs_soft)
        few = SegmentationDataset(self.val, soft, seed=0)
        # an only image is shown twice: some disturbances mix images of a batch
        shown = range(min(PICTURED, len(few))) if len(few) > 1 else (0, 0)
        self.few = collate([few[0, i] for i in shown]).to(self.engine.accelerator.device)
        self.bands = BandErrors(shape) if self.settings.band_errors else None
        self.last: Meter | None = None

    @torch.inference_mode()
    def begin(self) -> None:
        """Before the first step of a run: the band errors alone, from which their learning curves start.

        Draws no random number; a run that goes on has its line already.
        """
        engine = self.engine
        if self.bands is not None and engine.micro == 0:
            said = engine.bare.kept, self.dataset, engine.accelerator, self.data.batch, self.workers
            for batch, logits, _ in predicted(*said):
                self.bands(batch, logits)
            self._record_bands(self.bands)

    @torch.inference_mode()
    def probe(self) -> None:
        """Raises Diverged where the network that is kept says nothing of any of a few images.

        Finite weights may do so, too large to multiply. Of one image alone the validation speaks itself.
        """
        kept = self.engine.bare.kept
        with evaluating(kept):
            shares = kept(self.few.image).logits.float().softmax(dim=1)
        if shares.isnan().flatten(1).any(dim=1).all():
            raise Diverged(f"step {self.engine.step}: the network gives no numbers for images of val")

    def __call__(self, pause: Callable[[], None]) -> Meter:
        """The meter of the val split; pictures, the teacher's quality and band errors go to TensorBoard.

        `pause` is called after every batch, and may leave by an exception: nothing is written by then but what a
        resumed run takes back.
        """
        engine, network = self.engine, self.engine.bare.kept
        if engine.accelerator.is_main_process:
            picture, quality = panel(network, engine.bare.distiller, self.few)
            self.recorder.picture("val/image-label-teacher-prediction-error", picture, engine.step)
            self.recorder.scalars("teacher", quality, engine.step)
            if engine.bare.disturbance is not None:
                self._record(engine.bare.disturbance)
        meter = self.judged(network, advance=lambda _: pause(), look=self.bands or nothing)
        if self.bands is not None:
            self._record_bands(self.bands)
        self.last = meter
        return meter

    def doubt_average(self, select: str) -> str:
        """After the last validation: a sentence when the weights as they are score better on val than their moving
        average does; else ""."""
        bare = self.engine.bare
        if bare.average is None or self.last is None:
            return ""
        now, averaged = self.judged(bare.student).score(select), self.last.score(select)
        if not now > averaged + WORTH:
            return ""
        return (
            f"the weights as they are score {select} {now:.4f} on val, their moving average, which is kept, "
            f"{averaged:.4f}: it lags behind so short a training. Train longer, or write optim.average: null."
        )

    def judged(self, network: Network, **more: Any) -> Meter:
        """The meter of any network on the val split, with `more` as `evaluate` takes it; nothing is written."""
        said = self.dataset, self.data.classes, self.engine.accelerator
        more |= {"batch_size": self.data.batch, "threshold": self.settings.threshold, "workers": self.workers}
        return evaluate(network, *said, **more)

    def _record_bands(self, bands: BandErrors) -> None:
        errors, step = bands.take(self.engine.accelerator), self.engine.step
        content = {
            "epoch": self.engine.micro / self.per_epoch,
            "edges": list(EDGES),
            "errors": errors,
            "split": "val",
        }
        self.recorder.note("spectrum", step, content)
        self.recorder.scalars("spectrum", {f"error_band{b}": error for b, error in enumerate(errors)}, step)

    def _record(self, disturbance: Disturbance) -> None:
        picture, quality = disturbed_panel(disturbance, self.few)
        report, step = disturbance.report(self.few), self.engine.step
        self.recorder.picture("disturbance/image-disturbed", picture, step)
        for name, content in report.pictures.items():
            self.recorder.picture(f"disturbance/{name}", content, step)
        self.recorder.scalars("disturbance", {**quality, **report.scalars}, step)
        self.recorder.note("disturbance", step, {**quality, **report.record})

    def keep(self, meter: Meter) -> dict[str, Any]:
        """Saves the student as the best so far; returns what the checkpoint shall promise of it."""
        if not self.engine.accelerator.is_main_process:
            return {}
        threshold = meter.threshold() if len(self.data.classes) == 2 else 0.5
        card = replace(self.card, threshold=threshold, scores=jsonable(meter.scores()), step=self.engine.step)
        save_student(self.folder, self.engine.bare.kept, card)
        return {"student_step": self.engine.step, "student_sha256": student_digest(self.folder)}


def student_digest(folder: Path) -> str:
    """SHA-256 of the weights of a run's student; "" when there are none to read."""
    try:
        return hashlib.sha256((folder / "student.safetensors").read_bytes()).hexdigest()
    except OSError:
        return ""


def lost_student(folder: Path, progress: Progress, coming: range) -> str:
    """The sentence to say when the student that the checkpoint promises is not there whole; "" when it is.

    A validation that a kill cut off from its checkpoint leaves a younger student: it comes again and writes the same,
    if its step is one of those that are `coming`.
    """
    path, promised = folder / "student.safetensors", progress.promises.get("student_sha256")
    if promised is None or student_digest(folder) == promised:
        return ""
    try:
        found = read_card(folder).step
        if found > progress.promises.get("student_step", 0) and found in coming:
            return ""
    except InputError:
        pass
    best = "" if progress.best is None else f" (score {progress.best:.4f})"
    return (
        f"{path}: the best student of step {progress.promises.get('student_step')}{best} is missing or damaged, or "
        "that of another run lies in its place, and its weights are nowhere else. The next validation's student is "
        "kept, whatever its score, and is the best from there on."
    )


def selected(objects: Namespace) -> str:
    """The score on val that decides which weights are kept. Raises InputError for one that there is not."""
    classes = len(objects.data.classes)
    names = [name for name in score_names(classes) if name not in LOWER_IS_BETTER]
    if objects.data.domains or objects.data.domain_group:
        names += [f"{WORST}{name}" for name in names]
    chosen = objects.evaluation.select or deciding_score(classes)
    if chosen not in names:
        raise InputError(f"evaluation.select: expected one of {', '.join(names)}, found {chosen!r}.")
    return chosen
