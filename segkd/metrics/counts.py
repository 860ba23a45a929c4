"""What is counted per image: a confusion matrix, and for two classes a histogram of the foreground probability."""

import sys
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from segkd.metrics.boundary import WIDTHS, boundary_counts, boundary_counts_of_classes, hd95
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.metrics.structure import quadrant_plane, s_measure
from segkd.metrics.weighted import weighted_f
from segkd.types import IGNORE, InputError

LEVELS = 256
EXACT = 1 << 24
"""OpenCV counts in float32, which holds every whole number below this."""


@dataclass(frozen=True)
class ImageCounts:
    """The counts of one image.

    Attributes:
        confusion: pixels by true class (row) and predicted class (column); ignored pixels are left out.
        histogram: for two classes, pixels by true class and level floor(255 p), so that "level >= t" is
            exactly "p >= t / 255"; None for more classes.
        error: for two classes, sum of |p - label| over valid pixels; 0 for more classes.
        adaptive: for two classes, hits and false alarms at the adaptive threshold min(2 mean(p), 1).
        shape: for two classes, the scores that no histogram gives: s_measure, f_weighted, hd95; empty if not asked for.
        boundary: intersection and union of the boundary bands, by width and class.
    """

    confusion: Int64[np.ndarray, "k k"]
    histogram: Int64[np.ndarray, "2 256"] | None
    error: float
    adaptive: tuple[int, int] = (0, 0)
    shape: dict[str, float] = field(default_factory=dict)
    boundary: Int64[np.ndarray, "widths k 2"] | None = None


def joint_histogram(
    low: UInt8[np.ndarray, "h w"], high: UInt8[np.ndarray, "h w"], planes: int
) -> Int64[np.ndarray, "planes 256"]:
    """Pixels by `high` (row, 0..planes-1; pixels beyond are left out) and `low` (column), in one pass."""
    pair = (low, high) if sys.byteorder == "little" else (high, low)
    joint = cv2.merge(pair).view(np.uint16)
    if joint.size < EXACT:
        return cv2.calcHist([joint], [0], None, [planes * 256], [0, planes * 256]).astype(np.int64).reshape(planes, 256)
    return np.bincount(joint.ravel(), minlength=65536).reshape(256, 256)[:planes].astype(np.int64)


