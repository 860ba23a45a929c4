"""Which pairs are for training: lists that come with the data, names of splits within folders' names, folds."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segkd.datasets.folds import dealt
from segkd.datasets.groups import group_of, groups_by_hash
from segkd.datasets.pairing import Pair, Paired
from segkd.datasets.prepare.listed import find_lists
from segkd.datasets.prepare.twins import all_twins, twins
from segkd.datasets.prepare.written import write_lists
from segkd.datasets.prepare.yolo_splits import splits_of_yolo
from segkd.datasets.split_folders import Where, pairs_of_folder, split_of, splits_in, unnamed_sibling
from segkd.datasets.splits import Splits
from segkd.types import InputError

FILLED = 1.5
"""Times the size of a fold that images which look alike may fill at most, for them to be kept together."""


def split_lists(root: Path, paired: Paired, folder: Path) -> tuple[dict[str, Path], str]:
    """The list of each split that is found or written into `folder`, and how; {} where nothing tells of splits.

    Lists lie anywhere below the root (ImageSets/Segmentation/train.txt); else words in the names of folders tell
    (train_img, test_img), also where folders train and test hold files without a partner; else YOLO's data.yaml; else,
    where images have no mask, the list of those that have one is written.
    """
    found, said = find_lists(root, paired, folder)
    if found:
        return found, said
    by_words = _stems_by(lambda path: _split_above(path, root), paired)
    lone = [*paired.lone_images.values(), *paired.lone_masks.values()]
    # who asks for a split must not be refused for what lies there without a partner
    alone = {_split_above(path, root) or "train" for path in lone} & by_words.keys()
    if len(by_words) > 1 and "" not in by_words and (alone or not _told_by_folders(root, paired)):
        return write_lists(folder, by_words), "splits by words in the folders' names"
    by_names = _stems_by(lambda path: _split_in_name(path.stem), paired)
    if by_words.keys() <= {""} and "" not in by_names and "train" in by_names and len(by_names) > 1:
        return write_lists(folder, by_names), "splits by words in the images' names"
    said = ""
    if len(by_words) == 1:
        by_yolo, said = splits_of_yolo(root, paired)
        if by_yolo:
            return write_lists(folder, by_yolo), said
    if paired.lone_images and paired.pairs and len(by_words) == 1:
        return write_lists(folder, {"train": [pair.stem for pair in paired.pairs]}), said  # and the splits
    return {}, said


def sibling_splits(where: Where, paired: Paired) -> tuple[dict[str, str], list[Pair]]:
    """The folders val and test beside that of training, by split, where masks lie in their like, and the pairs there:
    val and val_labels beside train and train_labels."""
    folders, pairs = {}, list[Pair]()
    for split in ("val", "test"):
        folder = unnamed_sibling(where, split)
        if folder is None:
            continue
        try:
            pairs += pairs_of_folder(where, paired, split, where.root / folder)
        except InputError:  # images alone, or others
            continue
        folders[split] = folder
    return folders, pairs


def keep_apart(splits: Splits, prints: Mapping[str, np.ndarray], folder: Path) -> tuple[dict[str, Path], list[str]]:
    """What is done about images of val and test that look like one for training.

    Where val was carved out by segkd, they go to train, as lists that are written into `folder`; where the data set
    itself says what is for what, it is only said.

    Returns:
        the lists by split, {} where all stays; and a sentence on each split.
    """
    names = {name: [pair.stem for pair in members] for name, members in splits.members.items()}
    lists: dict[str, Path] = {}
    said = []
    for name in ("val", "test"):
        alike = twins(prints, names["train"], names.get(name, []))
        if not alike:
            continue
        where = f"{len(alike)} images of {name} look like images of train ({' = '.join(alike[0])}"
        where += ", ...)" if len(alike) > 1 else ")"
        moved = {stem for stem, _ in alike}
        if name == "val" and splits.carved and 2 * len(moved) <= len(names["val"]):
            kept = [stem for stem in names["val"] if stem not in moved]
            lists = write_lists(folder, {"train": sorted({*names["train"], *moved}), "val": kept})
            said.append(f"{where}: they are for training, too, as {lists['train']} says.")
        else:
            said.append(f"{where}, so that scores flatter: keep them together with --group, or with other lists.")
    return lists, said


def kept_together(
    stems: Sequence[str], folds: int, group: str | None, prints: Mapping[str, np.ndarray]
) -> tuple[list[tuple[str, str]], str]:
    """The pairs of images that look alike by their `prints`, which `fold_lists` is to keep in one fold.

    Returns:
        the pairs, [] where they would leave no folds of about the same size; and a sentence, "" where there are none.
    """
    alike = all_twins(prints, stems)
    if not alike:
        return [], ""
    number = len({name for pair in alike for name in pair})
    said = f"{number} images look like others ({' = '.join(alike[0])}{', ...' * (len(alike) > 1)})"
    alone, joined = _groups(stems, group), _groups(stems, group, alike)
    most = max(FILLED * len(stems) / folds, *map(len, alone))
    if len(joined) < folds or max(map(len, joined)) > most:
        return [], f"{said}, too many to keep in one fold with these, so that scores flatter: say --group."
    return alike, f"{said}: they are in one fold with these."


def fold_lists(
    stems: Sequence[str], folds: int, group: str | None, folder: Path, alike: Sequence[tuple[str, str]] = ()
) -> list[dict[str, Path]]:
    """Lists of `folds` folds, whole groups each, written into `folder`: in each, another part of `stems` is for val.

    Groups that pairs `alike` of stems connect are one.

    Raises:
        InputError: there are fewer groups than folds.
    """
    groups = _groups(stems, group, alike)
    if len(groups) < folds:
        raise InputError(f"--folds {folds}: expected as many groups of images, found {len(groups)}.")
    splits = ({"train": sorted({*stems} - {*part}), "val": sorted(part)} for part in dealt(groups, folds))
    return [write_lists(folder, lists, f"fold{number}-") for number, lists in enumerate(splits)]


def _groups(stems: Sequence[str], group: str | None, alike: Sequence[tuple[str, str]] = ()) -> list[list[str]]:
    """The stems by their groups, those that some pair connects made one; in the order of their names' hashes."""
    of_group = group_of(group, stems, [])
    first = {of_group(stem): of_group(stem) for stem in stems}

    def found(name: str) -> str:
        while first[name] != name:
            first[name] = name = first[first[name]]
        return name

    for one, other in alike:
        first[found(of_group(other))] = found(of_group(one))
    return groups_by_hash(stems, lambda stem: found(of_group(stem)))


def _stems_by(key: Callable[[Path], str], paired: Paired) -> dict[str, list[str]]:
    """The stems of pairs by what `key` says of their images."""
    found: dict[str, list[str]] = {}
    for pair in paired.pairs:
        found.setdefault(key(pair.paths[0]), []).append(pair.stem)
    return found


def _split_above(path: Path, root: Path) -> str:
    """The split that a folder on the way to a file tells by a word of its name, "" where there is none."""
    below = path.relative_to(root) if path.is_relative_to(root) else Path()
    return next(iter(splits_in(below)), "")


def _split_in_name(stem: str) -> str:
    """The split that a file's name begins with, "" if it is none: train_1, testA_1, ADE_val_1 is none."""
    match = re.match(r"(train|val|test)[A-Z]?[-_. ]?\d", stem)
    return match[1] if match else ""


def _told_by_folders(root: Path, paired: Paired) -> bool:
    """Whether folders that are called train, val and test tell it all, as segkd reads them by itself."""
    return all(any(split_of(part) for part in pair.paths[0].relative_to(root).parts[:-1]) for pair in paired.pairs)
