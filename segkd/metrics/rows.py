"""Scores of single images: all binary ones at once, because a data set has thousands of small tables."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from segkd.metrics.counts import ImageCounts
from segkd.metrics.curves import Curves, e_of, f_of
from segkd.metrics.protocol import Protocol
from segkd.metrics.scores import calibration_error, mean_iou, overlap, pixel_accuracy, ratio

BOUNDARY = ("boundary_iou_005", "boundary_iou_010", "boundary_iou")
"""Boundary IoU at .5, 1 and 2 % of the image's diagonal."""


def row_of_classes(counts: ImageCounts) -> dict[str, float]:
    """The scores of one image of more than two classes: means over the classes that occur in label or prediction."""
    row = {"miou_image": mean_iou(counts.confusion), "pixel_accuracy": pixel_accuracy(counts.confusion)}
    if counts.boundary is not None:
        row |= {name: mean_defined(band) for name, band in zip(BOUNDARY, overlap(counts.boundary))}
    return row


def rows_of_binary(images: Sequence[ImageCounts], curves: Curves, protocol: Protocol) -> list[dict[str, float]]:
    """The scores of images of two classes; NaN where an image leaves a score undefined.

    An empty mask predicted empty has IoU, Dice and boundary IoU 1 (0 where the protocol says so: IoU and Dice).
    """
    columns = {}
    for name in ("f", "e"):
        columns[f"{name}_max"], columns[f"{name}_mean"] = curves[name].max(axis=1), curves[name].mean(axis=1)
    columns |= _from_confusion(np.stack([one.confusion for one in images]), protocol)
    pixels = np.array([one.confusion.sum() for one in images])
    columns["mae"] = ratio(np.array([one.error for one in images]), pixels)
    columns |= _at_adaptive(images, protocol)
    histograms = np.stack([one.histogram for one in images if one.histogram is not None])
    columns["ece"] = calibration_error(histograms, np.stack([one.sure for one in images if one.sure is not None]))
    columns |= _shapes(images, protocol)
    for values in columns.values():
        values[pixels == 0] = np.nan
    names = list(columns)
    return [dict(zip(names, row)) for row in np.stack(list(columns.values()), axis=1).tolist()]


def mean_defined(values: Iterable[float]) -> float:
    """The mean of what is not NaN; NaN if nothing is."""
    defined = [float(value) for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else float("nan")


def _from_confusion(matrices: np.ndarray, protocol: Protocol) -> dict[str, np.ndarray]:
    right, false_alarm = matrices[:, 0, 0].astype(float), matrices[:, 0, 1].astype(float)
    missed, hit = matrices[:, 1, 0].astype(float), matrices[:, 1, 1].astype(float)
    empty = 0.0 if protocol.zero_when_empty else 1.0
    foreground, background = ratio(hit, hit + missed + false_alarm), ratio(right, right + missed + false_alarm)
    rates = np.stack([ratio(right, right + false_alarm), ratio(hit, hit + missed)])
    absent = np.isnan(rates)
    rates = np.where(absent, 0, rates)
    # a class that is not in the label has no error rate; PySODMetrics counts it as all wrong
    kinds = 2 if protocol.zero_when_empty else np.maximum(2 - absent.sum(axis=0), 1)
    both = np.stack([background, foreground])
    return {
        "ber": 1 - rates.sum(axis=0) / kinds,
        "dice": np.nan_to_num(ratio(2 * hit, 2 * hit + missed + false_alarm), nan=empty),
        "iou_fg_image": np.nan_to_num(foreground, nan=empty),
        "miou_image": ratio(np.nan_to_num(both).sum(axis=0), (~np.isnan(both)).sum(axis=0)),
        "pixel_accuracy": ratio(right + hit, right + hit + missed + false_alarm),
    }


def _at_adaptive(images: Sequence[ImageCounts], protocol: Protocol) -> dict[str, np.ndarray]:
    pairs = np.array([one.adaptive for one in images], np.int64)
    ground, figure = np.stack([one.confusion.sum(axis=1) for one in images]).T
    f = f_of(pairs[:, 0], pairs[:, 1], figure, protocol)[2]
    return {"f_adaptive": f, "e_adaptive": e_of(pairs[:, 0], pairs[:, 1], figure, ground, protocol)}


def _shapes(images: Sequence[ImageCounts], protocol: Protocol) -> dict[str, np.ndarray]:
    columns = {}
    for name in ("s_measure", "f_weighted", "hd95"):
        if all(name in one.shape for one in images):
            columns[name] = np.array([one.shape[name] for one in images])
    if "f_weighted" in columns and protocol.zero_when_empty:
        columns["f_weighted"] = np.nan_to_num(columns["f_weighted"])
    if all(one.boundary is not None for one in images):
        bands = np.stack([one.boundary[:, 1] for one in images if one.boundary is not None])
        columns |= dict(zip(BOUNDARY, np.nan_to_num(overlap(bands), nan=1.0).T.copy()))
    return columns
