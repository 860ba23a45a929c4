"""What a user should look at before training: sentences on files that were read, but perhaps not as they were meant."""

from collections.abc import Mapping, Sequence

import numpy as np

from segkd.datasets.audit import Audit, Reading
from segkd.datasets.colours import hexed, packed
from segkd.datasets.heads import PAGES, SLICES
from segkd.datasets.labels import LabelCode
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import Seen
from segkd.types import some

FEW_LEVELS = 0.25
"""Share of the 256 levels below which images are said to be nearly black or flat."""

MOST = 0.9
"""Share of the images of more than 8 bits that must be so: a few dark ones are dark."""

OFTEN = 0.1
"""Share of the masks with a class, of more than two, that may lose it without a word."""

ELONGATED = 2
"""How many times longer than the network's the shape of an image may be without a word."""

STEP = 32
"""What the sides of a proposed data.size are multiples of: networks halve them five times."""


def notes_on(
    audit: Audit, code: LabelCode, classes: Sequence[str], splits: Mapping[str, Sequence[Pair]], size: tuple[int, int]
) -> tuple[str, ...]:
    """A sentence on each thing to look at.

    Args:
        audit: what reading the files told.
        code: how their raw values are read.
        classes: names of the classes.
        splits: the pairs of each split that was read.
        size: height and width that the network sees.
    """
    stems = {pair.stem for members in splits.values() for pair in members}
    read = {stem: one for stem, one in audit.readings.items() if stem in stems}
    images = {str(one.pair.image): one.seen_image for one in read.values()}
    masks = {str(one.pair.mask): one.seen_mask for one in read.values()}
    undecided = {str(one.pair.image): one.seen_mask.tag for one in read.values() if one.undecided}
    notes = [*notes_on_images(images), *_orientations(undecided, images), *notes_on_masks(masks)]
    sizes = {stem: one.shape for stem, one in read.items() if one.shape is not None}
    notes += [_elongated(sizes, size, "train" in splits)]
    notes += [_twins(audit, splits), _vanishing(list(read.values()), code, classes, size)]
    return tuple(note for note in [*notes, *_absent(audit, code, classes, splits)] if note)


def notes_on_images(images: Mapping[str, Seen]) -> list[str]:
    """A sentence on values that use little of their range, and on what was left out, of images by their paths."""
    return [note for note in (_values(images), *_left_out(images, "images")) if note]


def notes_on_masks(masks: Mapping[str, Seen], what: str = "masks") -> list[str]:
    """A sentence on palettes that may be meant otherwise, and on what was left out, of masks by their paths."""
    return [note for note in (_palettes(masks), _backwards(masks), *_left_out(masks, what)) if note]


def values_in_use(audit: Audit) -> str:
    """The range of the image values that are not read as plain 8 bits, "" when all are."""
    deep = [one.seen_image for one in audit.readings.values() if one.seen_image.values is not None]
    if not deep:
        return ""
    low, high = _range(deep)
    return f"image values {low:.6g}..{high:.6g} of {deep[0].scale[0]:g}..{deep[0].scale[1]:g}"


def _range(seen: Sequence[Seen]) -> tuple[float, float]:
    spans = [one.values for one in seen if one.values is not None]
    return min(low for low, _ in spans), max(high for _, high in spans)


def _values(images: Mapping[str, Seen]) -> str:
    deep = {path: seen for path, seen in images.items() if seen.values is not None}
    flat = {path: seen for path, seen in deep.items() if _share_of_scale(seen) < FEW_LEVELS}
    if not flat or len(flat) < MOST * len(deep):
        return ""
    (low, high), (black, white) = _range(list(flat.values())), next(iter(flat.values())).scale
    levels = max(1, round(255 * max(_share_of_scale(seen) for seen in flat.values())))
    top = next((2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits), high)
    whole = low >= 0 and float(high).is_integer()
    advice = f"[0, {top}]" if whole else f"[{low:.6g}, {high:.6g}]"
    return (
        f"{len(flat)} of {len(images)} images use the values {low:.6g}..{high:.6g} and are read as "
        f"{black:g}..{white:g} ({some(list(flat))}): the network sees {levels} of 255 grey levels, nearly nothing. "
        f"Write data.range: {advice}, the values that become black and white."
    )


def _share_of_scale(seen: Seen) -> float:
    """Which part of the values from black to white an image uses, 0..1."""
    (low, high), (black, white) = seen.values or seen.scale, seen.scale
    return max(0.0, min(high, white) - max(low, black)) / (white - black)


