"""Which patterns bring the images and the masks of a folder together: candidates from the names, tried on all files."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path, PurePosixPath

from segkd.datasets.naming import LAST_WORD, find_rule_within, find_rules, same_names
from segkd.datasets.packed import File
from segkd.datasets.pairing import Paired
from segkd.datasets.patterns import start_of
from segkd.datasets.prepare import cityscapes
from segkd.datasets.prepare.homes import in_homes, splits_differ
from segkd.datasets.prepare.kinds import kinds_between, kinds_within
from segkd.datasets.prepare.looks import (
    FLAT,
    all_alike,
    called_alike,
    image_words,
    is_turned,
    mask_words,
    mean_flatness,
    other_words,
    two_valued,
)
from segkd.datasets.prepare.over_splits import over_splits
from segkd.datasets.split_folders import Where, base_of, pair_all
from segkd.datasets.walk import pictures, walk
from segkd.types import InputError, some

FOLDERS = 24
"""Folders, those with the most pictures, that are compared with each other."""

TRIED = 24
"""Candidates that are tried on all files."""

FIELDS = 4
"""Masks that are nearly the same of which this is said at least."""

MOST_PICTURES = 200_000
"""Files and folders that are looked at."""


@dataclass(frozen=True)
class Layout:
    """How images and masks lie below `root`: `data.images`, `data.masks` and what pairs they give.

    `flat`: the images have as few colours as masks. `alike`: the masks are nearly the same in all images. `said` is the
    sentence on how it was found; `rivals` fit as well; `beside` are other masks of the same images.
    """

    root: Path
    images: str
    masks: str
    paired: Paired
    flat: bool = False
    alike: bool = False
    said: str = ""
    rivals: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def find_layout(root: Path, images: str | None = None, masks: str | None = None) -> Layout | None:
    """The layout of a folder as it was downloaded; None where no two pictures belong together by their names.

    Args:
        root: the folder.
        images: where the images are, when the user says it; `masks` likewise.

    Raises:
        InputError: both are said, and nothing is paired.
    """
    if images is not None and masks is not None:
        return Layout(root, images, masks, pair_all(Where(root, images, masks)), said="as told")
    files = [PurePosixPath(path.relative_to(root)) for path in walk(root, pictures(), MOST_PICTURES).files]
    candidates = (_as_told(pair, images, masks) for pair in _candidates(files))
    told = dict.fromkeys(pair for pair in candidates if {images, masks} <= {None, *pair})
    tried = [layout for pair in list(told)[:TRIED] if (layout := _tried(root, *pair)) is not None]
    found = [layout for layout in tried if images in (None, layout.images) and masks in (None, layout.masks)]
    return _best(sorted(found, key=_rank)) if found else None


def _best(found: Sequence[Layout]) -> Layout:
    """The best of layouts, the likeliest first, with what else would fit."""
    best = found[0]
    if other_words(best.masks):  # edges come after the masks of as many images, even where these are all alike
        plain = (one for one in found if one.alike and not other_words(one.masks))
        best = next((one for one in plain if len(one.paired.pairs) >= len(best.paired.pairs)), best)
    others: list[Layout] = []
    for other in (one for one in found if one is not best):
        many = len(other.paired.pairs) >= 0.9 * len(best.paired.pairs) and other.alike <= best.alike
        if many and not any(_pairs(other) & _pairs(one) for one in [best, *others]):
            others.append(other)
    shown = {image for image, _ in _pairs(best)}
    same = [one for one in others if {image for image, _ in _pairs(one)} <= shown and not other_words(one.masks)]
    same = same if all(two_valued(_masks_of(one.paired)) for one in [best, *same]) else []
    rivals = tuple(f"{one.images} with {one.masks}" for one in others if one not in same and _like_images(one, best))
    return replace(best, said=_said(best), rivals=rivals, beside=tuple(one.masks for one in same))


def _as_told(pair: tuple[str, str], *told: str | None) -> tuple[str, str]:
    """A candidate, with the files' ending where the user wrote one behind the same pattern."""
    written = {text.removesuffix(PurePosixPath(text).suffix): text for text in told if text and "{}" in text}
    return written.get(pair[0], pair[0]), written.get(pair[1], pair[1])


