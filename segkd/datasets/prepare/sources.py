"""Where images and masks come from: a mask per object, masks as they lie, or annotations that are drawn."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkd.datasets.annotations import CURES, KAGGLE
from segkd.datasets.dicom import find_dicom
from segkd.datasets.packed import File
from segkd.datasets.patterns import start_of
from segkd.datasets.pictures import open_picture
from segkd.datasets.prepare.annotated import (
    READERS,
    classes_of,
    find_annotations,
    not_drawn,
    numbers_of,
    read_annotations,
)
from segkd.datasets.prepare.draft import Draft, names_of
from segkd.datasets.prepare.drawing import Drawing
from segkd.datasets.prepare.fitting import mask_of, perhaps_resized, perhaps_stored
from segkd.datasets.prepare.kaggle import Order, is_submission, settle_order
from segkd.datasets.prepare.layouts import Layout, find_layout
from segkd.datasets.prepare.looks import other_words
from segkd.datasets.prepare.objects import find_objects, joined
from segkd.datasets.prepare.passed_over import channels_apart, left_out, passed_over
from segkd.datasets.prepare.pictured import images_of
from segkd.datasets.prepare.several import find_several, masks_of, offered
from segkd.datasets.prepare.splitting import sibling_splits, split_lists
from segkd.datasets.prepare.written import write_masks
from segkd.datasets.prepare.yolo import refuse_nearly_yolo
from segkd.datasets.split_folders import Where, pair_all
from segkd.datasets.walk import GLANCE, PACKED, pictures, walk
from segkd.types import InputError, some

OF_OBJECTS = ("instance", "panoptic")
"""What the names of folders hold whose masks tell objects, not classes."""

OF_TASKS = re.compile(r"task-\d+-annotation-\d+-by-")
"""How Label Studio calls its masks."""

VOLUMES = "volumes (NIfTI): save their slices as PNG of 8 or 16 bits, those of image and mask under one name"

OUTLINES = (
    "outlines on a map: burn them into a grid of each image's size and place, class numbers as values "
    "(gdal_rasterize), and save these as PNG or TIFF named like the images"
)

ARRAYS = "NumPy arrays: save images and masks in them as PNG under one name (Image.fromarray(array).save(name))"

OTHERS = {
    ".nii": VOLUMES,
    ".nii.gz": VOLUMES,
    **dict.fromkeys(PACKED, "packed files: unpack them"),
    **dict.fromkeys((".shp", ".geojson", ".gpkg"), OUTLINES),
    ".mat": "MATLAB files: save the masks in them as PNG named like their images (scipy.io.loadmat reads them)",
    ".h5": "HDF5 files: save images and masks in them as PNG under one name (h5py reads them)",
    ".npy": ARRAYS,
    ".npz": ARRAYS,
    ".arrow": "Arrow files of Hugging Face: save them as Parquet (datasets.load_from_disk, to_parquet), and train on "
    "these with --data.parquet FOLDER",
    ".parquet": "Parquet shards: train on them as they are, with --data.parquet FOLDER (docs/data.md)",
    ".ndjson": "annotations of Labelbox: export the project as COCO, which is drawn",
}
"""What else data sets lie in, by ending, and what to do."""


@dataclass(frozen=True)
class Told:
    """What the user says: patterns of images and of masks (several for a class each), where the annotations are, the
    classes' names, and which way run lengths are counted."""

    images: str | None = None
    masks: Sequence[str] = ()
    annotations: Path | None = None
    classes: Sequence[str] | None = None
    runs: Order = "auto"


def lay_out(draft: Draft, told: Told, say: Callable[[str], None]) -> list[str] | None:
    """Puts images, masks and lists into the draft, and makes the masks that there are not.

    Returns:
        the names of the classes where the source tells them, the background first.

    Raises:
        InputError: nothing is found that belongs together, or what is told has no effect.
    """
    classes = _found(draft, told, say)
    data = draft.data()
    where = Where(draft.root, data.images, data.masks)
    paired = pair_all(where)
    lists, said = split_lists(draft.root, paired, draft.beside)
    siblings, further = sibling_splits(where, paired) if not lists.keys() - {"train"} else ({}, [])
    for sentence in [said] * bool(said) + [f"{name} is the folder {folder}" for name, folder in siblings.items()]:
        say(sentence)
    for name, place in [*lists.items(), *siblings.items()]:
        draft.take(name, place)
    if not Path(data.masks).is_relative_to(draft.beside.absolute()):
        for sentence in passed_over(draft.root, paired, further, draft.beside):
            say(sentence)
    return classes


