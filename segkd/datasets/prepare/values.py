"""What the values of masks mean, guessed from all of them: classes, objects, grey levels, colours."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from segkd.datasets.audit import Audit
from segkd.datasets.colours import darkest_first, hexed, listed_colours
from segkd.datasets.masks import IN_COLOURS, MOST_COLOURS
from segkd.datasets.prepare import cityscapes
from segkd.datasets.prepare.legend import UNNAMED, find_legend
from segkd.datasets.prepare.named import find_names, named_by_nnunet
from segkd.datasets.unfit import Unfit
from segkd.types import IGNORE, InputError

As = Literal["auto", "classes", "objects", "grey"]
"""What a user says that the values are: class numbers, numbers of objects, grey levels; or nothing."""

EDGE = 0.8
"""Share of the pixels that black and white have at least where the levels between them are soft edges."""

TRACE = 0.002
"""Share of the pixels up to which values beside black or white are no classes, but what a program left of an edge."""

MANY = 4
"""Values between black and white from which on they are taken for soft edges."""

OBJECTS = 3
"""Objects in one mask from which on gapless numbers are taken for objects instead of classes."""

FEW = 8
"""Classes up to which their values may be grey levels with the whole range between them."""

NEIGHBOURS = 0.25
"""Share of more values than these whose next one is one more, from which on they are numbers."""

VOC = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
]  # fmt: skip
"""The classes of Pascal VOC, in the order of their numbers."""


@dataclass
class Meaning:
    """The settings of `Data` that say how masks are read, and the sentence on why."""

    classes: list[str]
    said: str
    label_map: dict[int, int] | None = None
    ignore: list[int] = field(default_factory=list)
    threshold: int | None = None
    colours: Mapping[str, str | list[str]] | None = None


def meaning_of(audit: Audit, named: Sequence[str] | None, told: As, root: Path, masks: str = "") -> Meaning:
    """What the masks' values mean.

    Args:
        audit: what reading all masks told.
        named: the names of the classes, when the user says them.
        told: what the user says that the values are.
        root: the folder where a file may lie that names colours or classes.
        masks: `data.masks`, which tells Cityscapes.

    Raises:
        InputError: the number of names is another than that of the classes, or the masks are smeared colours.
    """
    coloured = sum((f.colours for f in map(_coloured, audit.faults.values()) if f), start=Counter[int]())
    if coloured:
        return _of_colours(coloured, named, root, len(audit.faults))
    total = audit.total
    values = np.flatnonzero(total).tolist()
    if len(values) == 1:
        raise _of_one_value(f"the value {values[0]}", len(audit.readings))
    if named is None and told == "auto" and (known := cityscapes.names_of(masks, values)) is not None:
        said = (
            "values are the numbers of Cityscapes: the 19 classes that its benchmark scores, the others are left out "
            "(for all numbers, say --as classes)"
        )
        return replace(_mapped(*known), said=said)
    told = "classes" if told == "auto" and named_by_nnunet(root, values).names else told
    sets = [one.counts[0].tolist() for one in audit.readings.values()]
    if told == "objects" or (told == "auto" and _are_objects(sets)):
        classes = _two(named)
        most = max(values)
        why = f"as told; up to {most} in one mask"
        if told == "auto":
            why = f"each mask holds 1, 2, ... without a gap, up to {most}; if they are classes, say --as classes"
        return Meaning(classes, f"values are the numbers of objects ({why}): all above 0 are {classes[1]}", threshold=0)
    lossy = sum(one.seen_mask.lossy for one in audit.readings.values())
    if told == "grey" or (told == "auto" and _are_levels(total, values, lossy)):
        classes = _two(named)
        high = 128 if values[-1] > 1 else 0
        between = len([v for v in values if v not in (0, 255)])
        why = f"{between} values between black and white at edges" + (f", {lossy} masks are JPEG" if lossy else "")
        return Meaning(classes, f"values are grey levels ({why}): those above {high} are {classes[1]}", threshold=high)
    meaning = _of_classes(values, sets, named)
    if named is None and told == "auto" and _are_objects(sets, 2):
        doubt = "each mask holds 1, 2 without a gap: if they are numbers of objects, say --as objects"
        meaning = replace(meaning, said=f"{meaning.said}; {doubt}")
    return meaning if named is not None else _by_file(meaning, root)


def meaning_of_made(audit: Audit, classes: Sequence[str]) -> Meaning:
    """What the values of masks mean that were drawn or joined here: the numbers of `classes`, and 255 is left out.

    Raises:
        InputError: they hold one class alone.
    """
    values = np.flatnonzero(audit.total).tolist()
    ignore = [IGNORE] * (IGNORE in values)
    if len(values) - len(ignore) < 2:
        raise _of_one_value(f"the value {values[0]}", len(audit.readings))
    return Meaning(list(classes), f"values 0 to {len(classes) - 1} are the classes{_left_out(ignore)}", ignore=ignore)


def in_colours(audit: Audit) -> bool:
    """Whether masks are in colours that nobody named."""
    return any(_coloured(fault) for fault in audit.faults.values())


def _coloured(fault: InputError) -> Unfit | None:
    return fault if isinstance(fault, Unfit) and fault.kind == IN_COLOURS else None


def _of_one_value(value: str, number: int) -> InputError:
    return InputError(
        f"no mask holds a foreground beside a background: expected two values or more, found {value} alone in "
        f"{number} masks. Look at the masks: say others with --masks, or annotations with --annotations."
    )


def _of_colours(counts: Mapping[int, int], named: Sequence[str] | None, root: Path, number: int) -> Meaning:
    if len(counts) > MOST_COLOURS:
        raise InputError(
            f"the masks are colour images of more than {MOST_COLOURS} colours ({listed_colours(counts, 6)}): smoothing "
            "or JPEG has mixed them, so none can be named. Get the masks as PNG, or save them as class numbers."
        )
    if len(counts) == 1:
        raise _of_one_value(f"the colour {listed_colours(counts)}", number)
    said = f"masks are in {len(counts)} colours: {listed_colours(counts)}"
    if named is None:
        legend = find_legend(root, counts.keys())
        said += f"; {legend.said}" if legend.said else ""
        if legend.classes:
            return Meaning(legend.classes, said, colours=legend.colours)
    ordered = darkest_first([code for code, _ in Counter(counts).most_common()])
    names = _names(len(ordered), named, f"colours: {listed_colours(counts)}")
    colours = {name: hexed(code) for name, code in zip(names, ordered)}
    return Meaning(names, said, colours=colours)


def _are_objects(sets: Sequence[Sequence[int]], most: int = OBJECTS) -> bool:
    """Whether every mask holds 1..m without a gap, with several m, and at least `most` somewhere."""
    above = [[value for value in values if value > 0] for values in sets]
    counts = {len(values) for values in above}
    gapless = all(values == list(range(1, len(values) + 1)) for values in above)
    return gapless and len(counts) > 1 and max(counts) >= most and 255 not in counts


def _are_levels(total: np.ndarray, values: Sequence[int], lossy: int) -> bool:
    between = [value for value in values if 0 < value < 255]
    if values[-1] > 255 or values[-1] < 128 or not between:
        return False
    if between[-1] < 128:  # numbers of classes beside a 255: edges and noise have light values too
        return False
    ends = total[:16].sum() + total[240:256].sum()
    close = all(value < 16 or value >= 240 for value in values)
    trace = total[between].sum() <= TRACE * total.sum()
    # numbers of many classes have neighbours among them, smoothed edges have levels all over the range
    strewn = len(between) > FEW and values[-1] >= 240 and not _are_numbers(values)
    soft = len(between) >= MANY and (between[0] > 32 or len(between) > 24 or strewn or lossy)
    return bool(ends >= EDGE * total.sum() and (soft or (close and (lossy or trace or len(between) >= MANY))))


def _of_classes(values: Sequence[int], sets: Sequence[Sequence[int]], named: Sequence[str] | None) -> Meaning:
    ignore = [value for value in values if value in (255, 65535) and _is_ignored(value, values, sets)]
    raw = [value for value in values if value not in ignore]
    if len(raw) > 255:
        raise InputError(
            f"the masks hold {len(raw)} values, {raw[0]} to {raw[-1]}: too many for classes. If all above 0 are "
            "objects of one class, say --as objects; if they are grey levels, --as grey."
        )
    if set(raw) == {0, 1, 255}:
        names = _two(named)
        some = "some masks hold 1, others 255"
        return Meaning(names, f"{some}: both are {names[1]}", label_map={0: 0, 1: 1, 255: 1})
    row = len(raw) > 2 or raw[-1] == raw[0] + 1  # 128 and 255, 2 and 5 are background and foreground all the same
    if raw[0] > 0 and len(raw) > 1 and row and (named is None or len(named) == len(raw)):
        # a background that is nowhere is no class, and the first value is not called so
        names = list(named or (f"class{value}" for value in raw))
        more = "" if named else "; to name them, say --classes"
        return _mapped(dict(zip(raw, names)), ignore, more, ", of which none is 0")
    gaps = max(raw) < len(raw) + max(2, len(raw) // 4)  # a class that no mask holds leaves a gap
    number = max(raw) + 1 if gaps else len(raw)
    if named is not None and max(raw) < len(named):  # a class that is named may occur nowhere: that is warned of
        number = len(named)
    if max(raw) < 21 and 255 in ignore and number == 21 and named is None:
        named = VOC
    names = _names(number, named, f"values: {', '.join(map(str, raw[:12]))}")
    if number > max(raw):
        return Meaning(names, f"values 0 to {number - 1} are the classes{_left_out(ignore)}", ignore=ignore)
    white = raw[-1] in (255, 65535) and len(raw) > 2 and named is None
    doubt = f"; if {raw[-1]} is to be left out, take it out of label_map and classes, and write ignore: [{raw[-1]}]"
    return _mapped(dict(zip(raw, names)), ignore, doubt if white else "")


def _mapped(names: Mapping[int, str], ignore: list[int], more: str = "", none_is_0: str = "") -> Meaning:
    """Where values have the names of classes, in this order."""
    words = ", ".join(f"{value} -> {name}" for value, name in names.items())
    label_map = {value: number for number, value in enumerate(names)}
    said = f"values are classes{none_is_0}: {words}{_left_out(ignore)}{more}"
    same = all(value == number for value, number in label_map.items())
    return Meaning(list(names.values()), said, None if same else label_map, ignore)


def _left_out(ignore: Sequence[int]) -> str:
    return f"; {', '.join(map(str, ignore))} is left out" if ignore else ""


def _by_file(meaning: Meaning, root: Path) -> Meaning:
    """The same with the names of a file beside the masks, where one fits; what that calls void is left out."""
    values = sorted(meaning.label_map or range(len(meaning.classes)))
    if len(values) != len(meaning.classes):
        return meaning
    listed = find_names(root, values)
    names = listed.names
    if not names:
        return replace(meaning, said="; ".join(filter(None, [meaning.said, listed.said])))
    void = [value for value, name in names.items() if name.lower() in UNNAMED]
    if len(void) > len(names) - 2:
        void = []
    kept = {value: names[value] for value in sorted(names) if value not in void}
    more = f"; {listed.said}"
    if void == [0]:  # what is everything else may be called so, too
        more = f" (if 0 is the background, say --classes {shlex.join(['background', *kept.values()])}){more}"
    return _mapped(kept, sorted({*meaning.ignore, *void}), more)


def _is_ignored(value: int, values: Sequence[int], sets: Sequence[Sequence[int]]) -> bool:
    """Whether white marks pixels to leave out: the other values are small or many class numbers, and masks hold it
    beside 1 or more."""
    others = [other for other in values if other != value]
    small = len(others) >= 2 and others[-1] < max(32, len(others) + 8)
    return (small or _are_numbers(others)) and any(
        value in some and any(0 < other < value for other in some) for some in sets
    )


def _are_numbers(values: Sequence[int]) -> bool:
    """Whether many values are numbers of classes of which some lack (COCO-Stuff): a part of them are neighbours, as the
    grey levels that someone draws classes in are not."""
    neighbours = sum(other - one == 1 for one, other in pairwise(values))
    return len(values) > FEW and neighbours >= NEIGHBOURS * len(values)


def _two(named: Sequence[str] | None) -> list[str]:
    return _names(2, named, "background and foreground")


def _names(number: int, named: Sequence[str] | None, found: str) -> list[str]:
    if named is not None and len(named) != number:
        raise InputError(
            f"--classes names {len(named)} classes ({', '.join(named)}), but the masks hold {number} ({found}). Name "
            "each of them, background first, or leave --classes out."
        )
    if named is not None:
        return list(named)
    return ["background", "foreground"] if number == 2 else ["background", *(f"class{i}" for i in range(1, number))]
