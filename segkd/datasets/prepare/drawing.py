"""Outlines and run lengths to masks of class numbers."""

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, UInt8

from segkd.datasets.geometry import in_pixels
from segkd.datasets.prepare.patches import Patch, Size, of_outline, of_runs, scaled, union
from segkd.types import InputError

Polygon = Float[np.ndarray, "_ 2"]
"""Corners (x, y) in pixels: 0 is the left (upper) edge of the first pixel."""

FAR = 100_000
"""Coordinates are cut to this: nothing beyond lies in a picture."""


@dataclass(frozen=True)
class Runs:
    """Lengths of runs, zeros first, in a window (top, left, height, width) of the image; by columns, or by rows."""

    counts: tuple[int, ...]
    window: tuple[int, int, int, int]
    by_columns: bool


@dataclass(frozen=True)
class Starts:
    """Run lengths as Kaggle writes them: (start, length) of each run of ones, the image's first pixel is 1; pixels are
    counted down the columns, or along the rows."""

    runs: tuple[tuple[int, int], ...]
    by_columns: bool = True


Object = tuple[object, ...]
"""A shape as what can be compared."""

Part = Polygon | Runs | Starts
"""What an object's outline is made of."""


@dataclass(frozen=True)
class Shape:
    """One object: the name of its class, its parts, all of which belong to it, and the layer that it lies in, higher
    ones before lower ones."""

    name: str
    parts: tuple[Part, ...]
    layer: float = 0.0


@dataclass
class Drawing:
    """What annotations say of one image.

    Attributes:
        file: the image's file, as they write it.
        shapes: its objects.
        shares: coordinates are shares of the image's sides.
        left_out: what was not read, and why, in a few words each.
        bytes: the size of the image's file when it was annotated, where they say it.
        notes: sentences on how annotations were read; each is said once.
        size: (height, width) of the image that was annotated, where they say it; coordinates are its pixels.
    """

    file: str
    shapes: list[Shape] = field(default_factory=list)
    shares: bool = False
    left_out: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    bytes: int | None = None
    notes: list[str] = field(default_factory=list)

    def take(self, name: str, parts: Iterable[Part | str], layer: float = 0.0) -> None:
        """Adds an object of the class `name`; a text among its parts says what of it is left out, and why."""
        every = list(parts)
        name = name.strip()  # people type names
        self.left_out += [part for part in every if isinstance(part, str)]
        if drawn := tuple(part for part in every if not isinstance(part, str)):
            self.shapes.append(Shape(name, drawn, layer))


Read = tuple[list[Drawing], list[str]]
"""Drawings, and the names of the classes in the order of their numbers, the background left out."""


def object_of(shape: Shape) -> Object:
    """What a shape is, to be compared."""
    return (shape.name, shape.layer, *(one.tobytes() if isinstance(one, np.ndarray) else one for one in shape.parts))


def objects_of(shapes: Iterable[Shape]) -> Counter[Object]:
    """What shapes are, to be compared in any order."""
    return Counter(map(object_of, shapes))


BOX = "a box, which has no outline"
SHORT = "a polygon of fewer than three corners"
TINY = "an object that holds the middle of no pixel"
OUTSIDE = "an object that lies beyond its picture, as those of a larger picture do"
"""What is left out of annotations, in words."""


def no_area(kind: str) -> str:
    """Why a shape of another kind ("polyline") is left out."""
    return f"a {kind}, which has no area"


def beside(path: Path, name: str, root: Path) -> str:
    """An image's name as the file at `path` writes it, below that file's folder: of several of one name, that one."""
    home = path.parent.relative_to(root) if path.is_relative_to(root) else Path()
    return (home / name).as_posix()


def pointed_at(path: Path, way: str, root: Path) -> str:
    """An image's name below `root`, where the file at `path` writes the way to it, perhaps as another system does.

    Of a way that begins elsewhere the name alone counts; so it does where the way leads nowhere, and an image of that
    name lies beside the file.
    """
    there = PurePosixPath(way.replace("\\", "/"))
    astray = not os.path.isfile(path.parent / there) and os.path.isfile(path.parent / there.name)
    elsewhere = there.is_absolute() or any(":" in part for part in there.parts[:1])
    return posixpath.normpath(beside(path, there.name if astray or elsewhere else there.as_posix(), root))


def stated(height: object, width: object) -> tuple[int, int] | None:
    """The (height, width) that annotations state, as numbers or text; None where they say no such size."""
    try:
        sides = int(float(str(height))), int(float(str(width)))
    except (ValueError, OverflowError):
        return None
    return sides if min(sides) > 0 else None


