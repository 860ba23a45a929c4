"""Data sets with a mask per object: which masks belong to which image, and one mask made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkd.datasets.called import image_of
from segkd.datasets.patterns import find_named, start_of
from segkd.datasets.pictures import read_mask
from segkd.datasets.prepare.looks import mask_words, two_valued
from segkd.datasets.prepare.written import overlaid
from segkd.datasets.walk import pictures, walk


@dataclass(frozen=True)
class Objects:
    """The pattern that finds the images below the root, and by the name of each the masks of its objects."""

    images: str
    masks: dict[str, list[Path]]

    @property
    def said(self) -> str:
        """The sentence on what was found."""
        number = sum(map(len, self.masks.values()))
        name, some = next((name, some) for name, some in self.masks.items() if len(some) > 1)
        return f"{number} masks of objects for {len(self.masks)} images, such as {len(some)} for {name}"


def find_objects(root: Path) -> Objects | None:
    """The objects of a folder: ID/images/ID.png with ID/masks/*.png, images/ID.jpg with masks/ID/*.png, or ID.png with
    ID_mask.png and ID_mask_1.png.

    None unless some image has several masks, and nearly all have one; where each has a folder of masks, unless nearly
    all of these folders, and half of the images, have a partner.
    """
    homes: dict[Path, list[Path]] = {}
    for path in walk(root, pictures()).files:
        homes.setdefault(path.parent, []).append(path)
    return _beside(root, homes) or _named_like(root, homes) or _numbered(root, homes)


def joined(masks: Sequence[Path]) -> np.ndarray:
    """One mask, uint8 [h w], 1 where any of the objects is. Raises InputError naming the mask that does not fit."""
    return overlaid((1, path, read_mask(path)) for path in masks)


def _beside(root: Path, homes: dict[Path, list[Path]]) -> Objects | None:
    masks = {folder: files for folder, files in homes.items() if mask_words(folder.name)}
    found: dict[Path, list[Path]] = {}
    for folder, files in masks.items():
        images = [
            some[0] for home, some in homes.items() if home.parent == folder.parent != root and home != folder
            and len(some) == 1 and not mask_words(home.name)
        ]  # fmt: skip
        if len(images) == 1:
            found[images[0]] = files
    if not _enough(found, len(masks)):
        return None
    kinds = {image.parent.name for image in found}
    base = start_of(image.parent.parent.parent.relative_to(root).as_posix() for image in found)
    pattern = f"{base}**/{next(iter(kinds))}/{{}}" if len(kinds) == 1 else f"{base}**/{{}}"
    return _of(root, pattern, found) or _of(root, f"{base}{{}}/{next(iter(kinds))}/*{next(iter(found)).suffix}", found)


def _named_like(root: Path, homes: dict[Path, list[Path]]) -> Objects | None:
    folders = {folder.name: files for folder, files in homes.items() if folder != root}
    stems = {path.stem for files in homes.values() for path in files}
    found = {
        image: folders[image.stem]
        for folder, files in homes.items()
        if folder.name not in stems and not mask_words(folder.name)
        for image in files
        if image.stem in folders
    }
    places = {image.parent for image in found}
    if len(places) != 1 or 2 * len(found) < len(homes[min(places)]):  # an image without objects may have no folder
        return None
    images = {path.stem for path in homes[min(places)]}
    parents = {files[0].parent.parent for files in found.values()}
    beside = [home for home in homes if home.parent in parents and home not in places]
    of_classes = all(images <= {path.stem for path in files} for files in found.values())  # 1, 2: a mask of each image
    if of_classes or not _enough(found, len(beside)):
        return None
    return _of(root, next(iter(found)).parent.relative_to(root).as_posix(), found)


def _numbered(root: Path, homes: dict[Path, list[Path]]) -> Objects | None:
    """Where each image has a mask without a number, and some have further ones."""
    found: dict[Path, list[Path]] = {}
    masks, plain = set(), 0
    for files in homes.values():
        by_stem = {path.stem: path for path in files}
        for path in files:
            of = image_of(path.stem)
            if of is not None and of[0] in by_stem:
                found.setdefault(by_stem[of[0]], []).append(path)
                masks.add(path)
                plain += not of[1]
    # a_mask and a_label are two kinds of masks; those of classes are no objects
    if plain > len(found) or not two_valued(sorted(masks)):
        return None
    number = sum(map(len, homes.values())) - len(masks)
    endings = {path.suffix for path in found}
    if masks & found.keys() or plain < len(found) or not _enough(found, number):
        return None
    ending = next(iter(endings)) if len(endings) == 1 else ""
    return _of(root, f"{start_of(path.parent.relative_to(root).as_posix() for path in found)}{{}}{ending}", found)


def _enough(found: dict[Path, list[Path]], homes: int) -> bool:
    return len(found) > 1 and len(found) >= 0.9 * homes and any(len(files) > 1 for files in found.values())


def _of(root: Path, pattern: str, found: dict[Path, list[Path]]) -> Objects | None:
    """The objects by the names that a pattern gives to the images; None where two images share one."""
    named = find_named(root, pattern, "images")
    masks = {name: found[path] for name, path in named.files.items() if path in found}
    return Objects(pattern, masks) if len(masks) == len(found) else None
