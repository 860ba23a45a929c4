"""Folds of the training split: each is left out of one training, whose network can teach the images it never saw."""

import hashlib
from collections.abc import Callable, Sequence

from segkd.types import InputError


def left_out(names: Sequence[str], fold: tuple[int, int], group: Callable[[str], str] = str) -> set[str]:
    """The names of fold `i` of `k`, `fold` being (i, k) with i = 0..k-1: every name is in one fold.

    Whole groups, in the order of their names' hashes, each go to the fold that is smallest so far.

    Raises:
        InputError: there are fewer groups than folds.
    """
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(group(name), []).append(name)
    i, k = fold
    if len(members) < k:
        raise InputError(
            f"data.fold: expected at least {k} images or groups of them to make {k} folds, found {len(members)} in the "
            "training split. Write fewer folds, or correct data.group."
        )
    folds: list[list[str]] = [[] for _ in range(k)]
    for one in sorted(members, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()):
        min(folds, key=len).extend(members[one])
    return set(folds[i])
