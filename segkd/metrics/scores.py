"""Counts to scores: pure functions, one line each, with every choice in their names and docstrings."""

import numpy as np
from jaxtyping import Float64, Int64, Real

ECE_BINS = 15
"""Equal bins of the probability (Guo et al., ICML 2017); 255 levels are 15 bins of 17."""


def ratio(above: Real[np.ndarray, "*n"], below: Real[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """above / below; NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def iou(confusion: Int64[np.ndarray, "k k"]) -> Float64[np.ndarray, " k"]:
    """Intersection over union per class; NaN for a class that is neither in the label nor predicted."""
    both = np.diag(confusion).astype(float)
    return ratio(both, confusion.sum(axis=0) + confusion.sum(axis=1) - both)


def mean_iou(confusion: Int64[np.ndarray, "k k"]) -> float:
    """Mean of IoU over the classes that occur in the label or the prediction; NaN if no pixel counts."""
    values = iou(confusion)
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def kappa(confusion: Int64[np.ndarray, "k k"]) -> float:
    """Cohen's kappa: the share of right pixels beyond what the classes' shares alone give, 0 for a constant prediction
    and 1 for a perfect one (J. Cohen, Educational and Psychological Measurement 20, 1960); NaN if no pixel counts."""
    total = int(confusion.sum())
    if not total:
        return float("nan")
    right = float(np.diag(confusion).sum()) / total
    chance = float((confusion.sum(axis=0) / total) @ (confusion.sum(axis=1) / total))
    return (right - chance) / (1 - chance) if chance < 1 else 1.0


def pixel_accuracy(confusion: Int64[np.ndarray, "k k"]) -> float:
    """The share of valid pixels predicted right; NaN if no pixel counts."""
    total = int(confusion.sum())
    return float(np.diag(confusion).sum() / total) if total else float("nan")


def class_accuracy(confusion: Int64[np.ndarray, "k k"]) -> float:
    """Mean over the classes that occur in the label of the share of their pixels predicted right."""
    pixels = confusion.sum(axis=1)
    return float(np.mean(np.diag(confusion)[pixels > 0] / pixels[pixels > 0])) if pixels.any() else float("nan")


def dice(confusion: Int64[np.ndarray, "k k"]) -> Float64[np.ndarray, " k"]:
    """2 |A and B| / (|A| + |B|) per class; NaN for a class that is neither in the label nor predicted."""
    return ratio(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def by_bin(of_levels: Real[np.ndarray, "*rest 256"]) -> Real[np.ndarray, "*rest 15"]:
    """Sums over the levels of each bin of calibration; the last holds level 255 as well."""
    return np.add.reduceat(of_levels, np.arange(ECE_BINS) * (255 // ECE_BINS), axis=-1)


def calibration_error(
    histogram: Int64[np.ndarray, "*rest 2 256"], sure: Float64[np.ndarray, "*rest 15"]
) -> Float64[np.ndarray, "*rest"]:
    """ECE of the foreground probability: sum over bins of (pixels / all) |share of foreground - mean p|.

    15 equal bins of p, whose sum in each is `sure`. NaN without a valid pixel.
    """
    pixels = histogram.sum(axis=(-2, -1))
    apart = np.abs(by_bin(histogram[..., 1, :]) - sure).sum(axis=-1)
    return np.divide(apart, pixels, out=np.full(pixels.shape, np.nan), where=pixels > 0)


def overlap(counts: Int64[np.ndarray, "*rest 2"]) -> Float64[np.ndarray, "*rest"]:
    """Intersection over union of (intersection, union) pairs; NaN where the union is empty."""
    return ratio(counts[..., 0], counts[..., 1])


def best_threshold(histogram: Int64[np.ndarray, "2 256"]) -> float:
    """The threshold t / 255, 0 < t < 255, with the highest foreground IoU over a data set; 0.5 without foreground.

    At 0 every pixel would be foreground whatever the network says, and at 1 next to none. Of several that are as good,
    as a network that is sure of everything has them, it is the one nearest to 0.5.
    """
    above = histogram[:, ::-1].cumsum(axis=1)[:, ::-1]
    union = above[0] + histogram[1].sum()
    if histogram[1].sum() == 0:
        return 0.5
    iou = (above[1] / np.maximum(union, 1))[1:-1]
    best = 1 + np.flatnonzero(iou == iou.max())
    return int(best[np.abs(best - 127.5).argmin()]) / 255
