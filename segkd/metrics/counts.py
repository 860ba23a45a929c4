"""What is counted per image: a confusion matrix, and for two classes a histogram of the foreground probability."""

import sys
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from segkd.metrics.boundary import WIDTHS, boundary_counts, boundary_counts_of_classes, hd95
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.metrics.structure import quadrant_plane, s_measure
from segkd.metrics.weighted import weighted_f
from segkd.types import IGNORE, InputError

LEVELS = 256
Depth = Literal["curves", "structure", "all"]

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
    """Pixels by `high` (row, 0..planes-1; IGNORE is left out) and `low` (column), in one pass.

    `planes` is a power of two, and `high` holds nothing else below IGNORE, or 256.
    """
    lanes = 4 if planes <= 16 else 1
    if lanes > 1:
        # equal neighbours would wait for each other's count: each of four columns counts into bins of its own
        high = high | (np.arange(high.shape[1], dtype=np.uint8) % lanes * planes)
    pair = (low, high) if sys.byteorder == "little" else (high, low)
    joint = cv2.merge(pair).view(np.uint16)
    bins = lanes * planes * 256
    if joint.size < EXACT:
        counted = cv2.calcHist([joint], [0], None, [bins], [0, bins])
    else:
        counted = np.bincount(joint.ravel(), minlength=65536)[:bins]
    return counted.reshape(lanes, planes, 256).sum(axis=0, dtype=np.int64)


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
    depth: Depth = "all",
) -> ImageCounts:
    """Counts of a foreground map against a label of 0, 1 and IGNORE.

    Args:
        prediction: probability in 0..1, or its 8-bit levels 0..255 (p = level / 255).
        label: 0, 1 and IGNORE.
        threshold: foreground is p >= threshold (p > threshold where the protocol is strict).
        protocol: `pysod` reads a probability as the 8-bit map that a file would hold.
        depth: what is taken beside the histogram: nothing ("curves"), S-measure and weighted F ("structure"), or
            the outlines too ("all").
    """
    if prediction.dtype == np.uint8:
        return _count_levels(prediction, label, threshold, protocol, depth)
    if not (prediction.min() >= 0 and prediction.max() <= 1):
        raise InputError(f"probability: expected 0..1, found {float(prediction.min())}..{float(prediction.max())}.")
    rounded = cv2.convertScaleAbs(prediction, alpha=255)
    if protocol.stretch:
        return _count_levels(rounded, label, threshold, protocol, depth)
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
    values = np.arange(LEVELS) / 255
    return _with_shapes(counts, (rounded, label, mask), values, protocol, depth)


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
    levels: np.ndarray, label: np.ndarray, threshold: float, protocol: Protocol, depth: Depth
) -> ImageCounts:
    values = level_values(levels, protocol)
    raw = joint_histogram(levels, label, 2)
    _refuse_stray(raw, label)
    chosen = values > threshold if protocol.strict else values >= threshold
    bright = values >= _adaptive_threshold(raw, values, levels, protocol)
    # everything that is a sum over levels, at once: pixels above two thresholds, sum of values, pixels
    sums = raw @ np.stack([chosen, bright, values, np.ones(LEVELS)], axis=1)
    (alarms, wide, light, ground), (hits, caught, lit, figure) = sums.tolist()
    matrix = np.array([[ground - alarms, alarms], [figure - hits, hits]], np.int64)
    histogram = raw
    if protocol.stretch:  # the map is rounded down to 8 bits a second time before thresholds are counted
        again = (values * 255).astype(np.uint8)
        histogram = np.stack([np.bincount(again, row, LEVELS) for row in raw]).astype(np.int64)
    counts = ImageCounts(matrix, histogram, light + figure - lit, (int(caught), int(wide)))
    mask = cv2.LUT(levels, chosen.astype(np.uint8)) if depth == "all" else levels
    return _with_shapes(counts, (levels, label, mask), values, protocol, depth)


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
    planes: tuple[np.ndarray, np.ndarray, np.ndarray],
    values: np.ndarray,
    protocol: Protocol,
    depth: Depth,
) -> ImageCounts:
    """The counts with the scores that need pixels, not histograms: of `planes` levels, label and predicted mask."""
    if depth == "curves":
        return counts
    levels, label, mask = planes
    truth, valid = label, None
    if counts.confusion.sum() != label.size:
        valid = (label != IGNORE).astype(np.uint8)
        truth, mask = label & valid, mask & valid
    plane, weights = quadrant_plane(truth, label)
    quadrants = joint_histogram(levels, plane, 8).reshape(4, 2, LEVELS)
    shape = {
        "s_measure": s_measure(quadrants, weights, values, (levels, truth) if protocol.stretch else None),
        "f_weighted": weighted_f(levels, truth, valid, values),
    }
    if depth == "structure":
        return replace(counts, shape=shape)
    bands = np.stack([np.zeros((len(WIDTHS), 2), np.int64), boundary_counts(mask, truth)], axis=1)
    return replace(counts, shape=shape | {"hd95": hd95(mask, truth)}, boundary=bands)


def _refuse_stray(raw: np.ndarray, label: np.ndarray) -> None:
    if raw.sum() == label.size:
        return
    stray = np.setdiff1d(np.unique(label), [0, 1, IGNORE])
    if len(stray):
        raise InputError(f"label: expected classes 0..1 or {IGNORE} (ignored), found {stray[0]}.")
