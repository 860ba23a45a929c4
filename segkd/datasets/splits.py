"""Which pair is in which split: by lists, by folders named train, val and test, else a share carved out for val."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segkd.datasets.called import image_of
from segkd.datasets.groups import group_of, groups_by_hash
from segkd.datasets.heads import SLICES, pages_of
from segkd.datasets.lists import choose, entries_of
from segkd.datasets.pairing import Pair, Paired
from segkd.datasets.patterns import Pattern
from segkd.datasets.split_folders import (
    Where,
    base_of,
    pair_all,
    pairs_of_folder,
    split_named,
    split_of,
    unnamed_sibling,
)
from segkd.types import InputError, expanded, listed, some

SPLITS = ("train", "val", "test")

LISTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""How the list of each split may be called, `.txt` behind it; the first that is there is read."""


@dataclass
class Splits:
    """The pairs of each split, what is said of how they were found, a sentence on each thing to look at, whether the
    validation split was carved out of the one for training, files and folders that are never trained on without a
    label (`apart`: all masks, and what a split holds that is left out), and why that is not known (`unread`)."""

    members: dict[str, list[Pair]]
    said: str = ""
    warnings: list[str] = field(default_factory=list)
    carved: bool = False
    apart: set[Path] = field(default_factory=set)
    unread: list[InputError] = field(default_factory=list)

    @property
    def numbers(self) -> str:
        """How many pairs each split has, in words: "8 train, 2 val"."""
        return ", ".join(f"{len(pairs)} {name}" for name, pairs in self.members.items())


def find_splits(where: Where, wanted: Sequence[str] = ("train", "val")) -> Splits:
    """The splits of a data set; nothing but names is read.

    A list (or folder) that the settings name wins, then a list `train.txt`, `val.txt` (`LISTS`) or `test.txt` below
    the root, then folders named train, val (valid, validation) and test. Without any of these for train, every pair
    that no other split has is for training. Without any for val, `val_share` of the training pairs is carved out by a
    hash of the name (of the group, where `group` is given), so that it stays the same when files are added elsewhere.

    Files without a counterpart are refused where a `wanted` split would need them, and counted otherwise; so are lists
    that cannot be read.

    Raises:
        InputError: says what is missing, doubled or empty, and what to write.
    """
    paired = pair_all(where)
    splits = Splits({}, warnings=list(paired.notes), apart=set(paired.mask_files))
    sources = _sources(where)
    left_out = _add_named(where, paired, splits, sources, wanted)
    folders = _add_folders(where, paired, splits.members)
    _refuse_alone(where, paired, splits, sources, wanted)
    group = group_of(where.group, [pair.stem for pair in paired.pairs], splits.warnings)
    if not left_out & {"train", "val"}:
        carve_val(splits, where.val_share, group)
    kept = [name for name in SPLITS if splits.members.get(name) or name in {*sources, *wanted} & splits.members.keys()]
    splits.members = {name: splits.members[name] for name in kept if name not in left_out}
    _refuse_bad_splits(splits.members, sources, wanted)
    if where.group is not None:
        warn_of_torn_groups(splits, group)
    if "val" not in sources:
        _warn_of_sibling(where, paired, splits)
    splits.said = splits.numbers
    if folders:
        named = [name for name in splits.members if name in sources]
        lists = f"; {' and '.join(named)} as listed" if named else ""
        splits.said += f" (split by the folders {', '.join(sorted(folders))}{lists})"
    return splits


def carve_val(splits: Splits, share: float, group: Callable[[str], str]) -> None:
    """Carves a validation split out of the one for training where there is none, and enough to train on is left."""
    train = splits.members.get("train", [])
    if "val" not in splits.members and len(train) > 1:
        splits.members["train"], splits.members["val"] = carve(train, share, group)
        splits.carved = True


