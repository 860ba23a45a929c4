"""Several folders of masks for the same images, a class each: one mask made of them."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from segkd.datasets.pictures import read_mask
from segkd.datasets.prepare.layouts import find_layout
from segkd.datasets.prepare.written import overlaid
from segkd.datasets.split_folders import Where, pair_all
from segkd.types import InputError


@dataclass(frozen=True)
class Several:
    """`data.images`, the masks of each image file by the number of their class 1..k, and the names of k + 1 classes."""

    images: str
    masks: Mapping[Path, Mapping[int, Path]]
    classes: list[str]


def find_several(root: Path, images: str | None, masks: Sequence[str], classes: Sequence[str] | None) -> Several:
    """What the user says with several --masks.

    Args:
        root: the folder.
        images: where the images are, when the user says it.
        masks: where the masks of each class are, in the order of their numbers.
        classes: the names of the background and of each, when the user says them.

    Raises:
        InputError: the images of some are not found, or are others than those of the first; the names are not as many.
    """
    if classes is not None and len(classes) != len(masks) + 1:
        raise InputError(
            f"--classes names {len(classes)} classes ({', '.join(classes)}), but --masks {len(masks)} places: expected "
            f"{len(masks) + 1} names, the background first. Name them, or leave --classes out."
        )
    if images is None:
        layout = find_layout(root, None, masks[0])
        if layout is None:
            raise InputError(
                f"--masks {masks[0]}: found no images below {root} that these masks belong to. Correct it, or say "
                "--images, too."
            )
        images = layout.images
    found: dict[Path, dict[int, Path]] = {}
    for number, place in enumerate(masks, 1):
        pairs = pair_all(Where(root, images, place)).pairs
        if not pairs:
            raise InputError(f"--masks {place}: expected masks of images in {images}, found none. Correct the pattern.")
        for pair in pairs:
            image, mask = pair.paths
            found.setdefault(image, {})[number] = mask
    return Several(images, found, list(classes or ["background", *names_of_places(masks)]))


def offered(masks: Sequence[str]) -> str:
    """The sentence that offers a class for each of several places of masks, the first of which is taken."""
    places = " ".join(f"--masks {shlex.quote(place)}" for place in sorted(masks))
    return (
        f"the same images have other masks, too: {masks[0]} is taken alone. If each is of a class of its own, "
        f"say {places} (later ones lie over earlier); for another alone, name that"
    )


def names_of_places(masks: Sequence[str]) -> list[str]:
    """A name for each place: what it is called where the places differ, without numbers in front."""
    parts = [place.split("/") for place in masks]
    at = next((at for at, some in enumerate(zip(*parts)) if len(set(some)) == len(parts)), 0)
    plain = [PurePosixPath(one[at]).stem if "{}" in one[at] else one[at] for one in parts]
    names = [re.sub(r"^\d*[\W_]+|[\W_]+$", "", text.replace("{}", "")) for text in plain]
    return names if len({*names, "", "background"}) == len(names) + 2 else [f"class{i + 1}" for i in range(len(parts))]


def masks_of(found: Several, names: Mapping[Path, str]) -> Iterator[tuple[str, np.ndarray]]:
    """The mask of each image, by the name that `data.images` gives to it.

    Raises:
        InputError: names the mask that cannot be read, holds more than two values, or has another size.
    """
    for image, masks in found.masks.items():
        yield names[image], overlaid((number, path, _of_one_class(path)) for number, path in masks.items())


def _of_one_class(path: Path) -> np.ndarray:
    raw = read_mask(path)
    if (number := np.unique(raw).size) > 2:
        raise InputError(
            f"{path}: expected a mask of two values, as each of several --masks is of one class, found {number}. Say "
            "--masks once, for one that holds all classes."
        )
    return raw