def confusion(
    predicted: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """Pixels by true class (row) and predicted class (column), ignored pixels left out.

    Raises:
        InputError: the label holds a number that is neither a class nor IGNORE, or the prediction one that is no class.
    """
    joint = joint_histogram(predicted, label, 256)  # the label is the high byte: IGNORE's row is simply not read
    stray = np.flatnonzero(joint[classes:IGNORE].sum(axis=1))
    if len(stray):
        raise InputError(f"label: expected classes 0..{classes - 1} or {IGNORE} (ignored), found {classes + stray[0]}.")
    stray = np.flatnonzero(joint[:classes, classes:].sum(axis=0))
    if len(stray):
        raise InputError(f"prediction: expected classes 0..{classes - 1}, found {classes + stray[0]}.")
    return joint[:classes, :classes]


def count_binary(
    prediction: Float32[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"],
    label: UInt8[np.ndarray, "h w"],
    threshold: float,
    protocol: Protocol = PLAIN,
    shapes: bool = True,
) -> ImageCounts:
    """Counts of a foreground map against a label of 0, 1 and IGNORE.

    Args:
        prediction: probability in 0..1, or its 8-bit levels 0..255 (p = level / 255).
        label: 0, 1 and IGNORE.
        threshold: foreground is p >= threshold (p > threshold where the protocol is strict).
        protocol: `pysod` reads a probability as the 8-bit map that a file would hold.
        shapes: whether the scores of shape (structure, weighted F, boundaries) are taken too.
    """
    if prediction.dtype == np.uint8:
        return _count_levels(prediction, label, threshold, protocol, shapes)
    if not (prediction.min() >= 0 and prediction.max() <= 1):
        raise InputError(f"probability: expected 0..1, found {float(prediction.min())}..{float(prediction.max())}.")
    rounded = cv2.convertScaleAbs(prediction, alpha=255)
    if protocol.stretch:
        return _count_levels(rounded, label, threshold, protocol, shapes)
    mask = (prediction > threshold if protocol.strict else prediction >= threshold).astype(np.uint8)
    matrix = confusion(mask, label, 2)
    histogram = joint_histogram((prediction * 255).astype(np.uint8), label, 2)
    valid = label != IGNORE
    error: Float64[np.ndarray, ""] = np.abs(prediction - label, where=valid, out=np.zeros_like(prediction)).sum(
        dtype=np.float64
    )
    levels = histogram.sum(axis=0)
    mean = (levels * np.arange(LEVELS)).sum() / max(int(levels.sum()), 1)
    # an all-zero map predicts nothing: twice its mean must not turn it into all foreground
    cut = max(1, min(int(np.ceil(2 * mean)), 255))
    adaptive = (int(histogram[1, cut:].sum()), int(histogram[0, cut:].sum()))
    counts = ImageCounts(matrix, histogram, float(error), adaptive)
    if not shapes:
        return counts
    values = np.arange(LEVELS) / 255
    return _with_shapes(counts, rounded, label, mask, values, protocol)


def count_classes(predicted: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"], classes: int) -> ImageCounts:
    """Counts of predicted classes against a label of classes and IGNORE."""
    matrix = confusion(predicted, label, classes)
    there = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    return ImageCounts(
        matrix, None, 0.0, boundary=boundary_counts_of_classes(predicted, label, classes, [int(c) for c in there])
    )


def level_values(prediction: UInt8[np.ndarray, "h w"], protocol: Protocol) -> Float64[np.ndarray, "256"]:
    """The value that each 8-bit level stands for: level / 255, stretched to 0..1 where the protocol says so."""
    values = np.arange(LEVELS) / 255
    low, high, _, _ = cv2.minMaxLoc(prediction)
    if protocol.stretch and low != high:
        values = (values - values[int(low)]) / (values[int(high)] - values[int(low)])
        values = values.clip(0, 1)  # levels that do not occur
    return values


def _count_levels(
    levels: np.ndarray, label: np.ndarray, threshold: float, protocol: Protocol, shapes: bool
) -> ImageCounts:
    values = level_values(levels, protocol)
    raw = joint_histogram(levels, label, 2)
    _refuse_stray(raw, label)
    chosen = values > threshold if protocol.strict else values >= threshold
    hits, alarms = int(raw[1, chosen].sum()), int(raw[0, chosen].sum())
    matrix = np.array([[raw[0].sum() - alarms, alarms], [raw[1].sum() - hits, hits]], np.int64)
    error = float((raw[0] * values).sum() + (raw[1] * (1 - values)).sum())
    histogram = raw
    if protocol.stretch:  # the map is rounded down to 8 bits a second time before thresholds are counted
        histogram = np.zeros_like(raw)
        again = (values * 255).astype(np.uint8)
        for row in (0, 1):
            histogram[row] = np.bincount(again, raw[row], LEVELS)
    bright = values >= _adaptive_threshold(raw, values, levels, protocol)
    adaptive = (int(raw[1, bright].sum()), int(raw[0, bright].sum()))
    counts = ImageCounts(matrix, histogram, error, adaptive)
    if not shapes:
        return counts
    mask = cv2.LUT(levels, chosen.astype(np.uint8))
    return _with_shapes(counts, levels, label, mask, values, protocol)


def _adaptive_threshold(raw: np.ndarray, values: np.ndarray, levels: np.ndarray, protocol: Protocol) -> float:
    """min(2 mean(p), 1); where a level ties with it, the last bit of PySODMetrics' own sum decides."""
    pixels = raw.sum(axis=0)
    mean = float((pixels * values).sum() / max(int(pixels.sum()), 1))
    threshold = min(2 * mean, 1.0)
    if not protocol.stretch:
        return max(threshold, 1 / 255)  # an all-zero map predicts nothing
    near = np.abs(values - threshold) < 1e-9
    if 0 < threshold < 1 and (near & (pixels > 0)).any() and pixels.sum() == levels.size:
        return min(2 * float(values[levels].mean()), 1.0)
    return threshold


def _with_shapes(
    counts: ImageCounts,
    levels: np.ndarray,
    label: np.ndarray,
    mask: np.ndarray,
    values: np.ndarray,
    protocol: Protocol,
) -> ImageCounts:
    """The counts with the scores that need pixels, not histograms."""
    truth, valid = label, None
    if counts.confusion.sum() != label.size:
        valid = (label != IGNORE).astype(np.uint8)
        truth, mask = label & valid, mask & valid
    plane, weights = quadrant_plane(truth, label)
    quadrants = joint_histogram(levels, plane, 8).reshape(4, 2, LEVELS)
    shape = {
        "s_measure": s_measure(quadrants, weights, values, (levels, truth) if protocol.stretch else None),
        "f_weighted": weighted_f(levels, truth, valid, values),
        "hd95": hd95(mask, truth),
    }
    bands = np.stack([np.zeros((len(WIDTHS), 2), np.int64), boundary_counts(mask, truth)], axis=1)
    return ImageCounts(counts.confusion, counts.histogram, counts.error, counts.adaptive, shape, bands)


def _refuse_stray(raw: np.ndarray, label: np.ndarray) -> None:
    if raw.sum() == label.size:
        return
    stray = np.setdiff1d(np.unique(label), [0, 1, IGNORE])
    if len(stray):
        raise InputError(f"label: expected classes 0..1 or {IGNORE} (ignored), found {stray[0]}.")
