"""Settings that suit a data set and this machine: input size, crops, turns."""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt

import numpy as np

from segkd.datasets.labels import resize_label

SIDE_CPU = 160
"""Side of the square that as many pixels fill as a CPU trains on in good time."""

SIDE_ACCELERATOR = 384
"""Likewise for an accelerator."""

LARGEST = 768
"""Side of the square beyond which no input is proposed."""

MULTIPLE = 32
"""Inputs are multiples of what encoders shrink by."""

LOST = 0.02
"""Share of the masks that may lose a class at the proposed size before a larger one is tried."""

TURNING = ("cell", "nucle", "micro", "histo", "patho", "aerial", "satel", "drone", "uav", "tile", "remote", "blood")
"""What names of data sets that have no up and no down contain, in small letters."""


def propose_size(
    shapes: Sequence[tuple[int, int]], side: int, lost: Callable[[tuple[int, int]], float]
) -> tuple[tuple[int, int], str]:
    """Height and width to train at, and why.

    The aspect is the median image's; the area is that of a square of `side` pixels, but not more than the images have,
    and larger where masks would lose all of a class.

    Args:
        shapes: height and width of the images.
        side: of the square with the area to begin with.
        lost: the share of the masks that lose a class at a size.
    """
    height, width = (int(np.median([shape[at] for shape in shapes])) for at in (0, 1))
    aspect = width / height
    aspect = 1.0 if 0.8 <= aspect <= 1.25 else aspect
    area = min(side**2, height * width)
    size = _rounded(area, aspect)
    why = f"images are {height}x{width} (median)"
    share = lost(size)
    while share > LOST and area < min(height * width, LARGEST**2):
        area = min(2 * area, height * width, LARGEST**2)
        if _rounded(area, aspect) == size:
            continue
        before, size = size, _rounded(area, aspect)
        why += f"; at {before[0]}x{before[1]} {100 * share:.0f} % of the masks lose a class"
        share = lost(size)
    return size, why


def propose_turns(texts: Sequence[str], size: tuple[int, int]) -> str:
    """The sentence that offers quarter turns, where a name says that the images have no up and no down; or ""."""
    found = [word for text in texts for word in TURNING if word in text.lower()]
    if not found:
        return ""
    square = "" if size[0] == size[1] else f", with a square data.size ({min(size)})"
    return (
        f"quarter turns and vertical flips would fit images without up and down ({found[0]!r} in the names): write "
        f"augment: {{quarter_turns: true, flip_vertical: true}}{square}"
    )


def lost_share(masks: Mapping[str, np.ndarray], size: tuple[int, int]) -> float:
    """Share of the masks (class numbers, uint8 [h w]) that lose all of a class above 0 at `size`."""
    fewer = 0
    for mask in masks.values():
        before = set(np.unique(mask)) - {0, 255}
        fewer += bool(before - set(np.unique(resize_label(mask, size))))
    return fewer / max(1, len(masks))


def _rounded(area: int, aspect: float) -> tuple[int, int]:
    height = max(MULTIPLE, MULTIPLE * round(sqrt(area / aspect) / MULTIPLE))
    return height, max(MULTIPLE, MULTIPLE * round(height * aspect / MULTIPLE))
