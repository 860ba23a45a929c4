"""Counts to scores: pure functions, one line each, with every choice in their names and docstrings."""

import numpy as np
from jaxtyping import Float64, Int64

BETA2 = 0.3
"""Beta squared of F-beta, the convention of salient-object detection."""


def precision_recall(histogram: Int64[np.ndarray, "2 256"]) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall [256] of "p >= t / 255" for t = 0..255; precision is 0 where nothing is predicted."""
    above = histogram[:, ::-1].cumsum(axis=1)[:, ::-1]
    hits, predicted = above[1], above.sum(axis=0)
    precision = np.divide(hits, predicted, out=np.zeros(256), where=predicted > 0)
    return precision, hits / max(int(histogram[1].sum()), 1)


def f_beta(precision: np.ndarray, recall: np.ndarray, beta2: float = BETA2) -> np.ndarray:
    """(1 + beta2) P R / (beta2 P + R), and 0 where both are 0."""
    below = beta2 * precision + recall
    return np.divide((1 + beta2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)


def f_curve(histogram: Int64[np.ndarray, "2 256"]) -> Float64[np.ndarray, "256"]:
    """F-beta at the 256 thresholds t / 255; NaN for an image without foreground, where F is not defined."""
    if histogram[1].sum() == 0:
        return np.full(256, np.nan)
    return f_beta(*precision_recall(histogram))


def f_adaptive(histogram: Int64[np.ndarray, "2 256"]) -> float:
    """F-beta at min(2 mean(p), 1), the mean taken over the 256 levels of valid pixels; NaN without foreground."""
    if histogram[1].sum() == 0:
        return float("nan")
    levels = histogram.sum(axis=0)
    mean = (levels * np.arange(256)).sum() / max(int(levels.sum()), 1)
    threshold = min(int(np.ceil(2 * mean)), 255)
    return float(f_curve(histogram)[threshold])


def iou(confusion: Int64[np.ndarray, "k k"]) -> Float64[np.ndarray, "k"]:
    """Intersection over union per class; NaN for a class that is neither in the label nor predicted."""
    both = np.diag(confusion).astype(float)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)


def mean_iou(confusion: Int64[np.ndarray, "k k"]) -> float:
    """Mean of IoU over the classes that occur in the label or the prediction; NaN if no pixel counts."""
    values = iou(confusion)
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def pixel_accuracy(confusion: Int64[np.ndarray, "k k"]) -> float:
    """The share of valid pixels predicted right; NaN if no pixel counts."""
    total = int(confusion.sum())
    return float(np.diag(confusion).sum() / total) if total else float("nan")


def best_threshold(histogram: Int64[np.ndarray, "2 256"]) -> float:
    """The threshold t / 255 with the highest foreground IoU over a data set; 0.5 without foreground."""
    above = histogram[:, ::-1].cumsum(axis=1)[:, ::-1]
    union = above[0] + histogram[1].sum()
    if histogram[1].sum() == 0:
        return 0.5
    return int(np.argmax(above[1] / np.maximum(union, 1))) / 255
