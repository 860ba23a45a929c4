"""Where annotations lie that can be drawn, what reads each kind, and what of them is left out."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from segkd.datasets.annotations import ENDINGS, KAGGLE, kind_of
from segkd.datasets.prepare.coco import read_coco
from segkd.datasets.prepare.cvat import read_cvat
from segkd.datasets.prepare.drawing import Drawing, Read
from segkd.datasets.prepare.kaggle import is_submission, read_kaggle
from segkd.datasets.prepare.labelme import read_labelme
from segkd.datasets.prepare.legend import UNNAMED
from segkd.datasets.prepare.via import read_via
from segkd.datasets.prepare.yolo import read_yolo
from segkd.datasets.walk import pictures, walk
from segkd.types import IGNORE, InputError, some

YOLO = "YOLO polygon"

READERS: dict[str, Callable[[Sequence[Path], Path], Read]] = {
    "COCO": read_coco,
    "CVAT": read_cvat,
    "LabelMe": read_labelme,
    YOLO: read_yolo,
    "VIA": read_via,
    KAGGLE: read_kaggle,
}
"""What reads each kind, in the order in which they are looked for."""

NO_DRAWINGS = {
    "COCO": "its objects have boxes, but no outline to learn: export polygons or run lengths (`segmentation`)",
    "CVAT": 'CVAT for video writes tracks, CVAT for images one outline per image: export "CVAT for images 1.1"',
    KAGGLE: "tables called submission hold predictions: add the table of the images for training (train.csv)",
}
"""Why files of a kind may hold nothing that is drawn, and what to do."""


def find_annotations(place: Path, images: Path | None = None) -> dict[str, list[Path]]:
    """Kind -> the annotation files at a place (a file or a folder) that can be drawn, or that hold boxes.

    Where some hold YOLO polygons, all texts beside them are of that kind that are named like a picture below `images`
    (the place unless given), and empty ones in a folder beside theirs: they are pictures without objects.
    """
    found: dict[str, list[Path]] = {}
    files = walk(place, ENDINGS).files
    for path in files:
        if kind := kind_of(path):
            found.setdefault(kind, []).append(path)
    found |= {KAGGLE: tables} if (tables := [path for path in found.get(KAGGLE, []) if not is_submission(path)]) else {}
    if YOLO in found:
        stems = {path.stem for path in walk(images or place, pictures()).files}
        homes = {path.parent for path in found[YOLO]}
        above = {home.parent for home in homes}
        texts = [path for path in files if path.suffix.lower() == ".txt" and path.stem in stems
                 and (path.parent in homes or (path.parent.parent in above and not path.stat().st_size))]  # fmt: skip
        found[YOLO] = sorted({*found[YOLO], *texts})
    return found


def read_annotations(kind: str, paths: Sequence[Path], root: Path) -> Read:
    """The drawings of annotation files of one kind, with paths below `root`, and the names of their classes.

    Raises:
        InputError: a file is damaged, or none holds anything that could be drawn.
    """
    drawings, names = READERS[kind](paths, root)
    if not any(drawing.shapes for drawing in drawings):
        why = [NO_DRAWINGS.get(kind, "export the annotations once more")] * (not drawings)
        why = why or [f"there are {len(drawings)} images", *_left_out(drawings)]
        raise InputError(
            f"{paths[0]}: expected {kind} annotations of images, found none that can be drawn; {'; '.join(why)}."
        )
    return drawings, names


def classes_of(drawings: Sequence[Drawing], names: Sequence[str], told: Sequence[str] | None) -> list[str]:
    """The classes in the order of their numbers, the background first: those that the user tells, else all `names`.

    Raises:
        InputError: they are too many for a mask, or those that are told are none of the annotations'.
    """
    shapes = Counter(shape.name for drawing in drawings for shape in drawing.shapes)
    plain = (name for name in names if not _is_background(name) and not _is_void(name))
    classes = list(told or dict.fromkeys(["background", *plain]))
    if len(classes) > IGNORE:  # the largest number of a mask is no class
        often = shlex.join(name for name, _ in shapes.most_common(3))
        raise InputError(
            f"the annotations have {len(classes) - 1} classes: expected {IGNORE - 1} at most beside the background. "
            f"Say which are meant, such as --classes background {often}; the others become background."
        )
    if told is None:
        return classes
    every = " ".join(told)
    if shapes and not shapes.keys() & {*told}:
        raise InputError(f"--classes {every}: expected names that the annotations have ({some(sorted(shapes), 8)}), "
                         "found none of them. Correct the names, or leave --classes out.")  # fmt: skip
    if not _is_background(told[0]) and told[0] in shapes:
        raise InputError(f"--classes {every}: expected the name of the background first, found {told[0]}, a class of "
                         f"the annotations. Say --classes background {every}.")  # fmt: skip
    return classes


def not_drawn(drawings: Sequence[Drawing], classes: Sequence[str]) -> Iterator[str]:
    """The sentences on how annotations were read, and on what is background though it was annotated: "not drawn: 3
    times a point, which has no area"."""
    yield from dict.fromkeys(note for drawing in drawings for note in drawing.notes)
    yield from _left_out(drawings)
    names = {shape.name for drawing in drawings for shape in drawing.shapes}
    alike = Counter(name.lower() for name in names)
    if doubled := sorted(name for name in names if alike[name.lower()] > 1):
        yield (
            f"classes that differ in capital letters alone: {', '.join(doubled)}; if they are one, write them alike in "
            "the annotations"
        )
    plain = sorted(name for name in names - {*classes[1:]} if _is_background(name))
    if plain:
        yield f"background, as it is drawn so: objects of {', '.join(plain)}"
    void = sorted(name for name in names - {*classes} if _is_void(name))
    if void:
        yield f"left out of training and scores, as they are called so: objects of {', '.join(void)}"
    if strange := names - {*classes, *plain, *void}:
        yield f"background, as --classes does not name them: {', '.join(sorted(strange))}"


def numbers_of(drawings: Sequence[Drawing], classes: Sequence[str]) -> dict[str, int]:
    """The number that each name is drawn with: also 0, for what is drawn as background lies before what it covers, and
    255 for what belongs to no class (LabelMe's `__ignore__`), unless it is one of `classes`."""
    names = {shape.name for drawing in drawings for shape in drawing.shapes}
    plain = {name: 0 for name in names if _is_background(name)} | {name: IGNORE for name in names if _is_void(name)}
    return plain | {name: number for number, name in enumerate(classes)}


def _is_background(name: str) -> bool:
    return name.strip("_").lower() == "background"


def _is_void(name: str) -> bool:
    return name.strip("_").lower() in UNNAMED


def _left_out(drawings: Sequence[Drawing]) -> Iterator[str]:
    for what, number in Counter(what for drawing in drawings for what in drawing.left_out).items():
        yield f"not drawn: {number} times {what}"
