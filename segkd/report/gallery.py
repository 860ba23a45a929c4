"""Pictures of the worst, the median and the best images, as data that lies in the page."""

import base64
import io
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segkd.datasets.palette import GREY, outlines, paint_label, tints
from segkd.engine.memory import out_of_memory
from segkd.metrics.counts import foreground
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.report.judging import Exhibit
from segkd.types import IGNORE, InputError

SIDE = 400
"""Pixels of the longer side of a picture."""

STRIP = 256
"""Rows that are painted at once."""

MISSED, ALARM = np.array([40, 120, 255], np.float32), np.array([255, 140, 0], np.float32)
"""Blue where the object was missed, orange where there is none: told apart by all eyes."""


@dataclass(frozen=True)
class Piece:
    """One image of the gallery: its name, its score, and its layers as (caption, data URL), the answer first."""

    id: str
    score: float
    layers: tuple[tuple[str, str], ...]
    width: int
    height: int


def chosen(
    rows: Mapping[str, Mapping[str, float]], name: str, number: int, empty: Collection[str] = ()
) -> dict[str, list[str]]:
    """The ids of the `number` worst, median and best images by a score; an image is in one group only, and those that
    are `empty` (no foreground in the label) among the worst alone."""
    ranked = sorted((row[name], id) for id, row in rows.items() if not math.isnan(row.get(name, math.nan)))
    ids = [id for _, id in ranked]
    number = min(number, max(1, len(ids) // 3)) if ids else 0
    worst = ids[:number]
    rest = [id for id in ids[number:] if id not in empty]
    number = min(number, max(1, len(rest) // 2))
    middle = max(0, min((len(ids) - number) // 2 - len(worst), len(rest) - 2 * number))
    groups = {
        "worst": worst,
        "median": rest[middle : middle + number],
        "best": rest[max(middle + number, len(rest) - number) :][::-1],
    }
    return {group: members for group, members in groups.items() if members}


def pieces(
    ids: list[str],
    scores: Mapping[str, float],
    show: Callable[[str], Exhibit],
    classes: int,
    threshold: float = 0.5,
    protocol: Protocol = PLAIN,
) -> list[Piece]:
    """The pieces of some images, cut as the scores cut them; one that cannot be read any more, or not held in memory,
    is left out."""
    found = []
    for id in ids:
        try:
            found.append(piece(id, scores[id], show(id), classes, threshold, protocol))
        except Exception as error:
            if not isinstance(error, InputError) and not out_of_memory(error):
                raise
    return found


def piece(
    id: str, score: float, exhibit: Exhibit, classes: int, threshold: float = 0.5, protocol: Protocol = PLAIN
) -> Piece:
    """The layers of one exhibit: answer, image (if any), label, prediction, error."""
    height, width = exhibit.label.shape
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    soft = exhibit.prediction.dtype != np.uint8
    found = foreground(exhibit.prediction, threshold, protocol) if soft else exhibit.prediction
    layers = [("answer", _url(paint_answer(exhibit, found, size, classes), "JPEG"))]
    if exhibit.image is not None:
        layers.append(("image", _url(_small(exhibit.image, size), "JPEG")))
    layers.append(("label", _url(_small(paint_label(exhibit.label, classes), size), "PNG")))
    if soft:
        painted = np.repeat((exhibit.prediction * 255).round().astype(np.uint8)[..., None], 3, axis=2)
    else:
        painted = paint_label(found, classes)
    layers.append(("prediction", _url(_small(painted, size), "PNG")))
    layers.append(("error", _url(_small(paint_error(exhibit, found, classes), size), "PNG")))
    return Piece(id, score, tuple(layers), *size)


def paint_answer(
    exhibit: Exhibit, found: UInt8[np.ndarray, "_h _w"], size: tuple[int, int], classes: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The image at `size` (w, h), or grey without one, with what is right and the classes that are found.

    Of two classes, the outline of the label in blue and that of the prediction in orange. Of more, the predicted
    classes as tints and the label's outlines in white.
    """
    shown = np.full((size[1], size[0], 3), GREY, np.uint8) if exhibit.image is None else _small(exhibit.image, size)
    label, found = (cv2.resize(one, size, interpolation=cv2.INTER_NEAREST_EXACT) for one in (exhibit.label, found))
    if classes > 2:
        painted = cv2.addWeighted(shown, 0.5, tints(classes)[found], 0.5, 0)
        painted[outlines(label, 0)] = 255
        return painted
    painted = shown.copy()
    painted[outlines(label, 2)] = MISSED  # the thinner lies on the wider: both show
    painted[outlines(found, 1)] = ALARM
    return painted


def paint_error(exhibit: Exhibit, found: UInt8[np.ndarray, "_h _w"], classes: int) -> UInt8[np.ndarray, "h w 3"]:
    """Blue where the object was missed, orange where something else was taken for it; of more than two classes, orange
    where the class is wrong. What is right shows the image faintly in grey, what is ignored is grey.
    """
    painted = np.empty((*exhibit.label.shape, 3), np.uint8)
    for top in range(0, len(painted), STRIP):  # a photo's planes of real numbers would be a hundred bytes per pixel
        rows = slice(top, top + STRIP)
        image = None if exhibit.image is None else exhibit.image[rows]
        painted[rows] = _error(image, exhibit.label[rows], found[rows], classes)
    return painted


def _error(image: np.ndarray | None, label: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    painted = np.zeros((*label.shape, 3), np.uint8)
    if image is not None:
        painted[:] = (np.float32(0.35) * image.mean(axis=2, dtype=np.float32, keepdims=True)).round()
    painted[found != label] = ALARM
    if classes == 2:
        painted[(found != label) & (label == 1)] = MISSED
    painted[label == IGNORE] = GREY
    return painted


def _small(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _url(picture: np.ndarray, kind: str) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **({"quality": 82} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
