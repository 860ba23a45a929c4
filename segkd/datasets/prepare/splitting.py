"""Which pairs are for training: lists that come with the data, names of splits within folders' names, folds."""

import re
from collections.abc import Sequence
from pathlib import Path

from segkd.datasets.lists import choose, entries_of
from segkd.datasets.pairing import Paired
from segkd.datasets.prepare.written import write_list
from segkd.datasets.split_folders import split_of
from segkd.datasets.splits import SPLITS
from segkd.datasets.walk import walk
from segkd.types import InputError


def split_lists(root: Path, paired: Paired, folder: Path) -> tuple[dict[str, Path], str]:
    """The list of each split that is found or written into `folder`, and how; {} where nothing tells of splits.

    Lists lie anywhere below the root (ImageSets/Segmentation/train.txt); else words in the names of folders tell
    (train_img, test_img); else, where images have no mask, the list of those that have one is written.
    """
    found = _listed(root, paired)
    if found:
        return found, f"lists below {next(iter(found.values())).parent}"
    by_words: dict[str, list[str]] = {}
    for pair in paired.pairs:
        words = [word for part in pair.paths[0].relative_to(root).parts[:-1] for word in re.split("[-_. ]", part)]
        by_words.setdefault(next((name for word in words if (name := split_of(word))), ""), []).append(pair.stem)
    if len(by_words) > 1 and "" not in by_words and not _told_by_folders(root, paired):
        for name, stems in by_words.items():
            write_list(folder / f"{name}.txt", stems)
        return {name: folder / f"{name}.txt" for name in by_words}, "words in the folders' names"
    if paired.lone_images and paired.pairs and len(by_words) == 1:
        write_list(folder / "train.txt", [pair.stem for pair in paired.pairs])
        return {"train": folder / "train.txt"}, f"{len(paired.lone_images)} images without a mask are left out"
    return {}, ""


def _told_by_folders(root: Path, paired: Paired) -> bool:
    """Whether folders that are called train, val and test tell it all, as segkd reads them by itself."""
    return all(any(split_of(part) for part in pair.paths[0].relative_to(root).parts[:-1]) for pair in paired.pairs)


def _listed(root: Path, paired: Paired) -> dict[str, Path]:
    """Lists named train.txt, val.txt, test.txt in one folder below the root, all of whose lines are pairs."""
    homes: dict[Path, dict[str, Path]] = {}
    for path in walk(root, {".txt"}).files:
        if path.stem in SPLITS and path.parent != root:
            homes.setdefault(path.parent, {})[path.stem] = path
    files: dict[str, Sequence[Path]] = {pair.stem: pair.paths for pair in paired.pairs}
    entries = entries_of(files, root)
    for found in homes.values():
        if "train" in found and all(_fits(path, entries) for path in found.values()):
            return found
    return {}


def _fits(path: Path, entries: list) -> bool:
    try:
        return bool(choose(path, "list", entries).stems)
    except InputError:
        return False
