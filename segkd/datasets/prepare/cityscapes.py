"""Cityscapes as it is downloaded: which of its files are images and labels, and what its numbers mean."""

import re
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

IMAGE = "_leftImg8bit"
"""What the names of the images end with."""

KINDS = ("labelTrainIds", "labelIds")
"""The labels that are read, those that its scripts have made first; instances and colours are no labels."""

NUMBERS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
"""The classes that its benchmark scores, in the order of their train ids, and the ids of labelIds."""

IDS = 34
"""Ids of labelIds: 0..33."""


def patterns(files: Iterable[PurePosixPath]) -> tuple[str, str] | None:
    """`data.images` and `data.masks` of files BASE/SPLIT/CITY/NAME_leftImg8bit.png with OTHER/SPLIT/CITY/
    NAME_gtFine_labelIds.png, wherever the two folders lie; None where there are none, or several such folders."""
    some = list(files)
    images = _pattern(some, IMAGE)
    masks = next(filter(None, (_pattern(some, f"_gtFine_{kind}") for kind in KINDS)), None)
    return (images, masks) if images and masks else None


def names_of(masks: str, values: Collection[int]) -> tuple[dict[int, str], list[int]] | None:
    """The class of each value in the masks of a pattern that `patterns` gave, and the values to leave out; None of
    another pattern, and of masks with other `values`: other data sets call their labels so."""
    match = re.search(r"_gtFine_(\w+)\.png$", masks)
    if match is None or match[1] not in KINDS:
        return None
    numbers, ignore = list(NUMBERS.values()), [number for number in range(IDS) if number not in NUMBERS.values()]
    if match[1] == "labelTrainIds":
        numbers, ignore = list(range(len(NUMBERS))), [255]
    return (dict(zip(numbers, NUMBERS)), ignore) if set(values) <= {*numbers, *ignore} else None


def _pattern(files: Iterable[PurePosixPath], end: str) -> str | None:
    found = [path for path in files if path.stem.endswith(end) and path.suffix == ".png" and len(path.parts) > 2]
    bases = {"/".join(path.parts[:-3]) for path in found}
    return f"{'/'.join([*filter(None, bases), ''])}{{}}{end}.png" if len(bases) == 1 else None