def _found(draft: Draft, told: Told, say: Callable[[str], None]) -> list[str] | None:
    if told.annotations is not None:
        return _drawn(draft, told, set(), say)
    if len(told.masks) > 1:
        return _several(draft, told, say)
    nothing_told = not told.images and not told.masks
    if nothing_told and (objects := find_objects(draft.root)) is not None:
        folder = draft.beside / "masks"
        say(f"found: {objects.said}; they are joined to one class in {folder}")
        write_masks(folder, ((name, joined(masks)) for name, masks in objects.masks.items()))
        draft.take("images", objects.images)
        draft.take("masks", folder)
        return None
    layout = find_layout(draft.root, told.images, next(iter(told.masks), None))
    if layout is None:
        return _drawn(draft, told, set(), say)
    if nothing_told and _of_others(layout):
        with suppress(InputError):  # annotations that name the classes are better, where they can be drawn
            return _drawn(draft, told, {pair.mask for pair in layout.paired.pairs}, say)
    say(f"found: {layout.said}")
    if layout.beside:
        say(offered([layout.masks, *layout.beside]))
    for rival in layout.rivals:
        say(f"{rival} would fit as well: to take it, say --images and --masks")
    draft.take("images", layout.images)
    draft.take("masks", layout.masks)
    return None


def _several(draft: Draft, told: Told, say: Callable[[str], None]) -> list[str]:
    """Makes one mask of several for each image; the names of the classes."""
    found = find_several(draft.root, told.images, told.masks, told.classes)
    draft.take("images", found.images)
    folder = draft.beside / "masks"
    write_masks(folder, masks_of(found, names_of(draft, list(found.masks))))
    draft.take("masks", folder)
    say(
        f"found: {sum(map(len, found.masks.values()))} masks of {', '.join(found.classes[1:])} for {len(found.masks)} "
        f"images; they are made one, later ones over earlier, in {folder}"
    )
    return found.classes


def _of_others(layout: Layout) -> bool:
    """Whether masks are called after something else than classes, or lie in folders that are called after objects."""
    return (
        other_words(layout.masks) > 0
        or other_words(layout.paired.pairs[0].paths[1].relative_to(layout.root).as_posix(), OF_OBJECTS) > 0
    )


def _drawn(draft: Draft, told: Told, masks: set[File], say: Callable[[str], None]) -> list[str]:
    """Draws annotations, of pictures that are none of the `masks`; the names of the classes."""
    kind, found, home = _annotations(draft.root, told.annotations)
    paths = found[kind]
    _refuse_without_effect(told, paths[0])
    drawings, names = read_annotations(kind, paths, home)
    classes = classes_of(drawings, names, told.classes)
    images = images_of(draft.root, drawings, masks, f"{kind} annotations ({paths[0]})")
    endings = {path.suffix for path in images}
    start = start_of(path.parent.relative_to(draft.root).as_posix() for path in images)
    draft.take("images", f"{start}{{}}{min(endings) if len(endings) == 1 else ''}")
    named = names_of(draft, list(images))
    folder = draft.beside / "masks"
    rows = ""
    if kind == KAGGLE:
        sizes = {path: drawing.size or open_picture(path).size[::-1] for path, drawing in images.items()}
        rows = settle_order(images, sizes, told.runs)
    scaled: list[Path] = []
    drawn = _masks(images, numbers_of(drawings, classes), scaled)
    write_masks(folder, ((named[path], mask) for path, mask in drawn))
    draft.take("masks", folder)
    shapes = sum(len(drawing.shapes) for drawing in drawings)
    say(
        f"found: {kind} annotations in {len(paths)} {'file' if len(paths) == 1 else 'files'}: {shapes} objects of "
        f"{some([*dict.fromkeys(names)], 8)} on {len(images)} images; they are drawn, small before large, in {folder}"
    )
    doubts = [rows, left_out(images, kind), _scaled(scaled), perhaps_stored(images), perhaps_resized(images)]
    for sentence in filter(None, [*doubts, *not_drawn(drawings, classes), *_others(kind, found)]):
        say(sentence)
    return classes


