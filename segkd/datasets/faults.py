"""Bad files and stray values of a folder in one report: what to do first, then what was found, then where."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from segkd.datasets.audit import Audit
from segkd.datasets.colours import LABELMAP, LEFT_OUT, listed_colours, map_to_start_from, read_labelmap
from segkd.datasets.labels import LabelCode
from segkd.datasets.masks import IN_COLOURS, MIXED, MOST_COLOURS
from segkd.datasets.packed import File
from segkd.datasets.pictures import Seen
from segkd.datasets.tally import shares
from segkd.datasets.unfit import Unfit
from segkd.types import IGNORE, InputError, some

CLOSE = 16
"""Raw values that lie closer than this are not told apart after JPEG."""

MOSTLY = 0.75
"""Share of the pixels of grey masks that are black or white, or close to it."""

LOSSY = "compressed with loss (as JPEG is)"
"""What is wrong with masks that `Seen` calls lossy."""


def refuse_faults(audit: Audit, code: LabelCode, classes: Sequence[str]) -> None:
    """Raises one InputError that names every kind of fault, what to do about it, and the first files."""
    lines = group(list(audit.faults.values()), classes)
    lossy = [str(one.pair.mask) for one in audit.readings.values() if one.seen_mask.lossy]
    strange = _strange_values(audit, code, classes, lossy)
    if strange is None and lossy:
        strange = _blurred(audit, code, lossy)
    # who says what raw values mean knows both kinds
    seen = {} if code.told else {str(one.pair.mask): one.seen_mask for one in audit.readings.values()}
    lines += _two_readings(seen) or ([strange] if strange is not None else [])
    if not lines:
        return
    if len(lines) == 1:
        raise InputError(f"the data cannot be used as they are. {lines[0]}")
    raise InputError("the data cannot be used as they are:\n" + "\n".join(f"  {line}" for line in lines))


def refuse_empty_classes(classes: Sequence[str], code: LabelCode, total: np.ndarray) -> None:
    """Raises InputError where fewer than two classes occur among the `total` pixels of each raw value."""
    there = [name for c, name in enumerate(classes) if total[code.known & (code.table == c)].sum() > 0]
    if len(there) < 2:
        raise InputError(
            f"the masks hold {' and '.join(there) or 'no class at all'}, but training needs two classes that occur. "
            f"Read as: {code.rule}. Correct data.label_map, data.ignore or data.classes."
        )


def group(faults: Sequence[InputError], classes: Sequence[str]) -> list[str]:
    """A line for every kind of fault: what to do, how many files have it, and the first of them."""
    kinds: dict[str, list[Unfit]] = {}
    lines = []
    for fault in faults:
        if isinstance(fault, Unfit):
            kinds.setdefault(fault.kind, []).append(fault)
        else:
            lines.append(str(fault))
    return [_line(kind, members, classes) for kind, members in kinds.items()] + lines


def forgive_faults(audit: Audit, code: LabelCode) -> dict[str, str]:
    """The fault of every pair that cannot be used, by stem, when the others can: then the audit forgets them."""
    faults = {stem: str(fault) for stem, fault in audit.faults.items()}
    for stem, one in audit.readings.items():
        stray = [value for value in one.counts[0].tolist() if not code.known[value]]
        if stray:
            faults[stem] = f"{one.pair.mask}: raw value {stray[0]} is not a class. Read as: {code.rule}."
    if audit.readings.keys() <= faults.keys():
        return {}
    audit.forget(faults)
    return faults


def _line(kind: str, members: Sequence[Unfit], classes: Sequence[str]) -> str:
    if kind == IN_COLOURS:
        return _coloured(members, classes)
    if len(members) == 1:
        return str(members[0])
    # of two numbers in an advice, the larger helps all files
    cure = max((member.cure for member in members), key=lambda cure: (len(cure), cure))
    colours = _sum_of_colours(members)
    if colours:
        files = some([str(member.path) for member in members])
        cure = MIXED if len(colours) > MOST_COLOURS else cure
        return f"{cure}. {len(members)} files: {kind}: {listed_colours(colours)}. Files: {files}."
    return f"{cure}. {len(members)} files: {kind}: " + some([_with_detail(member) for member in members]) + "."


def _sum_of_colours(members: Sequence[Unfit]) -> Counter[int]:
    return sum((member.colours for member in members), start=Counter())


def _with_detail(member: Unfit) -> str:
    return f"{member.path} ({member.detail})" if member.detail else str(member.path)


def _coloured(members: Sequence[Unfit], classes: Sequence[str]) -> str:
    counts = _sum_of_colours(members)
    files = some([str(member.path) for member in members])
    return f"{_cure_of_colours(members[0].path, counts, classes)} {len(members)} masks are colour images: {files}. " + (
        f"Colours found: {listed_colours(counts)}."
    )


def _cure_of_colours(mask: File, counts: Mapping[int, int], classes: Sequence[str]) -> str:
    map_file = next((folder / LABELMAP for folder in list(mask.parents)[:3] if (folder / LABELMAP).is_file()), None)
    if map_file is not None:
        names = ", ".join(name for name in read_labelmap(map_file) if name != LEFT_OUT)
        return f"Write data.colours: {map_file.resolve()}, which says their classes, and data.classes: [{names}]."
    if len(counts) > MOST_COLOURS:
        return f"{MIXED}."
    example = map_to_start_from(counts, classes)
    return f"Name the class of each colour, for example data.colours: {{{example}}}, with these names in data.classes."


def _strange_values(audit: Audit, code: LabelCode, classes: Sequence[str], lossy: Sequence[str]) -> str | None:
    unknown = code.unknown(audit.total)
    if not unknown:
        return None
    files = [str(one.pair.mask) for one in audit.readings.values() if not code.known[one.counts[0]].all()]
    told = audit.total.copy()
    told[code.known & (code.table == IGNORE)] = 0
    remedy = _remedy(told, len(classes), lossy, len(audit.readings))
    return (
        f"{remedy} {len(files)} of {len(audit.readings)} masks hold raw values that are no class "
        f"({some([str(value) for value in unknown], 12)}): {some(files)}. Read as: {code.rule}. "
        f"Found raw values: {_summary(audit.total)}."
    )


def _two_readings(masks: Mapping[str, Seen]) -> list[str]:
    """A sentence where some masks give the numbers of their palettes, and others, of a palette of greys, the greys."""
    numbers, greys = ([path for path, seen in masks.items() if getattr(seen, kind)] for kind in ("palette", "greys"))
    if not (numbers and greys):
        return []
    return [
        f"Name the colours in data.colours, which reads all masks alike. {len(greys)} masks have palettes of greys "
        f"alone, whose greys are read: {some(greys)}; {len(numbers)} have palettes of colours, whose numbers are read: "
        f"{some(numbers)}. Where the unused colours of a palette were dropped, one number is read as two classes."
    ]


def _blurred(audit: Audit, code: LabelCode, lossy: Sequence[str]) -> str | None:
    """Class numbers that went through JPEG: known values, but not those that were drawn."""
    gaps = [b - a for a, b in pairwise(np.flatnonzero(audit.total).tolist()) if code.table[a] != code.table[b]]
    if code.known.all() or not gaps or min(gaps) >= CLOSE:
        return None
    return _no_jpeg(lossy, len(audit.readings)) + f" Read as: {code.rule}."


def _no_jpeg(lossy: Sequence[str], number: int) -> str:
    return (
        "Save the masks from their source as PNG: JPEG changes values, so that pixels beside an edge become other "
        f"classes. {len(lossy)} of {number} masks are {LOSSY}: {some(lossy)}."
    )


def _remedy(total: np.ndarray, classes: int, lossy: Sequence[str], number: int) -> str:
    """What to write, of the pixels of each raw value but of those that are ignored already."""
    values = np.flatnonzero(total).tolist()
    if classes == 2 and values == [0, 1, 255]:
        return (
            "If some masks are 0/1 and others 0/255, write `data.label_map: {0: 0, 1: 1, 255: 1}`; "
            "if 255 marks pixels to leave out, write `data.ignore: [255]`."
        )
    if classes == 2 and len(values) > 3:
        return _of_two_classes(total, values, lossy, number)
    if lossy:
        return _no_jpeg(lossy, number)
    if classes == 2 and len(values) == 3:
        return _of_three_values(values)
    if classes > 2 and values == [0, 255]:
        return f"A mask of 0 and 255 would be read as class 255, but data.classes names {classes}: name two, or map it."
    if classes > 2 and values[-1] == 255 and all(value < classes for value in values[:-1]):
        return "If 255 marks pixels to leave out, write `data.ignore: [255]`."
    if values == list(range(classes + 1)):
        above = _mapping(values[1:])
        return (
            f"There are {len(values)} values and {classes} classes: name {len(values)} in data.classes; where "
            f"{classes} marks pixels to leave out (void), write `ignore: [{classes}]`; or, where 0 is none of them, "
            f"write `label_map: {above}`, and `ignore: [0]`."
        )
    rest = f", and `ignore: {values[classes:]}`" if len(values) > classes else ""
    if rest and len(values) < 256:
        return (
            f"There are {len(values)} values and {classes} classes: name {len(values)} in data.classes, or leave "
            f"values out, for example `label_map: {_mapping(values[:classes])}`{rest}."
        )
    return (
        f"Write the class of each value in the data layer, for example `label_map: {_mapping(values[:classes])}`{rest}."
    )


def _of_two_classes(total: np.ndarray, values: Sequence[int], lossy: Sequence[str], number: int) -> str:
    """Many values of two classes: grey levels of an edge, or the numbers of classes or of objects."""
    if lossy:
        return (
            "Write `data.threshold: 128` to read values above 128 as class 1: "
            f"{len(lossy)} of {number} masks are {LOSSY}, which blurs 0 and 255."
        )
    black_and_white = total[:CLOSE].sum() + total[256 - CLOSE : 256].sum()
    light = any(128 <= value < 255 for value in values)  # numbers of classes beside a 255 have none
    if values[-1] > 128 and values[-1] < 256 and light and black_and_white > MOSTLY * total.sum():
        return "Write `data.threshold: 128` to read values above 128 as class 1: these look like grey levels."
    classes = [value for value in values if value != 255 or light or values[-1] > 255]
    named = f"if they are classes, name all {len(classes)} in data.classes, or map them" if len(values) < 256 else ""
    named += " (and `data.ignore: [255]`, where that marks pixels to leave out)" if len(classes) < len(values) else ""
    return (
        "These look like numbers: if they are numbers of objects, `data.threshold: 0` reads all above 0 as class 1"
        f"{'; ' if named else ''}{named}."
    )


def _of_three_values(values: Sequence[int]) -> str:
    low, middle, high = values
    if (low, high) == (0, 255):
        return (
            f"There are 3 values and 2 classes: name 3 in data.classes; or, where {middle} marks a border to leave "
            f"out, write `label_map: {{0: 0, 255: 1}}`, and `ignore: [{middle}]`."
        )
    return (
        f"There are 3 values and 2 classes: name 3 in data.classes; or say which is which: `label_map: {{VALUE: 0, "
        f"VALUE: 1}}` for background and foreground, and `ignore: [VALUE]`, of {low}, {middle} and {high}."
    )


def _mapping(values: Sequence[int]) -> str:
    return f"{{{', '.join(f'{raw}: {target}' for target, raw in enumerate(values))}}}"


def _summary(total: np.ndarray) -> str:
    return shares({value: int(total[value]) for value in np.flatnonzero(total).tolist()}, 12)
