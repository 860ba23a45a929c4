"""How the predictions of a folder are read: decided once from all their raw numbers, said, and never guessed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segkd.datasets.maps import TOLERANCE
from segkd.datasets.tally import Tally, told
from segkd.types import InputError, listed

LOW = 0.4
"""A folder of levels whose largest lies below this share of the scale is refused: they look like something else."""


@dataclass(frozen=True)
class Told:
    """What the user says of the predictions: raw value -> class, or the raw value that means probability 1."""

    map: Mapping[int, int] | None = None
    scale: float | None = None


@dataclass(frozen=True)
class Coding:
    """How raw numbers are read.

    Attributes:
        classes: number of classes.
        scales: for two classes, the raw value of each kind of number that means probability 1.
        map: raw value -> class, when the user gave one.
        rule: the sentence the user is told.
        faults: files that contradict the others, with a sentence each, by id.
        notes: what the user should look at.
    """

    classes: int
    scales: Mapping[str, float] = field(default_factory=dict)
    map: Mapping[int, int] | None = None
    rule: str = ""
    faults: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __call__(self, path: Path, raw: np.ndarray, kind: str) -> np.ndarray:
        """Levels uint8 or probabilities float32 [h w] (two classes); classes uint8 [h w] or scores float32 [k h w].

        Raises:
            InputError: the file holds what the others of its folder do not.
        """
        if raw.ndim == 3:
            return raw.astype(np.float32)
        if self.map is not None or self.classes > 2:
            found = self._numbers(path, raw)
            return found * np.uint8(255) if self.classes == 2 else found
        scale = self.scales.get(kind, 1.0)
        if not raw.min() >= -TOLERANCE or not raw.max() <= scale * (1 + TOLERANCE):
            raise InputError(f"{path}: expected values 0..{scale:g}, found {raw.min():.7g}..{raw.max():.7g}.")
        if raw.dtype == np.uint8 and scale == 255:
            return raw
        if scale == 1 and raw.dtype.kind != "f":
            return raw.astype(np.uint8) * np.uint8(255)
        return np.clip(raw.astype(np.float32) / np.float32(scale), 0, 1)

    def _numbers(self, path: Path, raw: np.ndarray) -> np.ndarray:
        known = self.map if self.map is not None else {value: value for value in range(self.classes)}
        values = np.unique(raw)
        stray = [value for value in values.tolist() if value not in known]
        if stray:
            raise InputError(f"{path}: value {stray[0]:.7g} is not a class. Read as: {self.rule}.")
        table = np.zeros(int(values[-1]) + 1, np.uint8)
        for value, target in known.items():
            if value < len(table):
                table[value] = target
        return table[raw.astype(np.int64)]


def decide(tallies: Mapping[str, Tally], classes: int, said: Told) -> Coding:
    """The one coding of a folder of predictions, by the tally of each of its files.

    A single file among many that contradicts the others is put into `faults`; a folder that contradicts itself, or
    whose numbers could mean several things, is refused with what to write.

    Raises:
        InputError: as said.
    """
    _check(said, classes)
    if said.map is not None or classes > 2:
        return _as_classes(tallies, classes, said)
    scales: dict[str, float] = {}
    faults: dict[str, str] = {}
    notes: list[str] = []
    faults |= _coloured(tallies)
    for kind in sorted({tally.kind for tally in tallies.values()}):
        group = {id: tally for id, tally in tallies.items() if tally.kind == kind and id not in faults}
        if not group:
            continue
        scales[kind] = _scale(group, kind, said, faults, notes)
    rules = {kind: _rule(kind, scale) for kind, scale in scales.items()}
    words = " and ".join(dict.fromkeys(rules.values())) if len(set(rules.values())) == 1 else "; ".join(
        f"{kind} {rule}" for kind, rule in rules.items())  # fmt: skip
    return Coding(classes, scales, None, words, faults, notes)


def few(stray: int, files: int) -> bool:
    """Whether so many stray files are an accident, which costs their own scores, and not a second way of writing."""
    return stray <= max(1, files // 5) and 2 * stray < files


def _check(said: Told, classes: int) -> None:
    if said.map is not None and said.scale is not None:
        raise InputError("--prediction-map and --prediction-scale exclude each other: classes, or probabilities.")
    if said.scale is not None and (classes != 2 or not 0 < said.scale < float("inf")):
        raise InputError(f"--prediction-scale {said.scale:g}: expected a number above 0, for two classes.")
    for value, target in (said.map or {}).items():
        if value < 0 or not 0 <= target < classes:
            raise InputError(
                f"--prediction-map sends value {value} to class {target}: expected values from 0 and classes "
                f"0..{classes - 1} (data.classes)."
            )


def _coloured(tallies: Mapping[str, Tally]) -> dict[str, str]:
    """A sentence on each map whose palette is of colours, as a painted heat map's is: its indices are no levels."""
    painted = {
        id: f"{tally.path}: a palette of colours, whose numbers are no levels. Save levels as a grey picture."
        for id, tally in tallies.items()
        if tally.seen.palette and len(tally.seen.palette) > 2
    }
    if painted and not few(len(painted), len(tallies)):
        raise InputError(f"{len(painted)} of {len(tallies)} predictions are painted. {next(iter(painted.values()))}")
    return painted


