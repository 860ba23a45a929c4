"""What `segkd prepare` makes: masks of class numbers, and lists of names."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from segkd.datasets.audit import OTHER_SIZE, Audit
from segkd.datasets.geometry import in_pixels
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import open_picture
from segkd.datasets.unfit import Unfit
from segkd.disk import write_whole
from segkd.types import InputError

PROPORTION = 0.03
"""How far the proportions of two sizes may differ for one to be a smaller copy of the other: sides are rounded."""


def write_masks(folder: Path, masks: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes masks (names, uint8 or uint16 [h w]) as PNG files below a folder."""
    for name, mask in masks:
        write_whole(folder / f"{name}.png", partial(Image.fromarray(mask).save, format="PNG"))


def overlaid(masks: Iterable[tuple[int, Path, np.ndarray]]) -> np.ndarray:
    """One mask, uint8 [h w], of several of an image, each with its number and the file that its values come from: the
    number of the last that is above the middle of its own values (of one value, and it is not 0, everywhere), else 0.

    Raises:
        InputError: names the file of a mask that has another size than the first.
    """
    whole: np.ndarray | None = None
    for number, path, raw in masks:
        whole = np.zeros(raw.shape, np.uint8) if whole is None else whole
        if whole.shape != raw.shape:
            raise InputError(
                f"{path}: expected {in_pixels(whole.shape)} pixels like the other masks of this image, found "
                f"{in_pixels(raw.shape)}. Leave this image out, or bring its masks to one size."
            )
        low, high = int(raw.min()), int(raw.max())
        whole[raw > (high + low * (low < high)) // 2] = number
    assert whole is not None
    return whole


def write_lists(folder: Path, lists: Mapping[str, Sequence[str]], before: str = "") -> dict[str, Path]:
    """Writes the list of each split, a name a line, as `folder`/SPLIT.txt, with something `before` its name."""
    paths = {split: folder / f"{before}{split}.txt" for split in lists}
    for split, path in paths.items():
        write_whole(path, "".join(f"{name}\n" for name in lists[split]))
    return paths


def smaller(audit: Audit, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs whose mask has another size than the image, but its proportions."""
    faults = ((pair, audit.faults.get(pair.stem)) for pair in pairs)
    other = [pair for pair, fault in faults if isinstance(fault, Unfit) and fault.kind == OTHER_SIZE]
    return [pair for pair in other if same_proportions(open_picture(pair.image).size, open_picture(pair.mask).size)]


def same_proportions(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a picture of one size may be a larger or smaller copy of one of the other."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= PROPORTION
