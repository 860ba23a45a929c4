"""`Meter`: gathers the counts of many images, merges with others', and gives the table of scores."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from segkd.metrics.boundary import WIDTHS
from segkd.metrics.counts import ImageCounts
from segkd.metrics.curves import Curves, curves, e_of, f_of
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.metrics.scores import (
    balanced_error,
    best_threshold,
    calibration_error,
    class_accuracy,
    dice,
    iou,
    mean_iou,
    overlap,
    pixel_accuracy,
)

BOUNDARY = ("boundary_iou_005", "boundary_iou_010", "boundary_iou")
"""Boundary IoU at .5, 1 and 2 % of the image's diagonal."""

LOWER_IS_BETTER = frozenset({"mae", "ber", "hd95", "ece"})

BINARY = (
    "f_max", "f_mean", "f_adaptive", "f_weighted", "s_measure", "e_max", "e_mean", "e_adaptive", "mae", "ber", "dice",
    "iou_fg_image", "iou_fg_dataset", "miou_image", "miou_dataset", *reversed(BOUNDARY), "hd95", "ece",
    "pixel_accuracy",
)  # fmt: skip

MANY = (
    "miou_image", "miou_dataset", "dice", "pixel_accuracy", "class_accuracy", *reversed(BOUNDARY)
)  # fmt: skip

NAN = float("nan")


