"""Folders named train, val and test, above or below the folders of images and masks."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath

from segkd.datasets.pairing import Pair, Paired, pair_files
from segkd.datasets.patterns import Pattern
from segkd.types import InputError

ORDINAL = r"(?:(?:\d{1,2} ?[-_.)]|[a-z][.)]) ?)?"
"""What may stand in front: "1. ", "01_", "a. "; a letter and a line (X_train beside y_train) is a kind of files."""

NAMED = re.compile(
    ORDINAL + r"(train|val|test)(ing|id|idation)?([-_ ]?(set|data|dataset))?([-_ ]?\d{4})?", re.IGNORECASE
)
"""The name of a folder that is a split: train, valid, Testing, train2017, TrainDataset, val_set, "a. Training Set"."""

CODED = re.compile(r"(?:.+[-_])?(TR|TE)")
"""Likewise of DUTS-TR and DUTS-TE."""


@dataclass(frozen=True)
class Where:
    """Where a data set lies, and how it is split: the settings of `Data` of the same names; `lists` by split, and the
    images that need no mask."""

    root: Path
    images: str = "images"
    masks: str = "masks"
    lists: Mapping[str, str | None] = field(default_factory=dict)
    val_share: float = 0.15
    group: str | None = None
    unlabelled: Collection[Path] = frozenset()


def split_of(folder: str) -> str | None:
    """The split that a folder of this name is, None if it is none."""
    if (coded := CODED.fullmatch(folder)) is not None:
        return {"TR": "train", "TE": "test"}[coded[1]]
    match = NAMED.fullmatch(folder)
    return match[1].lower() if match is not None else None


def splits_in(path: PurePath) -> list[str]:
    """The splits that words in the names of the folders on the way to a file tell: train for a_train/b/c.png."""
    words = (word for part in path.parts[:-1] for word in re.split("[-_. ]", part))
    return [split for word in words if (split := split_of(word))]


def pair_all(where: Where) -> Paired:
    """All pairs of a data set: of its two folders (or patterns), or of train/images and train/masks, val/images, ...

    In the second case stems begin with the split's folder.

    Raises:
        InputError: as `pair_files`.
    """
    above = _above(where)
    if not above:
        return pair_files(where.root, where.images, where.masks)
    whole = Paired(where.root, where.images, where.masks, [])
    for folder in above:
        if split_of(folder) == "test" and not (where.root / folder / Pattern.of(where.masks).base).is_dir():
            whole.notes.append(f"{where.root / folder} has images without masks: it is no test split")
            continue
        _merge(whole, pair_files(where.root, f"{folder}/{where.images}", f"{folder}/{where.masks}"), folder)
    return whole


def base_of(where: Where) -> Path:
    """The folder below which folders may name splits: those that the settings themselves name do not count, as who asks
    for train/images means all that lies there."""
    return where.root if _above(where) else where.root / Pattern.of(where.images).base


def split_named(base: Path, path: Path) -> str | None:
    """The name of the folder on the way from `base` to the image at `path` that says its split, None without one."""
    if not path.is_relative_to(base):
        return None
    return next((part for part in path.relative_to(base).parts[:-1] if split_of(part)), None)


def pairs_of_folder(where: Where, paired: Paired, name: str, folder: Path) -> list[Pair]:
    """The pairs of the split `name` whose setting is a folder: those that lie in it, or beside where images lie.

    For images in train/images and `data.val: valid`, that is valid/images with valid/masks.

    Raises:
        InputError: nothing is paired there.
    """
    inside = [pair for pair in paired.pairs if pair.paths[0].is_relative_to(folder)]
    if inside:
        return inside
    below = folder.relative_to(where.root).as_posix() if folder.is_relative_to(where.root) else folder.as_posix()
    for images, masks in _places(where, below):
        if (where.root / Pattern.of(images).base).is_dir() and images != where.images:
            found = Paired(where.root, images, masks, [])
            _merge(found, pair_files(where.root, images, masks), below)
            if found.lone_images or found.lone_masks:
                raise found.refusal({*found.lone_images, *found.lone_masks})
            if {pair.mask for pair in found.pairs} & {pair.mask for pair in paired.pairs}:
                continue  # images of the same names elsewhere have these masks
            return found.pairs
    raise InputError(
        f"data.{name}: {folder} is a folder, but none of the paired images lies in it, nor does it hold "
        f"{Pattern.of(where.images).base} and {Pattern.of(where.masks).base}. Name a list file, or such a folder."
    )


def unnamed_sibling(where: Where, split: str = "val") -> str | None:
    """The folder of `split` (valid, val, ...) that lies beside the train folder which the settings name, None without
    one."""
    parts = PurePosixPath(Pattern.of(where.images).base).parts
    for at, part in enumerate(parts):
        parent = where.root.joinpath(*parts[:at])
        if split_of(part) == "train" and parent.is_dir():
            for beside in sorted(path.name for path in parent.iterdir() if split_of(path.name) == split):
                if parent.joinpath(beside, *parts[at + 1 :]).is_dir():
                    return PurePosixPath(*parts[:at], beside).as_posix()
    return None


def _above(where: Where) -> list[str]:
    """The folders train, val, ... below the root that hold the folder of images, when the root itself does not."""
    base = Pattern.of(where.images).base
    if not base or (where.root / base).exists():
        return []
    folders = sorted(path.name for path in where.root.iterdir() if split_of(path.name))
    return [name for name in folders if (where.root / name / base).is_dir()]


def _places(where: Where, folder: str) -> list[tuple[str, str]]:
    """Images and masks of another split, as the settings would write them if they named `folder`."""
    new, places = PurePosixPath(folder).parts, []
    old = PurePosixPath(where.images).parts
    for at, part in enumerate(old):
        if split_of(part):
            place = new[at] if len(new) > at and new[:at] == old[:at] else folder
            beside = _beside(where.masks, part, place)
            there = (where.root / Pattern.of(beside).base).is_dir()
            masks = beside if there else _exchanged(where.masks, part, place)
            places.append((_exchanged(where.images, part, place), masks))
    return [*places, (f"{folder}/{where.images}", f"{folder}/{where.masks}")]


def _exchanged(text: str, old: str, new: str) -> str:
    return "/".join(new if part == old else part for part in text.split("/"))


def _beside(text: str, old: str, new: str) -> str:
    """As `_exchanged`, also where a part begins or ends with `old`: val_labels of train_labels."""
    last = PurePosixPath(new).name

    def other(part: str) -> str:
        if part.startswith(old):
            return last + part.removeprefix(old)
        return part.removesuffix(old) + last if part.endswith(old) else part

    return "/".join(new if part == old else other(part) for part in text.split("/"))


def _merge(whole: Paired, part: Paired, folder: str) -> None:
    """Adds `part` to `whole`, its stems below `folder`."""
    whole.pairs += [replace(pair, stem=f"{folder}/{pair.stem}") for pair in part.pairs]
    whole.lone_images |= {f"{folder}/{stem}": path for stem, path in part.lone_images.items()}
    whole.lone_masks |= {f"{folder}/{stem}": path for stem, path in part.lone_masks.items()}
    whole.notes += [f"{folder}: {note}" for note in part.notes]
