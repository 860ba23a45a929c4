"""Masks whose classes are colours: how a user names the colours, and how a mask is read by them."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segkd.datasets.packed import File
from segkd.datasets.unfit import Unfit
from segkd.disk import read_text
from segkd.types import IGNORE, InputError

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""

Colours = tuple[tuple[Colour, int], ...]
"""The class number of each colour."""

NamedColours = dict[str, list[int] | str | list[str]]
"""Class name -> [r, g, b], '#rrggbb', or a list of such strings."""

LEFT_OUT = "ignore"
"""The name of colours whose pixels count in no loss and no score."""

HEADING = r"\D*\b(r|red)\b\D*\b(g|green)\b\D*\b(b|blue)\b\D*"
"""The first line of a label map that names no colour but the columns."""

LABELMAP = "labelmap.txt"
"""How CVAT calls the file that names the colours."""

LINES = (
    r"(?P<name>[^:]+):\s*(?P<colour>\d+\s*,\s*\d+\s*,\s*\d+)\s*(:.*)?",
    r"(?P<colour>\d+\s+\d+\s+\d+)\s+(?P<name>.+)",
    r"(?P<name>[^,]+),\s*(?P<colour>\d+\s*,\s*\d+\s*,\s*\d+)",
)
"""Lines that name a colour: of CVAT's labelmap.txt, of CamVid's label_colors.txt, of a class_dict.csv."""

UNKNOWN = 65535
"""Stands for a colour that is not listed."""

MOST_LISTED = 24
"""Colours that a refusal lists."""


def parse_colours(setting: NamedColours | str, classes: Sequence[str], root: Path) -> Colours:
    """The class number of each colour that `data.colours` names; `IGNORE` for the name "ignore".

    Args:
        setting: the names and their colours, or the path below `root` of a label map (`read_labelmap`).
        classes: names of the classes, in the order of their numbers.
        root: where the path of a label map begins.

    Raises:
        InputError: a colour cannot be read, a name is no class, a class has no colour, or two have the same.
    """
    named = setting if isinstance(setting, dict) else read_labelmap(root / setting)
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in named if name not in numbers and name != LEFT_OUT]
    absent = [name for name in classes if name not in named]
    if unknown or absent:
        wanted = ", ".join(name for name in named if name != LEFT_OUT)
        raise InputError(
            f"data.colours names {wanted}, and data.classes names {', '.join(classes)}: give every class a colour and "
            f"every colour a class. To take the classes of the colours, write data.classes: [{wanted}]. "
            f"Pixels of a colour named {LEFT_OUT} are left out."
        )
    colours: dict[Colour, int] = {}
    for name, given in named.items():
        for colour in _colours_of(name, given):
            if colour in colours:
                raise InputError(f"data.colours gives {hexed(packed(colour))} to two classes; one is {name}.")
            colours[colour] = numbers.get(name, IGNORE)
    return tuple(colours.items())


def read_labelmap(path: Path) -> NamedColours:
    """The names and colours of a label map: one of `LINES` each, below a heading or none.

    Raises:
        InputError: the file cannot be read, or a line is none of these.
    """
    lines = [line.strip() for line in read_text(path, "a label map with lines `name:r,g,b::`").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    named: NamedColours = {}
    for line in lines[1:] if lines and re.fullmatch(HEADING, lines[0], re.IGNORECASE) else lines:
        match = next((match for pattern in LINES if (match := re.fullmatch(pattern, line))), None)
        if match is None or match["name"].strip() in named:
            raise InputError(
                f"{path}: expected lines `name:r,g,b::` (or `r g b name`, or `name,r,g,b`), each name once, found "
                f"{line[:80]!r}."
            )
        named[match["name"].strip()] = [int(part) for part in re.findall(r"\d+", match["colour"])]
    return named


def by_colour(path: File, rgb: UInt8[np.ndarray, "h w 3"], colours: Colours) -> UInt8[np.ndarray, "h w"]:
    """The class numbers of a mask in colours. Raises Unfit naming the file and the colours that are not listed."""
    codes = pack(rgb)
    numbers = _table(colours)[codes]
    if (numbers == UNKNOWN).any():
        strange = codes[numbers == UNKNOWN]
        raise Unfit(
            path,
            "colours that data.colours does not name",
            "Name them in data.colours, or under `ignore` to leave their pixels out (smoothing makes new colours)",
            listed_colours(count_colours(strange)),
            count_colours(strange),
        )
    return numbers.astype(np.uint8)


def pack(rgb: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    """Colours [h w 3] as numbers 0xRRGGBB, int32 [h w]."""
    red, green, blue = (rgb[..., i].astype(np.int32) for i in range(3))
    return red << 16 | green << 8 | blue


def packed(colour: Sequence[int]) -> int:
    """One colour as 0xRRGGBB."""
    return int(colour[0]) << 16 | int(colour[1]) << 8 | int(colour[2])


def hexed(code: int) -> str:
    """A colour 0xRRGGBB as '#rrggbb'."""
    return f"#{code:06x}"


def count_colours(codes: np.ndarray, most: int = 256) -> dict[int, int]:
    """Pixels of the `most` frequent colours."""
    values, numbers = np.unique(codes, return_counts=True)
    order = np.argsort(-numbers, kind="stable")[:most]
    return dict(zip(values[order].tolist(), numbers[order].tolist()))


def listed_colours(counts: Mapping[int, int], most: int = MOST_LISTED) -> str:
    """The colours and their shares, most frequent first: "#000000 (81.2 %), #307020 (18.8 %)"."""
    ranked, total = Counter(counts).most_common(), max(1, sum(counts.values()))
    words = [f"{hexed(code)} ({100 * number / total:.1f} %)" for code, number in ranked[:most]]
    return ", ".join(words) + (f" and {len(ranked) - most} more" if len(ranked) > most else "")


def darkest_first(codes: Collection[int]) -> list[int]:
    """Colours 0xRRGGBB, the darkest before all others, which keep their order; class numbers in one channel, as CARLA
    and Unity write them, in theirs."""
    if any(all(code & channel == code for code in codes) for channel in (0xFF0000, 0xFF00, 0xFF)):
        return sorted(codes)
    darkest = min(codes, key=lambda code: sum(code.to_bytes(3, "big")))
    return sorted(codes, key=lambda code: code != darkest)


def map_to_start_from(counts: Mapping[int, int], classes: Sequence[str]) -> str:
    """A `data.colours` for the colours found: the darkest is the first class, the others follow by their pixels, or by
    their numbers in one channel."""
    ordered = darkest_first([code for code, _ in Counter(counts).most_common(MOST_LISTED)])
    # the names are the user's own where their number fits
    names = list(classes) if len(classes) == len(ordered) else ["background", *(f"class{i}" for i in range(1, 99))]
    return ", ".join(f"{name}: '{hexed(code)}'" for name, code in zip(names, ordered))


def _colours_of(name: str, given: list[int] | str | list[str]) -> list[Colour]:
    items = [given] if isinstance(given, str) or not any(isinstance(item, str) for item in given) else given
    return [_colour(name, item) for item in items]  # type: ignore[arg-type]


def _colour(name: str, given: str | list[int]) -> Colour:
    if isinstance(given, str) and re.fullmatch(r"#?[0-9a-fA-F]{6}", given):
        code = int(given.removeprefix("#"), 16)
        return code >> 16, code >> 8 & 255, code & 255
    if isinstance(given, list) and len(given) == 3 and all(0 <= part <= 255 for part in given):
        return given[0], given[1], given[2]
    raise InputError(f"data.colours.{name}: expected [r, g, b] in 0..255 or '#rrggbb', found {given!r}.")


@lru_cache(maxsize=2)
def _table(colours: Colours) -> np.ndarray:
    """The class number of each of the 2^24 colours, or `UNKNOWN`: 32 MB that make reading a mask one look-up."""
    table = np.full(1 << 24, UNKNOWN, np.uint16)
    for colour, number in colours:
        table[packed(colour)] = number
    return table
