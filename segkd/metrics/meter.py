"""`Meter`: gathers the counts of many images, merges with others', and gives the table of scores."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from segkd.metrics.boundary import WIDTHS
from segkd.metrics.counts import ImageCounts
from segkd.metrics.curves import SumOfCurves, curves
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.metrics.rows import BOUNDARY, mean_defined, row_of_classes, rows_of_binary
from segkd.metrics.scores import (
    best_threshold,
    calibration_error,
    class_accuracy,
    dice,
    iou,
    mean_iou,
    overlap,
    pixel_accuracy,
)
from segkd.types import InputError

LOWER_IS_BETTER = frozenset({"mae", "ber", "hd95", "ece"})
"""All other scores are better the higher they are."""

BLOCK = 1024
"""Images of two classes whose curves are made at once: they take about 25 KB each."""

WORST = "worst_"
"""Before the name of a score: of the part where it is lowest."""

BINARY = (
    "f_max", "f_mean", "f_adaptive", "f_weighted", "s_measure", "e_max", "e_mean", "e_adaptive", "mae", "ber", "dice",
    "iou_fg_image", "iou_fg_dataset", "miou_image", "miou_dataset", *reversed(BOUNDARY), "hd95", "ece",
    "pixel_accuracy",
)  # fmt: skip
"""Scores of two classes, in the order of tables."""

MANY = ("miou_image", "miou_dataset", "dice", "pixel_accuracy", "class_accuracy", *reversed(BOUNDARY))
"""Scores of more classes."""


@dataclass
class Meter:
    """Scores of a data set, from the counts of its images in any order.

    Means over images leave out images where a score is not defined (F-beta without foreground, anything
    without a valid pixel); `without_foreground` names the images without foreground. Where images are added in
    `parts` (the domains of a data set), scores are the means over these; counts and curves are of all images together.
    """

    classes: Sequence[str]
    protocol: Protocol = PLAIN
    confusion: np.ndarray = field(init=False)
    histogram: np.ndarray = field(init=False)
    boundary: np.ndarray = field(init=False)
    images: dict[str, ImageCounts] = field(default_factory=dict)
    many: dict[str, dict[str, float]] = field(default_factory=dict)
    parts: dict[str, "Meter"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        k = len(self.classes)
        self.confusion, self.histogram = np.zeros((k, k), np.int64), np.zeros((2, 256), np.int64)
        self.boundary = np.zeros((len(WIDTHS), k, 2), np.int64)

    def add(self, id: str, counts: ImageCounts, part: str | None = None) -> None:
        """Takes in one image, of a part where there are several; no id comes twice."""
        if id in self.images or id in self.many:
            raise InputError(f"the meter holds {id!r} already: give every image an id of its own, and add it once.")
        self._forget()
        if part is not None:
            self._part(part).add(id, counts)
        self.confusion += counts.confusion
        if counts.boundary is not None:
            self.boundary += counts.boundary
        if counts.histogram is not None:
            self.histogram += counts.histogram
            self.images[id] = counts
        else:  # scored now: confusion matrices of many classes are large
            self.many[id] = row_of_classes(counts)

    def merge(self, other: "Meter") -> None:
        """Takes in the images of another meter; no image may be in both."""
        shared = sorted((self.images.keys() & other.images.keys()) | (self.many.keys() & other.many.keys()))
        if shared:
            raise ValueError(f"merged meters share images: {shared[:3]}")
        self._forget()
        self.confusion += other.confusion
        self.histogram += other.histogram
        self.boundary += other.boundary
        self.images |= other.images
        self.many |= other.many
        for name, part in other.parts.items():
            self._part(name).merge(part)

    def scores(self) -> dict[str, float]:
        """The scores by name (see docs/metrics.md for each definition); hd95 in pixels, all others in 0..1. Of parts,
        the mean over those where a score is defined."""
        if self.parts:
            each = self.by_part().values()
            return {name: mean_defined(one[name] for one in each) for name in score_names(len(self.classes))}
        table = {name: _mean_of(self.rows.values(), name) for name in score_names(len(self.classes))}
        if len(self.classes) == 2:
            for name in ("f", "e"):
                mean = self.mean_curves[name]
                table |= {f"{name}_max": float(mean.max()), f"{name}_mean": float(mean.mean())}
            table["iou_fg_dataset"] = float(iou(self.confusion)[1])
            sure = [counts.sure for _, counts in sorted(self.images.items()) if counts.sure is not None]
            # summed in the order of the ids, as rows are: the same to the last bit whichever process saw which image
            table["ece"] = float(calibration_error(self.histogram, np.sum(sure, axis=0)))
        else:
            table["dice"] = mean_defined(dice(self.confusion))
            table["class_accuracy"] = class_accuracy(self.confusion)
            table |= {name: mean_defined(overlap(band)) for name, band in zip(BOUNDARY, self.boundary)}
        table["miou_dataset"] = mean_iou(self.confusion)
        table["pixel_accuracy"] = pixel_accuracy(self.confusion)
        return table

    def by_part(self) -> dict[str, dict[str, float]]:
        """The scores of each part, in the order of their names; {} where there are none."""
        return {name: self.parts[name].scores() for name in sorted(self.parts)}

    def score(self, name: str) -> float:
        """One of the scores; with `worst_` before its name that of the part where it is lowest."""
        if not name.startswith(WORST):
            return self.scores()[name]
        each = [one[name.removeprefix(WORST)] for one in self.by_part().values() or [self.scores()]]
        return min((value for value in each if not np.isnan(value)), default=float("nan"))

    def per_class(self) -> dict[str, float]:
        """IoU of each class by name, accumulated over the data set; NaN for a class that never occurs."""
        return dict(zip(self.classes, iou(self.confusion).tolist()))

    @cached_property
    def rows(self) -> dict[str, dict[str, float]]:
        """The scores of each image, by its id, in the order of the ids.

        That order is also the order of sums, so that they do not depend on which process saw which image.
        """
        many = {id: self.many[id] for id in sorted(self.many)}
        return many | self._binary[0]

    @property
    def mean_curves(self) -> dict[str, np.ndarray]:
        """Precision, recall, F and E at t / 255 for t = 0..255, mean over the images where they are defined."""
        return self._binary[1]

    @cached_property
    def _binary(self) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
        """The rows and the mean curves of the images of two classes, made block by block."""
        order, sums = sorted(self.images), SumOfCurves()
        rows: dict[str, dict[str, float]] = {}
        for start in range(0, len(order), BLOCK):
            ids = order[start : start + BLOCK]
            counts = [self.images[id] for id in ids]
            histograms = np.stack([one.histogram for one in counts if one.histogram is not None])
            found = curves(histograms, self.protocol)
            rows |= dict(zip(ids, rows_of_binary(counts, found, self.protocol)))
            sums.add(found)
        return rows, sums.means()

    @property
    def without_foreground(self) -> set[str]:
        """The ids of the images of two classes whose labels hold no foreground, on which F-beta is not defined."""
        return {id for id, counts in self.images.items() if not counts.confusion[1].any()}

    @property
    def row_names(self) -> list[str]:
        """The scores that `rows` hold, in the order of tables."""
        given = {name for row in self.rows.values() for name in row}
        return [name for name in score_names(len(self.classes)) if name in given]

    def threshold(self) -> float:
        """The threshold with the best foreground IoU on this data set."""
        return best_threshold(self.histogram)

    def _part(self, name: str) -> "Meter":
        return self.parts.setdefault(name, Meter(self.classes, self.protocol))

    def _forget(self) -> None:
        for name in ("rows", "_binary"):
            self.__dict__.pop(name, None)


def _mean_of(rows: Collection[dict[str, float]], name: str) -> float:
    """The mean over the images where a score is defined; NaN when it is for none."""
    values = np.array([row.get(name, float("nan")) for row in rows])
    defined = ~np.isnan(values)
    return float(np.where(defined, values, 0).sum() / defined.sum()) if defined.any() else float("nan")


def deciding_score(classes: int) -> str:
    """The score that decides between weights of so many classes where nobody says which."""
    return "miou_image" if classes == 2 else "miou_dataset"


def score_names(classes: int) -> list[str]:
    """The names that `Meter.scores` gives for so many classes."""
    return list(BINARY if classes == 2 else MANY)
