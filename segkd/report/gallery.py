"""Pictures of the worst, the median and the best images, as data that lies in the page."""

import base64
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segkd.datasets.palette import paint_label
from segkd.engine.memory import out_of_memory
from segkd.report.judging import Exhibit
from segkd.types import IGNORE, InputError

SIDE = 400
"""Pixels of the longer side of a picture."""

MISSED, ALARM = np.array([40, 120, 255]), np.array([255, 140, 0])
"""Blue where the object was missed, orange where there is none: told apart by all eyes."""


@dataclass(frozen=True)
class Piece:
    """One image of the gallery: its name, its score, and its layers as (caption, data URL)."""

    id: str
    score: float
    layers: tuple[tuple[str, str], ...]
    width: int
    height: int


def chosen(rows: Mapping[str, Mapping[str, float]], name: str, number: int) -> dict[str, list[str]]:
    """The ids of the `number` worst, median and best images by a score; an image is in one group only."""
    ranked = sorted((row[name], id) for id, row in rows.items() if not math.isnan(row.get(name, math.nan)))
    ids = [id for _, id in ranked]
    number = min(number, max(1, len(ids) // 3)) if ids else 0
    middle = max(number, (len(ids) - number) // 2)
    groups = {
        "worst": ids[:number],
        "median": ids[middle : middle + number],
        "best": ids[max(middle + number, len(ids) - number) :][::-1],
    }
    return {group: members for group, members in groups.items() if members}


def pieces(ids: list[str], scores: Mapping[str, float], show: Callable[[str], Exhibit], classes: int) -> list[Piece]:
    """The pieces of some images; one that cannot be read any more, or not held in memory, is left out."""
    found = []
    for id in ids:
        try:
            found.append(piece(id, scores[id], show(id), classes))
        except Exception as error:
            if not isinstance(error, InputError) and not out_of_memory(error):
                raise
    return found


def piece(id: str, score: float, exhibit: Exhibit, classes: int) -> Piece:
    """The layers of one exhibit: image (if any), label, prediction, error."""
    height, width = exhibit.label.shape
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    layers = []
    if exhibit.image is not None:
        layers.append(("image", _url(_small(exhibit.image, size), "JPEG")))
    layers.append(("label", _url(_small(paint_label(exhibit.label, classes), size), "PNG")))
    if exhibit.prediction.dtype == np.uint8:
        painted = paint_label(exhibit.prediction, classes)
    else:
        painted = np.repeat((exhibit.prediction * 255).round().astype(np.uint8)[..., None], 3, axis=2)
    layers.append(("prediction", _url(_small(painted, size), "PNG")))
    layers.append(("error", _url(_small(paint_error(exhibit), size), "PNG")))
    return Piece(id, score, tuple(layers), *size)


def paint_error(exhibit: Exhibit) -> UInt8[np.ndarray, "h w 3"]:
    """Black where right; blue where the object was missed, orange where it is not, as bright as the error is large.

    Of more than two classes, orange where the class is wrong. Ignored pixels are grey.
    """
    label, prediction = exhibit.label, exhibit.prediction
    if prediction.dtype == np.uint8:
        painted = (prediction != label)[..., None] * ALARM
    else:
        object_ = label == 1
        missed, alarm = np.where(object_, 1 - prediction, 0), np.where(object_, 0, prediction)
        painted = missed[..., None] * MISSED + alarm[..., None] * ALARM
    painted = painted.round().astype(np.uint8)
    painted[label == IGNORE] = 110
    return painted


def _small(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _url(picture: np.ndarray, kind: str) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **({"quality": 82} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