def _scale(group: dict[str, Tally], kind: str, said: Told, faults: dict[str, str], notes: list[str]) -> float:
    """The raw value that means 1 in one kind of number; contradicting files go to `faults`."""
    if kind == "true and false":
        return 1.0
    scale = said.scale or _usual_scale(group, kind, faults, notes)
    beyond = {
        id: f"{one.path}: expected values 0..{scale:g}, found {one.low:.7g}..{one.high:.7g}. {_advice(one)}"
        for id, one in group.items()
        if id not in faults and not (one.low >= -TOLERANCE * scale and one.high <= scale * (1 + TOLERANCE))
    }
    if beyond and not few(len(beyond), len(group)):
        first = next(iter(beyond.values()))
        raise InputError(
            f"{len(beyond)} of the predictions lie beyond the scale ({told(list(group.values()))}). {first}"
        )
    faults |= beyond
    return scale


def _usual_scale(group: dict[str, Tally], kind: str, faults: dict[str, str], notes: list[str]) -> float:
    good = {id: tally for id, tally in group.items() if tally.low >= -TOLERANCE}
    high = max((tally.high for tally in good.values()), default=0.0)
    if kind == "real numbers":
        outside = [id for id, tally in good.items() if tally.high > 1 + TOLERANCE]
        if few(len(outside), len(group)) or high != 255:
            return 1.0
    if high <= 1:
        return 1.0 if high == 1 or kind != "8 bit" else 255.0
    ones = {id: tally for id, tally in good.items() if tally.high == 1}
    more = {id: tally for id, tally in good.items() if tally.high > 1}
    if ones and _settled(ones, more, faults, notes, hard=all(len(one.few or ()) in (1, 2) for one in more.values())):
        return 1.0
    return _full(more, kind, high)


def _settled(ones: dict[str, Tally], more: dict[str, Tally], faults: dict, notes: list[str], hard: bool) -> bool:
    """Whether maps of 0 and 1 beside others set the scale. Of cut maps, the fewer are at fault; a soft map whose
    largest level is 1 may be one that saw nothing, so that is only noted."""
    files, a, b = len(ones) + len(more), next(iter(ones.values())), next(iter(more.values()))
    odd = ones if len(ones) <= len(more) else more
    if hard and few(len(odd), files):
        usual = "0 to 1" if odd is more else f"0 to {b.high:.7g}"
        for id, one in odd.items():
            faults[id] = f"{one.path}: holds 0 to {one.high:.7g}, but the other maps hold {usual}. Save it like them."
        return odd is more
    if hard or few(len(more), files):
        raise InputError(
            f"{len(ones)} predictions hold 0 and 1 ({a.path.name}) and {len(more)} hold up to {b.high:.7g} "
            f"({b.path.name}): one folder, two ways to write. Write them in one way; or, if both mean the same, "
            f"--prediction-map '{{0: 0, 1: 1, {b.high:.0f}: 1}}', or, if all are levels, --prediction-scale "
            f"{b.high:.0f}."
        )
    names = ", ".join(one.path.name for one in list(ones.values())[:3])
    notes.append(
        f"{len(ones)} of {files} predictions hold no level above 1 ({names}): read as nearly black. If they are 0/1 "
        "maps, save them like the others."
    )
    return False


