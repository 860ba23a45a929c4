"""Outlines of the VGG Image Annotator (VIA): projects and exports of JSON, exports of CSV, versions 1 and 2."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segkd.datasets.annotations import separator
from segkd.datasets.prepare.drawing import (
    Drawing,
    Polygon,
    Read,
    beside,
    ellipse,
    faults_of,
    no_area,
    polygon,
    rectangle,
)
from segkd.disk import read_json, read_text
from segkd.types import InputError

WHAT = "a file of the VGG Image Annotator"

USUAL = ("class", "label", "category", "type", "name")
"""Attributes of a region that say its class, where there are several: the first of these."""

Region = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Its shape's and its own attributes."""


def read_via(paths: Sequence[Path], root: Path) -> Read:
    """VIA: polygons, rectangles, circles and ellipses; points and polylines have no area.

    The class of a region is its attribute `class` (or `label`, `category`, `type`, `name`, else the first); regions
    without attributes are all of one class, "foreground".
    """
    drawings: dict[str, Drawing] = {}
    for path in paths:
        for name, regions in _images(path):
            file = beside(path, Path(name.replace("\\", "/")).name, root)
            drawing = drawings.setdefault(file, Drawing(file))
            with faults_of(path, name):
                for shape, attributes in regions:
                    drawing.take(_class_of(attributes), [_outline(shape)])
    return list(drawings.values()), sorted({shape.name for one in drawings.values() for shape in one.shapes})


def _images(path: Path) -> Iterator[tuple[str, list[Region]]]:
    """Names of images and their regions."""
    if path.suffix.lower() in (".csv", ".tsv"):
        yield from _rows(path)
        return
    content: dict[str, Any] = read_json(path, dict[str, Any], WHAT)
    metadata = content.get("_via_img_metadata", content)
    with faults_of(path, "_via_img_metadata"):
        for one in metadata.values():
            regions = one["regions"]  # a list; in version 1 a map from numbers
            every = regions.values() if isinstance(regions, Mapping) else regions
            yield str(one["filename"]), [(each["shape_attributes"], each["region_attributes"]) for each in every]


def _rows(path: Path) -> Iterator[tuple[str, list[Region]]]:
    """Of a CSV: a row per region; one without a region has an empty shape."""
    csv.field_size_limit(2**27)  # one cell holds a whole outline
    text = read_text(path, WHAT).removeprefix("#")
    rows = csv.DictReader(io.StringIO(text), delimiter=separator(text))
    for number, row in enumerate(rows, 2):
        with faults_of(path, f"line {number}"):
            shape, attributes = (json.loads(row[f"region_{name}attributes"] or "{}") for name in ("shape_", ""))
        yield str(row["filename"]), [(shape, attributes)] if shape else []


def _outline(shape: Mapping[str, Any]) -> Polygon | str:
    kind = shape["name"]
    if kind == "polygon":
        x, y = shape["all_points_x"], shape["all_points_y"]
        if len(x) != len(y):
            raise InputError(f"a polygon: expected as many x as y, found {len(x)} and {len(y)}.")
        return polygon(np.stack([x, y], axis=1).ravel().tolist())
    if kind == "rect":
        x, y, width, height = (float(shape[name]) for name in ("x", "y", "width", "height"))
        return rectangle((x, y, x + width, y + height))
    if kind == "circle":
        return ellipse((shape["cx"], shape["cy"]), float(shape["r"]))
    if kind == "ellipse":
        return ellipse((shape["cx"], shape["cy"]), (shape["rx"], shape["ry"]), float(shape.get("theta", 0)))
    return no_area(kind)


def _class_of(attributes: Mapping[str, Any]) -> str:
    """The class that a region's attributes name: a text or, of check boxes, the box that is ticked."""
    told = {name.lower(): value for name, value in attributes.items() if value not in ("", {}, None)}
    key = next((name for name in USUAL if name in told), next(iter(told), None))
    value = told.get(str(key), "foreground")
    if isinstance(value, Mapping):
        value = next((name for name, ticked in value.items() if ticked), "foreground")
    return str(value)
