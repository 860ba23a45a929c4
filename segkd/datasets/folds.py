"""Folds of the training split: one is left out of a training, whose network can teach the images it never saw; or one
alone is trained on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from segkd.datasets.embedded import Embedded
from segkd.datasets.groups import group_of, groups_by_hash
from segkd.datasets.splits import Splits
from segkd.types import InputError


@dataclass(frozen=True)
class Fold:
    """Fold `i` of `k`, i = 0..k-1, of the training split: left out, or with `only` all that is left."""

    i: int
    k: int
    only: bool = False

    @property
    def key(self) -> str:
        """The setting that says so."""
        return "data.only_fold" if self.only else "data.fold"


def fold_of(without: tuple[int, int] | None, only: tuple[int, int] | None) -> Fold | None:
    """The fold that `data.fold` leaves out or `data.only_fold` keeps."""
    if only is not None:
        return Fold(*only, only=True)
    return None if without is None else Fold(*without)


def members_of(names: Sequence[str], fold: Fold, group: Callable[[str], str] = str) -> set[str]:
    """The names of a fold: every name is in one of the k.

    Raises:
        InputError: there are fewer groups than folds.
    """
    groups = groups_by_hash(names, group)
    if len(groups) < fold.k:
        raise InputError(
            f"{fold.key}: expected at least {fold.k} images or groups of them to make {fold.k} folds, found "
            f"{len(groups)} in the training split. Write fewer folds, or correct data.group."
        )
    return set(dealt(groups, fold.k)[fold.i])


def dealt(groups: Iterable[Sequence[str]], k: int) -> list[list[str]]:
    """The members of whole groups in k parts: each group goes to the part that is smallest so far."""
    parts: list[list[str]] = [[] for _ in range(k)]
    for members in groups:
        min(parts, key=len).extend(members)
    return parts


def folded(fold: Fold | None, group: str | None, splits: Splits) -> Splits:
    """The splits, a fold left out of the training split, or alone in it; `group` is `data.group`."""
    whole = splits.members.get("train")
    if fold is None or not whole:
        return splits
    stems = [pair.stem for pair in whole]
    inside = members_of(stems, fold, group_of(group, stems, []))
    kept = [pair for pair in whole if (pair.stem in inside) == fold.only]
    now = f"{len(kept)} train (of {len(whole)}, {'only' if fold.only else 'without'} fold {fold.i} of {fold.k})"
    said = splits.said.replace(f"{len(whole)} train", now, 1)
    return replace(splits, members=splits.members | {"train": kept}, said=said)


def numbers_of(embedded: Embedded, name: str, fold: Fold | None) -> list[int]:
    """The numbers of the generated images of a split."""
    numbers = range({"train": embedded.train, "val": embedded.val, "test": embedded.test}[name])
    if fold is None or name != "train":
        return list(numbers)
    inside = members_of(list(map(str, numbers)), fold)
    return [i for i in numbers if (str(i) in inside) == fold.only]
