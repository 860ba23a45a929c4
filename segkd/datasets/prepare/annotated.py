"""Where annotations lie that can be drawn, what reads each kind, and what of them is left out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from segkd.datasets.annotations import kind_of
from segkd.datasets.prepare.coco import read_coco
from segkd.datasets.prepare.cvat import read_cvat
from segkd.datasets.prepare.drawing import Drawing, Read
from segkd.datasets.prepare.kaggle import KAGGLE, read_kaggle
from segkd.datasets.prepare.labelme import read_labelme
from segkd.datasets.prepare.via import read_via
from segkd.datasets.prepare.yolo import read_yolo
from segkd.datasets.walk import pictures, walk
from segkd.types import InputError

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
    files = walk(place, {".json", ".xml", ".txt", ".csv"}).files
    for path in files:
        if kind := kind_of(path):
            found.setdefault(kind, []).append(path)
    if tables := [path for path in found.get(KAGGLE, []) if "submission" not in path.stem.lower()]:
        found[KAGGLE] = tables
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
    if not drawings:
        why = NO_DRAWINGS.get(kind, "export the annotations once more")
        raise InputError(f"{paths[0]}: expected {kind} annotations of images, found none that can be drawn; {why}.")
    return drawings, names


def left_out(drawings: Sequence[Drawing]) -> Iterator[str]:
    """What was not read, in words: "3 times a polyline, which has no area"."""
    every = [what for drawing in drawings for what in drawing.left_out]
    for what in dict.fromkeys(every):
        yield f"{every.count(what)} times {what}"
