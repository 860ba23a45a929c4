"""What raw numbers files hold: a histogram of each file, and of a whole folder in one line."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segkd.datasets.audit import count
from segkd.datasets.maps import is_whole
from segkd.datasets.pictures import Seen
from segkd.types import some

NOTHING = Seen()

MOST = 256
"""Distinct numbers of a file that are told one by one; of files with more, the range and the share at the ends."""


@dataclass(frozen=True)
class Tally:
    """The raw numbers of one file.

    Attributes:
        path: the file.
        kind: "8 bit", "16 bit", "whole numbers", "real numbers", "true and false", or "scores" of classes [k h w].
        size: height and width.
        low: the smallest number.
        high: the largest number.
        whole: whether all are whole numbers, whatever their type.
        ends: share of the pixels that hold 0, or the largest number if that is 1, 255 or 65535.
        values: the distinct numbers in order, when they are at most `MOST` (or all were asked for).
        counts: pixels of each of `values`.
        seen: what else the file tells.
    """

    path: Path
    kind: str
    size: tuple[int, int]
    low: float
    high: float
    whole: bool
    ends: float
    values: np.ndarray | None = None
    counts: np.ndarray | None = None
    seen: Seen = field(default_factory=Seen)

    @property
    def few(self) -> list[int] | None:
        """The distinct numbers as whole ones, where they are that and are known."""
        return [int(value) for value in self.values] if self.whole and self.values is not None else None


def tally_of(path: Path, raw: np.ndarray, seen: Seen = NOTHING, most: int = MOST) -> Tally:
    """The tally of what `path` holds, [h w] or scores [k h w], with its distinct numbers if they are at most `most`."""
    kind, size = kind_of(raw), (int(raw.shape[-2]), int(raw.shape[-1]))
    if raw.dtype == np.uint8 and raw.ndim == 2:
        values, counts = count(raw)
        ends = float(counts[(values == 0) | (values == 255)].sum() / raw.size)
        return Tally(path, kind, size, float(values[0]), float(values[-1]), True, ends, values, counts, seen)
    low, high, whole = float(raw.min()), float(raw.max()), is_whole(raw)
    ends = float(((raw == 0) | ((raw == raw.max()) if high in (1, 255, 65535) else False)).mean())
    if not whole or raw.ndim == 3:
        return Tally(path, kind, size, low, high, whole, ends, seen=seen)
    found, counts = np.unique(raw, return_counts=True)
    if len(found) > most:
        return Tally(path, kind, size, low, high, whole, ends, seen=seen)
    return Tally(path, kind, size, low, high, whole, ends, found.astype(np.int64), counts, seen)


def kind_of(raw: np.ndarray) -> str:
    """The kind of numbers that an array holds, as `Tally` names it."""
    if raw.ndim == 3:
        return "scores"
    if raw.dtype == bool:
        return "true and false"
    if raw.dtype.kind == "f":
        return "real numbers"
    return {"uint8": "8 bit", "uint16": "16 bit"}.get(raw.dtype.name, "whole numbers")


def told(tallies: Sequence[Tally]) -> str:
    """A folder's histogram in words: files, kinds of numbers, and which occur how often."""
    kinds = sorted({tally.kind for tally in tallies})
    parts = [_told_kind(kind, [tally for tally in tallies if tally.kind == kind]) for kind in kinds]
    return f"{len(tallies)} file{'s' * (len(tallies) != 1)}, {'; '.join(parts)}"


def total(tallies: Collection[Tally]) -> dict[int, int]:
    """Pixels of each distinct number over the files that tell theirs."""
    pixels: dict[int, int] = {}
    for tally in tallies:
        if tally.values is not None and tally.counts is not None:
            for value, count in zip(tally.values.tolist(), tally.counts.tolist()):
                pixels[value] = pixels.get(value, 0) + count
    return dict(sorted(pixels.items()))


def shares(pixels: dict[int, int], most: int = 6) -> str:
    """`0 (71.0 %), 128 (29.0 %)`, the first `most` of them."""
    whole = max(sum(pixels.values()), 1)
    return some([f"{value} ({100 * count / whole:.1f} %)" for value, count in pixels.items()], most)


def _told_kind(kind: str, tallies: list[Tally]) -> str:
    many = any(tally.values is None for tally in tallies)
    pixels = {} if many else total(tallies)
    if pixels and len(pixels) <= 6:
        return f"{kind}, value{'s' * (len(pixels) > 1)} {shares(pixels)}"
    low, high = min(tally.low for tally in tallies), max(tally.high for tally in tallies)
    ends = float(np.mean([tally.ends for tally in tallies]))
    count = f"{len(pixels)} values " if pixels else ""
    at = "" if kind == "scores" else f", {100 * ends:.0f} % at the ends"
    return f"{kind}, {count}{low:.7g}..{high:.7g}{at}"
