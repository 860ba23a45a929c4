"""Run lengths in tables, as Kaggle's competitions give them: ImageId, EncodedPixels."""

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from segkd.datasets.annotations import RUNS, heading
from segkd.datasets.prepare.drawing import Drawing, Read, Shape, Starts, faults_of, patch_of
from segkd.datasets.walk import pictures
from segkd.disk import read_text
from segkd.types import InputError, some

CLASSES = ("classid", "class_id", "class", "label", "category", "cell_type")
"""Headings (lower case) of the column of classes."""

NONE = ("", "-1", "nan")
"""What stands for no object."""

Order = Literal["auto", "columns", "rows"]
"""How pixels are counted: down the columns, along the rows, or as the outlines say."""

TRIED = 20
"""Images whose outlines are measured."""

CLEAR = 1.2
"""How much longer outlines are where pixels are counted the wrong way, at least."""


def read_kaggle(paths: Sequence[Path], root: Path) -> Read:
    """A row per object: the image in the first column that has a heading, its runs (pairs of start and length, pixels
    counted from 1), its class in a column of its own, or after the image's name (`ImageId_ClassId`); none: all are
    "foreground".

    An image without runs has an empty mask. Tables for submission are passed over. Pixels are counted down the columns
    until `settle_order` knows better.
    """
    drawings: dict[str, Drawing] = {}
    names: dict[str, str] = {}
    for path in paths:
        if is_submission(path):
            continue
        for number, image, name, text in _rows(path):
            drawing = drawings.setdefault(image, Drawing(image))
            names[name] = f"class{name}" if name.isdigit() else name
            if text.strip().lower() not in NONE:
                with faults_of(path, f"line {number}"):
                    drawing.shapes.append(Shape(names[name], (Starts(_pairs(text)),)))
    order = sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    return list(drawings.values()), [names[name] for name in order]


def is_submission(path: Path) -> bool:
    """Whether a table is called after predictions that are submitted."""
    return "submission" in path.stem.lower()


def without_rows(images: Collection[Path]) -> str:
    """The sentence on pictures beside `images` that no row names, which tables of objects alone leave out; or ""."""
    homes = {image.parent for image in images}
    beside = {path for home in homes for path in home.iterdir() if path.suffix.lower() in pictures()}
    left = sorted(path.name for path in beside - set(images))
    if not left:
        return ""
    return (
        f"{len(left)} images beside them are in no row, and left out ({some(left)}): if they hold no object, add a row "
        "with the name and an empty cell for each"
    )


def _rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line, image, class and runs of each row."""
    text = read_text(path, "a table of run lengths")
    csv.field_size_limit(2**27)  # one cell holds a whole mask
    rows = csv.reader(io.StringIO(text))
    heads = heading(next(rows, []))
    runs = next(at for at, head in enumerate(heads) if head in RUNS)
    own = next((at for at, head in enumerate(heads) if head in CLASSES), None)
    first = next(at for at, head in enumerate(heads) if head and not head.startswith("unnamed"))  # pandas counts rows
    joined = own is None and heads[first] in ("imageid_classid", "image_label")
    for number, row in enumerate(rows, 2):
        if not any(row):  # a blank line, mostly the last
            continue
        if len(row) <= max(first, runs, own or 0):
            raise InputError(f"{path}: line {number}: expected {len(heads)} columns, found {len(row)}.")
        image, _, after = row[first].rpartition("_") if joined else (row[first], "", "foreground")
        yield number, image, after if own is None else row[own], row[runs]


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    numbers = [int(word) for word in text.split()]
    if len(numbers) % 2:
        raise InputError(f"run lengths: expected pairs of start and length, found {len(numbers)} numbers.")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def settle_order(drawings: Mapping[Path, Drawing], sizes: Mapping[Path, tuple[int, int]], told: Order) -> str:
    """Has all runs counted down the columns or along the rows, and says which.

    Counted the wrong way, runs of an image that is not square fall apart, and outlines get longer. In a square one they
    give the mask mirrored at its diagonal, which no outline tells.

    Args:
        drawings: by image; their shapes are replaced.
        sizes: (height, width) of these images.
        told: what the user says.
    """
    way, why = _likely_order(drawings, sizes) if told == "auto" else (told, "as told")
    for one in drawings.values():
        one.shapes = _counted(one, way == "columns")
    return f"run lengths are counted {'down the columns' if way == 'columns' else 'along the rows'} ({why})"


def _likely_order(drawings: Mapping[Path, Drawing], sizes: Mapping[Path, tuple[int, int]]) -> tuple[Order, str]:
    """The way that gives clearly shorter outlines, else down the columns; and why."""
    oblong = [path for path, one in drawings.items() if one.shapes and sizes[path][0] != sizes[path][1]][:TRIED]
    columns, rows = (
        sum(_outlines(_counted(drawings[path], by_columns), sizes[path]) for path in oblong)
        for by_columns in (True, False)
    )
    longer = max(columns, rows) / max(1, min(columns, rows))
    if longer <= CLEAR:
        return "columns", "as is usual; if masks on the sheet are mirrored at their diagonal, say --runs rows"
    return "columns" if columns < rows else "rows", f"outlines are {longer:.1f} times longer the other way"


def _counted(drawing: Drawing, by_columns: bool) -> list[Shape]:
    return [
        replace(shape, parts=tuple(replace(part, by_columns=by_columns) for part in shape.parts))  # type: ignore[type-var]
        for shape in drawing.shapes
    ]


def _outlines(shapes: Sequence[Shape], size: tuple[int, int]) -> int:
    """Edges between pixels inside and outside, of all shapes."""
    return sum(patch_of(shape, size).edges(size) for shape in shapes)