def _full(group: dict[str, Tally], kind: str, high: float) -> float:
    """The full scale of whole numbers whose largest is `high` > 1, or the refusal that says what to write."""
    values = sorted({value for tally in group.values() for value in (tally.few or [])})
    complete = all(tally.few is not None for tally in group.values())
    full = 255.0 if kind == "8 bit" or high == 255 else 65535.0
    reached = high == full or (kind in ("8 bit", "16 bit") and high >= LOW * full)
    cut = complete and len(values) == 2 and values not in ([0, 1], [0, int(full)])
    if reached and not cut:
        return full
    if complete and len(values) <= 12:
        start = values[:-1] if len(values) > 1 else []
        example = ", ".join(f"{value}: {int(value not in start[:1])}" for value in values)
        cure = (
            "these look like class numbers. Say what each means, for instance "
            f"--prediction-map '{{{example}}}' (raw value: class), or save probabilities"
        )
    else:
        cure = f"say which value means probability 1, for instance --prediction-scale {high:.0f}"
    scale = f"; if they are levels of 0..{full:.0f}, --prediction-scale {full:.0f}"
    raise InputError(
        f"{told(list(group.values()))}: the largest value of the whole folder is {high:.0f} of {full:.0f}"
        + (", so nothing can be foreground" if high < full / 2 else "")
        + f": {cure}{scale if kind in ('8 bit', '16 bit') else ''}."
    )


def _as_classes(tallies: Mapping[str, Tally], classes: int, said: Told) -> Coding:
    known = set(said.map) if said.map is not None else set(range(classes))
    rule = f"values 0..{classes - 1} are the classes"
    if said.map is not None:
        rule = "--prediction-map " + ", ".join(f"{value} -> {target}" for value, target in sorted(said.map.items()))
    kinds = {tally.kind for tally in tallies.values()}
    if kinds == {"scores"}:
        return Coding(classes, rule="the largest of the scores is the class")
    rule += "; of scores, the largest is the class" if "scores" in kinds else ""
    faults = {}
    for id, tally in tallies.items():
        stray = [value for value in tally.few or [] if value not in known]
        if tally.kind != "scores" and (tally.few is None or stray):
            what = f"value {stray[0]} is not a class" if stray else f"{tally.low:.7g}..{tally.high:.7g} are no classes"
            faults[id] = f"{tally.path}: {what}. Read as: {rule}."
    if faults and not few(len(faults), len(tallies)):
        raise InputError(
            f"{len(faults)} of {len(tallies)} predictions hold values that are no class.\n"
            f"{listed(list(faults.values()), 3)}\n"
            f"Found: {told(list(tallies.values()))}.\n{_map_to_write(tallies, classes)}"
        )
    lossy = [tally.path for tally in tallies.values() if tally.seen.lossy]
    if lossy:
        raise InputError(f"{lossy[0]}: class numbers in JPEG are blurred into others. Save them as PNG.")
    return Coding(classes, {}, said.map, rule, faults)


def _map_to_write(tallies: Mapping[str, Tally], classes: int) -> str:
    values = sorted({value for tally in tallies.values() for value in (tally.few or [])})
    if not values or len(values) > 4 * classes:
        return f"Save class numbers 0..{classes - 1}, or a plane of scores for each class [{classes} h w] as .npy."
    shift = values[0] if values[-1] - values[0] < classes else 0
    example = ", ".join(f"{v}: {v - shift if shift else min(i, classes - 1)}" for i, v in enumerate(values))
    return (
        f"Name all classes (data.classes), or say what each value means, for instance --prediction-map '{{{example}}}' "
        "(raw value: class)."
    )


def _advice(tally: Tally) -> str:
    if tally.kind == "real numbers":
        return "Save probabilities, not logits (sigmoid or softmax first), or say --prediction-scale."
    return "Save levels 0..255 in 8 bits, or say which value means probability 1: --prediction-scale."


def _rule(kind: str, scale: float) -> str:
    if scale == 1:
        return "read as probabilities" if kind == "real numbers" else "read as 0 and 1"
    return f"read as value / {scale:g}"