def carve(pairs: Sequence[Pair], share: float, group: Callable[[str], str]) -> tuple[list[Pair], list[Pair]]:
    """`pairs` without and with about `share` of them, whole groups at a time, in the order of their names' hashes."""
    ranked = groups_by_hash(pairs, lambda pair: group(pair.stem))
    if len(ranked) == 1:
        raise InputError(
            f"data.group finds one group only, {group(pairs[0].stem)!r}, so that nothing apart from it is left to "
            "validate on. Correct the expression, or name a list: data.val."
        )
    count = min(max(1, round(share * len(pairs))), len(pairs) - 1)
    taken: list[Pair] = []
    for members in ranked:
        if len(taken) + len(members) <= count:
            taken += members
    taken = taken or min(ranked, key=len)
    stems = {pair.stem for pair in taken}
    return [pair for pair in pairs if pair.stem not in stems], sorted(taken, key=lambda pair: pair.stem)


def _sources(where: Where) -> dict[str, Path]:
    """The list file, or folder, of each split that has one."""
    found = {}
    for name in SPLITS:
        chosen = where.lists.get(name)
        usual = next((path for path in (where.root / f"{one}.txt" for one in LISTS[name]) if path.is_file()), None)
        if chosen is not None:
            found[name] = where.root / expanded(chosen)
            among = where.root / Pattern.of(where.images).base / chosen
            if not found[name].exists() and among.is_dir():
                found[name] = among
        elif usual is not None:
            found[name] = usual
    return found


def _add_named(
    where: Where, paired: Paired, splits: Splits, sources: Mapping[str, Path], wanted: Sequence[str]
) -> set[str]:
    """Adds the splits that settings or lists name, and tells which are left out: bad ones that nothing `wanted` needs.

    Without a list for training every list is needed, as it says what is not trained on.
    """
    needed = {*wanted, *(["train"] if "val" in wanted and "val" not in sources else [])}
    left_out = set()
    for name, path in sources.items():
        known = len(splits.apart)
        try:
            if path.is_dir():
                splits.apart.add(path)
                splits.members[name] = pairs_of_folder(where, paired, name, path)
            else:
                splits.members[name] = _listed_pairs(path, name, where, paired, splits)
        except InputError as error:
            if name in needed or ("train" in needed and "train" not in sources):
                raise
            left_out.add(name)
            splits.unread += [error] if len(splits.apart) == known else []
            why = re.split(r";|:?\n", str(error), maxsplit=1)[0]
            splits.warnings.append(f"the {name} split, not needed now, is left out: {path}: {why}")
    return left_out


def _listed_pairs(path: Path, name: str, where: Where, paired: Paired, splits: Splits) -> list[Pair]:
    by_stem = {pair.stem: pair for pair in paired.pairs}
    files = {stem: pair.paths for stem, pair in by_stem.items()}
    lone = {stem: [file] for stem, file in (paired.lone_masks | paired.lone_images).items()}
    chosen = choose(path, f"data.{name}", entries_of(files | lone, paired.root))
    splits.warnings += chosen.notes
    alone = {stem for stem in chosen.stems if stem not in by_stem}
    if alone:
        splits.apart |= {file for stem in chosen.stems for file in (files | lone)[stem]}
        cure = f". Or take them out of {path}"
        if name == "train":  # what a list keeps to look at is never trained on
            known = all(paired.lone_images.get(stem) in where.unlabelled for stem in alone)
            more = f" and write data.unlabelled: {paired.images}, to train on them without a label"
            cure += ": data.unlabelled has them" if known else more
        raise paired.refusal(alone, cure)
    return [by_stem[stem] for stem in chosen.stems]


def _add_folders(where: Where, paired: Paired, members: dict[str, list[Pair]]) -> set[str]:
    """Adds the splits that folders make to those that are listed; the names of these folders.

    A pair that is listed stays where it is listed; a pair in a folder named val is never for training.
    """
    folders: dict[str, list[Pair]] = {}
    outside, names = [], set()
    listed_already = {pair.stem for some in members.values() for pair in some}
    base = base_of(where)
    for pair in paired.pairs:
        name = split_named(base, pair.paths[0])
        if name is None:
            outside.append(pair)
        else:
            names.add(name)
            folders.setdefault(str(split_of(name)), []).append(pair)
    rest = [pair for pair in outside if pair.stem not in listed_already]
    if "train" in folders and "train" not in members and rest:
        raise InputError(
            f"{len(folders['train'])} images lie in a folder named train, but {len(rest)} lie in none that names a "
            f"split, and are in no list: move them, or write data.train, a list file:\n"
            + listed([str(pair.image) for pair in rest])
        )
    folders.setdefault("train", rest)
    for name, found in folders.items():
        members.setdefault(name, [pair for pair in found if pair.stem not in listed_already])
    return names if folders.keys() - {"train"} else set()


