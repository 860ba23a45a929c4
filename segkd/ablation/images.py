"""Two evaluations of the same images: the mean of what their scores differ by, image by image, with an interval."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from segkd.ablation.rows import Row
from segkd.ablation.statistics import student_interval
from segkd.ablation.tables import counted, with_ends
from segkd.disk import read_text
from segkd.metrics.meter import LOWER_IS_BETTER
from segkd.types import InputError

MEANS = (
    "f_mean", "f_adaptive", "f_weighted", "s_measure", "e_mean", "e_adaptive", "mae", "ber", "dice", "iou_fg_image",
    "miou_image", "hd95",
)  # fmt: skip
"""Scores that are means over images; others have no value of an image that they would be the mean of, or of two
classes alone (boundary IoU)."""

Values = dict[str, dict[str, float]]
"""Score by name, by image."""


def over_images(rows: Sequence[Row], scores: Sequence[str], baseline: str) -> list[str]:
    """A sentence for each score, data set and arm that, as the baseline, keeps the scores of its images; and what such
    intervals are about. Of `scores` those that are means over images are taken; if none is, `miou_image`."""
    bases = {row.dataset: (row, read_images(row.by_image)) for row in rows if row.arm == baseline and row.by_image}
    sentences = []
    for row in rows:
        if row.arm == baseline or row.by_image is None or row.dataset not in bases:
            continue
        both = bases[row.dataset], (row, read_images(row.by_image))
        kept = {name for _, values in both for one in values.values() for name in one}
        for score in [name for name in scores if name in MEANS and name in kept] or ["miou_image"]:
            text = _of_other_scores(both, score) or _gain(both[1][1], both[0][1], score)
            sentences.append(f"{score}, {row.arm} against {baseline}, image by image on {row.dataset}: {text}")
    about = "Intervals image by image are about these predictions on images like these, not about other trainings."
    return [*sentences, about] if sentences else []


def read_images(path: Path) -> Values:
    """The scores of the images of a `per_image.csv` that have any; what is not defined is NaN.

    Raises:
        InputError: it has no ids, or holds something that is no number; names the line.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, "the scores of images"), newline=""))
    found: Values = {}
    try:
        for line in reader:
            if not line.get("fault"):
                found[line["id"]] = {name: float(line[name] or "nan") for name in MEANS if name in line}
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}, line {reader.line_num}: expected id and scores as segkd evaluate writes them, found: {error!r}. "
            "Evaluate again, or name the scores.json from another folder."
        ) from error
    return found


def _of_other_scores(both: Sequence[tuple[Row, Values]], score: str) -> str:
    """A sentence where a score is not the mean of those of the images beside it, which another evaluation wrote."""
    for row, values in both:
        known = [one[score] for one in values.values() if score in one and not math.isnan(one[score])]
        mean = sum(known) / max(len(known), 1)
        beside = row.scores.get(score, mean)
        if known and abs(mean - beside) > 1e-5:
            return f"not told, as {row.by_image} has a mean of {mean:.4f}, the scores beside it {beside:.4f}"
    return ""


def _gain(values: Values, base: Values, score: str) -> str:
    both = [id for id in sorted(values.keys() & base.keys()) if score in values[id] and score in base[id]]
    sign = -1 if score in LOWER_IS_BETTER else 1
    gains = [sign * (values[id][score] - base[id][score]) for id in both]
    gains = [gain for gain in gains if not math.isnan(gain)]
    alone, undefined = len(values.keys() ^ base.keys()), len(both) - len(gains)
    left = [f"{alone} that only one has"] * bool(alone) + [f"{undefined} without this score"] * bool(undefined)
    rest = f"; left out: {', '.join(left)}" if left else ""
    if not gains:
        return f"no image in common{rest}"
    gain = with_ends(sum(gains) / len(gains), student_interval(gains))
    return f"gain {gain} over {counted(len(gains), 'image')}{rest}"
