"""Folds of the training split: each is left out of one training, whose network can teach the images it never saw."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from segkd.datasets.embedded import Embedded
from segkd.datasets.splits import Splits, group_of
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


def without_fold(fold: tuple[int, int] | None, group: str | None, splits: Splits) -> Splits:
    """The splits, a fold left out of the training split; `group` is `data.group`."""
    whole = splits.members.get("train")
    if fold is None or not whole:
        return splits
    stems = [pair.stem for pair in whole]
    out = left_out(stems, fold, group_of(group, stems, []))
    kept = [pair for pair in whole if pair.stem not in out]
    now = f"{len(kept)} train (of {len(whole)}, without fold {fold[0]} of {fold[1]})"
    said = splits.said.replace(f"{len(whole)} train", now, 1)
    return replace(splits, members=splits.members | {"train": kept}, said=said)


def numbers_of(embedded: Embedded, name: str, fold: tuple[int, int] | None) -> list[int]:
    """The numbers of the generated images of a split."""
    numbers = range({"train": embedded.train, "val": embedded.val, "test": embedded.test}[name])
    out = left_out(list(map(str, numbers)), fold) if fold is not None and name == "train" else set()
    return [i for i in numbers if str(i) not in out]
