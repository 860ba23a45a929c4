"""Weighted F-beta, without the distance transform's indices: only pixels near the object need their nearest one."""

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from segkd.metrics.protocol import EPS

REACH = 3
"""Half the side of the 7 x 7 Gaussian: no pixel farther from the object than this is read by it."""


def weighted_f(
    levels: UInt8[np.ndarray, "h w"],
    truth: UInt8[np.ndarray, "h w"],
    valid: UInt8[np.ndarray, "h w"] | None,
    values: Float64[np.ndarray, "256"],
) -> float:
    """Weighted F-beta (Margolin et al., CVPR 2014), beta^2 = 1; NaN without foreground.

    Errors within the object are averaged with their neighbours' where that lowers them (a 7 x 7 Gaussian of
    sigma 5; the background beside it has the error of its nearest object pixel), errors outside weigh
    2 - exp(ln(.5) / 5 d) at distance d from the object. P = TP / (TP + FP), R = 1 - mean error of the object.

    Args:
        levels: the 8-bit map.
        truth: 1 on the object, 0 elsewhere.
        valid: 1 where a pixel counts, None for everywhere; an ignored pixel acts as if the image ended there.
        values: what each level stands for, in 0..1.
    """
    figure = cv2.countNonZero(truth)
    if figure == 0:
        return float("nan")
    # E: the absolute error, 0 where ignored
    error = np.where(truth, cv2.LUT(levels, 1 - values), cv2.LUT(levels, values))
    if valid is not None:
        error *= valid
    box = _box(error, truth)
    error, truth = np.ascontiguousarray(error[box]), np.ascontiguousarray(truth[box])
    inside = None if valid is None else valid[box]
    smooth = _smoothed(error, truth, inside)
    lowered = float(np.minimum(smooth, error)[truth > 0].sum())
    false_alarms = float((error * _importance(truth))[truth == 0].sum())
    hits = figure - lowered
    recall = 1 - lowered / figure
    precision = hits / (hits + false_alarms + EPS)
    return 2 * recall * precision / (recall + precision + EPS)


def _box(error: np.ndarray, truth: np.ndarray) -> tuple[slice, slice]:
    """The part of the image outside of which nothing is wrong and nothing is read."""
    left, top, width, height = cv2.boundingRect(truth)
    box = [top - REACH, top + height + REACH, left - REACH, left + width + REACH]
    left, top, width, height = cv2.boundingRect((error > 0).astype(np.uint8))
    if width:
        box = [min(box[0], top), max(box[1], top + height), min(box[2], left), max(box[3], left + width)]
    return slice(max(box[0], 0), box[1]), slice(max(box[2], 0), box[3])


def _importance(truth: np.ndarray) -> np.ndarray:
    """2 - exp(ln(.5) / 5 d) with d the distance to the object."""
    distance = cv2.distanceTransform(1 - truth, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
    # squares on a grid are whole: rounding undoes the float32 (where it can't, from 600 pixels on, the weight is 2)
    np.rint(np.square(distance, out=distance), out=distance)
    np.sqrt(distance, out=distance)
    distance *= np.log(0.5) / 5
    return 2 - np.exp(distance, out=distance)


def _smoothed(error: np.ndarray, truth: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """The 7 x 7 Gaussian of the error, where the background beside the object has its nearest object pixel's error."""
    near = cv2.dilate(truth, np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)) - truth
    if valid is not None:
        near &= valid
    pad = REACH + 1  # the nearest object pixel of one in reach lies within 3 sqrt(2) < 5 pixels, so within 4 rows
    filled = cv2.copyMakeBorder(error, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0.0)
    figure = cv2.copyMakeBorder(truth, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0).ravel()
    width = filled.shape[1]
    inner = filled[pad:-pad, pad:-pad]
    inner *= truth
    todo = np.flatnonzero(cv2.copyMakeBorder(near, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0))
    flat = filled.ravel()
    for row, column in _offsets():
        if not len(todo):
            break
        source = todo + (row * width + column)
        found = figure[source] > 0
        flat[todo[found]] = flat[source[found]]
        todo = todo[~found]
    line = np.exp(-(np.arange(-REACH, REACH + 1) ** 2) / (2 * 5.0**2))
    line /= line.sum()
    return cv2.sepFilter2D(filled, cv2.CV_64F, line, line, borderType=cv2.BORDER_CONSTANT)[pad:-pad, pad:-pad]


def _offsets() -> list[tuple[int, int]]:
    """Steps to pixels by distance; among equals the leftmost first, then the topmost, which is scipy's choice."""
    steps = [(row, column) for row in range(-4, 5) for column in range(-4, 5) if 0 < row**2 + column**2 <= 2 * REACH**2]
    return sorted(steps, key=lambda step: (step[0] ** 2 + step[1] ** 2, step[1], step[0]))