def _orientations(undecided: Mapping[str, int], images: Mapping[str, Seen]) -> list[str]:
    """Which of two files has the tag: `undecided` holds that of the mask, by the path of its image."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for path, tag in undecided.items():
        if tag == 1:
            kind = "images have an EXIF orientation that their masks do not have", "images are turned, masks are not"
        elif images[path].tag == 1:
            kind = "images have masks with an EXIF orientation and none themselves", "masks are turned, images are not"
        else:
            kind = "images have another EXIF orientation than their masks", "each is turned by its own"
        kinds.setdefault(kind, []).append(path)
    return [
        f"{len(paths)} of {len(images)} {have}, and the sizes fit either way ({some(paths)}): {turned}. Look at them "
        "with `segkd sheet`; if the masks lie wrong, they were drawn on the pixels as stored: write data.exif: false."
        for (have, turned), paths in kinds.items()
    ]


def _elongated(sizes: Mapping[str, tuple[int, int]], size: tuple[int, int], training: bool) -> str:
    """A sentence on images whose shape is far from the network's: with the data.size to write where one fits more when
    they are for training; what is only scored is not cut, and another size may be none that the network takes."""

    def far(shape: tuple[int, int]) -> list[str]:
        ratios = {stem: h * shape[1] / (w * shape[0]) for stem, (h, w) in sizes.items()}
        return [stem for stem, ratio in ratios.items() if max(ratio, 1 / ratio) > ELONGATED]

    names = far(size)
    if not names:
        return ""
    middle = float(np.median([h / w for h, w in sizes.values()]))
    longer = max(middle, 1 / middle)
    short = max(1, round((size[0] * size[1] / longer) ** 0.5 / STEP)) * STEP
    long = max(1, round(short * longer / STEP)) * STEP
    better = (long, short) if middle > 1 else (short, long)
    cure = f"write data.size: {list(better)}" if len(far(better)) < len(names) else "cut these into parts of its shape"
    what = f"whole they are squeezed by that much: {cure}."
    return (
        f"{len(names)} of {len(sizes)} images are more than {ELONGATED} times as long or as high as the shape of "
        f"data.size {list(size)} ({some(names)}): "
        + (what if training else "whole they are squeezed; segkd evaluate --slide looks at them part by part.")
    )


def _twins(audit: Audit, splits: Mapping[str, Sequence[Pair]]) -> str:
    """A sentence on images that are in several splits byte for byte."""
    homes: dict[str, dict[str, str]] = {}
    for name, members in splits.items():
        for pair in members:
            if pair.stem in audit.readings and (digest := audit.readings[pair.stem].digest.split(" ")[0]):
                homes.setdefault(digest, {}).setdefault(name, pair.stem)
    twins = [" = ".join(f"{stem} in {name}" for name, stem in one.items()) for one in homes.values() if len(one) > 1]
    if not twins:
        return ""
    return (
        f"images in more than one split, byte for byte, so that scores flatter: {len(twins)} ({some(twins)}). Take "
        "them out of one."
    )


def _left_out(seen: Mapping[str, Seen], what: str) -> list[str]:
    files: dict[str, list[str]] = {}
    for path, one in seen.items():
        for part in one.left_out:
            files.setdefault(part, []).append(path)
    return [
        f"{len(paths)} of {len(seen)} {what} have {part}, which {'is' if part == 'transparency' else 'are'} left out: "
        f"{some(paths)}.{' ' + SLICES + '.' if part == PAGES else ''}"
        for part, paths in files.items()
    ]


def _palettes(masks: Mapping[str, Seen]) -> str:
    first: dict[int, tuple[str, int]] = {}
    for path, seen in masks.items():
        for index, colour in seen.palette.items():
            before, code = first.setdefault(index, (path, packed(colour)))
            if code != packed(colour):
                return (
                    f"the palettes of the masks differ: index {index} is {hexed(code)} in {before} and "
                    f"{hexed(packed(colour))} in {path}. Masks are read by index; if the colours are the classes, "
                    "write data.colours: {class: [r, g, b], ...}."
                )
    return ""


def _backwards(masks: Mapping[str, Seen]) -> str:
    colours: dict[int, tuple[int, int, int]] = {}
    for seen in masks.values():
        colours.update(seen.palette)
    if len(colours) != 2:
        return ""
    (low, first), (high, second) = sorted(colours.items())
    if sum(first) - sum(second) < 128:
        return ""
    return (
        f"the palette of the masks runs backwards: index {low} is bright ({hexed(packed(first))}) and index {high} "
        f"dark ({hexed(packed(second))}). Masks are read by index; if bright is the foreground, write data.colours, or "
        f"data.label_map: {{{low}: 1, {high}: 0}}."
    )


def _vanishing(readings: Sequence[Reading], code: LabelCode, classes: Sequence[str], size: tuple[int, int]) -> str:
    """A sentence on classes that masks hold at their own size, and lose at the network's."""
    there, lost = np.zeros(256, int), np.zeros(256, int)
    for one in readings:
        if one.small is not None:
            before = np.unique(code.table[one.counts[0]])
            there[before] += 1
            lost[np.setdiff1d(before, code.table[one.small])] += 1
    least = 0 if len(classes) == 2 else OFTEN
    bad = [c for c in range(1, len(classes)) if lost[c] > least * there[c]]
    cure = "raise data.size, or crop (data.augment.scale, data.augment.ratio_of: output) and judge with --slide"
    shown = size[0] if size[0] == size[1] else list(size)
    if not bad:
        return ""
    if len(classes) == 2:
        return f"at data.size {shown}, {lost[1]} of {there[1]} masks with {classes[1]} lose all of it: {cure}."
    words = [f"{classes[c]} in {lost[c]} of {there[c]}" for c in bad]
    return f"at data.size {shown}, classes vanish from masks that hold them ({some(words, 6)}): {cure}."


def _absent(audit: Audit, code: LabelCode, classes: Sequence[str], splits: Mapping[str, Sequence[Pair]]) -> list[str]:
    there = {}
    for name, members in splits.items():
        total = audit.of([pair.stem for pair in members])
        there[name] = {int(c) for c in np.unique(code.table[np.flatnonzero(total)])}
    anywhere = set().union(*there.values())
    known = set(range(len(classes)))
    hidden = [split for split, found in there.items() if split != "train" and not found & known and anywhere & known]
    notes = [f"no mask of {split} holds any class, so it has no scores: its labels are not public, or are others."
             for split in hidden]  # fmt: skip
    for number, name in enumerate(classes):
        lacking = [split for split, found in there.items() if number not in found and split not in hidden]
        if number not in anywhere:
            where = f" of {lacking[0]}" if len(there) == 1 else ""
            notes.append(f"no mask{where} holds class {name}: nothing can be said about it.")
        elif "train" in lacking:
            notes.append(f"no mask of train holds class {name}, but masks of another split do: it cannot be learned.")
        else:
            notes += [f"no mask of {split} holds class {name}, so it has no score there." for split in lacking]
    return notes
