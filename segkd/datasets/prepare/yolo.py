"""YOLO polygons: a text file for each image."""

import re
from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from segkd.datasets.annotations import BEYOND
from segkd.datasets.prepare.drawing import BOX, SHORT, Drawing, Part, Polygon, Read, Shape, beside, faults_of, polygon
from segkd.datasets.walk import GLANCE, pictures, walk
from segkd.disk import load_yaml, read_bytes, read_text
from segkd.types import InputError

MOST = 65535
"""The highest number of a class: each up to the highest that occurs has a name."""

NAMED = re.compile(rb"\bnames\b['\"]?\s*:")
"""The key of a YAML file that names the classes."""

NUMBERS = re.compile(rb"(\xef\xbb\xbf)?\s*\d+(\.\d+)?[\s,;]+-?\d*\.?\d")
"""How texts begin that may be YOLO's: two numbers."""

ROUNDED = 0.05
"""Share of an object's longer side by which the two halves of its diagonals may miss each other in a turned box."""

TURNED = (
    "every outline is a box with four corners: if these are turned boxes (YOLO OBB), they are no outlines of objects"
)


def read_yolo(paths: Sequence[Path], root: Path) -> Read:
    """YOLO: a line per object, its class and the corners in shares of the image's sides.

    An empty file is an image without objects. A line of four numbers is a box, which has no outline.
    """
    files = files_of_names(root)
    drawings, most = [], -1
    for path in paths:
        drawing = Drawing(beside(path, path.stem, root), shares=True)
        for number, line in enumerate(read_text(path, "YOLO polygons").splitlines(), 1):
            cells = line.split()
            if cells:
                with faults_of(path, f"line {number}"):
                    most = max(most, of := _number(cells[0]))
                    drawing.take(str(of), [_part([float(cell) for cell in cells[1:]])])
        drawings.append(drawing)
    names, unfit = _names(files, root, most + 1)
    for drawing in drawings:
        drawing.shapes = [Shape(names[int(shape.name)], shape.parts) for shape in drawing.shapes]
    drawings[0].notes += unfit
    parts = [part for one in drawings for shape in one.shapes for part in shape.parts]
    if parts and all(isinstance(part, np.ndarray) and _may_be_turned_box(part) for part in parts):
        drawings[0].notes.append(TURNED)
    return drawings, names


def refuse_nearly_yolo(root: Path) -> None:
    """Refuses the first text that is called like a picture and begins with numbers, as YOLO's do, by what is wrong in
    it: corners in pixels, commas, what a network was sure of behind them."""
    stems = {path.stem for path in walk(root, pictures(), GLANCE).files}
    for path in walk(root, {".txt"}, GLANCE).files:
        if path.stem in stems and NUMBERS.match(read_bytes(path, "a text")):
            read_yolo([path], root)


def _number(cell: str) -> int:
    """A class: a whole number, which pandas writes as 1.0."""
    try:
        number = float(cell)
    except ValueError:
        number = -1
    if number < 0 or not number.is_integer():
        raise InputError(f"expected the number of a class, 0 or more, first in a line, found {cell[:20]!r}.")
    if number > MOST:
        raise InputError(f"expected the number of a class, up to {MOST}, first in a line, found {cell[:20]}.")
    return int(number)


def _part(numbers: list[float]) -> Part | str:
    if len(numbers) == 4:
        return BOX
    if len(numbers) < 6:
        return SHORT
    lowest, highest = min(numbers), max(numbers)
    if not -BEYOND <= lowest <= highest <= 1 + BEYOND:
        raise InputError(f"expected shares of the image's sides, 0 to 1, found {lowest:g} to {highest:g}. Divide x by "
                         "the image's width and y by its height.")  # fmt: skip
    return polygon(numbers)


def _may_be_turned_box(part: Polygon) -> bool:
    """Whether corners are those of a parallelogram, which a rectangle is in shares of sides that differ."""
    if len(part) != 4:
        return False
    askew = np.abs(part[0] + part[2] - part[1] - part[3]).max()
    return bool(askew <= ROUNDED * np.ptp(part, axis=0).max())


def files_of_names(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The YAML files that name classes, the nearest to the root first.

    Raises:
        InputError: the nearest says that the texts hold key points.
    """
    found = []
    for path in walk(root, {".yaml", ".yml"}).files:
        if NAMED.search(read_bytes(path, "YAML")) is None:  # another tool's, in YAML that segkd may not know
            continue
        content = load_yaml(read_text(path, "YAML"), f"{path}: expected a readable YAML file")
        if isinstance(content, dict):
            found.append((path, content))
    found.sort(key=lambda one: len(one[0].parts))
    if found and "kpt_shape" in found[0][1]:
        raise InputError(f"{found[0][0]}: expected polygons, found kpt_shape, so that the texts hold a box and key "
                         "points for each object (YOLO pose), which have no outline to learn: segmentation needs "
                         "polygons or masks.")  # fmt: skip
    return found


def _names(files: Sequence[tuple[Path, dict[str, Any]]], root: Path, number: int) -> tuple[list[str], list[str]]:
    """The names that the nearest data.yaml with as many gives, or a classes.txt or an obj.names, else class0, ...; and
    what is to be said of one that has fewer.

    Raises:
        InputError: another file in the same folder gives others.
    """
    given = [(path, names) for path, content in files if len(names := _in_order(content.get("names"))) >= number]
    for path, names in given:
        if path.parent == given[0][0].parent and names != given[0][1]:
            raise InputError(f"{path}: expected the names of the classes that {given[0][0].name} beside it gives, "
                             "found others, so that it is not known which are meant. Take one away.")  # fmt: skip
    if given:
        return given[0][1], []
    for path in walk(root, {".txt", ".names"}).files:
        if path.name == "classes.txt" or path.suffix.lower() == ".names":
            lines = [line.strip() for line in read_text(path, "names").splitlines() if line.strip()]
            if len(lines) >= number:
                return lines, []
    unfit = [f"{path} does not name all numbers 0 to {number - 1} of the classes" for path, _ in files[:1]]
    return [f"class{i}" for i in range(number)], unfit


def _in_order(names: Any) -> list[str]:
    """Names from a list, or from a map of numbers up to the first that it leaves out; [] from anything else."""
    if isinstance(names, dict):
        by_number = {str(key): name for key, name in names.items()}
        names = [by_number[str(i)] for i in takewhile(lambda i: str(i) in by_number, count())]
    return [str(name) for name in names] if isinstance(names, list) else []
