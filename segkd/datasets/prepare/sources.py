"""Where images and masks come from: a mask per object, masks as they lie, or annotations that are drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path

import numpy as np

from segkd.datasets.annotations import CURES
from segkd.datasets.dicom import find_dicom
from segkd.datasets.lists import Entry, Names
from segkd.datasets.pictures import open_picture
from segkd.datasets.prepare.annotated import READERS, find_annotations, left_out
from segkd.datasets.prepare.draft import Draft, names_of
from segkd.datasets.prepare.drawing import Drawing, draw
from segkd.datasets.prepare.kaggle import KAGGLE, Order, settle_order
from segkd.datasets.prepare.layouts import find_layout
from segkd.datasets.prepare.objects import find_objects, joined
from segkd.datasets.prepare.splitting import split_lists
from segkd.datasets.prepare.written import write_masks
from segkd.datasets.split_folders import Where, pair_all
from segkd.datasets.unfit import some
from segkd.datasets.walk import pictures, walk
from segkd.types import InputError


@dataclass(frozen=True)
class Told:
    """What the user says: patterns of images and masks, where the annotations are, the classes' names, and which way
    run lengths are counted."""

    images: str | None = None
    masks: str | None = None
    annotations: Path | None = None
    classes: Sequence[str] | None = None
    runs: Order = "auto"


def lay_out(draft: Draft, told: Told, say: Callable[[str], None]) -> list[str] | None:
    """Puts images, masks and lists into the draft, and makes the masks that there are not.

    Returns:
        the names of the classes where the source tells them, the background first.

    Raises:
        InputError: nothing is found that belongs together.
    """
    classes = _found(draft, told, say)
    data = draft.data()
    paired = pair_all(Where(draft.root, data.images, data.masks))
    lists, said = split_lists(draft.root, paired, draft.beside)
    if said:
        say(said)
    for name, path in lists.items():
        draft.take(name, path)
    return classes


def _found(draft: Draft, told: Told, say: Callable[[str], None]) -> list[str] | None:
    root, folder = draft.root, draft.beside / "masks"
    if told.annotations is None:
        objects = None if told.images or told.masks else find_objects(root)
        if objects is not None:
            say(f"found: {objects.said}; they are joined to one class in {folder}")
            write_masks(folder, ((name, joined(masks)) for name, masks in objects.masks.items()))
            draft.take("images", objects.images)
            draft.take("masks", folder)
            return None
        layout = find_layout(root, told.images, told.masks)
        if layout is not None:
            say(f"found: {layout.said}")
            for rival in layout.rivals:
                say(f"{rival} would fit as well: to take it, say --images and --masks")
            draft.take("images", layout.images)
            draft.take("masks", layout.masks)
            return None
    found = find_annotations(told.annotations or root)
    kind = next((kind for kind in READERS if kind in found), None)
    if kind is None:
        raise _nothing(root, found)
    return _drawn(draft, told, kind, found[kind], say)


def _drawn(draft: Draft, told: Told, kind: str, paths: Sequence[Path], say: Callable[[str], None]) -> list[str]:
    """Draws annotations; the names of the classes."""
    drawings, names = READERS[kind](paths, told.annotations if told.annotations and _is_dir(told) else draft.root)
    classes = (
        list(told.classes) if told.classes is not None else ["background", *(n for n in names if n != "background")]
    )
    numbers = {name: number for number, name in enumerate(classes) if number}
    images = _images_of(draft, drawings, f"{kind} annotations ({paths[0]})")
    endings = {path.suffix for path in images}
    pattern = f"{{}}{next(iter(endings))}" if len(endings) == 1 else "{}"
    home = Path(commonpath([path.parent for path in images])).relative_to(draft.root).as_posix()
    draft.take("images", pattern if home == "." else f"{home}/{pattern}")
    named = names_of(draft, list(images))
    folder = draft.beside / "masks"
    order = ""
    if kind == KAGGLE:
        order = settle_order(images, {path: open_picture(path).size[::-1] for path in images}, told.runs)
    write_masks(folder, ((named[path], _mask(path, drawing, numbers)) for path, drawing in images.items()))
    draft.take("masks", folder)
    shapes = sum(len(drawing.shapes) for drawing in drawings)
    say(
        f"found: {kind} annotations in {len(paths)} {'file' if len(paths) == 1 else 'files'}: {shapes} objects of "
        f"{some(names, 8)} on {len(images)} images; they are drawn, small before large, in {folder}"
    )
    if order:
        say(order)
    for sentence in left_out(drawings):
        say(f"not drawn, as it has no area: {sentence}")
    strange = {shape.name for drawing in drawings for shape in drawing.shapes} - numbers.keys()
    if strange:
        say(f"background, as --classes does not name them: {', '.join(sorted(strange))}")
    return classes


def _images_of(draft: Draft, drawings: Sequence[Drawing], what: str) -> dict[Path, Drawing]:
    """The image file of each drawing that has one."""
    files = walk(draft.root, pictures()).files
    by_name = {path.relative_to(draft.root).as_posix(): path for path in files}
    known = Names([Entry(name, (name,)) for name in by_name])
    found, missing = {}, []
    for drawing in drawings:
        name = known.find(drawing.file)
        if name is None:
            missing.append(drawing.file)
        else:
            found[by_name[name]] = drawing
    if missing:
        raise InputError(
            f"{what}: expected the images that they name below {draft.root}, found none or several of these names for "
            f"{len(missing)} of {len(drawings)}: {some(missing)}. "
            + (find_dicom(draft.root) or "Add them, or give the folder that holds both")
            + "."
        )
    return found


def _mask(path: Path, drawing: Drawing, numbers: Mapping[str, int]) -> np.ndarray:
    width, height = open_picture(path).size
    try:
        return draw(drawing, (height, width), numbers)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _nothing(root: Path, found: Mapping[str, Sequence[Path]]) -> InputError:
    if found:
        kind, paths = next(iter(found.items()))
        return InputError(f"{paths[0]} holds {kind} annotations, and there are no masks; {CURES[kind]}.")
    if scans := find_dicom(root):
        return InputError(f"{scans}.")
    return InputError(
        f"{root}: found no images with masks whose names belong together, and no annotations (COCO, CVAT, LabelMe, "
        "YOLO, VIA, run lengths). "
        "Say where they are: --images 'photos/{}.jpg' --masks 'masks/{}_mask.png', where {} is the name they share."
    )
