"""What masks are called."""

import re
from collections.abc import Collection

MASK_WORDS = ("mask", "label", "seg", "annot", "manual", "truth", "gt")
"""What the affix of a mask's name holds, where image and mask each have one of their own."""

OF_IMAGE = re.compile(rf"(?P<image>.+?)[-_. ]({'|'.join(MASK_WORDS)})(?P<number>[-_ ]\d+)?", re.IGNORECASE | re.DOTALL)
"""The name of a mask that stands beside its image: a_mask, and a_mask_1 where there are several."""

MASK_FOLDER = re.compile(r"mask|annot|truth|(?<!un)label(?!l?ed)|(?<![a-z])(seg|manual|gt)", re.IGNORECASE)
"""What the name of a folder of masks holds: MASK_WORDS, but not "labelled", "unlabelled" or "lengths"."""


def image_of(mask: str) -> tuple[str, bool] | None:
    """The name of the image that a mask of this name is of, and whether it is a further one of it: ("a", True) of
    "a_mask_1"; None of other names."""
    match = OF_IMAGE.fullmatch(mask)
    return (match["image"], match["number"] is not None) if match else None


def masks_among(names: Collection[str]) -> set[str]:
    """Those of the names, folders in front, that are of masks by what they are called: "a_mask" beside "a", and
    "masks/a" or "masks/a_mask" where a folder beside that one, which is called after no mask, holds "a"."""
    found = {name for name in names if (of := image_of(name)) and of[0] in names}
    beside: dict[tuple[str, str], dict[bool, list[str]]] = {}
    for name in names:
        *folders, last = name.split("/")
        image = (image_of(last) or (last,))[0]
        for i, folder in enumerate(folders):
            kinds = beside.setdefault(("/".join(folders[:i]), "/".join([*folders[i + 1 :], image])), {})
            kinds.setdefault(MASK_FOLDER.search(folder) is not None, []).append(name)
    return found.union(*(kinds[True] for kinds in beside.values() if len(kinds) == 2))