def _refuse_alone(
    where: Where, paired: Paired, splits: Splits, sources: Mapping[str, Path], wanted: Sequence[str]
) -> None:
    """Refuses files without a counterpart that a wanted split would hold, and counts the others."""
    carved = "val" not in splits.members and "val" in wanted
    needed = {*wanted, *(["train"] if carved else [])} - sources.keys()
    base = base_of(where)
    of_none = {stem for stem, path in paired.lone_images.items() if path in where.unlabelled}
    alone = {stem: path for stem, path in (paired.lone_images | paired.lone_masks).items() if stem not in of_none}
    in_split = {stem: split_of(split_named(base, path) or "") or "train" for stem, path in alone.items()}
    missed = {stem for stem, name in in_split.items() if name in needed or not paired.pairs}
    if missed:
        raise paired.refusal(missed, f". To train on them without a label, write data.unlabelled: {paired.images}")
    stems = {pair.stem for pair in paired.pairs}
    masks = {stem: path for stem, path in paired.lone_images.items() if (image_of(stem) or ("",))[0] in stems}
    images = {stem: path for stem, path in paired.lone_images.items() if stem not in {*masks, *of_none}}
    for what, files in (
        ("images without mask, which no split needs", images),
        ("masks among the images, which no split needs", masks),
        ("masks without image, which no split needs", paired.lone_masks),
    ):
        if files:
            names = ", ".join(path.name for path in list(files.values())[:3]) + (", ..." if len(files) > 3 else "")
            cure = f"; data.unlabelled: {where.images} trains on them without a label" if files is images else ""
            splits.warnings.append(f"{what}: {len(files)} ({names}){cure}")


def _refuse_bad_splits(splits: dict[str, list[Pair]], sources: Mapping[str, Path], wanted: Sequence[str]) -> None:
    number = sum(len(members) for members in splits.values())
    if number == 1 and {"train", "val"} <= set(wanted):
        (pair,) = (pair for members in splits.values() for pair in members)
        pages = pages_of(pair.image)
        raise InputError(
            "there is one pair of an image and a mask only, and training needs at least one to train on and another "
            "to validate on. "
            + (
                f"{pair.image} holds {pages} pages, of which the first is read. {SLICES}."
                if pages > 1
                else "Add images; to try things out with one, cut it into two pictures."
            )
        )
    for name in [*sources, *wanted]:
        if name in splits and not splits[name]:
            raise InputError(
                f"the {name} split is empty: {sources.get(name) or 'the other splits take every pair, which'} leaves "
                f"it none. Training needs at least one image to train on and one to validate; write data.{name}, a "
                "list of names, or take names out of the other lists."
            )
    names = list(splits)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = sorted({p.stem for p in splits[first]} & {p.stem for p in splits[second]})
            if shared:
                files = " or ".join(str(sources[name]) for name in (first, second) if name in sources)
                raise InputError(
                    f"{len(shared)} images are in both the {first} and the {second} split, so scores would flatter: "
                    f"take them out of {files}:\n" + listed(shared)
                )


def warn_of_torn_groups(splits: Splits, group: Callable[[str], str]) -> None:
    """Says which groups lie in several splits."""
    homes: dict[str, set[str]] = {}
    for name, members in splits.members.items():
        for pair in members:
            homes.setdefault(group(pair.stem), set()).add(name)
    torn = sorted(name for name, splits_of_it in homes.items() if len(splits_of_it) > 1)
    if torn:
        splits.warnings.append(f"groups in more than one split, so that scores flatter: {len(torn)} ({some(torn)}).")


def _warn_of_sibling(where: Where, paired: Paired, splits: Splits) -> None:
    """Says which folder beside the one for training is not used."""
    sibling = unnamed_sibling(where)
    if sibling is not None:
        cure = f"to validate on it, write data.val: {sibling}"
        try:
            pairs_of_folder(where, paired, "val", where.root / sibling)
        except InputError:
            cure = "not each of its images has a mask"
        splits.warnings.append(f"{where.root / sibling} is not used: {cure}")
