"""LabelMe: a JSON file for each image."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segkd.datasets.pictures import refuse_large
from segkd.datasets.prepare.drawing import (
    Drawing,
    Part,
    Read,
    Runs,
    ellipse,
    faults_of,
    no_area,
    pointed_at,
    polygon,
    rectangle,
    stated,
)
from segkd.disk import read_json
from segkd.types import InputError

CORNERS = ("rectangle", "rotation", "oriented_rectangle", "quadrilateral")
"""Types that are polygons where they have four corners; some of them are other programs'."""

LINES = ("line", "linestrip", "point", "points")


@dataclass
class _Outline:
    label: str
    points: list[list[float]]
    shape_type: str | None = "polygon"
    mask: str | None = None


@dataclass
class _LabelMe:
    imagePath: str
    shapes: list[_Outline]
    imageHeight: Any = None
    imageWidth: Any = None


def read_labelme(paths: Sequence[Path], root: Path) -> Read:
    """LabelMe: polygons, rectangles, circles and masks, a file per image; lines and points have no area."""
    drawings = []
    for path in paths:
        content: _LabelMe = read_json(path, _LabelMe, "a LabelMe file with imagePath and shapes")
        file = pointed_at(path, content.imagePath, root)
        _refuse_another(path, content.imagePath, root / file)
        drawing = Drawing(file, size=stated(content.imageHeight, content.imageWidth))
        for one in content.shapes:
            with faults_of(path, one.label):
                drawing.take(one.label, [_part(one, path)])
        drawings.append(drawing)
    return drawings, sorted({shape.name for drawing in drawings for shape in drawing.shapes})


def _refuse_another(path: Path, said: str, image: Path) -> None:
    """Refuses a file that names the image of another one, as files do that were given new names with their images."""
    own = image.parent / (path.stem + image.suffix)
    if path.stem != image.stem and own.is_file():
        raise InputError(
            f"{path}: expected imagePath {own.name}, as the image of the file's own name is called, found {said}. "
            "Correct imagePath where the file was given a new name; else name the file like its image."
        )


def _part(one: _Outline, path: Path) -> Part | str:
    points = np.asarray(one.points, float)
    if one.shape_type in (None, "polygon") or (one.shape_type in CORNERS and points.shape == (4, 2)):
        return polygon(points.ravel().tolist())
    if one.shape_type == "rectangle" and points.shape == (2, 2):
        return rectangle(points.ravel().tolist())
    if one.shape_type == "circle" and points.shape == (2, 2):
        return ellipse(points[0], np.hypot(*(points[1] - points[0])))
    if one.shape_type == "mask" and one.mask is not None:
        return _mask(one.mask, points, path)
    if one.shape_type in LINES or len(points) < 2:
        return no_area(one.shape_type)
    return f"a shape of type {one.shape_type}, which is not read"


def _mask(text: str, points: np.ndarray, path: Path) -> Runs:
    """A mask in base64 PNG, of the box between the first and the last pixel in `points`, both within it."""
    (left, top), (right, bottom) = np.rint(points).astype(int).tolist()
    size = right - left + 1, bottom - top + 1
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as picture:
            refuse_large(path, picture.size)
            found = picture.size
            inside = np.asarray(picture.convert("L")).ravel() > 0
    except InputError:
        raise
    except Exception as error:  # damaged bytes can raise anything
        raise InputError(
            f"a mask: expected a PNG in base64, found: {error}. Save the annotations once more."
        ) from error
    if found != size:
        raise InputError(f"a mask: expected {size[0]}x{size[1]} pixels, as its box has, found {found[0]}x{found[1]}. "
                         "Save the annotations once more.")  # fmt: skip
    ends = np.flatnonzero(np.diff(inside)) + 1
    counts = np.diff([0, *ends.tolist(), inside.size]).tolist()
    return Runs(tuple([0, *counts] if inside[0] else counts), (top, left, size[1], size[0]), by_columns=False)