def _pairs(layout: Layout) -> set[tuple[File, File]]:
    return {(pair.image, pair.mask) for pair in layout.paired.pairs}


def _candidates(files: Sequence[PurePosixPath]) -> Iterator[tuple[str, str]]:
    """(images, masks), the likeliest first; which of both are the masks is found out later."""
    yield "images", "masks"
    if len({path.name for path in files}) < len({path.parent for path in files}):  # a folder per image
        yield from _by_file(files)
    if (known := cityscapes.patterns(files)) is not None:
        yield known
    yield from in_homes(files)
    yield from _by_ending(files)
    yield from _within(files)
    yield from _by_folders(files)  # late: of many folders with the same names, each is compared with each
    yield from kinds_within(files)
    yield from _by_file(files)


def _by_ending(files: Sequence[PurePosixPath]) -> Iterator[tuple[str, str]]:
    """001.bmp and 001.png in one folder, or in each of several."""
    by: dict[str, set[str]] = {}
    for path in files:
        by.setdefault(path.suffix, set()).add(path.with_suffix("").as_posix())
    for one, other in combinations(by, 2):
        shared = by[one] & by[other]
        if len(shared) >= 0.5 * min(len(by[one]), len(by[other])):
            base = start_of({name.rpartition("/")[0] for name in shared})
            yield f"{base}{{}}{one}", f"{base}{{}}{other}"


def _by_folders(files: Sequence[PurePosixPath]) -> Iterator[tuple[str, str]]:
    """Two folders: with the same names, or with names that a rule brings together; and their like in each split."""
    number = Counter(str(parent) for path in files for parent in path.parents if parent.name)
    stems = [path.with_suffix("").as_posix() for path in files]
    names = {folder: _below(stems, folder) for folder, _ in number.most_common(FOLDERS)}
    apart = [(a, b) for a, b in combinations(names, 2) if not (_inside(a, b) or _inside(b, a))]
    found: dict[tuple[str, str], tuple[str, str]] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for a, b in apart:
        shared[a, b] = len(same_names(names[a], names[b])[0])
        if 2 * shared[a, b] >= min(len(names[a]), len(names[b])):
            found[a, b] = a, b
    # beside folders of equal names only where one of both sounds like masks: rules take their time
    unlike = [pair for pair in apart if pair not in found and (not found or len(set(map(mask_words, pair))) > 1)]
    for a, b in unlike:
        rules = find_rules(names[a], names[b]) if min(len(names[a]), len(names[b])) > 1 else []
        if rules and rules[0].matched >= 0.5 * max(len(names[a]), len(names[b])):
            rule = rules[0]
            plain, shared[a, b] = rule.left == ("", "") and rule.folders, rule.matched
            found[a, b] = a if plain else rule.pattern(a, rule.left, ""), rule.pattern(b, rule.right, "")
    yield from over_splits(found)
    yield from (found[pair] for pair in sorted(found, key=lambda pair: (-shared[pair], len("".join(found[pair])))))
    for a, b in (pair for one in unlike for pair in (one, one[::-1])):
        own = _own_word(names[a])
        for end in kinds_between({name.removesuffix(own) for name in names[a]}, names[b]):
            yield f"{a}/{{}}{own}", f"{b}/{{}}{end}"


def _own_word(names: Collection[str]) -> str:
    """The word that all names end with and masks of several kinds do not ("_leftImg8bit"), or ""."""
    words = {found[0] if (found := LAST_WORD.search(name)) else "" for name in names}
    return min(words) if len(words) == 1 else ""


def _below(stems: Sequence[str], folder: str) -> set[str]:
    """The stems of what lies in a folder, relative to it."""
    return {stem.removeprefix(f"{folder}/") for stem in stems if stem.startswith(f"{folder}/")}


def _inside(a: str, b: str) -> bool:
    return PurePosixPath(a).is_relative_to(b)


