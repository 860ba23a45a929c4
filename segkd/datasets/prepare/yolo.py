"""YOLO polygons: a text file for each image."""

import re
from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from segkd.datasets.annotations import BEYOND
from segkd.datasets.prepare.drawing import BOX, SHORT, Drawing, Part, Read, Shape, beside, faults_of, polygon
from segkd.datasets.walk import walk
from segkd.disk import load_yaml, read_bytes, read_text
from segkd.types import InputError

MOST = 65535
"""The highest number of a class: each up to the highest that occurs has a name."""

NAMED = re.compile(rb"\bnames\b['\"]?\s*:")
"""The key of a YAML file that names the classes."""


def read_yolo(paths: Sequence[Path], root: Path) -> Read:
    """YOLO: a line per object, its class and the corners in shares of the image's sides.

    An empty file is an image without objects. A line of four numbers is a box, which has no outline.
    """
    drawings, most = [], -1
    for path in paths:
        drawing = Drawing(beside(path, path.stem, root), shares=True)
        for number, line in enumerate(read_text(path, "YOLO polygons").splitlines(), 1):
            cells = line.split()
            if cells:
                with faults_of(path, f"line {number}"):
                    most = max(most, _number(cells[0]))
                    drawing.take(cells[0], [_part([float(cell) for cell in cells[1:]])])
        drawings.append(drawing)
    names = _names(root, most + 1)
    for drawing in drawings:
        drawing.shapes = [Shape(names[int(shape.name)], shape.parts) for shape in drawing.shapes]
    return drawings, names


def _number(cell: str) -> int:
    if not cell.isdigit():
        raise InputError(f"expected the number of a class, 0 or more, first in a line, found {cell!r}.")
    if len(cell) > 5 or int(cell) > MOST:
        raise InputError(f"expected the number of a class, up to {MOST}, first in a line, found {cell[:20]}.")
    return int(cell)


def _part(numbers: list[float]) -> Part | str:
    if len(numbers) == 4:
        return BOX
    if len(numbers) < 6:
        return SHORT
    lowest, highest = min(numbers), max(numbers)
    if not -BEYOND <= lowest <= highest <= 1 + BEYOND:
        raise InputError(f"expected shares of the image's sides, 0 to 1, found {lowest:g} to {highest:g}. Divide x by "
                         "the image's width and y by its height.")  # fmt: skip
    corners = polygon(numbers)
    return corners if isinstance(corners, str) else np.clip(corners, 0, 1)


def _names(root: Path, number: int) -> list[str]:
    """The names that a data.yaml, a classes.txt or an obj.names gives, else class0, class1, ..."""
    for path in walk(root, {".yaml", ".yml"}).files:
        if NAMED.search(read_bytes(path, "YAML")) is None:  # another tool's, in YAML that segkd may not know
            continue
        content = load_yaml(read_text(path, "YAML"), f"{path}: expected a readable YAML file")
        given = _in_order(content.get("names") if isinstance(content, dict) else None)
        if len(given) >= number:
            return given
    for path in walk(root, {".txt", ".names"}).files:
        if path.name == "classes.txt" or path.suffix.lower() == ".names":
            given = [line.strip() for line in read_text(path, "names").splitlines() if line.strip()]
            if len(given) >= number:
                return given
    return [f"class{i}" for i in range(number)]


def _in_order(names: Any) -> list[str]:
    """Names from a list, or from a map of numbers up to the first that it leaves out; [] from anything else."""
    if isinstance(names, dict):
        by_number = {str(key): name for key, name in names.items()}
        names = [by_number[str(i)] for i in takewhile(lambda i: str(i) in by_number, count())]
    return [str(name) for name in names] if isinstance(names, list) else []
