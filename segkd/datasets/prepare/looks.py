"""Which of two pictures is the mask: the one with fewer colours."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from segkd.datasets.called import MASK_WORDS
from segkd.datasets.pictures import open_picture, read_mask
from segkd.datasets.walk import ARRAYS
from segkd.types import InputError

SAMPLE = 256
"""Pixels a side that are looked at."""

FLAT = 0.8
"""Share of its pixels that a mask's three most frequent colours have at least."""

CLEAR = 0.02
"""How much flatter one side must be for its looks to decide where names say nothing."""

VERY_CLEAR = 0.2
"""The same where they say the opposite: dark photos are flat, and masks of many objects are not."""

LIKELY = 0.5
"""As `FLAT`, for what is much flatter than the images and called a mask: shares of many classes are even."""

ALIKE = 0.9
"""Share of what any of some masks covers that all of them do, for them to be nearly the same."""

WORDS = (*MASK_WORDS, "_lab", "matte", "target")
"""What the names of folders and files that hold masks contain, in small letters."""

OF_IMAGES = ("image", "img", "rgb", "photo", "jpeg", "original")
"""What the names of folders and files that hold images contain, in small letters."""

SURE = ("truth", "mask")
"""Those of `WORDS` that hardly a folder of images and masks is called by."""

OTHERS = ("edge", "bound", "contour", "skelet", "instance", "panoptic", "depth", "distance", "saliency", "preview",
          "bg", "background")  # fmt: skip
"""What the names of folders and files hold whose masks are of something else than the classes, where there are others
too."""


def flatness(path: Path) -> float:
    """Share of the pixels that have one of the three most frequent colours, 0..1; 0 for a file that is no picture.

    Levels are counted in steps of 16, so that JPEG and smooth edges do not make a mask look like a photo.
    """
    if path.suffix.lower() in ARRAYS:
        return 1.0
    try:
        picture = open_picture(path)
        raw = np.asarray(picture if picture.mode in ("P", "1", "L", "I", "I;16", "F") else picture.convert("RGB"))
    except InputError:
        return 0.0
    few = raw[:: max(1, raw.shape[0] // SAMPLE), :: max(1, raw.shape[1] // SAMPLE)]
    few = few if picture.mode == "F" else few.astype(np.int64)  # heights in metres are no numbers of classes
    if picture.mode in ("L", "RGB", "RGBA", "CMYK", "YCbCr", "LA"):
        few = few // 16
    codes = few if few.ndim == 2 else (few[..., 0] << 16) + (few[..., 1] << 8) + few[..., 2]
    numbers = np.sort(np.unique(codes, return_counts=True)[1])
    return float(numbers[-3:].sum() / numbers.sum())


def mean_flatness(paths: list[Path]) -> float:
    """The mean `flatness` of a few files, spread over all."""
    return float(np.mean([flatness(path) for path in _few(paths)]))


def two_valued(paths: Sequence[Path]) -> bool:
    """Whether a few masks, spread over all, hold two values at most each: no numbers of classes or objects."""
    try:
        return all(len(np.unique(read_mask(path))) <= 2 for path in _few(paths))
    except InputError:
        return False


def all_alike(paths: list[Path]) -> bool:
    """Whether masks are nearly the same in a few files, spread over all: a camera's field of view, not labels."""
    try:
        small = np.stack([_inside(path) for path in _few(paths)])
    except InputError:
        return False
    shared, anywhere = small.all(axis=0).sum(), small.any(axis=0).sum()
    return bool(shared >= ALIKE * anywhere > 0)


def is_turned(images: str, masks: str, left: float, right: float) -> bool | None:
    """Whether of two patterns the first is that of the masks, by their names and the flatness of what lies there; None
    where neither looks like masks."""
    words = mask_words(images) - mask_words(masks)
    turned = left > right if abs(left - right) > (VERY_CLEAR if words else CLEAR) else words > 0
    high, low = (left, right) if turned else (right, left)
    called = words and turned == (words > 0)
    flat = high >= FLAT or (called and high >= max(LIKELY, low + VERY_CLEAR))
    return turned if flat else None


def other_words(text: str, others: Sequence[str] = OTHERS) -> int:
    """How many words of a pattern begin with one of `others`."""
    return sum(word.startswith(tuple(others)) for word in re.split("[^a-z]+", text.lower()))


def called_alike(images: str, masks: str) -> bool:
    """Whether the pattern, or path, of the images sounds like masks as much as that of the masks.

    A name of the file that both share counts for neither, and of folders above both that are called so only SURE words.
    """
    one, other = (PurePosixPath(text).with_suffix("").parts for text in (images, masks))
    if one[-1:] == other[-1:]:
        one, other = one[:-1], other[:-1]
    above = [name for name, _ in takewhile(lambda two: two[0] == two[1], zip(one, other))]
    shared = sum(word in "/".join(above).lower() for word in SURE)
    own, theirs = (shared + mask_words("/".join(parts[len(above) :])) for parts in (one, other))
    return own >= theirs > 0


def mask_words(text: str) -> int:
    """How many of `WORDS` a pattern holds."""
    return sum(word in text.lower() for word in WORDS)


def image_words(text: str) -> int:
    """How many of `OF_IMAGES` a pattern holds."""
    return sum(word in text.lower() for word in OF_IMAGES)


def _few(paths: Sequence[Path]) -> Sequence[Path]:
    """At most eight files, spread over all."""
    return paths[:: max(1, len(paths) // 8)][:8]


def _inside(path: Path) -> np.ndarray:
    """Where a mask of two values has the larger one, bool [64 64]; nowhere in other masks."""
    raw = read_mask(path)
    small = cv2.resize((raw > raw.min()).astype(np.uint8), (64, 64), interpolation=cv2.INTER_NEAREST_EXACT)
    return small.astype(bool) & (np.unique(raw).size == 2)
