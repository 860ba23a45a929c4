"""A folder of images and masks: which file belongs to which, which split, and how one is read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segkd.datasets.walk import pictures, stem_of, walk
from segkd.types import InputError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Pair:
    """An image and its mask; `stem`, the shared name without extension, identifies them."""

    stem: str
    image: Path
    mask: Path


def pair_files(images: Path, masks: Path) -> list[Pair]:
    """All pairs of `images` and `masks`, matched by stem (the path below the folder without its extension).

    Raises:
        InputError: a folder is missing or empty, a stem occurs twice, or a stem is on one side only.
    """
    left, right = _by_stem(images, "images"), _by_stem(masks, "masks")
    alone = [f"{left[s]} has no mask in {masks}" for s in sorted(left.keys() - right.keys())]
    alone += [f"{right[s]} has no image in {images}" for s in sorted(right.keys() - left.keys())]
    if alone:
        raise InputError(
            f"{len(alone)} of {len(left.keys() | right.keys())} stems are unmatched; an image and its mask must have "
            "the same name up to the extension. Rename them, add the missing files, or move the others away:\n"
            + listed(alone)
        )
    return [Pair(stem, left[stem], right[stem]) for stem in sorted(left)]


def split_pairs(pairs: Sequence[Pair], lists: dict[str, Path | None], val_share: float) -> dict[str, list[Pair]]:
    """Pairs of each split.

    `lists` holds the list file of each split (one stem or file name per line) or None. Without a train list,
    every pair that no other list names is for training. Without a val list, `val_share` of the training pairs
    is carved out by a hash of the stem, so that it stays the same when files are added elsewhere. Without a
    test list there is no test split.
    """
    by_stem = {pair.stem: pair for pair in pairs}
    splits = {name: _listed_pairs(path, by_stem) for name, path in lists.items() if path is not None}
    named = {pair.stem for name in splits if name != "train" for pair in splits[name]}
    splits.setdefault("train", [pair for pair in pairs if pair.stem not in named])
    if "val" not in splits:
        ranked = sorted(splits["train"], key=lambda pair: hashlib.sha256(pair.stem.encode()).digest())
        count = min(max(1, round(val_share * len(ranked))), len(ranked) - 1)
        splits["val"] = sorted(ranked[:count], key=lambda pair: pair.stem)
        carved = {pair.stem for pair in splits["val"]}
        splits["train"] = [pair for pair in splits["train"] if pair.stem not in carved]
    _refuse_bad_splits(splits, lists)
    return splits


def listed(lines: Sequence[str], most: int = 10) -> str:
    """The first `most` lines, indented, and how many more there are."""
    rest = [f"  ... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([f"  {line}" for line in lines[:most]] + rest)


def _by_stem(folder: Path, what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected the folder of {what}, found nothing there. "
            f"Set data.root to the folder that holds it, or data.{what} to its name below data.root."
        )
    files: dict[str, Path] = {}
    for path in walk(folder).files:
        stem = stem_of(path, folder)
        if stem in files:
            raise InputError(f"{folder}: {files[stem].name} and {path.name} share one stem; remove or rename one.")
        files[stem] = path
    if not files:
        raise InputError(
            f"{folder}: expected image files (.jpg .png .tif ...), found none. Is data.{what} the right folder?"
        )
    return files


def _listed_pairs(path: Path, by_stem: dict[str, Pair]) -> list[Pair]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a text file with one stem per line, found: {error}.") from error
    # a line may be a stem, a file name, or a path such as images/0001.jpg: the longest ending that is a stem counts
    found = {line: _stem_of(line, by_stem) for line in lines if line and not line.startswith("#")}
    missing = [f"{path}: {line}" for line, stem in found.items() if stem is None]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(found)} lines of {path} name no image: correct the list or add the files:\n"
            + listed(missing)
        )
    return [by_stem[stem] for stem in dict.fromkeys(found.values()) if stem is not None]


def _stem_of(line: str, by_stem: dict[str, Pair]) -> str | None:
    path = Path(line)
    plain = path.with_suffix("") if path.suffix.lower() in pictures() else path
    tails = ["/".join(plain.parts[i:]) for i in range(len(plain.parts))]
    return next((tail for tail in tails if tail in by_stem), None)


def _refuse_bad_splits(splits: dict[str, list[Pair]], lists: dict[str, Path | None]) -> None:
    for name, members in splits.items():
        if not members:
            raise InputError(
                f"the {name} split is empty: {lists.get(name) or 'the folder'} gives it no pair. "
                "Training needs at least one image to train on and one to validate."
            )
    names = list(splits)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = sorted({p.stem for p in splits[first]} & {p.stem for p in splits[second]})
            if shared:
                raise InputError(
                    f"{len(shared)} images are in both the {first} and the {second} split, so scores would flatter: "
                    f"take them out of {lists.get(first)} or {lists.get(second)}:\n" + listed(shared)
                )
