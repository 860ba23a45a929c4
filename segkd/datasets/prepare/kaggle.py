"""Run lengths in tables, as Kaggle's competitions give them: ImageId, EncodedPixels."""

import ast
import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from segkd.datasets.annotations import JOINED, RUNS, heading, image_column, separator
from segkd.datasets.geometry import in_pixels
from segkd.datasets.prepare.drawing import (
    Drawing,
    Read,
    Runs,
    Shape,
    Starts,
    counts_of,
    faults_of,
    patch_of,
    stated,
)
from segkd.disk import read_text
from segkd.types import InputError

CLASSES = ("classid", "class_id", "classname", "class_name", "class", "label", "category", "cell_type")
"""Headings (lower case) of the column of classes."""

SIZES = (("height", "width"), ("img_height", "img_width"), ("image_height", "image_width"))
"""Headings (lower case) of the columns of the size that an image had when it was annotated."""

NONE = ("", "-1", "nan", "none", "null", "[]")
"""What stands for no object, and beside one, for no class."""

Order = Literal["auto", "columns", "rows"]
"""How pixels are counted: down the columns, along the rows, or as the outlines say."""

CORNERS = (
    "run lengths: expected pairs of start and length, one run behind the other, found a list of others, as corners of "
    "polygons are. Put polygons into a COCO file, which is drawn."
)
"""What to say where a list holds no runs."""

TRIED = 20
"""Images whose outlines are measured."""

CLEAR = 1.2
"""How much longer outlines are where pixels are counted the wrong way, at least."""


@dataclass(frozen=True)
class _Row:
    """A row: its line, the image's name and size, the class and the runs as they are written."""

    line: int
    image: str
    size: tuple[int, int] | None
    name: str
    runs: str

    @property
    def empty(self) -> bool:
        """Whether it says that there is no object."""
        return self.runs.lower() in NONE


def read_kaggle(paths: Sequence[Path], root: Path) -> Read:
    """A row per object: the image in the column that is headed so (`image_column`), its runs (pairs of start and
    length, pixels counted from 1), its class in a column of its own, or after the image's name (`ImageId_ClassId`);
    none: all are "foreground".

    An image without runs has an empty mask. Tables for submission are passed over. Pixels are counted down the columns
    until `settle_order` knows better.
    """
    drawings: dict[str, Drawing] = {}
    names: dict[str, str] = {}
    tables, notes = _tables([path for path in paths if not is_submission(path)])
    drawn = {path: {row.name for row in rows if not row.empty} for path, rows in tables.items()}
    homes: dict[str, list[Path]] = {}
    for path, rows in tables.items():
        for row in rows:
            drawing = drawings.setdefault(row.image, Drawing(row.image, size=row.size))
            if row.empty and row.name.lower() in NONE:
                continue
            names[row.name] = f"class{row.name}" if row.name.isdigit() else row.name
            with faults_of(path, f"line {row.line}"):
                if not row.name:
                    raise InputError("expected the class of its run lengths, found an empty cell. Write it, or -1 for "
                                     "the run lengths of no object.")  # fmt: skip
                if not row.empty:
                    _refuse_two_tables(row.image, path, homes.setdefault(row.image, []), drawn)
                    drawing.shapes.append(Shape(names[row.name], (_part(row, drawing),)))
    for drawing in drawings.values():
        drawing.notes += notes
    order = sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    return list(drawings.values()), [names[name] for name in order]


def _tables(paths: Sequence[Path]) -> tuple[dict[Path, list[_Row]], list[str]]:
    """The rows of each table, but of a copy of another, and the sentences on copies."""
    tables: dict[Path, list[_Row]] = {}
    known: dict[tuple[tuple[str, str, str], ...], Path] = {}
    notes = []
    for path in paths:
        rows = list(_rows(path))
        first = known.setdefault(tuple(sorted((row.image, row.name, row.runs) for row in rows)), path)
        if first is path:
            tables[path] = rows
        else:
            notes.append(f"{path.name} holds the rows of {first.name} once more, and is not read")
    return tables, notes


def _refuse_two_tables(image: str, path: Path, homes: list[Path], drawn: Mapping[Path, Collection[str]]) -> None:
    """Two tables of one image are an older and a newer one, or of images in two folders whose names are the same: drawn
    together, objects would be where there are none. A table for each class is none of both.

    Args:
        image: its name.
        path: the table in which run lengths of it stand.
        homes: the tables in which others of it do; `path` is added.
        drawn: the classes of which each table has run lengths.
    """
    if path in homes:
        return
    first = next((home for home in homes if {*drawn[home]} & {*drawn[path]}), None)
    if first is not None:
        raise InputError(
            f"expected all run lengths of {image} in one table, found some in {first}, too. Say which table is meant: "
            f"--annotations {path}; or write all rows into one, with a column ClassId where each is of another class."
        )
    homes.append(path)


def is_submission(path: Path) -> bool:
    """Whether a table is called after predictions that are submitted."""
    return "submission" in path.stem.lower()


