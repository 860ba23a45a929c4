"""How the predictions of a folder are read: decided once from all their raw numbers, said, and never guessed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

from segkd.datasets.colours import hexed, listed_colours
from segkd.datasets.maps import TOLERANCE
from segkd.datasets.masks import IN_COLOURS, MOST_COLOURS
from segkd.datasets.pictures import How, view_mask
from segkd.datasets.scales import few, refuse_lossy, scale_of
from segkd.datasets.tally import Tally, told
from segkd.datasets.unfit import Unfit
from segkd.types import InputError, listed


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
        try:
            scales[kind] = scale_of(group, kind, said.scale, faults, notes)
        except InputError as error:
            if not few(len(group), len(tallies)):
                raise
            faults |= {id: f"{tally.path}: {error}" for id, tally in group.items()}
    rules = {kind: _rule(kind, scale) for kind, scale in scales.items()}
    words = " and ".join(dict.fromkeys(rules.values())) if len(set(rules.values())) == 1 else "; ".join(
        f"{kind} {rule}" for kind, rule in rules.items())  # fmt: skip
    return Coding(classes, scales, None, words, faults, notes)


def refuse_colours(paths: Sequence[Path], how: How, classes: Sequence[str]) -> None:
    """Raises InputError where predictions are in colours that nobody named, with what to write."""
    found: Counter[int] = Counter()
    mixed = False
    for path in paths[:: max(1, len(paths) // 50)]:
        try:
            view_mask(path, how)
        except Unfit as fault:
            if fault.kind == IN_COLOURS:
                found += fault.colours
                mixed = mixed or len(fault.colours) > MOST_COLOURS
        except OSError:  # said where all files are read
            continue
    if not found:
        return
    start = f"{paths[0].parent}: expected {'grey maps' if len(classes) == 2 else 'class numbers'}, found pictures in"
    if mixed or len(found) > MOST_COLOURS:
        painted = "as of a colour map (jet), or of a map laid over its photo. Save the map itself, before it is painted"
        blurred = "so that smoothing or JPEG has mixed those of the classes. Save the class numbers"
        raise InputError(
            f"{start} hundreds of colours, {painted if len(classes) == 2 else blurred}, as grey PNG or NPY."
        )
    codes = [hexed(code) for code, _ in found.most_common()]
    example = ", ".join(
        f"{name}: '{code}'" for name, code in zip_longest(classes, codes[: len(classes)], fillvalue="#RRGGBB")
    )
    raise InputError(
        f"{start} {len(codes)} colours: {listed_colours(found)}. Say which one each class has, in place of these: "
        f'--data.colours "{{{example}}}"; grey labels are read by their values all the same.'
    )


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


def _as_classes(tallies: Mapping[str, Tally], classes: int, said: Told) -> Coding:
    known = set(said.map) if said.map is not None else set(range(classes))
    rule = f"values 0..{classes - 1} are the classes"
    if said.map is not None:
        rule = "--prediction-map " + ", ".join(f"{value} -> {target}" for value, target in sorted(said.map.items()))
    kinds = {tally.kind for tally in tallies.values()}
    if kinds == {"scores"} and said.map is not None:
        raise InputError(
            "--prediction-map says what whole numbers mean, but all predictions hold a plane of scores for each class, "
            "in the order of data.classes: leave it out."
        )
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
    refuse_lossy(list(tallies.values()))
    return Coding(classes, {}, said.map, rule, faults)


def _map_to_write(tallies: Mapping[str, Tally], classes: int) -> str:
    values = sorted({value for tally in tallies.values() for value in (tally.few or [])})
    if not values or len(values) > 4 * classes:
        return f"Save class numbers 0..{classes - 1}, or a plane of scores for each class [{classes} h w] as .npy."
    if values[0] == 0 and values[-1] in (classes, 255) and all(value < classes for value in values[:-1]):
        return (
            f"If {values[-1]} stands for pixels that are left out (void): every pixel needs a class here, so save the "
            f"most probable of the {classes} there too (an argmax without void). If it is a class of its own, name it "
            "in data.classes."
        )
    shift = values[0] if values[-1] - values[0] < classes else 0
    targets = [v - shift if shift else i if i < classes else "CLASS" for i, v in enumerate(values)]
    example = ", ".join(f"{value}: {target}" for value, target in zip(values, targets))
    return (
        f"Name all classes (data.classes), or say what each value means, for instance --prediction-map '{{{example}}}' "
        "(raw value: class)."
    )


def _rule(kind: str, scale: float) -> str:
    if scale == 1:
        return "read as probabilities" if kind == "real numbers" else "read as 0 and 1"
    return f"read as value / {scale:g}"
