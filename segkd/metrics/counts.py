"""What is counted per image: a confusion matrix, and for two classes a histogram of the foreground probability."""

import sys
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from segkd.metrics.boundary import WIDTHS, boundary_counts, boundary_counts_of_classes, hd95
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.metrics.scores import ECE_BINS, by_bin
from segkd.metrics.structure import quadrant_plane, s_measure
from segkd.metrics.weighted import weighted_f
from segkd.types import IGNORE, InputError

LEVELS = 256
Depth = Literal["curves", "structure", "all"]

CHUNK = 1 << 15
"""Pixels whose probabilities are summed at once."""

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
        sure: for two classes, sum of p over the valid pixels of each bin of calibration; None for more classes. Levels
            are p rounded down, so that the histogram alone would call a float map less sure than it is.
        adaptive: for two classes, hits and false alarms at the adaptive threshold min(2 mean(p), 1).
        shape: for two classes, the scores that no histogram gives: s_measure, f_weighted, hd95; empty if not asked for.
        boundary: intersection and union of the boundary bands, by width and class.
    """

    confusion: Int64[np.ndarray, "k k"]
    histogram: Int64[np.ndarray, "2 256"] | None
    error: float
    sure: Float64[np.ndarray, " bins"] | None = None
    adaptive: tuple[int, int] = (0, 0)
    shape: dict[str, float] = field(default_factory=dict)
    boundary: Int64[np.ndarray, "widths k 2"] | None = None


def joint_histogram(
    low: UInt8[np.ndarray, "h w"], high: UInt8[np.ndarray, "h w"], planes: int
) -> Int64[np.ndarray, "planes 256"]:
    """Pixels by `high` (row, 0..planes-1; IGNORE is left out) and `low` (column), in one pass.

    `planes` is a power of two, and `high` holds nothing else below IGNORE, or 256.

    Raises:
        InputError: they are not both uint8 and of one size; whole numbers of other types would be read byte by byte.
    """
    if not (low.dtype == high.dtype == np.uint8 and low.ndim == 2 and low.shape == high.shape):
        raise InputError(
            f"expected prediction and label as uint8 [h w] of one size, found {low.dtype} {low.shape} and {high.dtype} "
            f"{high.shape}. Bring the prediction to the label's size, and write .astype(np.uint8)."
        )
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
    return counted.reshape(lanes, planes, 256).sum(axis=0).astype(np.int64)


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
    return joint[:classes, :classes].copy()  # a view would keep half a megabyte with every image


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
    mask = foreground(prediction, threshold, protocol)
    matrix = confusion(mask, label, 2)
    rounded_down = (prediction * 255).astype(np.uint8)
    histogram = joint_histogram(rounded_down, label, 2)
    dark, lit = _sums_of_p(prediction, rounded_down, label)
    error = float(dark.sum() + histogram[1].sum() - lit.sum())
    levels = histogram.sum(axis=0)
    mean = (levels * np.arange(LEVELS)).sum() / max(int(levels.sum()), 1)
    # an all-zero map predicts nothing: twice its mean must not turn it into all foreground
    cut = max(1, min(int(np.ceil(2 * mean)), 255))
    adaptive = (int(histogram[1, cut:].sum()), int(histogram[0, cut:].sum()))
    counts = ImageCounts(matrix, histogram, error, dark + lit, adaptive)
    values = np.arange(LEVELS) / 255
    return _with_shapes(counts, (rounded, label, mask), values, protocol, depth)


def _sums_of_p(
    prediction: Float32[np.ndarray, "h w"], levels: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"]
) -> Float64[np.ndarray, "2 bins"]:
    """Sum of p over the pixels of each class and bin of calibration; of a label of 0, 1 and IGNORE."""
    place = (levels // (255 // ECE_BINS) | label << 4).ravel()  # 16 for each class; p = 1 has the last for itself
    p, counted = prediction.ravel(), np.zeros(LEVELS)
    for start in range(0, len(p), CHUNK):  # bincount makes wide copies of both, which are faster within a cache
        part = slice(start, start + CHUNK)
        counted += np.bincount(place[part], p[part], LEVELS)
    sums = counted[:32].reshape(2, 16)
    sums[:, ECE_BINS - 1] += sums[:, ECE_BINS]
    return sums[:, :ECE_BINS]


def foreground(
    prediction: Float32[np.ndarray, "h w"], threshold: float, protocol: Protocol = PLAIN
) -> UInt8[np.ndarray, "h w"]:
    """What of a map of probabilities the scores take for foreground, as 0 and 1."""
    if protocol.stretch:
        levels = cv2.convertScaleAbs(prediction, alpha=255)
        low, high = (int(n) for n in cv2.minMaxLoc(levels)[:2])
        values = level_values(low, high, protocol)
        return cv2.LUT(levels, (values > threshold if protocol.strict else values >= threshold).astype(np.uint8))
    return (prediction > threshold if protocol.strict else prediction >= threshold).astype(np.uint8)


def count_classes(predicted: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"], classes: int) -> ImageCounts:
    """Counts of predicted classes against a label of classes and IGNORE."""
    matrix = confusion(predicted, label, classes)
    there = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    return ImageCounts(
        matrix, None, 0.0, boundary=boundary_counts_of_classes(predicted, label, classes, [int(c) for c in there])
    )


def level_values(low: int, high: int, protocol: Protocol) -> Float64[np.ndarray, "256"]:
    """What each 8-bit level of a map with levels `low` to `high` stands for: level / 255, stretched if so agreed."""
    values = np.arange(LEVELS) / 255
    if not protocol.stretch or low == high or (low, high) == (0, 255):
        return values
    values = (values - values[low]) / (values[high] - values[low])
    values[:low], values[high + 1 :] = 0, 1  # do not occur
    return values


def _count_levels(
    levels: np.ndarray, label: np.ndarray, threshold: float, protocol: Protocol, depth: Depth
) -> ImageCounts:
    if cv2.countNonZero(cv2.inRange(label, 2, IGNORE - 1)):
        _refuse_stray(label)
    raw = joint_histogram(levels, label, 2)
    pixels = raw[0] + raw[1]
    there = np.flatnonzero(pixels)
    low, high = (int(there[0]), int(there[-1])) if len(there) else (0, 0)
    below = np.concatenate([np.zeros((2, 1), np.int64), raw.cumsum(axis=1)], axis=1)
    ground, figure = below[:, -1].tolist()
    if protocol.stretch and ground + figure < label.size:
        # the map's own range counts ignored pixels too, as it would in a file
        low, high = (int(n) for n in cv2.minMaxLoc(levels)[:2])
    values = level_values(low, high, protocol)
    cut = int(np.searchsorted(values, threshold, side="right" if protocol.strict else "left"))
    missed, hits = int(below[1, cut]), figure - int(below[1, cut])
    alarms = ground - int(below[0, cut])
    adaptive = int(np.searchsorted(values, _adaptive_threshold(pixels, values, levels, protocol)))
    histogram, sums = raw, pixels * values
    if protocol.stretch and values[1] != 1 / 255:  # the map is rounded down to 8 bits again before thresholds count
        again = (values * 255).astype(np.uint8)
        histogram = np.stack([np.bincount(again, row, LEVELS) for row in raw]).astype(np.int64)
        sums = np.bincount(again, sums, LEVELS)
    dark, lit = (raw @ values).tolist()
    counts = ImageCounts(
        np.array([[ground - alarms, alarms], [missed, hits]], np.int64),
        histogram,
        dark + figure - lit,
        by_bin(sums),
        (figure - int(below[1, adaptive]), ground - int(below[0, adaptive])),
    )
    mask = (levels >= cut).astype(np.uint8) if depth == "all" else levels
    return _with_shapes(counts, (levels, label, mask), values, protocol, depth)


def _adaptive_threshold(pixels: np.ndarray, values: np.ndarray, levels: np.ndarray, protocol: Protocol) -> float:
    """min(2 mean(p), 1); where a level ties with it, the last bit of PySODMetrics' own sum decides."""
    total = int(pixels.sum())
    if not protocol.stretch:  # in whole numbers, so that no rounding decides a tie; an all-zero map predicts nothing
        twice = -(-2 * int(pixels @ np.arange(LEVELS)) // max(total, 1))
        return float(values[max(1, min(twice, 255))])
    threshold = min(2 * float(pixels @ values) / max(total, 1), 1.0)
    nearest = int(np.searchsorted(values, threshold - 1e-9))
    if 0 < threshold < 1 and values[nearest] < threshold + 1e-9 and total == levels.size:
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


def _refuse_stray(label: np.ndarray) -> None:
    stray = np.setdiff1d(np.unique(label), [0, 1, IGNORE])
    if len(stray):
        raise InputError(f"label: expected classes 0..1 or {IGNORE} (ignored), found {stray[0]}.")