def _within(files: Sequence[PurePosixPath]) -> Iterator[tuple[str, str]]:
    """a.jpg and a_mask.png in one folder."""
    names = {path.with_suffix("").as_posix() for path in files}
    rule = find_rule_within(names)
    if rule is None:
        return
    masks = [path for path in files if path.stem.startswith(rule.right[0]) and path.stem.endswith(rule.right[1])]
    images = [path for path in files if path not in set(masks)]
    endings = [{path.suffix for path in side} for side in (images, masks)]
    written = [next(iter(ending)) if len(ending) == 1 else "" for ending in endings]
    home = start_of(str(path.parent) for path in masks).removesuffix("/")  # images of other splits may have no masks
    yield rule.pattern(home, rule.left, written[0]), rule.pattern(home, rule.right, written[1])


def _by_file(files: Sequence[PurePosixPath]) -> Iterator[tuple[str, str]]:
    """a/image.png and a/mask.png: a folder per image."""
    homes: dict[str, set[str]] = {}
    for path in files:
        homes.setdefault(path.name, set()).add(str(path.parent))
    often = [name for name, folders in homes.items() if len(folders) > 1][:6]
    for one, other in combinations(often, 2):
        if len(homes[one] & homes[other]) >= 0.5 * max(len(homes[one]), len(homes[other])):
            yield f"{{}}/{one}", f"{{}}/{other}"


def _tried(root: Path, images: str, masks: str) -> Layout | None:
    """The layout of two patterns, the masks on the side that looks like masks; None where they pair nothing."""
    if not base_of(Where(root, images, masks)).is_dir():
        return None  # the error would look through the folder for words that nobody reads
    try:
        paired = pair_all(Where(root, images, masks))
        if not paired.pairs:
            return None
        left, right = (mean_flatness([getattr(pair, side) for pair in paired.pairs]) for side in ("image", "mask"))
        turned = is_turned(images, masks, left, right)
        if turned:
            images, masks = masks, images
            paired = pair_all(Where(root, images, masks))
    except InputError:
        return None
    if turned is None or any(splits_differ(root, *pair.paths) for pair in paired.pairs):
        return None  # no masks, or names that are the same in train and in test
    flat = min(left, right) >= FLAT
    if flat and called_alike(*(path.relative_to(root).as_posix() for path in paired.pairs[0].paths)):
        return None  # two kinds of masks
    found = _masks_of(paired)
    return Layout(root, images, masks, paired, flat, len(found) > 1 and all_alike(found))


def _masks_of(paired: Paired) -> list[Path]:
    return [pair.mask for pair in paired.pairs if isinstance(pair.mask, Path)]


def _rank(layout: Layout) -> tuple[bool, bool, bool, int, int, int, int, int, int, int]:
    paired = layout.paired
    lone = len(paired.lone_images) + len(paired.lone_masks)
    return (
        called_alike(layout.images, layout.masks),  # masks go with masks of another kind or image, too
        layout.flat,
        layout.alike,
        -len(paired.pairs),
        other_words(layout.masks),
        -mask_words(layout.masks) + mask_words(layout.images),
        lone,
        other_words(layout.images),
        -image_words(layout.images),
        len(layout.images) + len(layout.masks),
    )


def _like_images(one: Layout, best: Layout) -> bool:
    """Whether the images of a layout look and sound as much like images as those of the best: no colours of labels."""
    words = [mask_words(layout.images) + other_words(layout.images) for layout in (one, best)]
    return one.flat <= best.flat and words[0] <= words[1]


def _said(layout: Layout) -> str:
    pairs = layout.paired.pairs
    image, mask = (path.relative_to(layout.root).as_posix() for path in pairs[0].paths)
    said = f"{len(pairs)} images with masks, such as {image} with {mask}"
    if layout.flat:
        said += "; these images have as few colours as masks: if they are none, say --images and --masks"
    homes = sorted({pair.paths[0].relative_to(layout.root).parent.as_posix() for pair in pairs})
    if len(homes) > 1 and "**/" in layout.images:
        said += (
            f"; images of {len(homes)} folders are taken together ({some(homes)}): if one holds copies of another's, "
            "say --images and --masks"
        )
    if layout.alike and len(pairs) >= FIELDS:
        said += (
            "; these masks are nearly the same in all images, as a camera's field of view is: if the labels lie "
            "elsewhere, say --masks"
        )
    return said
