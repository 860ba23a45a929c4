"""A file beside masks in colours that says what each colour is: it names the classes better than numbers do."""

from collections.abc import Collection
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
    """`data.colours` for the colours of some masks, its classes, and the sentence on where they come from; where no
    file fits, there are none, and the sentence says what does not."""

    colours: dict[str, str | list[str]]
    classes: list[str]
    said: str


def find_legend(root: Path, codes: Collection[int]) -> Legend:
    """The legend of colours 0xRRGGBB: the first .txt or .csv below `root` that names every one of them.

    The darkest comes first, as the background, the others as in the file; what is void is left out.
    """
    unfit = ""
    for path in walk(root, {".txt", ".csv"}, GLANCE).files:
        if path.stat().st_size > LARGEST:
            continue
        with suppress(InputError):
            names = {packed(colour): name for name, colour in read_labelmap(path).items()}  # type: ignore[arg-type]
            strange = [code for code in codes if code not in names]
            if not strange:
                legend = _legend(path, {code: name for code, name in names.items() if code in codes})
                if len(legend.classes) > 1:
                    return legend
            elif len(strange) < len(codes):
                more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
                unfit = unfit or f"{path.name} does not name {hexed(strange[0])}{more}, so it is not taken"
    return Legend({}, [], unfit)


def _legend(path: Path, names: dict[int, str]) -> Legend:
    void = [code for code, name in names.items() if name.lower() in UNNAMED]
    kept = [code for code in darkest_first(names) if code not in void]
    colours: dict[str, str | list[str]] = {names[code]: hexed(code) for code in kept}
    left = f"; {', '.join(names[code] for code in void)} is left out" if void else ""
    if void:
        colours[LEFT_OUT] = [hexed(code) for code in void]
    return Legend(colours, [names[code] for code in kept], f"{path.name} names them{left}")
