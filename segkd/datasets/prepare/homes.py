"""Folders of images beside folders of masks in several places: scene1/photos, scene1/labels, scene2/photos, ..."""

import posixpath
from collections.abc import Collection, Iterator
from itertools import combinations
from pathlib import Path, PurePosixPath

from segkd.datasets.naming import find_rules, same_names
from segkd.datasets.patterns import start_of
from segkd.datasets.prepare.looks import mask_words, other_words
from segkd.datasets.split_folders import split_of, splits_in

MOST = 8
"""Folders of pictures in one place beyond which none are compared: they are images' own."""

RULES = 8
"""Places where names differ and a rule between them is looked for."""

COPIES = ("aug", "thumb", "small", "resiz", "old", "back", "cop", "pred", "result", "output", "example", "holdout",
          "dev")  # fmt: skip
"""How words of the places begin that hold other images together again, or none that belong to them."""


def in_homes(files: Collection[PurePosixPath]) -> Iterator[tuple[str, str]]:
    """(images, masks): "**/photos/{}" with "**/labels/{}_mask", where two places or more hold such folders.

    Nothing where one place is called train and another by no split: a folder trainval holds the same once more; nor
    where a place lies in another, or is called after copies: they would be trained on and validated with.
    """
    places: dict[str, dict[str, set[str]]] = {}
    for path in files:
        home = path.parent
        places.setdefault(home.parent.as_posix(), {}).setdefault(home.name, set()).add(path.stem)
    found: dict[tuple[str, str], list[str]] = {}
    tried = 0
    for place, folders in places.items():
        for a, b in combinations(folders, 2) if len(folders) <= MOST else ():
            if mask_words(a) == mask_words(b) or other_words(f"{a}/{b}") or splits_in(PurePosixPath(a, b, "x")):
                continue
            if 2 * len(same_names(folders[a], folders[b])[0]) >= min(len(folders[a]), len(folders[b])):
                found.setdefault((f"{a}/{{}}", f"{b}/{{}}"), []).append(place)
            elif (tried := tried + 1) <= RULES and (rules := find_rules(folders[a], folders[b])):
                ends = rules[0].pattern(a, rules[0].left, ""), rules[0].pattern(b, rules[0].right, "")
                found.setdefault(ends, []).append(place)
    for (images, masks), homes in found.items():
        start = start_of(homes)
        base = start.removesuffix("/") or "."
        splits = [{*splits_in(PurePosixPath(home) / images)} for home in homes]
        beside = all(split_of(posixpath.relpath(home, base)) for home in homes)  # found by any one of them
        apart = base not in homes and not any(other_words(home, COPIES) for home in homes)
        if len(homes) > 1 and apart and not beside and ({"train"} not in splits or all(splits)):
            yield f"{start}**/{images}", f"{start}**/{masks}"


def splits_differ(root: Path, image: Path, mask: Path) -> bool:
    """Whether the folders of an image and of a mask tell of other splits: test/photos/1.png is not the image of
    train/labels/1.png."""
    one, other = ({*splits_in(path.relative_to(root))} for path in (image, mask))
    return bool(one and other) and not one & other
