"""Predictions of any model matched with labels by name."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from segkd.datasets.lists import choose, columns, entries_of, read_lines
from segkd.datasets.naming import SEPARATORS, Rule, find_rules, matches, same_names
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


def match_maps(predictions: Path, labels: Mapping[str, Path], classes: Sequence[str] = ()) -> Matching:
    """Pairs predictions with labels by stem; what is missing and what is too much is said, not refused.

    `predictions` is a folder or a pattern ("maps/{}_pred.png"). When no name in a folder is a label's, but one rule
    ("NAME -> NAME_pred") brings every prediction to a label of its own, or every label to a prediction, that rule is
    used, and said in `notes`. `classes` are the names by which one file per class is known.

    Raises:
        InputError: there is no such folder, it holds nothing, or nothing in it has a label.
    """
    named = files_by_stem(predictions, "predictions", pictures() | ARRAYS)
    found, notes = named.files, list(named.notes)
    label_of, said = same_names(found.keys(), labels.keys(), told=True)
    if said:
        notes.append(f"predictions and labels: {said}")
    if not label_of:
        _refuse_one_per_class(predictions, found, labels, classes)
        label_of = _by_rule(predictions, named, labels, notes)
    notes += _counted_apart(found, labels)
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
    chosen = choose(names, "--list", entries, "label", _pattern_for(place, names, named.files))
    if not chosen.stems:
        raise InputError(f"--list {names}: expected names of labels, one per line, found none.")
    return ByStem({stem: named.files[stem] for stem in chosen.stems}, {}, named.notes + chosen.notes)


def _pattern_for(place: Path, names: Path, files: Mapping[str, Path]) -> str:
    """The words for labels that are all called after the names of a list, such as NAME_mask, and not so; or ""."""
    wanted = {PurePath(columns(line)[0]).stem for line in read_lines(names, "--list")}
    rules = [] if wanted & files.keys() else find_rules(wanted, files)
    if not rules or any(rules[0].left):
        return ""
    endings = {path.suffix for path in files.values()}
    ending = min(endings) if len(endings) == 1 else ".*"
    pattern = rules[0].pattern(Pattern.of(str(place)).base, rules[0].right, ending)
    return f"say --labels '{pattern}', as labels are called so ({rules[0].words()})"


def images_for(place: Path, labels: Mapping[str, Path]) -> dict[str, Path]:
    """The images of a folder (or of a pattern) by the stems of `labels`, by the same names or by one rule.

    Raises:
        InputError: as `files_by_stem`.
    """
    named = files_by_stem(place, "images")
    label_of, _ = same_names(named.files.keys(), labels.keys(), told=True)
    if not label_of and (rules := find_rules(labels.keys(), named.files.keys())):
        label_of = matches(rules[0], labels.keys(), named.files.keys())
    return {label: named.files[image] for image, label in label_of.items()}


def _by_rule(place: Path, named: ByStem, labels: Mapping[str, Path], notes: list[str]) -> dict[str, str]:
    """Prediction -> label by the one rule that holds for every prediction or every label, which is added to `notes`."""
    sides = labels.keys(), named.files.keys()
    ways: list[tuple[Rule, dict[str, str]]] = []
    for rule in find_rules(*sides):  # the best first; of those that bring the same together the first one says it all
        if (way := matches(rule, *sides)) not in (seen for _, seen in ways):
            ways.append((rule, way))
    best = [rule for rule, way in ways if len(way) == len(ways[0][1])]
    if len(best) == 1 and best[0].matched in (len(named.files), len(labels)):
        notes.append(f"predictions are matched with labels by their names: {best[0].words()}")
        return ways[0][1]
    base = Pattern.of(str(place)).base
    cure = (
        f"Rename them, name another folder, or say where the label's name stands: --predictions '{base}/{{}}_pred.*'."
    )
    if best:
        pattern = best[0].pattern(base, best[0].right, ".*")
        words = " or as ".join(rule.words() for rule in best[:2])
        cure = f"{best[0].matched} would match as {words}: say which, for instance --predictions '{pattern}'"
        cure += f" with --labels 'FOLDER/{best[0].pattern('', best[0].left, '.*')}'." if any(best[0].left) else "."
    raise InputError(
        f"--predictions {place}: expected files named like the labels up to the extension, found none: "
        f"{_some(named.files)} there, {_some(labels)} among the labels. {cure}"
    )


def _counted_apart(found: Collection[str], labels: Collection[str]) -> list[str]:
    """A sentence where one side is numbered from 0 and the other one from 1: then each map is paired with the label of
    its neighbour."""
    if not all(name.isdecimal() for name in (*found, *labels)):
        return []
    ours, theirs = sorted(map(int, found)), sorted(map(int, labels))
    whole = len(ours) == len(theirs) > 1 and theirs == list(range(theirs[0], theirs[0] + len(theirs)))
    if not whole or [number + theirs[0] - ours[0] for number in ours] != theirs or {ours[0], theirs[0]} != {0, 1}:
        return []
    return [
        f"predictions are numbered from {ours[0]}, labels from {theirs[0]}, and the same numbers are paired: if the "
        "first of both belong together, rename the predictions"
    ]


def _refuse_one_per_class(place: Path, names: Collection[str], labels: Collection[str], classes: Sequence[str]) -> None:
    """Raises InputError where each label has a file for each class: NAME_0, NAME_1, ... or NAME_sky, NAME_car, ..."""
    ends = _ends(names, labels)
    stripped = [end.replace("NAME", "").strip(SEPARATORS + "/") for end in ends]
    numbers = sorted(int(end) for end in stripped if end.isdecimal())
    k = len(classes)
    counted = len(numbers) == len(ends) and numbers in (list(range(k)), list(range(1, k + 1)))
    if len(ends) < 2 or not (counted or set(stripped) == set(classes)):
        return
    order = {name: number for number, name in enumerate(classes)}
    ends = [end for _, end in sorted(zip(stripped, ends), key=lambda pair: int(pair[0]) if counted else order[pair[0]])]
    start = f"--predictions {place}: found one file per class ({ends[0]} ... {ends[-1]})"
    if len(classes) == 2:
        pattern = f"{Pattern.of(str(place)).base}/{ends[-1].replace('NAME', '{}')}.*"
        raise InputError(f"{start}, but of two the foreground's is enough: --predictions '{pattern}'.")
    raise InputError(
        f"{start}, and one of them alone says nothing of the others. Stack those of each name as one array "
        f"[{len(classes)} h w], in the order of data.classes: np.save('stacked/NAME.npy', np.stack([...]).astype("
        "np.float32)), and name the folder of these (docs/metrics.md has the lines)."
    )


def _ends(names: Collection[str], labels: Collection[str]) -> list[str]:
    """What predictions add to the name of a label, the same for most of some labels: NAME_0, NAME_1; or 0/NAME."""
    found: Counter[tuple[str, ...]] = Counter()
    for label in sorted(labels)[:20]:
        after = [
            f"NAME{name[len(label) :]}" for name in names if name.startswith(tuple(label + sign for sign in SEPARATORS))
        ]
        before = [f"{name[: -len(label)]}NAME" for name in names if name.endswith("/" + label)]
        found[tuple(sorted(after + before))] += 1
    return list(found.most_common(1)[0][0]) if found else []


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3])
