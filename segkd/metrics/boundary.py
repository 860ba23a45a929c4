"""Scores of the outline: Boundary IoU at three widths, and the 95th percentile of the Hausdorff distance."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from segkd.types import IGNORE

WIDTHS = (0.005, 0.01, 0.02)
"""Widths of the boundary band, as shares of the image's diagonal; the last one is the paper's."""


def boundary_counts(
    predicted: UInt8[np.ndarray, "h w"], truth: UInt8[np.ndarray, "h w"]
) -> Int64[np.ndarray, "widths 2"]:
    """Intersection and union of the boundary bands of two masks of 0 and 1, by width.

    A mask's band are its pixels at most d from its outline, d = max(1, round(width x diagonal)) pixels in the maximum
    norm; where the mask meets the image's edge, that is outline too (Boundary IoU, Cheng et al., CVPR 2021, eq. 3).
    """
    diagonal = float(np.hypot(*truth.shape))
    found = np.zeros((len(WIDTHS), 2), np.int64)
    # what lies outside of both masks is in no band, but their box must not become their outline: one pixel around it
    box = _box(predicted | truth)
    predicted, truth = predicted[box], truth[box]
    for number, width in enumerate(WIDTHS):
        d = max(1, round(width * diagonal))
        one, other = _band(predicted, d), _band(truth, d)
        found[number] = cv2.countNonZero(one & other), cv2.countNonZero(one | other)
    return found


def boundary_counts_of_classes(
    predicted: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"], classes: int, there: Sequence[int]
) -> Int64[np.ndarray, "widths k 2"]:
    """Intersection and union of the boundary bands of each class `there`; ignored pixels belong to no class."""
    found = np.zeros((len(WIDTHS), classes, 2), np.int64)
    valid = label != IGNORE
    for number in there:
        one, other = ((predicted == number) & valid).astype(np.uint8), (label == number).astype(np.uint8)
        found[:, number] = boundary_counts(one, other)
    return found


def inside_label(label: UInt8[np.ndarray, "h w"], width: float) -> UInt8[np.ndarray, "h w"]:
    """The label with `IGNORE` wherever a pixel lies at most d from another class (or from an ignored pixel), d =
    max(1, round(width x diagonal)) pixels in the maximum norm: what is scored on it is scored inside regions."""
    d = max(1, round(width * float(np.hypot(*label.shape))))
    kernel = np.ones((2 * d + 1, 2 * d + 1), np.uint8)
    # the default border is neutral to both, so that the image's edge is no outline
    near = cv2.dilate(label, kernel) != cv2.erode(label, kernel)
    return np.where(near, np.uint8(IGNORE), label)


def hd95(predicted: UInt8[np.ndarray, "h w"], truth: UInt8[np.ndarray, "h w"]) -> float:
    """95th percentile of the Hausdorff distance between two masks' outlines, in pixels of the label.

    The larger of the two directed percentiles. An outline pixel has one of its four neighbours outside the mask or
    outside the image. 0 where both masks are empty; the image's diagonal where one is, the worst that can be.
    """
    ours, theirs = cv2.countNonZero(predicted), cv2.countNonZero(truth)
    if ours == 0 or theirs == 0:
        return 0.0 if ours == theirs else float(np.hypot(*truth.shape))
    box = _box(predicted | truth)
    one, other = _outline(predicted[box]), _outline(truth[box])
    return max(_directed95(one, other), _directed95(other, one))


def _directed95(start: np.ndarray, end: np.ndarray) -> float:
    """By a tree of the outline's pixels: OpenCV's distance transform is float32, whose last bits depend on where the
    array lies in memory, and scipy's visits every pixel."""
    from scipy.spatial import KDTree  # slow to import; only `boundary` scores need it

    distances, _ = KDTree(np.argwhere(end)).query(np.argwhere(start))
    return float(np.percentile(distances, 95))


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    left, top, width, height = cv2.boundingRect(mask)
    return slice(top, top + height), slice(left, left + width)


def _band(mask: np.ndarray, d: int) -> np.ndarray:
    """The mask without what d steps of a 3 x 3 erosion leave of it: one (2d+1)-box erosion is the same."""
    if not mask.size:
        return mask
    kernel = np.ones((2 * d + 1, 2 * d + 1), np.uint8)
    return mask - cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)


def _outline(mask: np.ndarray) -> np.ndarray:
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    return mask - cv2.erode(mask, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
