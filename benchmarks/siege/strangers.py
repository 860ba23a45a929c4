"""One truth in the codings that strangers' folders have: read right, or refused; never something else without a word.

Training: the same images and masks, coded otherwise, give the same weights to the last bit. Evaluating: predictions
that equal the labels score 1, whatever either is coded as.
"""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.siege import codings
from benchmarks.siege.photos import folder as photos
from benchmarks.siege.photos import train
from benchmarks.siege.stand import Ended, run, scratch
from benchmarks.siege.table import HELD, Trial, broken
from benchmarks.siege.tiny import Unbroken, differences

CLASSES = {2: [], 4: ["--data.classes", "[a,b,c,d]"]}


def trained(name: str, unbroken: Unbroken) -> list[Trial]:
    """A folder of another layout or coding is trained on: the weights of the plain folder, or a refusal."""
    layout = codings.LAYOUTS[name]
    plain, said = _plain(unbroken.folder.parent, layout.classes)
    with scratch() as folder:
        layout.make(photos(folder / "d", 8, layout.classes))
        ended = run([*train("d", "run"), *CLASSES[layout.classes], *layout.settings], folder)
        recipe = f"train on {name}"
        fault = broken(ended, recipe)
        if fault or ended.status:
            return [fault or _refused(ended, recipe, layout.must)]
        found = [line for line in differences(folder / "run", plain) if "metrics.jsonl" not in line]
        if found and not ended.warnings - said:
            return [
                Trial(
                    "silent",
                    f"{recipe}: other weights than the plain folder's; said: {' '.join(ended.text.split())[:200]}",
                )
            ]
        return [HELD]


@cache
def _plain(scratch_folder: Path, classes: int) -> tuple[Path, frozenset[str]]:
    """The run on the plain folder, and its warnings."""
    out = scratch_folder / f"plain-{classes}-{random.SystemRandom().randrange(10**9)}"
    photos(out / "d", 8, classes)
    ended = run([*train("d", "run"), *CLASSES[classes]], out)
    assert ended.status == 0, ended.text
    return out / "run", ended.warnings


def judged(side: str, name: str, classes: int, unbroken: Unbroken) -> list[Trial]:
    """Predictions that equal the labels, one `side` of them coded otherwise: a score of 1, or a refusal."""
    coding = codings.CODINGS[name]
    with scratch() as folder:
        photos(folder / "plain", 6, classes)
        other = folder / "other"
        other.mkdir()
        for number, path in enumerate(sorted((folder / "plain" / "masks").iterdir())):
            coding(other / path.stem, path, classes, number)
        sides = {"predictions": "plain/masks", "labels": "plain/masks", side: "other"}
        flags = [part for key, value in sides.items() for part in (f"--{key}", value)]
        ended = run(["evaluate", *flags, *CLASSES[classes], "--out", "s.json"], folder)
        recipe = f"evaluate {side} as {name}, {classes} classes"
        fault = broken(ended, recipe)
        if fault or ended.status:
            return [fault or _refused(ended, recipe, name in codings.PROMISED)]
        score = _score(folder / "s.json", classes)
        if score != 1.0 and not ended.warnings:
            return [Trial("silent", f"{recipe}: {score} instead of 1; said: {' '.join(ended.text.split())[:200]}")]
        return [HELD]


def _score(path: Path, classes: int) -> Any:
    found = json.loads(path.read_text())
    return found.get("scores", found)["iou_fg_image" if classes == 2 else "miou_dataset"]


def _refused(ended: Ended, recipe: str, must: bool) -> Trial:
    return Trial("other", f"{recipe}: refused what is promised: {ended.words}") if must else HELD


def jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial."""
    found: list[tuple] = [(trained, name, unbroken) for name in codings.LAYOUTS]
    for name in codings.CODINGS:
        found += [(judged, side, name, classes, unbroken) for side in ("predictions", "labels") for classes in CLASSES]
    return found if more >= 1 else random.Random(seed).sample(found, max(1, round(len(found) * more)))