@dataclass
class Meter:
    """Scores of a data set, from the counts of its images in any order.

    Means over images leave out images where a score is not defined (F-beta without foreground, anything
    without a valid pixel); `n_without_foreground` counts the images without foreground.
    """

    classes: Sequence[str]
    protocol: Protocol = PLAIN
    confusion: np.ndarray = field(init=False)
    histogram: np.ndarray = field(init=False)
    boundary: np.ndarray = field(init=False)
    images: dict[str, dict[str, float]] = field(default_factory=dict)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)
    adaptive: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        k = len(self.classes)
        self.confusion, self.histogram = np.zeros((k, k), np.int64), np.zeros((2, 256), np.int64)
        self.boundary = np.zeros((len(WIDTHS), k, 2), np.int64)

    def add(self, id: str, counts: ImageCounts) -> None:
        """Takes in one image."""
        self._forget()
        self.confusion += counts.confusion
        row = {"miou_image": mean_iou(counts.confusion), **counts.shape}
        if counts.boundary is not None:
            self.boundary += counts.boundary
            bands = overlap(counts.boundary)
            row |= dict(zip(BOUNDARY, (self._band_score(band, counts) for band in bands)))
        if counts.histogram is not None:
            self.histogram += counts.histogram
            self.histograms[id], self.adaptive[id] = counts.histogram.astype(np.int32), counts.adaptive
            row |= self._binary(counts)
        self.images[id] = row

    def merge(self, other: "Meter") -> None:
        """Takes in the images of another meter; no image may be in both."""
        if self.images.keys() & other.images.keys():
            raise ValueError(f"merged meters share images: {sorted(self.images.keys() & other.images.keys())[:3]}")
        self._forget()
        self.confusion += other.confusion
        self.histogram += other.histogram
        self.boundary += other.boundary
        self.images |= other.images
        self.histograms |= other.histograms
        self.adaptive |= other.adaptive

    def scores(self) -> dict[str, float]:
        """The scores by name (see docs/metrics.md for each definition); hd95 in pixels, all others in 0..1."""
        table: dict[str, float] = {}
        if len(self.classes) == 2:
            for name in ("f", "e"):
                mean = self.mean_curves[name]
                table |= {f"{name}_max": float(mean.max()), f"{name}_mean": float(mean.mean())}
            for name in BINARY:
                if name not in table:
                    table[name] = self._mean_of(name)
            table["iou_fg_dataset"] = float(iou(self.confusion)[1])
            table["ece"] = calibration_error(self.histogram)
        else:
            table["miou_image"] = self._mean_of("miou_image")
            table["dice"] = _mean_or_nan(dice(self.confusion))
            table["class_accuracy"] = class_accuracy(self.confusion)
            table |= {name: _mean_or_nan(overlap(band)) for name, band in zip(BOUNDARY, self.boundary)}
        table["miou_dataset"] = mean_iou(self.confusion)
        table["pixel_accuracy"] = pixel_accuracy(self.confusion)
        return {name: table[name] for name in score_names(len(self.classes))}

    def per_class(self) -> dict[str, float]:
        """IoU of each class by name, accumulated over the data set; NaN for a class that never occurs."""
        return dict(zip(self.classes, iou(self.confusion).tolist()))

    @cached_property
    def rows(self) -> dict[str, dict[str, float]]:
        """The scores of each image, by its id, in the order of the ids."""
        order = sorted(self.images)
        rows = {id: dict(self.images[id]) for id in order}
        if not self.histograms:
            return rows
        found = {}
        for name in ("f", "e"):
            found[f"{name}_max"] = self.image_curves[name].max(axis=1)
            found[f"{name}_mean"] = self.image_curves[name].mean(axis=1)
        found["f_adaptive"], found["e_adaptive"] = self._at_adaptive(order)
        for number, id in enumerate(order):
            rows[id] |= {name: float(values[number]) for name, values in found.items()}
        return rows

    @cached_property
    def image_curves(self) -> Curves:
        """Precision, recall, F and E of each image [n 256], in the order of the ids."""
        return curves(self._stacked(), self.protocol)

    @cached_property
    def mean_curves(self) -> dict[str, np.ndarray]:
        """Precision, recall, F and E at t / 255 for t = 0..255, mean over the images where they are defined."""
        return {name: _mean(values) for name, values in self.image_curves.items()}

    @property
    def n_without_foreground(self) -> int:
        """Images without foreground, on which F-beta is not defined."""
        return sum(not histogram[1].any() for histogram in self.histograms.values())

    def threshold(self) -> float:
        """The threshold with the best foreground IoU on this data set."""
        return best_threshold(self.histogram)

    def _binary(self, counts: ImageCounts) -> dict[str, float]:
        matrix, pixels = counts.confusion, int(counts.confusion.sum())
        if not pixels:
            names = ("mae", "ber", "dice", "iou_fg_image", "ece", "pixel_accuracy", "s_measure", "f_weighted", "hd95")
            return {name: NAN for name in (*names, *BOUNDARY)}
        empty = 0.0 if self.protocol.zero_when_empty else 1.0
        figure = int(matrix[1].sum())
        row = {
            "mae": counts.error / pixels,
            "ber": balanced_error(matrix),
            "dice": _or(float(dice(matrix)[1]), empty),
            "iou_fg_image": _or(float(iou(matrix)[1]), empty),
            "ece": calibration_error(counts.histogram) if counts.histogram is not None else NAN,
            "pixel_accuracy": pixel_accuracy(matrix),
        }
        if self.protocol.zero_when_empty:
            if 0 in matrix.sum(axis=1):  # the rate of a class that is not there counts as 0
                row["ber"] = (1 + row["ber"]) / 2
            row |= {"f_weighted": 0.0} if not figure and counts.shape else {}
        return row

    def _band_score(self, band: np.ndarray, counts: ImageCounts) -> float:
        """Boundary IoU of one image; an empty mask left empty has 1, as with IoU."""
        if counts.histogram is not None:
            return _or(float(band[1]), 1.0)
        return _mean_or_nan(band)

    def _at_adaptive(self, order: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.array([self.adaptive[id] for id in order], np.int64)
        sums = self._stacked().sum(axis=2)
        ground, figure = sums[:, 0], sums[:, 1]
        f = f_of(pairs[:, 0], pairs[:, 1], figure, self.protocol)[2]
        e = e_of(pairs[:, 0], pairs[:, 1], figure, ground, self.protocol)
        f[ground + figure == 0] = e[ground + figure == 0] = np.nan
        return f, e

    def _stacked(self) -> np.ndarray:
        return np.stack([self.histograms[id] for id in sorted(self.histograms)]).astype(np.int64)

    def _mean_of(self, name: str) -> float:
        # in the order of the ids, so that sums do not depend on which process saw which image
        values = [self.rows[id].get(name, NAN) for id in self.rows]
        return float(_mean(np.array(values))) if values else NAN

    def _forget(self) -> None:
        for name in ("rows", "image_curves", "mean_curves"):
            self.__dict__.pop(name, None)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over images (axis 0) without the undefined ones; NaN when none is defined."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    return np.where(count > 0, np.where(defined, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _mean_or_nan(values: Iterable[float]) -> float:
    defined = [float(value) for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else NAN


def _or(value: float, otherwise: float) -> float:
    """The score of an empty mask predicted empty: nothing was to be found and nothing was."""
    return otherwise if math.isnan(value) else value


def score_names(classes: int) -> list[str]:
    """The names that `Meter.scores` gives for so many classes."""
    return list(BINARY if classes == 2 else MANY)
