"""Annotation files (COCO, LabelMe, YOLO, CVAT) read as drawings, and the readers of all kinds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from segkd.datasets.annotations import kind_of
from segkd.datasets.prepare.drawing import (
    Drawing,
    Polygon,
    Read,
    Runs,
    Shape,
    beside,
    counts_of,
    ellipse,
    faults_of,
    polygon,
)
from segkd.datasets.prepare.kaggle import KAGGLE, read_kaggle
from segkd.datasets.prepare.via import read_via
from segkd.datasets.walk import walk
from segkd.disk import load_yaml, read_json, read_text
from segkd.types import InputError


@dataclass
class _Image:
    id: int | str
    file_name: str


@dataclass
class _Object:
    image_id: int | str
    category_id: int | str
    segmentation: Any = None


@dataclass
class _Category:
    id: int | str
    name: str


@dataclass
class _Coco:
    images: list[_Image]
    annotations: list[_Object]
    categories: list[_Category] = field(default_factory=list)


@dataclass
class _Outline:
    label: str
    points: list[list[float]]
    shape_type: str = "polygon"


@dataclass
class _LabelMe:
    imagePath: str
    shapes: list[_Outline]


def find_annotations(place: Path) -> dict[str, list[Path]]:
    """Kind -> the annotation files at a place (a file or a folder) that can be drawn, or that hold boxes."""
    found: dict[str, list[Path]] = {}
    for path in walk(place, {".json", ".xml", ".txt", ".csv"}).files:
        if kind := kind_of(path):
            found.setdefault(kind, []).append(path)
    return found


def read_coco(paths: Sequence[Path], root: Path) -> Read:
    """COCO: polygons, and run lengths, plain or compressed. Files without outlines are passed over."""
    drawings: dict[str, Drawing] = {}
    names: dict[int | str, str] = {}
    for path in paths:
        content: _Coco = read_json(path, _Coco, "a COCO file with images, annotations and categories")
        if not any(one.segmentation for one in content.annotations):
            continue
        names |= {category.id: category.name for category in content.categories}
        by_id = {}
        for image in content.images:
            file = beside(path, image.file_name, root)
            by_id[image.id] = drawings.setdefault(file, Drawing(file))
        for one in content.annotations:
            if one.image_id not in by_id:
                raise InputError(f"{path}: expected annotations of images in the file, found image_id {one.image_id}.")
            drawing = by_id[one.image_id]
            if not one.segmentation:
                drawing.left_out.append("a box without outline")
                continue
            name = names.get(one.category_id, f"class{one.category_id}")
            with faults_of(path, drawing.file):
                drawing.shapes.append(Shape(name, _coco_parts(one.segmentation)))
    classes = [names[key] for key in sorted(names, key=lambda key: (not isinstance(key, int), key))]
    return list(drawings.values()), list(dict.fromkeys(classes))


def _coco_parts(segmentation: Any) -> tuple[Polygon | Runs, ...]:
    if isinstance(segmentation, list):
        return tuple(polygon(part) for part in segmentation)
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    runs = counts_of(counts) if isinstance(counts, str) else tuple(map(int, counts))
    return (Runs(runs, (0, 0, int(height), int(width)), by_columns=True),)


def read_labelme(paths: Sequence[Path], root: Path) -> Read:
    """LabelMe: polygons, rectangles and circles, a file per image; lines and points have no area."""
    drawings = []
    for path in paths:
        content: _LabelMe = read_json(path, _LabelMe, "a LabelMe file with imagePath and shapes")
        # the image lies beside its file, whatever path it had where it was drawn
        drawing = Drawing(beside(path, Path(content.imagePath.replace("\\", "/")).name, root))
        for one in content.shapes:
            with faults_of(path, one.label):
                corners = _outlined(one)
            if corners is None:
                drawing.left_out.append(f"a {one.shape_type}")
            else:
                drawing.shapes.append(Shape(one.label, (corners,)))
        drawings.append(drawing)
    return drawings, sorted({shape.name for drawing in drawings for shape in drawing.shapes})


def _outlined(one: _Outline) -> Polygon | None:
    points = np.asarray(one.points, float)
    if one.shape_type == "polygon":
        return polygon(points.ravel().tolist())
    if one.shape_type == "rectangle" and points.shape == (2, 2):
        (x, y), (x2, y2) = points
        return np.array([(x, y), (x2, y), (x2, y2), (x, y2)])
    if one.shape_type == "circle" and points.shape == (2, 2):
        return ellipse(points[0], np.hypot(*(points[1] - points[0])))
    return None


def read_yolo(paths: Sequence[Path], root: Path) -> Read:
    """YOLO: a line per object, its class and the corners in shares of the image's sides."""
    drawings, most = [], -1
    for path in paths:
        drawing = Drawing(path.relative_to(root).with_suffix("").as_posix(), shares=True)
        for number, line in enumerate(read_text(path, "YOLO polygons").splitlines(), 1):
            cells = line.split()
            if cells:
                with faults_of(path, f"line {number}"):
                    most = max(most, int(cells[0]))
                    drawing.shapes.append(Shape(cells[0], (polygon([float(cell) for cell in cells[1:]]),)))
        drawings.append(drawing)
    names = _yolo_names(root, most + 1)
    for drawing in drawings:
        drawing.shapes = [Shape(names[int(shape.name)], shape.parts) for shape in drawing.shapes]
    return drawings, names


