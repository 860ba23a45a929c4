"""`Meter`: gathers the counts of many images, merges with others', and gives the table of scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from segkd.metrics.counts import ImageCounts
from segkd.metrics.scores import best_threshold, f_adaptive, f_curve, iou, mean_iou, pixel_accuracy


@dataclass
class Meter:
    """Scores of a data set, from the counts of its images in any order.

    Means over images leave out images where a score is not defined (F-beta without foreground, anything
    without a valid pixel); `n_without_foreground` counts the images without foreground.
    """

    classes: Sequence[str]
    confusion: np.ndarray = field(init=False)
    histogram: np.ndarray = field(init=False)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        k = len(self.classes)
        self.confusion, self.histogram = np.zeros((k, k), np.int64), np.zeros((2, 256), np.int64)

    def add(self, id: str, counts: ImageCounts) -> None:
        """Takes in one image."""
        self.confusion += counts.confusion
        row = {"miou_image": mean_iou(counts.confusion)}
        if counts.histogram is not None:
            self.histogram += counts.histogram
            self.curves[id] = f_curve(counts.histogram)
            pixels = int(counts.confusion.sum())
            row |= {
                "f_max": float(self.curves[id].max()),
                "f_mean": float(self.curves[id].mean()),
                "f_adaptive": f_adaptive(counts.histogram),
                "mae": counts.error / pixels if pixels else float("nan"),
                "iou_fg_image": _or_one(float(iou(counts.confusion)[1]), pixels),
            }
        self.rows[id] = row

    def merge(self, other: "Meter") -> None:
        """Takes in the images of another meter; no image may be in both."""
        if self.rows.keys() & other.rows.keys():
            raise ValueError(f"merged meters share images: {sorted(self.rows.keys() & other.rows.keys())[:3]}")
        self.confusion += other.confusion
        self.histogram += other.histogram
        self.rows |= other.rows
        self.curves |= other.curves

    def scores(self) -> dict[str, float]:
        """The scores by name, in 0..1 (see docs/metrics.md for each definition)."""
        order = sorted(self.rows)  # so that sums do not depend on which process saw which image
        table: dict[str, float] = {}
        if len(self.classes) == 2:
            curve = _mean(np.stack([self.curves[id] for id in order]))
            table |= {"f_max": float(curve.max()), "f_mean": float(curve.mean())}
            for name in ("f_adaptive", "mae", "iou_fg_image"):
                table[name] = float(_mean(np.array([self.rows[id][name] for id in order])))
            table["iou_fg_dataset"] = float(iou(self.confusion)[1])
        table["miou_image"] = float(_mean(np.array([self.rows[id]["miou_image"] for id in order])))
        table["miou_dataset"] = mean_iou(self.confusion)
        table["pixel_accuracy"] = pixel_accuracy(self.confusion)
        return table

    def per_class(self) -> dict[str, float]:
        """IoU of each class by name, accumulated over the data set; NaN for a class that never occurs."""
        return dict(zip(self.classes, iou(self.confusion).tolist()))

    @property
    def n_without_foreground(self) -> int:
        """Images without foreground, on which F-beta is not defined."""
        return sum(bool(np.isnan(curve).all()) for curve in self.curves.values())

    def threshold(self) -> float:
        """The threshold with the best foreground IoU on this data set."""
        return best_threshold(self.histogram)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over images (axis 0) without the undefined ones; NaN when none is defined."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    return np.where(count > 0, np.where(defined, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _or_one(value: float, pixels: int) -> float:
    """IoU of an empty mask predicted empty is 1: nothing was to be found and nothing was."""
    return 1.0 if np.isnan(value) and pixels else value


def score_names(classes: int) -> list[str]:
    """The names that `Meter.scores` gives for so many classes."""
    binary = ["f_max", "f_mean", "f_adaptive", "mae", "iou_fg_image", "iou_fg_dataset"] if classes == 2 else []
    return [*binary, "miou_image", "miou_dataset", "pixel_accuracy"]
