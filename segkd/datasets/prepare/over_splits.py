"""The same folders in each split, as one pattern."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import combinations
from pathlib import PurePosixPath

from segkd.datasets.split_folders import split_of

TWICE = re.compile(r"(^|/)\*/[^/]*\*[^/]")
"""A pattern in which the split's folder is followed by one that names it once more: */*-img/{} of train/train-img."""


def over_splits(found: Mapping[tuple[str, str], tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """train_img with train_lab and test_img with test_lab: *_img/{} with *_lab/{}; train/img, train/lab: img, lab;
    img/train with lab/train/nerve/{}_n: img/*/{} with lab/*/nerve/{}_n; train/train-img with train/train-lab, and so
    for test: */*-img/{} with */*-lab/{}.

    Args:
        found: folders -> (images, masks), folders or patterns that belong together.
    """
    for (first, one), (second, other) in combinations(found.items(), 2):
        images, masks = _joined(one[0], other[0]), _joined(one[1], other[1])
        if set(first) & set(second) or not (images and masks) or images == masks:
            continue
        behind = {_behind_star(text) for text in (images, masks)}
        # img with lab says it better than img/*/{} with lab/*/{}; where one has such a star, the other split is found
        # beside the first
        twice = TWICE.search(images) and TWICE.search(masks)
        if twice or behind == {None} or (None not in behind and len(behind) == 2):
            yield images, masks


def _joined(a: str, b: str) -> str:
    """What two folders or patterns have in common, with stars where they name splits: "*_img/{}", "img/*/{}",
    "DUTS-*/DUTS-*-Image/{}"; "img" of train/img and test/img, as it is found below both; or ""."""
    one, two = a.split("/"), b.split("/")
    parts = [_starred(x, y) for x, y in zip(one, two)]
    if a == b or len(one) != len(two) or not all(parts):
        return ""
    text = f"{'/'.join(parts)}/"
    text = text if TWICE.match(text) else text.removeprefix("*/")
    return text.removesuffix("/") if "{}" in text or "*" not in text else f"{text}{{}}"


@lru_cache(10_000)  # few names, in all their pairs
def _starred(name: str, other: str) -> str:
    """What two folders' names have in common, with a star where they name splits: "*_img" of train_img; or ""."""
    if name == other:
        return name
    one, two = ("".join("*" if split_of(w) else w for w in re.split("([-_. ])", text)) for text in (name, other))
    if one == two != name:
        return one
    return "*" if split_of(name) and split_of(other) else ""


def _behind_star(text: str) -> int | None:
    """How many parts lie behind a star that stands for a whole folder, None without one."""
    parts = PurePosixPath(text).parts[::-1]
    return parts.index("*") if "*" in parts else None
