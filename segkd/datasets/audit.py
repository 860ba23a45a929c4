"""Every image and mask is read once before epoch 1, and every fault is named by file, all in one report."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from segkd.datasets.files import Pair, listed
from segkd.datasets.labels import LabelCode
from segkd.datasets.pictures import PLAIN, How, read_image, read_mask
from segkd.types import InputError

SMALLEST = 4
"""Pixels a side below which a random crop may hold nothing."""


@dataclass
class Reading:
    """What reading one pair gave: arrays, or the sentence that says what is wrong with it."""

    pair: Pair
    image: np.ndarray | None = None
    raw: np.ndarray | None = None
    fault: str | None = None


@dataclass
class Audit:
    """Counts of raw mask values per file, the faults found, and the fault of each stem that has one (`bad`)."""

    counts: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> np.ndarray:
        """Pixels of each raw value over all files, int64 [65536]."""
        total = np.zeros(65536, np.int64)
        for values, numbers in self.counts.values():
            total[values] += numbers
        return total

    @property
    def usual(self) -> list[int]:
        """The raw values of most masks that hold more than one value (of all masks, if none does)."""
        sets = Counter(tuple(values.tolist()) for values, _ in self.counts.values() if len(values) > 1)
        return list(sets.most_common(1)[0][0]) if sets else np.flatnonzero(self.total).tolist()


def read_pair(pair: Pair, how: How = PLAIN) -> Reading:
    """Image and raw mask of one pair, checked against each other; never raises for a bad file."""
    try:
        image, raw = read_image(pair.image, how), read_mask(pair.mask, how)
    except InputError as error:
        return Reading(pair, fault=str(error))
    if image.shape[:2] != raw.shape:
        return Reading(
            pair,
            fault=f"{pair.mask}: expected {_size(image)} pixels like {pair.image.name}, found {_size(raw)}. "
            "Save the mask at the image's size (an image with an EXIF orientation counts as it is displayed).",
        )
    if min(raw.shape) < SMALLEST:
        return Reading(pair, fault=f"{pair.image}: expected at least {SMALLEST} pixels a side, found {_size(image)}.")
    return Reading(pair, image, raw)


def read_all(
    pairs: Sequence[Pair],
    keep: Callable[[Reading], None],
    audit: Audit,
    advance: Callable[[], None],
    how: How = PLAIN,
) -> None:
    """Reads `pairs` in threads, in order: counts raw values into `audit`, hands every good reading to `keep`."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(pairs), 256):  # in chunks, so that decoded images do not pile up
            for reading in pool.map(partial(read_pair, how=how), pairs[start : start + 256]):
                advance()
                if reading.fault is not None or reading.raw is None:
                    audit.faults.append(str(reading.fault))
                    audit.bad[reading.pair.stem] = str(reading.fault)
                    continue
                audit.counts[reading.pair.stem] = np.unique(reading.raw, return_counts=True)
                keep(reading)


def refuse_faults(audit: Audit, pairs: Sequence[Pair], code: LabelCode, classes: int) -> None:
    """Raises one InputError that names every fault by file and says what to write."""
    faults = list(audit.faults)
    masks = {pair.stem: pair.mask for pair in pairs}
    unknown = code.unknown(audit.total)
    for value in unknown:
        files = [(stem, n[list(v).index(value)]) for stem, (v, n) in audit.counts.items() if value in v]
        stem, pixels = files[0]
        faults.append(
            f"{masks[stem]}: raw value {value} ({pixels} pixels here; it occurs in {len(files)} files) is not a class. "
            + _advice_for(value, classes, np.flatnonzero(audit.total).tolist())
        )
    if not faults:
        return
    text = f"{len(faults)} faults in the data:\n{listed(faults)}"
    if unknown:
        text += f"\nRead as: {code.rule}.\nFound raw values: {_summary(audit.total)}.\n" + _remedy(audit.total, classes)
    raise InputError(text)


def forgive_faults(audit: Audit, pairs: Sequence[Pair], code: LabelCode) -> dict[str, str]:
    """The fault of every pair that cannot be used, by stem, when the others can: then the audit forgets them."""
    faults = dict(audit.bad)
    for pair in pairs:
        values = audit.counts.get(pair.stem, (np.zeros(0, int), None))[0]
        stray = [int(value) for value in values if not code.known[value]]
        if stray:
            faults[pair.stem] = f"{pair.mask}: raw value {stray[0]} is not a class. Read as: {code.rule}."
    if len(faults) == len(pairs):
        return {}
    audit.faults.clear()
    for stem in faults:
        audit.counts.pop(stem, None)
    return faults


def _advice_for(value: int, classes: int, values: Sequence[int]) -> str:
    if value == 255 and classes > 2 and len(values) > 2:
        return (
            "A mask of 0 and 255 would be read as class 255; "
            "if 255 marks pixels to leave out, write data.ignore: [255]."
        )
    if value == 255 and classes > 2:
        return f"A mask of 0 and 255 would be read as class 255, but data.classes names {classes}: name two, or map it."
    return f"Classes are 0..{classes - 1}: map it in data.label_map, or leave its pixels out with data.ignore."


def _remedy(total: np.ndarray, classes: int) -> str:
    values = np.flatnonzero(total).tolist()
    if classes == 2 and values == [0, 1, 255]:
        return (
            "If some masks are 0/1 and others 0/255, write `data.label_map: {0: 0, 1: 1, 255: 1}`; "
            "if 255 marks pixels to leave out, write `data.ignore: [255]`."
        )
    if classes == 2 and len(values) > 3 and values == list(range(len(values))):
        return f"These look like the numbers of {len(values)} classes: name them all in data.classes, or map them."
    if classes == 2 and len(values) > 3:
        return "These look like grey levels: write `data.threshold: 128` to read values above 128 as class 1."
    suggestion = ", ".join(f"{raw}: {target}" for target, raw in enumerate(values[:classes]))
    rest = f", and `ignore: {values[classes:]}`" if len(values) > classes else ""
    return f"A map to start from, in the data layer: `label_map: {{{suggestion}}}`{rest}."


def _summary(total: np.ndarray) -> str:
    values = np.flatnonzero(total)
    shares = [f"{v} ({100 * total[v] / total.sum():.1f} %)" for v in values[:12]]
    return ", ".join(shares) + (f" and {len(values) - 12} more" if len(values) > 12 else "")


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