def _rows(path: Path) -> Iterator[_Row]:
    text = read_text(path, "a table of run lengths")
    csv.field_size_limit(2**27)  # one cell holds a whole mask
    rows = csv.reader(io.StringIO(text), delimiter=separator(text))
    heads = heading(next(rows, []))
    runs = next(at for at, head in enumerate(heads) if head in RUNS)
    own = next((at for at, head in enumerate(heads) if head in CLASSES), None)
    first = image_column([head if own is None or head not in JOINED else "" for head in heads])
    assert first is not None  # else it is no such table
    joined = heads[first] in JOINED
    sides = [
        heads.index(side) for pair in SIZES if set(pair) <= {*heads} and not {"x", "y"} & {*heads} for side in pair
    ]
    for number, row in enumerate(rows, 2):
        if not any(row):  # a blank line, mostly the last
            continue
        if len(row) <= max(first, runs, own or 0, *sides):
            raise InputError(f"{path}: line {number}: expected {len(heads)} columns, found {len(row)}.")
        image, _, after = row[first].rpartition("_") if joined else (row[first], "", "foreground")
        name = (after if own is None else row[own]).strip()
        size = stated(*(row[side] for side in sides[:2])) if sides else None
        if re.fullmatch(r"\d+\.0+", name):  # pandas writes whole numbers so where some are missing
            name = name.partition(".")[0]
        yield _Row(number, image.strip(), size, name, row[runs].strip())


def _part(row: _Row, drawing: Drawing) -> Runs | Starts:
    """The run lengths of a cell: pairs of start and length, or COCO's, whose size stands beside them ({"size": [h, w],
    "counts": ...}) or in columns of its own."""
    text, size = row.runs, drawing.size
    if re.match(r"\[\s*\[(\s*[-\d.]+\s*,){3}", text):
        raise InputError(CORNERS)
    given: str | Sequence[int] = text
    if text.startswith("{"):
        size, given = _sized(text)
        drawing.size = drawing.size or size
        if size != drawing.size:
            raise InputError(f"run lengths: expected those of an image of {in_pixels(drawing.size)} pixels, as it "
                             f"says elsewhere, found {in_pixels(size)}. Write them at one size.")  # fmt: skip
    elif not re.fullmatch("[0-o]+", text) or re.fullmatch(r"\[*\d+\]*", text):
        return Starts(_pairs(text))
    counts = counts_of(given) if isinstance(given, str) else tuple(map(int, given))
    if size is None or min(counts, default=-1) < 0 or sum(counts) != size[0] * size[1]:
        raise InputError(
            f"run lengths: found a compressed form, {str(given)[:40]!r}. COCO's is read where columns height and width "
            "say the size of the image, which they then fill; of others (zlib, base64) write pairs of start and length."
        )
    return Runs(counts, (0, 0, *size), by_columns=True)


def _sized(text: str) -> tuple[tuple[int, int], str | Sequence[int]]:
    """The size and the run lengths of COCO's form, as JSON or as Python writes it."""
    try:
        content = ast.literal_eval(text)
        (height, width), counts = content["size"], content["counts"]
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'run lengths: expected {{"size": [height, width], "counts": ...}}, found {text[:40]!r}.'
        ) from error
    return (int(height), int(width)), counts.decode("ascii") if isinstance(counts, bytes) else counts


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    words = re.findall(r"[^\s,\[\]]+", text)
    strange = next((word for word in words if not re.fullmatch(r"[+-]?\d+", word)), None)
    if strange is not None:
        raise InputError(f"run lengths: expected pairs of start and length, found {strange[:40]!r}. Write them so; of "
                         "other forms, COCO's are read.")  # fmt: skip
    numbers = [int(word) for word in words]
    if len(numbers) % 2:
        raise InputError(f"run lengths: expected pairs of start and length, found {len(numbers)} numbers.")
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if text.startswith("[") and any(one[0] + one[1] > other[0] for one, other in pairwise(pairs)):
        raise InputError(CORNERS)  # runs in a list stand in their order, and corners come back to where they began
    return pairs


def settle_order(drawings: Mapping[Path, Drawing], sizes: Mapping[Path, tuple[int, int]], told: Order) -> str:
    """Has all runs counted down the columns or along the rows, and says which.

    Counted the wrong way, runs of an image that is not square fall apart, and outlines get longer. In a square one they
    give the mask mirrored at its diagonal, which no outline tells.

    Args:
        drawings: by image; their shapes are replaced.
        sizes: (height, width) of these images, as they were annotated.
        told: what the user says.
    """
    parts = [part for one in drawings.values() for shape in one.shapes for part in shape.parts]
    if parts and all(isinstance(part, Runs) for part in parts):
        return "run lengths are COCO's, counted down the columns"
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
        replace(
            shape,
            parts=tuple(replace(one, by_columns=by_columns) if isinstance(one, Starts) else one for one in shape.parts),
        )
        for shape in drawing.shapes
    ]


def _outlines(shapes: Sequence[Shape], size: tuple[int, int]) -> int:
    """Edges between pixels inside and outside, of all shapes."""
    return sum(patch_of(shape, size).edges(size) for shape in shapes)
