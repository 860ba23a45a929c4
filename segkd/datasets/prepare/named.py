"""A file beside masks of class numbers that names the classes: nnU-Net's dataset.json, or a line each in codes.txt,
classes.txt, labels.csv."""

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkd.datasets.colours import read_labelmap
from segkd.datasets.lists import columns
from segkd.datasets.prepare.legend import LARGEST, UNNAMED
from segkd.datasets.walk import GLANCE, pictures, walk
from segkd.disk import read_json, read_text
from segkd.types import InputError

CALLED = re.compile(r"(?!.*(file|image))(.*(class|label|code|name|categor|legend|object)).*", re.IGNORECASE)
"""What such a file is called; the names of files and images are others."""

NUMBERED = (r"(?P<number>\d+)\s*[:,;=\s]\s*(?P<name>\D.*)", r"(?P<name>[^,;:\t]*\D)\s*[:,;=\t]\s*(?P<number>\d+)")
"""Lines with a number and a name, in either order."""

NUMBERS, NAMES = ("id", "idx", "index", "value", "number"), ("name", "class", "label", "category")
"""Headings (lower case) of columns that hold the numbers and the names of classes, the likeliest first."""

NAME = r"(?=.*[^\W\d])[^,;:\t/]{1,60}"
"""A name alone on its line."""

FEW = 8
"""Names up to which a list may be one of objects alone."""

MOST = 256
"""Lines of such a file at most."""

SHOWN = 24
"""Names that are written out for the user to say."""

NNUNET = "dataset.json"
"""The file in which nnU-Net names the classes of labelsTr by their numbers."""

BACKGROUND = ("background", "bg", "other", "others", "none", *UNNAMED)
"""What the first name of a list is, in small letters, where it names the background, too."""


@dataclass(frozen=True)
class Listed:
    """The names of all `values` of masks, `names` by value, and the sentence on where they come from; where nothing
    fits, names is empty and the sentence says what does not."""

    names: Mapping[int, str]
    said: str = ""


def find_names(root: Path, values: Sequence[int]) -> Listed:
    """The names of the classes by nnU-Net's file, or the first .txt or .csv below `root` that is called after classes
    and fits.

    Numbers in it name the values that they are. Lines without numbers are counted from 0. The last one must be the
    largest value: COCO-Stuff's masks hold one less than its list says.

    Args:
        root: the data set's folder.
        values: the values of the masks that are classes, in order.
    """
    sure = named_by_nnunet(root, values)
    if sure.names:
        return sure
    unfit = sure.said
    for path in walk(root, {".txt", ".csv"}, GLANCE).files:
        if not CALLED.fullmatch(path.stem) or path.stat().st_size > LARGEST:
            continue
        with suppress(InputError):
            names, numbered = _read(path, values)
            if names and (found := _fitting(names, numbered, values)):
                rest = ", but 0, taken for the background (to leave it out, write ignore: [0])"
                return Listed(found, f"{path.name} names them{rest if 0 in found and 0 not in names else ''}")
            if names:
                unfit = unfit or _unfit(path, list(names.values()), values)
    return Listed({}, unfit)


def named_by_nnunet(root: Path, values: Sequence[int]) -> Listed:
    """The names in the first dataset.json below `root` with `labels` of all `values`: {"liver": 1}, or in the file's
    first version {"1": "liver"}."""
    unfit = ""
    for path in walk(root, {".json"}, GLANCE).files:
        labels = _labels(path) if path.name == NNUNET else {}
        pairs = [(number, name) if str(name).isdecimal() else (name, number) for name, number in labels.items()]
        names = {int(number): str(name) for name, number in pairs if str(number).isdecimal()}
        if labels and len(names) == len(labels) and set(values) <= names.keys():
            return Listed(dict(sorted(names.items())), f"{path.name} names them")
        if labels and len(names) == len(labels):
            unfit = _unfit(path, [names[number] for number in sorted(names)], values)
        elif labels:
            unfit = (
                f"{path.name} names regions of several values, which are not read; to name the values, say --classes"
            )
    return Listed({}, unfit)


