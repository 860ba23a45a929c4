"""A file beside masks in colours that says what each colour is: it names the classes better than numbers do."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segkd.datasets.colours import LEFT_OUT, darkest_first, hexed, packed, read_labelmap
from segkd.datasets.walk import GLANCE, walk
from segkd.types import InputError

LARGEST = 50_000
"""Bytes of a file that may be a legend."""

UNNAMED = ("void", "unlabeled", "unlabelled", "unknown", "no-data", "nodata", LEFT_OUT)
"""Names, in small letters, of pixels that belong to no class."""


@dataclass(frozen=True)
class Legend:
    """`data.colours` for the colours of some masks, its classes, and the sentence on where they come from."""

    colours: dict[str, str | list[str]]
    classes: list[str]
    said: str


def find_legend(root: Path, codes: Collection[int]) -> Legend | None:
    """The legend of colours 0xRRGGBB: the first .txt or .csv below `root` that names every one of them; or None.

    The darkest comes first, as the background, the others as in the file; what is void is left out.
    """
    for path, names in _maps(root):
        if set(codes) <= names.keys():
            return _legend(path, {code: name for code, name in names.items() if code in codes})
    return None


def unfit_legend(root: Path, codes: Collection[int]) -> str:
    """The sentence on a file that names some of the colours 0xRRGGBB, but not all; or ""."""
    for path, names in _maps(root):
        strange = [code for code in codes if code not in names]
        if 0 < len(strange) < len(codes):
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            return f"{path.name} does not name {hexed(strange[0])}{more}, so it is not taken"
    return ""


def _maps(root: Path) -> Iterator[tuple[Path, dict[int, str]]]:
    """The files below `root` that name colours, and the name of each."""
    for path in walk(root, {".txt", ".csv"}, GLANCE).files:
        if path.stat().st_size <= LARGEST:
            with suppress(InputError):
                yield path, {packed(colour): name for name, colour in read_labelmap(path).items()}  # type: ignore[arg-type]


def _legend(path: Path, names: dict[int, str]) -> Legend:
    void = [code for code, name in names.items() if name.lower() in UNNAMED]
    kept = [code for code in darkest_first(names) if code not in void]
    colours: dict[str, str | list[str]] = {names[code]: hexed(code) for code in kept}
    left = f"; {', '.join(names[code] for code in void)} is left out" if void else ""
    if void:
        colours[LEFT_OUT] = [hexed(code) for code in void]
    return Legend(colours, [names[code] for code in kept], f"{path.name} names them{left}")