def _yolo_names(root: Path, number: int) -> list[str]:
    """The names that a data.yaml or a classes.txt gives, else class0, class1, ..."""
    for path in walk(root, {".yaml", ".yml"}).files:
        content = load_yaml(read_text(path, "YAML"), f"{path}: expected a readable YAML file")
        names = content.get("names") if isinstance(content, dict) else None
        given = list(names.values()) if isinstance(names, dict) else names
        if isinstance(given, list) and len(given) >= number:
            return [str(name) for name in given]
    for path in walk(root, {".txt"}).files:
        if path.name in ("classes.txt", "obj.names"):
            given = [line.strip() for line in read_text(path, "names").splitlines() if line.strip()]
            if len(given) >= number:
                return given
    return [f"class{i}" for i in range(number)]


def read_cvat(paths: Sequence[Path], root: Path) -> Read:
    """CVAT for images 1.1: polygons, boxes drawn by hand, and masks."""
    drawings = []
    for path in paths:
        try:
            tree = ElementTree.fromstring(read_text(path, "a CVAT file"))
        except ElementTree.ParseError as error:
            raise InputError(f"{path}: expected XML as CVAT writes it, found: {error}. Export it once more.") from error
        for image in tree.iter("image"):
            drawing = Drawing(beside(path, image.get("name", ""), root))
            for one in image:
                with faults_of(path, drawing.file):
                    part = _cvat_part(one)
                if part is None:
                    drawing.left_out.append(f"a {one.tag}")
                else:
                    drawing.shapes.append(Shape(one.get("label", ""), (part,)))
            drawings.append(drawing)
    return drawings, sorted({shape.name for drawing in drawings for shape in drawing.shapes})


def _cvat_part(one: ElementTree.Element) -> Polygon | Runs | None:
    if one.tag == "polygon":
        return polygon([float(number) for number in one.get("points", "").replace(";", ",").split(",")])
    if one.tag == "mask":
        top, left, height, width = (int(float(one.get(name, ""))) for name in ("top", "left", "height", "width"))
        counts = tuple(int(number) for number in one.get("rle", "").split(","))
        return Runs(counts, (top, left, height, width), by_columns=False)
    return None


READERS: dict[str, Callable[[Sequence[Path], Path], Read]] = {
    "COCO": read_coco,
    "CVAT": read_cvat,
    "LabelMe": read_labelme,
    "YOLO polygon": read_yolo,
    "VIA": read_via,
    KAGGLE: read_kaggle,
}
"""What reads each kind, in the order in which they are looked for."""


def left_out(drawings: Sequence[Drawing]) -> Iterator[str]:
    """What was not read, in words: "3 times a polyline"."""
    every = [what for drawing in drawings for what in drawing.left_out]
    for what in dict.fromkeys(every):
        yield f"{every.count(what)} times {what}"