def _labels(path: Path) -> dict[str, Any]:
    with suppress(InputError):
        labels = read_json(path, dict[str, Any], "the settings of a data set").get("labels")
        return labels if isinstance(labels, dict) else {}
    return {}


def _read(path: Path, values: Sequence[int]) -> tuple[dict[int, str], bool]:
    """The names in a file by their numbers, and whether it tells these; {} where it holds something else."""
    with suppress(InputError):
        colours = read_labelmap(path)
        greys = {colour[0]: name for name, colour in colours.items() if len(set(colour)) == 1}
        if len(greys) == len(colours) and set(values) <= greys.keys():
            return {int(grey): name for grey, name in greys.items()}, True  # 0 and 255 as black and white
        return dict(enumerate(colours)), True  # colours are for all classes, the background too
    lines = [line.strip() for line in read_text(path, "names of classes").splitlines() if line.strip()]
    if not 0 < len(lines) <= MOST or any(line.lower().endswith(tuple(pictures())) for line in lines):
        return {}, False
    if table := _table(lines):
        return table, True
    for rest in (lines, lines[1:]):  # below a heading, or none
        for pattern in NUMBERED:
            found = [match for line in rest if (match := re.fullmatch(pattern, line))]
            if rest and len(found) == len(rest):
                names = {int(match["number"]): match["name"].strip() for match in found}
                return (names if len(names) == len(found) else {}), True  # else a class for each image
    plain = all(re.fullmatch(NAME, line) for line in lines)
    return (dict(enumerate(lines)) if plain else {}), False


def _table(lines: Sequence[str]) -> dict[int, str]:
    """The names in a table with a column of numbers and one of names among others; {} of other lines."""
    heads = [cell.lower() for cell in columns(lines[0])]
    number, name = (next((heads.index(one) for one in some if one in heads), None) for some in (NUMBERS, NAMES))
    rows = [columns(line) for line in lines[1:]]
    if number is None or name is None or not rows or any(len(row) != len(heads) for row in rows):
        return {}
    found = {int(row[number]): row[name] for row in rows if row[number].isdecimal()}
    return found if len(found) == len(rows) else {}


def _fitting(names: Mapping[int, str], numbered: bool, values: Sequence[int]) -> dict[int, str]:
    """The names that fit the values, or {}."""
    if len(set(names.values())) < len(names):
        return {}
    if numbered:
        known = {0: "background", **names} if values[0] == 0 and min(names) == 1 else dict(names)
        whole = sorted(known) == list(range(len(known)))
        found = {value: known.get(value, "") for value in (known if whole else values)}
        return found if all(found.values()) and max(known) == values[-1] else {}
    headed = _is_headed(names[0])
    # a background that no mask holds may be named all the same
    fits = list(values) in ([*range(len(names))], [*range(1, len(names))] if headed else [])
    # a short list may be one of objects, whose background it does not name
    return dict(names) if fits and (len(names) > FEW or headed) else {}


def _is_headed(first: str) -> bool:
    """Whether the first name of a list is the background's."""
    return first.lower().strip("_") in BACKGROUND


def _unfit(path: Path, names: Sequence[str], values: Sequence[int]) -> str:
    """The sentence on a file whose names are others than the masks have."""
    said = f"{path.name} names {len(names)} classes, which is not sure to fit the values {values[0]} to {values[-1]}"
    lacking = len(names) == len(values) - 1 and values[0] == 0 and not _is_headed(names[0])
    told = ["background", *names] if lacking else names
    if len(told) > SHOWN or (len(told) != len(values) and len(told) <= values[-1]):
        return f"{said}; to name the classes, say --classes"
    return f"{said}; to name them so, say --classes {shlex.join(told)}"