def _refuse_without_effect(told: Told, drawn: Path) -> None:
    """Annotations name their images, and masks are drawn from them."""
    for option, places in (("--masks", told.masks), ("--images", [told.images] if told.images else [])):
        if places:
            raise InputError(
                f"{option} {' '.join(places)} has no effect where annotations are drawn ({drawn}), which name their "
                "images: leave it out; or, if masks are meant that lie there, correct it and leave --annotations out."
            )


def _others(kind: str, found: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """The sentences on annotations of other kinds than the one that is drawn."""
    for other, every in found.items():
        paths = [path for path in every if not is_submission(path)]
        if other != kind and other in READERS and paths:
            place = paths[0] if len(paths) == 1 else paths[0].parent
            yield f"{place} holds {other} annotations, which are not used: to draw those, say --annotations {place}"


def _annotations(root: Path, told: Path | None) -> tuple[str, dict[str, list[Path]], Path]:
    """The kind of the annotations below the root, or at a place that is told, the files of each kind there, and the
    folder that these are named from."""
    place = home = root
    if told is not None:
        if not told.exists():
            raise InputError(f"--annotations {told}: expected an annotation file or a folder of them, found nothing "
                             "there. Correct the path; what lies below the folder is found without it.")  # fmt: skip
        place, home = told.resolve(), root.resolve()
        if not place.is_relative_to(home):
            home = place if place.is_dir() else place.parent
    found = find_annotations(place, root)
    kind = next((kind for kind in READERS if kind in found), None)
    if kind is None:
        raise _nothing(place, found)
    return kind, found, home


def _masks(
    images: Mapping[Path, Drawing], numbers: Mapping[str, int], scaled: list[Path]
) -> Iterator[tuple[Path, np.ndarray]]:
    """The mask of each image; those whose drawing was scaled are noted."""
    for path, drawing in images.items():
        mask, was_scaled = mask_of(path, drawing, numbers)
        scaled += [path] * was_scaled
        yield path, mask


def _scaled(paths: Sequence[Path]) -> str:
    if not paths:
        return ""
    return (
        f"{len(paths)} images have another size than their annotations say ({some([path.name for path in paths])}), "
        "but the same proportions: the outlines are scaled to them"
    )


def _nothing(root: Path, found: Mapping[str, Sequence[Path]]) -> InputError:
    if found:
        kind, paths = next(iter(found.items()))
        return InputError(f"{paths[0]} holds {kind} annotations, and there are no masks; {CURES[kind]}.")
    if scans := find_dicom(root):
        return InputError(f"{scans}.")
    refuse_nearly_yolo(root)
    if told := channels_apart(root):
        return InputError(f"{told}.")
    for path in walk(root, {ending for ending in OTHERS if ending.count(".") == 1}, GLANCE).files:
        told = next((told for ending, told in OTHERS.items() if path.name.lower().endswith(ending)), "")
        if told:
            return InputError(f"{root}: found no images with masks, but {told}, such as {path}.")
    if tasks := [path for path in walk(root, pictures(), GLANCE).files if OF_TASKS.match(path.name)]:
        return InputError(
            f"{tasks[0]}: found masks of Label Studio, whose names tell tasks, but no images: export the project once "
            "more as COCO, which is drawn."
        )
    return InputError(
        f"{root}: found no images with masks whose names belong together, and no annotations (COCO, CVAT, LabelMe, "
        "YOLO, VIA, run lengths). "
        "Say where they are: --images 'photos/{}.jpg' --masks 'masks/{}_mask.png', where {} is the name they share."
    )
