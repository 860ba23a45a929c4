"""Predictions of any model matched with labels by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segkd.datasets.lists import choose, entries_of
from segkd.datasets.naming import find_rules, matches, same_names
from segkd.datasets.patterns import Pattern, find_named
from segkd.datasets.walk import ARRAYS, pictures, stem_of
from segkd.types import InputError, listed


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
        missing: why labels have none, by id.
        surplus: predictions without a label.
        unreadable: predictions that cannot be used, by stem.
        notes: what the user should know of how the folder was read.
    """

    pairs: list[MapPair]
    missing: dict[str, str] = field(default_factory=dict)
    surplus: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class ByStem:
    """The files of a folder by stem, a sentence on each stem that cannot be used, and notes on the folder."""

    files: dict[str, Path]
    faults: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def match_maps(predictions: Path, labels: Mapping[str, Path]) -> Matching:
    """Pairs predictions with labels by stem; what is missing and what is too much is said, not refused.

    `predictions` is a folder or a pattern ("maps/{}_pred.png"). When no name in a folder is a label's, but one rule
    ("NAME -> NAME_pred") brings every prediction to a label of its own, that rule is used, and said in `notes`.

    Raises:
        InputError: there is no such folder, it holds nothing, or nothing in it has a label.
    """
    named = files_by_stem(predictions, "predictions", pictures() | ARRAYS)
    found, notes = named.files, list(named.notes)
    label_of, by_case = same_names(found.keys(), labels.keys())
    if by_case:
        notes.append(f"predictions: {by_case} names differ from their labels' in upper and lower case alone")
    if not label_of:
        label_of = _by_rule(predictions, named, labels, notes)
    pairs = sorted((MapPair(label, found[name], labels[label]) for name, label in label_of.items()), key=lambda p: p.id)
    faults = {label: said for label, said in named.faults.items() if label in labels}
    lone = sorted(labels.keys() - set(label_of.values()) - faults.keys())
    missing = {label: f"{label}: no prediction" for label in lone}
    surplus = [f"{found[name].name}: no label" for name in sorted(found.keys() - label_of.keys())]
    return Matching(pairs, missing, surplus, faults, notes)


def files_by_stem(place: Path, what: str, kinds: Iterable[str] | None = None) -> ByStem:
    """The files of a folder (or of a pattern) by stem; `what` is the name of the option that gave it.

    Raises:
        InputError: there is no such folder, or nothing in it.
    """
    wanted = pictures() if kinds is None else frozenset(kinds)
    named = find_named(Path(), str(place), f"--{what}", wanted)
    faults = dict(named.doubles)
    for one in named.passed:
        if one.why != "hidden" and Path(one.name).suffix.lower() in wanted:
            path = named.base / one.name
            faults[stem_of(path, named.base)] = f"{path}: expected a file, found {one.why}."
    if not named.files and named.doubles:
        raise InputError(f"--{what} {place}: several files share one name:\n{listed(list(named.doubles.values()), 3)}")
    if not named.files:
        arrays = any(Path(one.name).suffix.lower() in ARRAYS for one in named.passed)
        raise InputError(
            f"--{what} {place}: expected pictures{' or arrays (.npy)' if wanted & ARRAYS else ''}, found none"
            f"{f'; {named.sentence}' if named.sentence else ''}."
            f"{' Save arrays as PNG: Image.fromarray(np.load(path)).save(name).' if arrays else ''}"
        )
    return ByStem(named.files, faults, [f"{what}: {named.sentence}"] if named.sentence else [])


def labels_in(place: Path, names: Path | None) -> ByStem:
    """The label files of a folder (or of a pattern) by stem; only those that the list `names` holds.

    Raises:
        InputError: as `files_by_stem`; or the list is none, or has lines that name no label.
    """
    named = files_by_stem(place, "labels", pictures() | ARRAYS)
    if names is None:
        return named
    entries = entries_of({stem: [path] for stem, path in named.files.items()}, Path())
    chosen = choose(names, "--list", entries, "label")
    if not chosen.stems:
        raise InputError(f"--list {names}: expected names of labels, one per line, found none.")
    return ByStem({stem: named.files[stem] for stem in chosen.stems}, {}, named.notes + chosen.notes)


def images_for(place: Path, labels: Mapping[str, Path]) -> dict[str, Path]:
    """The images of a folder (or of a pattern) by the stems of `labels`, by the same names or by one rule.

    Raises:
        InputError: as `files_by_stem`.
    """
    named = files_by_stem(place, "images")
    image_of = {label: image for image, label in same_names(named.files.keys(), labels.keys())[0].items()}
    if not image_of:
        rule = next(iter(find_rules(labels.keys(), named.files.keys())), None)
        found = {} if rule is None else matches(rule, labels.keys(), named.files.keys())
        image_of = {label: image for image, label in found.items()}
    return {label: named.files[image] for label, image in image_of.items()}


def _by_rule(place: Path, named: ByStem, labels: Mapping[str, Path], notes: list[str]) -> dict[str, str]:
    """Prediction -> label by the one rule that holds for every prediction, which is added to `notes`."""
    rules = find_rules(labels.keys(), named.files.keys())
    whole = [rule for rule in rules if rule.matched == len(named.files)]
    ways = [matches(rule, labels.keys(), named.files.keys()) for rule in whole]
    if ways and all(way == ways[0] for way in ways):
        notes.append(f"predictions are matched with labels by their names: {whole[0].words()}")
        return ways[0]
    cure = "Rename them, or correct one of the folders."
    if rules:
        pattern = rules[0].pattern(Pattern.of(str(place)).base, rules[0].right, ".*")
        words = " or as ".join(rule.words() for rule in rules[:2] if rule.matched == rules[0].matched)
        cure = f"{rules[0].matched} would match as {words}: say which, for instance --predictions '{pattern}'."
    raise InputError(
        f"--predictions {place}: expected files named like the labels up to the extension, found none: "
        f"{_some(named.files)} there, {_some(labels)} among the labels. {cure}"
    )


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3])
