"""Masks of several kinds, a file each, in one folder: a_building and a_road, of the image a."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath

from segkd.datasets.naming import SEPARATORS

MOST = 20
"""Kinds beyond which endings are no kinds, but numbers or dates."""

NUMBERED = re.compile(r"[-_. ]\d+$")
"""How the masks of single objects end: a_cat_1, a_cat_2."""


def kinds_between(images: Collection[str], masks: Collection[str]) -> list[str]:
    """How the names of masks end, behind the name of their image, the most frequent ending first.

    Args:
        images: names, which may hold folders and have no extension; `masks` likewise.

    Returns:
        two endings or more, such as ["_building", "_road"]; [] where nearly all masks have one, where some are called
        after no image, or where endings are numbers, as those of single objects are.
    """
    known, found = set(images), Counter[str]()
    for name in masks:
        first = name.rfind("/") + 2
        cuts = (at for at in range(len(name) - 1, first - 1, -1) if name[at] in SEPARATORS and name[:at] in known)
        found[name[next(cuts, len(name)) :]] += 1
    often = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    kinds = [end for end, number in often if number > 1 and re.search("[^\\W\\d_]", end) and not NUMBERED.search(end)]
    if not 1 < len(kinds) <= MOST or sum(found[end] for end in kinds) < 0.9 * len(masks):
        return []
    return kinds if 2 * found[kinds[0]] >= len(known) else []


def kinds_within(files: Sequence[PurePosixPath]) -> Iterator[tuple[str, str]]:
    """(images, masks) for a.jpg, a_building.png and a_road.png in one folder, or in each of several; nothing unless
    images have one extension and masks another."""
    names = {path.with_suffix("").as_posix(): path.suffix for path in files}
    masks = {name for name in names if any(name[:at] in names for at, sign in enumerate(name) if sign in SEPARATORS)}
    images = names.keys() - masks
    endings = [{names[name] for name in side} for side in (images, masks)]
    if max(map(len, endings)) == 1 and endings[0] != endings[1]:
        for end in kinds_between(images, masks):
            yield f"{{}}{min(endings[0])}", f"{{}}{end}{min(endings[1])}"
