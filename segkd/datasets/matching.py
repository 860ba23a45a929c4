"""Predictions of any model matched with labels by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segkd.datasets.files import listed
from segkd.datasets.walk import ARRAYS, pictures, stem_of, walk, what_is
from segkd.types import InputError


@dataclass(frozen=True)
class MapPair:
    """A prediction, its label, and the name they share."""

    id: str
    prediction: Path
    label: Path


@dataclass
class Matching:
    """Which prediction belongs to which label, and what was left over: one sentence each.

    Attributes:
        pairs: what can be scored, in the order of names.
        missing: labels without a prediction.
        surplus: predictions without a label.
        unreadable: predictions that cannot be used, by stem.
        notes: what the user should know of how the folder was read.
    """

    pairs: list[MapPair]
    missing: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Named:
    """The files of a folder by stem, a sentence on each stem that cannot be used, and notes on the folder."""

    files: dict[str, Path]
    faults: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def match_maps(predictions: Path, labels: Mapping[str, Path]) -> Matching:
    """Pairs predictions with labels by stem; what is missing and what is too much is said, not refused.

    Raises:
        InputError: there is no such folder, it holds nothing, or nothing in it has a label.
    """
    named = files_by_stem(predictions, "predictions", pictures() | ARRAYS)
    found, unreadable = named.files, named.faults
    pairs = [MapPair(stem, found[stem], labels[stem]) for stem in sorted(found.keys() & labels.keys())]
    if not pairs:
        raise InputError(
            f"--predictions {predictions}: expected files named like the labels up to the extension, found none: "
            f"{_some(found)} there, {_some(labels)} among the labels. Rename them, or correct one of the folders."
        )
    missing = [f"{stem}: no prediction" for stem in sorted(labels.keys() - found.keys() - unreadable.keys())]
    surplus = [f"{found[stem].name}: no label" for stem in sorted(found.keys() - labels.keys())]
    return Matching(pairs, missing, surplus, {k: v for k, v in unreadable.items() if k in labels}, named.notes)


def files_by_stem(folder: Path, what: str, kinds: Iterable[str] | None = None) -> Named:
    """The files of a folder by stem; `what` is the name of the option that gave the folder.

    Raises:
        InputError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise InputError(f"--{what} {folder}: expected a folder, found {what_is(folder)} there.")
    wanted = pictures() if kinds is None else frozenset(kinds)
    found = walk(folder, wanted)
    named = Named({}, notes=[f"{what}: {found.sentence}"] if found.sentence else [])
    for path in found.files:
        stem = stem_of(path, folder)
        if stem in named.files:
            named.faults[stem] = f"{path}: shares its name with {named.files[stem].name}; remove or rename one."
        named.files.setdefault(stem, path)
    for one in found.passed:
        if one.why != "hidden" and Path(one.name).suffix.lower() in wanted:
            named.faults[stem_of(folder / one.name, folder)] = f"{folder / one.name}: expected a file, found {one.why}."
    for stem in named.faults:
        named.files.pop(stem, None)
    if not named.files:
        raise InputError(
            f"--{what} {folder}: expected pictures{' or arrays (.npy)' if wanted & ARRAYS else ''}, found none"
            f"{f'; {found.sentence}' if found.sentence else ''}."
        )
    return named


def labels_in(folder: Path, names: Path | None) -> Named:
    """The label files of a folder by stem; only those that the list `names` holds."""
    named = files_by_stem(folder, "labels", pictures() | ARRAYS)
    if names is None:
        return named
    files = named.files
    try:
        lines = [line.strip() for line in names.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--list {names}: expected a text file with one name per line, found: {error}.") from error
    wanted = [line for line in lines if line and not line.startswith("#")]
    stems = {line: line if line in files else Path(line).with_suffix("").as_posix() for line in wanted}
    absent = [line for line, stem in stems.items() if stem not in files]
    if absent or not wanted:
        raise InputError(f"--list {names}: {len(absent)} of {len(wanted)} lines name no label:\n{listed(absent)}")
    return Named({stem: files[stem] for stem in stems.values()}, {}, named.notes)


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3])
