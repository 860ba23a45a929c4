"""Outlines of the VGG Image Annotator (VIA): projects and exports of JSON, exports of CSV, versions 1 to 3."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segkd.datasets.annotations import separator
from segkd.datasets.prepare.drawing import (
    Drawing,
    Polygon,
    Read,
    ellipse,
    faults_of,
    no_area,
    pointed_at,
    polygon,
    rectangle,
)
from segkd.datasets.prepare.united import United
from segkd.datasets.prepare.via3 import Region, is_version3, regions_of_version3
from segkd.disk import read_json, read_text
from segkd.types import InputError

WHAT = "a file of the VGG Image Annotator"

USUAL = ("class", "label", "category", "type", "name")
"""Attributes of a region that say its class, where there are several: the first of these."""

PLAIN = "foreground"
"""The class of regions that say none."""

LINES = ("point", "line", "polyline")


def read_via(paths: Sequence[Path], root: Path) -> Read:
    """VIA: polygons, rectangles, circles and ellipses; points and polylines have no area.

    The class of a region is its attribute `class` (or `label`, `category`, `type`, `name`, else the first), the same
    for all of a file; regions without it are of the class "foreground".
    """
    united = United()
    for path in paths:
        drawings, told = [], []
        images = list(_images(path))
        for name, _, regions in images:
            with faults_of(path, name):
                told.append([_told(attributes) for _, attributes in regions])
        key, notes = _settle([one for some in told for one in some])
        for (name, size, regions), some in zip(images, told, strict=True):
            drawing = Drawing(pointed_at(path, name, root), bytes=_bytes(size))
            with faults_of(path, name):
                for (shape, _), one in zip(regions, some, strict=True):
                    drawing.take(one.get(key, [PLAIN])[0], [_outline(shape)])
            drawing.notes += notes
            drawings.append(drawing)
        united.add(path, drawings)
    every = list(united.drawings.values())
    return every, sorted({shape.name for one in every for shape in one.shapes})


def _images(path: Path) -> Iterator[tuple[str, Any, list[Region]]]:
    """Names of images, the sizes of their files as they are written, and their regions."""
    if path.suffix.lower() in (".csv", ".tsv"):
        yield from _rows(path)
        return
    content: dict[str, Any] = read_json(path, dict[str, Any], WHAT)
    if is_version3(content):
        with faults_of(path, "metadata"):
            for name, every in regions_of_version3(content):
                yield name, None, every
        return
    metadata = content.get("_via_img_metadata", content)
    with faults_of(path, "_via_img_metadata"):
        images = [(str(one["filename"]), one.get("size"), one.get("regions") or []) for one in metadata.values()]
    for name, size, regions in images:
        listed = regions.values() if isinstance(regions, Mapping) else regions  # in version 1 a map from numbers
        with faults_of(path, name):
            yield name, size, [(one["shape_attributes"], one.get("region_attributes") or {}) for one in listed]


def _rows(path: Path) -> Iterator[tuple[str, Any, list[Region]]]:
    """Of a CSV: a row per region; one without a region has an empty shape."""
    csv.field_size_limit(2**27)  # one cell holds a whole outline
    text = read_text(path, WHAT).removeprefix("#")
    rows = csv.DictReader(io.StringIO(text), delimiter=separator(text))
    found: dict[tuple[str, str | None], list[Region]] = {}
    for number, row in enumerate(rows, 2):
        if None in row.values():
            cells = sum(cell is not None for cell in row.values())
            raise InputError(f"{path}: line {number}: expected {len(row)} columns, found {cells}. Export it once more.")
        with faults_of(path, f"line {number}"):
            shape, attributes = (json.loads(row[f"region_{name}attributes"] or "{}") for name in ("shape_", ""))
            regions = found.setdefault((row["filename"], row.get("file_size")), [])
            regions += [(shape, attributes)] if shape else []
    for (name, size), regions in found.items():
        yield name, size, regions


def _bytes(said: Any) -> int | None:
    """The size of an image's file, which is -1 of one that lay elsewhere."""
    return int(said) if re.fullmatch("[1-9][0-9]*", str(said)) else None


def _outline(shape: Mapping[str, Any]) -> Polygon | str:
    kind = shape["name"]
    if kind == "polygon":
        x, y = shape["all_points_x"], shape["all_points_y"]
        if len(x) != len(y):
            raise InputError(f"a polygon: expected as many x as y, found {len(x)} and {len(y)}.")
        return polygon(np.stack([x, y], axis=1).astype(float).ravel().tolist())
    if kind == "rect":
        x, y, width, height = (float(shape[name]) for name in ("x", "y", "width", "height"))
        return rectangle((x, y, x + width, y + height))
    if kind == "circle":
        return ellipse((shape["cx"], shape["cy"]), float(shape["r"]))
    if kind == "ellipse":
        return ellipse((shape["cx"], shape["cy"]), (shape["rx"], shape["ry"]), float(shape.get("theta", 0)))
    return no_area(kind) if kind in LINES else f"a shape of type {kind}, which is not read"


def _told(attributes: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a region's attributes say, by their names: a text or, of check boxes, those that are ticked."""
    told = {}
    for name, value in attributes.items():
        values = [key for key, ticked in value.items() if ticked] if isinstance(value, Mapping) else [value]
        if kept := [str(one) for one in values if one not in ("", None)]:
            told[name.lower()] = kept
    return told


def _settle(regions: Sequence[Mapping[str, Sequence[str]]]) -> tuple[str, list[str]]:
    """The attribute that names the classes of all regions, "" where none does, and what is to be said of it."""
    names = list(dict.fromkeys(name for one in regions for name in one))
    key = next((name for name in USUAL if name in names), next(iter(names), ""))
    notes = []
    if others := [name for name in names if name != key]:
        notes.append(f"classes are the attribute {key} of the regions; not read: {', '.join(others)}")
    if names and (without := sum(key not in one for one in regions)):
        notes.append(f"{without} regions without the attribute {key} are of the class {PLAIN}")
    if several := sum(len(one.get(key, ())) > 1 for one in regions):
        notes.append(f"{several} regions are of several classes ({key}): the first counts")
    return key, notes
