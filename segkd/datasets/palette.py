"""The colours of classes, the same in masks, overlays, contact sheets, pages and TensorBoard."""

import cv2
import numpy as np
from jaxtyping import Bool, Integer, UInt8

from segkd.types import IGNORE

GREY = 110
"""Of pixels that are ignored."""

OBJECT = (255, 60, 40)
"""The tint of the one object of two classes, whose mask is white."""


def class_colours(classes: int) -> UInt8[np.ndarray, "k 3"]:
    """A colour per class: black for class 0, well apart for the others (golden-angle hues)."""
    hues = (np.arange(classes) * 0.381966) % 1
    wheel = np.abs((hues[:, None] * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    colours = np.clip(wheel, 0, 1) * 0.8 + 0.2
    colours[0] = 0
    if classes == 2:
        colours[1] = 1
    return (colours * 255).astype(np.uint8)


def tints(classes: int) -> UInt8[np.ndarray, "256 3"]:
    """What tells the classes on an image: as `class_colours`, but the one object of two classes red; numbers that are
    no class grey."""
    table = colour_table(classes)
    if classes == 2:
        table[1] = OBJECT
    return table


def paint_label(label: Integer[np.ndarray, "h w"], classes: int) -> UInt8[np.ndarray, "h w 3"]:
    """A label map in colours; ignored pixels are grey."""
    return colour_table(classes)[label]


def colour_table(classes: int) -> UInt8[np.ndarray, "256 3"]:
    """The colour of each number of a label map: as `class_colours`; `IGNORE` and numbers that are no class grey."""
    table = np.full((256, 3), GREY, np.uint8)
    table[: min(classes, IGNORE)] = class_colours(classes)[:IGNORE]
    return table


def overlay(
    image: UInt8[np.ndarray, "h w 3"], label: UInt8[np.ndarray, "h w"], classes: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with each class but 0 tinted and outlined, and ignored pixels hatched in grey."""
    # by OpenCV: NumPy would widen the label to eight bytes a pixel, and so would a hatching of the whole plane
    colours = cv2.LUT(cv2.merge((label, label, label)), tints(classes)[None])
    painted = np.where((label == 0)[..., None], image, cv2.addWeighted(image, 0.6, colours, 0.4, 0))
    # wide enough to be seen at any size, and on the object's side
    edge = outlines(label, 1 + max(label.shape) // 500) & (label != 0)
    painted[edge] = colours[edge]
    rows, columns = np.nonzero(label == IGNORE)
    painted[rows, columns] = np.where(((rows + columns) % 6 < 3)[:, None], 128, image[rows, columns])
    return painted


def outlines(label: UInt8[np.ndarray, "h w"], reach: int) -> Bool[np.ndarray, "h w"]:
    """True within `reach` pixels on either side of where two classes meet; 0: on one side alone."""
    near = np.ones((2 * reach + 1, 2 * reach + 1) if reach else (2, 2), np.uint8)
    return cv2.dilate(label, near) != cv2.erode(label, near)
