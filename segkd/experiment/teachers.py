"""What finished teachers know: scored on val before the training begins, and compared with the student at its end."""

import math
from collections.abc import Iterable

from rich.console import Console

from segkd.datasets.digest import Digests
from segkd.engine.checkpoint import Progress
from segkd.experiment.console import warn
from segkd.experiment.same_data import kept_digests
from segkd.experiment.validation import Validation
from segkd.models.weights import student_of
from segkd.types import some

PROMISE = "teacher "
"""Scores of teachers among what a checkpoint promises begin so."""


def doubt_teachers(sources: Iterable[str], digests: Digests, console: Console) -> None:
    """Warns of every run among the `sources` of a training that was trained on images of its val, by their bytes:
    another split, or the same image under another name."""
    val = {image: name for name, digest in digests["val"].items() if (image := digest.split(" ")[0])}
    for source in sources:
        trained = kept_digests(student_of(source).parent).get("train", {})
        seen = [val[image] for digest in trained.values() if (image := digest.split(" ")[0]) in val]
        if seen:
            warn(
                console,
                f"{source} was trained on {len(seen)} of the {len(val)} images of val ({some(seen)}): scores on val, "
                "its own and those of a student of it, say too much, and those on test as well where it saw these. "
                "Train it with the same data.train and data.val.",
            )


def score_teachers(validation: Validation, progress: Progress, select: str, console: Console) -> None:
    """Scores each teacher that needs neither student nor label; says it, notes it in metrics.jsonl, and keeps it in the
    checkpoint. Does nothing in a run that goes on."""
    engine = validation.engine
    if engine.micro:
        return
    for name, teacher in engine.bare.distiller.asked.items():
        network = teacher.alone()
        if network is None:
            continue
        meter = validation.judged(network)
        score = meter.score(select)
        validation.recorder.note("teacher", 0, {"teacher": name, **meter.scores(), select: score})
        shown = "not defined" if math.isnan(score) else f"{score:.4f}"
        console.print(f"teacher {name} on val: {select} {shown}, {len(validation.dataset)} images")
        if not math.isnan(score):
            progress.promises[f"{PROMISE}{name}"] = score


def compare_with_teachers(progress: Progress, select: str, console: Console, *, others: bool) -> None:
    """Tells of every teacher that scores below the student on val: a warning, unless the student saw `others`,
    images without a label, from which it learns what its teacher does not know."""
    for name, score in progress.promises.items():
        if not (name.startswith(PROMISE) and progress.best is not None and score < progress.best):
            continue
        both = f"{select} {score:.4f} against {progress.best:.4f}"
        if others:
            console.print(f"{name} is worse on val than its student ({both}), which saw images without a label, too")
        else:
            warn(
                console,
                f"{name} is worse on val than its student: {both}. What the student gained is not its knowledge; a "
                "control without it (methods/baseline.yaml) tells what it is.",
            )
