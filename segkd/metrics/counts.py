"""What is counted per image: a confusion matrix, and for two classes a histogram of the foreground probability."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from segkd.types import IGNORE, InputError

LEVELS = 256


@dataclass(frozen=True)
class ImageCounts:
    """The counts of one image.

    Attributes:
        confusion: pixels by true class (row) and predicted class (column); ignored pixels are left out.
        histogram: for two classes, pixels by true class and level floor(255 p), so that "level >= t" is
            exactly "p >= t / 255"; None for more classes.
        error: for two classes, sum of |p - label| over valid pixels; 0 for more classes.
    """

    confusion: Int64[np.ndarray, "k k"]
    histogram: Int64[np.ndarray, "2 256"] | None
    error: float


def confusion(
    predicted: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """Pixels by true class (row) and predicted class (column), ignored pixels left out.

    Raises:
        InputError: the label holds a number that is neither a class nor IGNORE, or the prediction one that is no class.
    """
    # the label is the high byte: one bincount serves all, and IGNORE's row is simply not read
    joint = np.bincount((label.astype(np.int32) << 8 | predicted).ravel(), minlength=65536).reshape(256, 256)
    stray = np.flatnonzero(joint[classes:IGNORE].sum(axis=1))
    if len(stray):
        raise InputError(f"label: expected classes 0..{classes - 1} or {IGNORE} (ignored), found {classes + stray[0]}.")
    stray = np.flatnonzero(joint[:classes, classes:].sum(axis=0))
    if len(stray):
        raise InputError(f"prediction: expected classes 0..{classes - 1}, found {classes + stray[0]}.")
    return joint[:classes, :classes]


def count_binary(
    probability: Float32[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"], threshold: float
) -> ImageCounts:
    """Counts of a foreground probability in 0..1 against a label of 0, 1 and IGNORE; foreground is p >= threshold."""
    if not (probability.min() >= 0 and probability.max() <= 1):
        raise InputError(f"probability: expected 0..1, found {float(probability.min())}..{float(probability.max())}.")
    matrix = confusion((probability >= threshold).astype(np.uint8), label, 2)
    level = (probability * 255).astype(np.uint8)
    joint = np.bincount((label.astype(np.int32) << 8 | level).ravel(), minlength=65536).reshape(256, 256)
    valid = label != IGNORE
    error: Float64[np.ndarray, ""] = np.abs(probability - label, where=valid, out=np.zeros_like(probability)).sum(
        dtype=np.float64
    )
    return ImageCounts(matrix, joint[:2], float(error))


def count_classes(predicted: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"], classes: int) -> ImageCounts:
    """Counts of predicted classes against a label of classes and IGNORE."""
    return ImageCounts(confusion(predicted, label, classes), None, 0.0)
