"""COCO: one file for many images, with polygons or run lengths for each object."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segkd.datasets.geometry import in_pixels
from segkd.datasets.prepare.drawing import (
    BOX,
    Drawing,
    Part,
    Read,
    Runs,
    beside,
    counts_of,
    faults_of,
    polygon,
    stated,
)
from segkd.datasets.prepare.united import United
from segkd.disk import read_json
from segkd.types import InputError


@dataclass
class _Image:
    id: int | str
    file_name: str
    height: Any = None
    width: Any = None


@dataclass
class _Object:
    image_id: int | str
    category_id: int | str | None = None
    segmentation: Any = None


@dataclass
class _Category:
    id: int | str
    name: str
    supercategory: Any = None


@dataclass
class _Coco:
    images: list[_Image]
    annotations: list[_Object] = field(default_factory=list)
    categories: list[_Category] = field(default_factory=list)


def read_coco(paths: Sequence[Path], root: Path) -> Read:
    """COCO: polygons, and run lengths, plain or compressed. Files without outlines are passed over.

    Classes are told apart by their names, as each file numbers its own. Objects of a category that the file does not
    name are of the class "class2" for the number 2; without any category they are of one class, "foreground".
    A category without objects that others have as their supercategory (Roboflow's first) is a heading, and no class.
    """
    united = United()
    classes: list[str] = []
    heads, used = set[str](), set[str]()
    for path in paths:
        content: _Coco = read_json(path, _Coco, "a COCO file with images, annotations and categories")
        if not any(one.segmentation for one in content.annotations):
            continue
        ordered = sorted(content.categories, key=lambda category: (not isinstance(category.id, int), category.id))
        names = {str(category.id): category.name.strip() for category in ordered}
        classes += names.values()
        heads |= {one.supercategory for one in ordered if one.supercategory in names.values()} - {
            one.name for one in ordered if one.name == one.supercategory
        }
        by_id = _drawings(path, content.images, root)
        for one in content.annotations:
            drawing = by_id.get(str(one.image_id))
            if drawing is None:
                raise InputError(f"{path}: expected annotations of images in the file, found image_id {one.image_id}, "
                                 "which none has. Export the annotations once more.")  # fmt: skip
            if not one.segmentation:
                drawing.left_out.append(BOX)
                continue
            classes.append(name := _class_of(path, one, names))
            used.add(name)
            with faults_of(path, drawing.file):
                drawing.take(name, _parts(one.segmentation, drawing))
        united.add(path, {drawing.file: drawing for drawing in by_id.values()}.values())
    return list(united.drawings.values()), [
        name for name in dict.fromkeys(classes) if name in used or name not in heads
    ]


def _drawings(path: Path, images: Sequence[_Image], root: Path) -> dict[str, Drawing]:
    """The drawing of each image's number in one file, as text: some tools write 7 here and "7" there. An image of two
    numbers has one."""
    by_id: dict[str, Drawing] = {}
    drawings: dict[str, Drawing] = {}
    for image in images:
        file = beside(path, image.file_name, root)
        drawing = drawings.setdefault(file, Drawing(file))
        if by_id.setdefault(str(image.id), drawing) is not drawing:
            raise InputError(
                f"{path}: expected an id of its own for each image, found id {image.id} for "
                f"{by_id[str(image.id)].file} and for {file}, so that it is not known whose the objects are. Number "
                "the images anew, or export them once more."
            )
        size = stated(image.height, image.width)
        if size is not None and drawing.size not in (None, size):
            raise InputError(f"{path}: {file}: expected {in_pixels(drawing.size)} pixels as the file says elsewhere, "
                             f"found {in_pixels(size)}. Take one of both out, or export once more.")  # fmt: skip
        drawing.size = drawing.size or size
    return by_id


def _class_of(path: Path, one: _Object, names: dict[str, str]) -> str:
    if one.category_id is None:
        if names:
            raise InputError(f"{path}: expected a category_id of each object, as the file names categories, found none "
                             f"for an object of image_id {one.image_id}. Add it, or export once more.")  # fmt: skip
        return "foreground"
    return names.get(str(one.category_id), f"class{one.category_id}")


def _parts(segmentation: Any, drawing: Drawing) -> Iterator[Part | str]:
    """The parts of an object; run lengths are of the whole image, and tell its size where nothing else does."""
    if isinstance(segmentation, list):
        alone = all(isinstance(part, int | float) for part in segmentation)  # one outline, without a list around it
        yield from map(polygon, [segmentation] if alone else segmentation)
        return
    height, width = map(int, segmentation["size"])
    drawing.size = drawing.size or (height, width)
    if (height, width) != drawing.size:
        raise InputError(f"run lengths: expected those of the whole image, {in_pixels(drawing.size)} pixels, "
                         f"found {in_pixels((height, width))}. Export the annotations once more.")  # fmt: skip
    counts = segmentation["counts"]
    runs = counts_of(counts) if isinstance(counts, str) else tuple(map(int, counts))
    yield Runs(runs, (0, 0, height, width), by_columns=True)
