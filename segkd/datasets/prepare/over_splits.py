"""The same folders in each split, as one pattern."""

import re
from collections.abc import Iterator, Mapping
from itertools import permutations
from pathlib import PurePosixPath

from segkd.datasets.split_folders import split_of


def over_splits(found: Mapping[tuple[str, str], tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """train_img with train_lab and test_img with test_lab: *_img/{} with *_lab/{}; train/img, train/lab: img, lab;
    img/train with lab/train/nerve/{}_n: img/*/{} with lab/*/nerve/{}_n.

    Args:
        found: folders -> (images, masks), folders or patterns that belong together.
    """
    for (first, second), (one, other) in zip(permutations(found, 2), permutations(found.values(), 2)):
        if set(first) & set(second):
            continue
        images, masks = _joined(one[0], other[0]), _joined(one[1], other[1])
        if not (images or masks):
            images, masks = _across(one[0], other[0]), _across(one[1], other[1])
            # img/train with lab/train: img with lab says it, and train/img with train/lab finds test by itself
            if _behind(images) == _behind(masks):
                continue
        if images and masks and images != masks:
            yield images, masks


def _joined(a: str, b: str) -> str:
    """What two folders or patterns have in common but for the names of splits: "*_img/{}", "DUTS-*/DUTS-*-Image/{}",
    "images/{}_*" (below training and test); or ""."""
    one, two = PurePosixPath(a).parts, PurePosixPath(b).parts
    differ = [at for at, (x, y) in enumerate(zip(one, two)) if x != y]
    if len(one) != len(two) or not differ:
        return ""
    rest = ["/".join(parts[1:]) for parts in (one, two)]
    if len(differ) == 1 and split_of(one[differ[0]]) and split_of(two[differ[0]]):
        return rest[0] if differ[0] == 0 else ""
    if differ[0] == 0 and _star(one[0]) == _star(two[0]) == "*":
        return _joined(*rest)
    stars = {at: _star(one[at]) for at in differ}
    if any(star in (one[at], "*") or star != _star(two[at]) for at, star in stars.items()):
        return ""
    text = "/".join(stars.get(at, part) for at, part in enumerate(one))
    return text if "{}" in text else f"{text}/{{}}"


def _across(a: str, b: str) -> str:
    """The pattern "img/*/{}" of img/train and img/test, which differ in one folder below another; or ""."""
    one, two = PurePosixPath(a).parts, PurePosixPath(b).parts
    differ = [at for at, (x, y) in enumerate(zip(one, two)) if x != y]
    if len(one) != len(two) or len(differ) != 1 or not (split_of(one[differ[0]]) and split_of(two[differ[0]])):
        return ""
    text = "/".join("*" if at in differ else part for at, part in enumerate(one))
    return text if "{}" in text else f"{text}/{{}}"


def _behind(text: str) -> int:
    """How many folders lie behind the star."""
    return text.partition("*/")[2].count("/")


def _star(name: str) -> str:
    """A folder's name with a star where it names a split: "*_img" for train_img."""
    return "".join("*" if split_of(word) else word for word in re.split("([-_. ])", name))