@contextmanager
def faults_of(path: Path, place: str) -> Iterator[None]:
    """Turns what is wrong within a file into a sentence that names the file and the place."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {place}: {error}") from error
    except KeyError as error:
        raise InputError(f"{path}: {place}: {error} is missing. Export the annotations once more.") from error
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{path}: {place}: expected what its program writes, found: {error}. Export the annotations once more."
        ) from error


def draw(drawing: Drawing, size: Size, numbers: Mapping[str, int]) -> UInt8[np.ndarray, "h w"]:
    """The mask of a drawing at an image's (height, width), 0 where nothing is drawn.

    Of each layer large objects are drawn first, so that a small one before a large one is seen. A drawing that states
    another size, or that has coordinates in shares of the image's sides, is scaled. Names that `numbers` lacks are left
    out; so is what is too small or too thin, which `drawing.left_out` then tells.

    Raises:
        InputError: run lengths do not fill their window, or it lies beyond the image.
    """
    mask, smallest = np.zeros(size, np.uint8), np.zeros(size, np.uint32)
    of_size, layer = (1, 1) if drawing.shares else drawing.size, None
    for shape in sorted(drawing.shapes, key=lambda one: one.layer):
        if shape.name not in numbers:
            continue
        if shape.layer != layer:  # what lies below gives way, however small
            layer = shape.layer
            smallest.fill(np.iinfo(np.uint32).max)
        patch = patch_of(shape, size, of_size)
        area = int(patch.inside.sum())
        if not area:
            drawing.left_out.append(OUTSIDE if _lies_beyond(shape, of_size or size) else TINY)
        over = (patch.inside > 0) & (smallest[patch.window] >= area)  # one object at a time: many do not fit in memory
        mask[patch.window][over] = numbers[shape.name]
        smallest[patch.window][over] = area
    return mask


def _lies_beyond(shape: Shape, size: Size) -> bool:
    """Whether all corners lie to one side of a picture of (height, width)."""
    outlines = [part for part in shape.parts if isinstance(part, np.ndarray)]
    if not outlines:
        return False
    corners = np.concatenate(outlines)
    return bool((corners <= 0).all(axis=0).any() or (corners >= size[::-1]).all(axis=0).any())


def patch_of(shape: Shape, size: Size, of_size: Size | None = None) -> Patch:
    """Which pixels of an image of (height, width) a shape covers, whose coordinates are of an image of `of_size`."""
    of_size = of_size or size
    scale = np.array([size[1] / of_size[1], size[0] / of_size[0]])
    patches = []
    for part in shape.parts:
        if isinstance(part, Runs | Starts):
            placed = _placed(part, of_size) if isinstance(part, Runs) else _started(part, of_size)
            patches.append(placed if of_size == size else scaled(placed, of_size, size))
        else:
            patches.append(of_outline(np.clip(part * scale, -FAR, FAR), size))
    return union(patches)


def _placed(runs: Runs, size: Size) -> Patch:
    """The window of run lengths in an image of (height, width)."""
    top, left, height, width = runs.window
    if top < 0 or left < 0 or top + height > size[0] or left + width > size[1]:
        raise InputError(f"a mask of {in_pixels((height, width))} pixels at {left}, {top} lies beyond its image of "
                         f"{in_pixels(size)}. Correct the annotation, or the image's size.")  # fmt: skip
    if min(runs.counts, default=0) < 0 or sum(runs.counts) != height * width:
        raise InputError(f"run lengths: expected {height * width} pixels in all ({in_pixels((height, width))}), found "
                         f"{sum(runs.counts)}. Export the annotations once more.")  # fmt: skip
    ends = np.cumsum(np.array(runs.counts, np.int64))
    patch = of_runs(ends[:-1:2], ends[1::2], (height, width), runs.by_columns)
    return replace(patch, top=top + patch.top, left=left + patch.left)


def _started(part: Starts, size: Size) -> Patch:
    """The runs in an image of (height, width)."""
    pixels = size[0] * size[1]
    for start, length in part.runs:
        if start < 1 or length < 0 or start - 1 + length > pixels:
            raise InputError(f"run lengths: expected pixels 1 to {pixels} ({in_pixels(size)}), found {length} "
                             f"from {start} on. They are of an image of another size.")  # fmt: skip
    starts, lengths = np.array(part.runs, np.int64).reshape(-1, 2).T
    return of_runs(starts - 1, starts - 1 + lengths, size, part.by_columns)


def counts_of(text: str) -> tuple[int, ...]:
    """The run lengths of COCO's compressed form: five bits a letter from "0" on, the sixth says that more follow; from
    the third number on, the difference to the last but one is written (rleFrString in maskApi.c of cocoapi)."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise InputError(f"run lengths: expected COCO's letters 0 to o, found {letter!r}. Export them once more.")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return tuple(counts)


def polygon(numbers: Sequence[float | int]) -> Polygon | str:
    """Corners of a flat list x, y, x, y, ...; of fewer than three, `SHORT`.

    Raises:
        InputError: they are an odd number, or hold what is no number.
    """
    corners = np.asarray(numbers, float)
    if corners.ndim == 1 and len(corners) < 6:
        return SHORT
    if not np.isfinite(corners).all():
        raise InputError("a polygon: expected numbers, found a corner without one. Correct it, or take it out.")
    if corners.ndim != 1 or len(corners) % 2:
        raise InputError(f"a polygon: expected x, y of three corners or more, found {len(corners)} numbers.")
    return corners.reshape(-1, 2)


def rectangle(sides: Sequence[float], turned: float = 0.0) -> Polygon:
    """The corners of a rectangle with the sides (left, top, right, bottom), turned about its middle by radians."""
    x, y, x2, y2 = sides
    centre = np.array([x + x2, y + y2]) / 2
    upright = np.array([(x, y), (x2, y), (x2, y2), (x, y2)], float) - centre
    return centre + upright @ _turning(turned)


def ellipse(
    centre: Sequence[float | int] | np.ndarray, radii: float | int | Sequence[float | int], turned: float = 0.0
) -> Polygon:
    """The outline of a circle or an ellipse of half axes `radii` (x, y), turned by an angle in radians."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    upright = np.asarray(radii) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(centre, float) + upright @ _turning(turned)


def _turning(angle: float) -> Float[np.ndarray, "2 2"]:
    """What turns rows (x, y) clockwise, as pictures are seen."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])
