"""Images without a label, which a teacher teaches beside those that have one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segkd.datasets.audit import SMALLEST
from segkd.datasets.cache import Fit, fit_of
from segkd.datasets.called import masks_among
from segkd.datasets.data import Data, Findings, Records
from segkd.datasets.digest import digest_of_file
from segkd.datasets.embedded import Embedded, draw_sample
from segkd.datasets.folds import Fold, numbers_of
from segkd.datasets.geometry import in_pixels
from segkd.datasets.groups import groups_in
from segkd.datasets.notes import notes_on_images
from segkd.datasets.pairing import named_files
from segkd.datasets.patterns import Pattern
from segkd.datasets.pictures import How, Seen, view_image
from segkd.datasets.split_folders import split_named, split_of
from segkd.datasets.splits import Splits
from segkd.datasets.unfit import no_room
from segkd.types import IGNORE, InputError, expanded, listed

NAME = "unlabelled"
"""What they are called beside the splits, and the setting of `Data` that names them."""


@dataclass(frozen=True)
class Looked:
    """An image that was read: as it is kept, the digest of its file, and what else that tells; or what is wrong."""

    image: np.ndarray | None
    digest: str = ""
    fault: str = ""
    seen: Seen = field(default_factory=Seen)


class Found(NamedTuple):
    """Images without a label by name; of what is in no split, how many more lie in a folder named val or test, are
    masks of others, and share a group with an image of val or test; a sentence on what cannot be read and was passed
    over, or ""."""

    files: dict[str, Path]
    apart: int
    masks: int
    grouped: int
    passed: str = ""

    @property
    def said(self) -> str:
        """How many are left out in words, or ""."""
        told = {
            "left out below folders named val or test": self.apart,
            "left out as masks of others": self.masks,
            "left out as their group (data.group) is one of val or test": self.grouped,
        }
        return "; ".join(f"{what}: {number}" for what, number in told.items() if number)


def find_unlabelled(data: Data, splits: Splits) -> Found:
    """The files that `data.unlabelled` means, but for masks, what val, test or the images to train on are, what is of
    a group of val or test, and what lies below in a folder named val or test.

    Names are those of `data.images` where both are the same folder, and begin with the folder's elsewhere.

    Raises:
        InputError: nothing is left, or what a split holds is not known.
    """
    if splits.unread:
        raise splits.unread[0]
    root, text = expanded(str(data.root)), written(data.unlabelled)
    named = named_files(root, text, NAME)
    if named.doubles:
        raise InputError(f"data.unlabelled: several files share one name:\n{listed(list(named.doubles.values()))}")
    used = {path.resolve() for pairs in splits.members.values() for pair in pairs for path in pair.paths}
    used |= {path.resolve() for path in splits.apart}
    base = Pattern.of(text).base if not (root / text).is_dir() else text
    prefix = "" if base in (Pattern.of(data.images).base, ".") else f"{base}/"
    open_ = {stem: path for stem, path in named.files.items() if not _held(path, used)}
    masks = masks_among(named.files) & open_.keys()
    grouped = _of_their_groups(data.group, splits, open_.keys() - masks)
    free = {prefix + stem: path for stem, path in open_.items() if stem not in masks | grouped}
    files = {
        stem: path
        for stem, path in sorted(free.items())
        if split_of(split_named(root / base, path) or "") not in ("val", "test")
    }
    passed = f"{text}: {named.sentence}" if named.sentence else ""
    found = Found(files, len(free) - len(files), len(masks), len(grouped), passed)
    if not files:
        why = "; ".join(one for one in (found.said, named.sentence) if one)
        raise InputError(
            f"data.unlabelled: {root / text}: expected images that are in no split, found none among "
            f"{len(named.files)}{why and f' ({why})'}. Name another folder, or write "
            "data.unlabelled: null."
        )
    return found


def _of_their_groups(expression: str | None, splits: Splits, stems: Collection[str]) -> set[str]:
    """Those of the stems whose group, a patient or a video, val or test holds: more frames of it are no others."""
    if expression is None:
        return set()
    kept = [pair.stem for name in ("val", "test") for pair in splits.members.get(name, [])]
    theirs = set(groups_in(expression, kept).values())
    return {stem for stem, group in groups_in(expression, stems).items() if group in theirs}


def _held(path: Path, used: Collection[Path]) -> bool:
    """Whether a file, or a folder on the way to it, is among the used."""
    whole = path.resolve()
    return whole in used or any(folder in used for folder in whole.parents)


def open_unlabelled(
    data: Data,
    splits: Splits,
    advance: Callable[[int], None],
    memory: int,
    read: Collection[str],
) -> tuple[Records, Findings]:
    """Their records, each with a label of `IGNORE` alone: all are read once, and kept where `data.cache_gb` has room
    for them beside the `memory` that the splits take, whose images that were `read` have these digests. Copies of
    images of any split are left out.

    Raises:
        InputError: names every file that cannot be read, or nothing is left.
    """
    found, known = find_unlabelled(data, splits), {*read, *_digests_of_test(splits)}
    files = found.files
    fit = fit_of(data.shape, data.augment, images=len(splits.members["train"]) + len(files))
    advance(len(files))
    kept: dict[str, np.ndarray] = {}
    digests: dict[str, str] = {}
    looks: dict[str, Seen] = {}
    faults, room = [], data.cache_gb * 1e9 - memory if memory else 0.0
    with ThreadPoolExecutor() as pool:
        for stem, seen in zip(files, pool.map(partial(_looked, how=data.how, fit=fit), files.values())):
            advance(0)
            faults += [seen.fault] if seen.image is None else []
            if seen.image is None or seen.digest in known:
                continue
            digests[stem], looks[str(files[stem])] = seen.digest, seen.seen
            if room > 0:
                room -= seen.image.nbytes
                kept[stem] = seen.image
    if faults:
        raise InputError(f"{len(faults)} of {len(files)} files of data.unlabelled cannot be used:\n{listed(faults)}")
    if not digests:
        raise InputError(
            f"data.unlabelled: all {len(files)} files are copies of images that a split holds. Add others."
        )
    kept = kept if room > 0 else {}
    load = partial(_load, [(stem, files[stem]) for stem in digests], kept, data.how, fit, list(digests.values()))
    size = sum(image.nbytes for image in kept.values())
    where = f"cached in memory ({size / 1e9:.2f} GB)" if kept else "read from disk each time (data.cache_gb)"
    copies = f"left out as copies of images of a split: {len(files) - len(digests)}" * (len(digests) < len(files))
    told = f"{len(digests)} images without a label ({data.unlabelled}), {where}", copies, found.said
    notes = (found.passed, *(f"{data.unlabelled}: {note}" for note in notes_on_images(looks)))
    records = Records(NAME, tuple(digests), load, tuple(digests.values()))
    return records, Findings("; ".join(filter(None, told)), tuple(filter(None, notes)), size)


def _digests_of_test(splits: Splits) -> set[str]:
    """Of the images of the test split, which a training does not read; those that cannot be read have none."""
    found = set()
    for pair in splits.members.get("test", []):
        with suppress(OSError):
            found.add(digest_of_file(pair.image))
    return found


def generated_unlabelled(embedded: Embedded, classes: int, fold: Fold | None) -> Records:
    """Of generated images those to train on that the fold leaves out, without their labels."""
    kept = set(numbers_of(embedded, "train", fold))
    numbers = [i for i in range(embedded.train) if i not in kept]
    if not numbers:
        raise InputError(
            "data.unlabelled: of generated images those have no label that a fold leaves out: write data.only_fold."
        )
    images = [draw_sample(embedded, i, classes)[0] for i in numbers]
    load = partial(_blank, images)
    return Records(NAME, tuple(f"train{i:04d}" for i in numbers), load)


def covered(root: Path, text: str | None, training: bool) -> set[Path]:
    """The files that `data.unlabelled` means: an image among them needs no mask.

    Raises:
        InputError: in a `training`, which needs them, there is no such folder or pattern.
    """
    if text is None:
        return set()
    with suppress(*(() if training else (InputError,))):
        return set(named_files(root, written(text), NAME).files.values())
    return set()


def written(text: str | None) -> str:
    """`data.unlabelled` as patterns are: "images" for "./images/"."""
    return str(text).removeprefix("./").rstrip("/")


def _looked(path: Path, how: How, fit: Fit) -> Looked:
    try:
        image, told = view_image(path, how)
        if min(image.shape[:2]) < SMALLEST:
            found = in_pixels(image.shape[:2])
            return Looked(None, fault=f"{path}: expected at least {SMALLEST} pixels a side, found {found}. Remove it.")
        digest = digest_of_file(path)
    except (InputError, OSError) as error:
        return Looked(None, fault=str(error))
    except MemoryError:
        return Looked(None, fault=str(no_room(path)))
    return Looked(fit(image, np.zeros(image.shape[:2], np.uint8))[0], digest, seen=told)


def _load(
    files: Sequence[tuple[str, Path]],
    kept: Mapping[str, np.ndarray],
    how: How,
    fit: Fit,
    digests: Sequence[str],
    i: int,
) -> tuple[np.ndarray, np.ndarray]:
    stem, path = files[i]
    seen = Looked(kept[stem], digests[i]) if kept else _looked(path, how, fit)
    if seen.image is None or seen.digest != digests[i]:
        raise InputError(
            f"{path}: the data changed since this command began: {seen.fault or 'this file is another one now'}. Bring "
            "it back and begin again; a training goes on with --resume."
        )
    return seen.image, np.full(seen.image.shape[:2], IGNORE, np.uint8)


def _blank(images: Sequence[np.ndarray], i: int) -> tuple[np.ndarray, np.ndarray]:
    return images[i], np.full(images[i].shape[:2], IGNORE, np.uint8)
