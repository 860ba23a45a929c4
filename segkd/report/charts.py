"""Line charts as SVG text: they take their colours from the page, so they follow its dark mode."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segkd.report.text import escape

WIDTH, HEIGHT = 420, 260
RIGHT, TOP, BOTTOM = 14, 12, 40
LETTER = 6.4
"""Width of a digit."""

MOST = 1e100
"""What is larger is no number of a training, and differences of such may be infinite."""


@dataclass(frozen=True)
class Axis:
    """The words and the range of an axis; without a range, that of the data."""

    text: str
    low: float | None = None
    high: float | None = None


def line_chart(title: str, x: Axis, y: Axis, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """A chart of named lines (x, y); points that are not finite break a line. "" if nothing is."""
    finite = {
        name: [(a, b) if abs(a) < MOST and abs(b) < MOST else None for a, b in zip(*points)]
        for name, points in lines.items()
    }
    points = [point for line in finite.values() for point in line if point]
    if not points:
        return ""
    across = Scale.of([p[0] for p in points], x)
    up = Scale.of([p[1] for p in points], y)
    left = 12 + LETTER * max(len(_short(tick)) for tick in up.ticks)
    box = Box(across, up, left)
    parts = [
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>',
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_grid(box, x, y),
    ]
    for number, line in enumerate(finite.values()):
        path, broken = "", True
        for point in line:
            if point:
                path += f"{'M' if broken else 'L'}{box.x(point[0]):.1f} {box.y(point[1]):.1f}"
            broken = point is None
        parts.append(f'<path class="line line{number % 6}" d="{path}"/>')
    keys = "".join(f'<span class="key key{n % 6}">{escape(name)}</span>' for n, name in enumerate(finite))
    return "".join([*parts, "</svg>", f'<div class="keys">{keys}</div>' if len(finite) > 1 else "", "</figure>"])


@dataclass(frozen=True)
class Scale:
    """A range of values and the round numbers on it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @staticmethod
    def of(values: Sequence[float], axis: Axis) -> "Scale":
        """The range of an axis, or of the values, widened to round numbers at about four equal steps."""
        low = min(values) if axis.low is None else axis.low
        high = max(values) if axis.high is None else axis.high
        # nearer to each other, the steps between would be lost to rounding
        if not high - low > 1e-12 * max(abs(low), abs(high), 1e-280):
            half = 0.5 * abs(low) or 0.5
            low, high = low - half if axis.low is None else low, low + half
        rough = (high - low) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * times for times in (1, 2, 2.5, 5, 10) if unit * times >= rough * (1 - 1e-9))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if axis.low is not None:
            first = math.ceil(low / step - 1e-9)
        if axis.high is not None:
            last = math.floor(high / step + 1e-9)
        ticks = tuple(number * step for number in range(first, last + 1))
        ends = (low if axis.low is not None else ticks[0], high if axis.high is not None else ticks[-1])
        return Scale(*ends, ticks)

    def share(self, value: float) -> float:
        """Where a value lies, 0..1."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Box:
    """The place of a chart's lines."""

    across: Scale
    up: Scale
    left: float

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return self.left + self.across.share(value) * (WIDTH - self.left - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return HEIGHT - BOTTOM - self.up.share(value) * (HEIGHT - TOP - BOTTOM)


def _grid(box: Box, x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in box.up.ticks:
        at = box.y(tick)
        parts.append(f'<line class="grid" x1="{box.left:.1f}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{box.left - 6:.1f}" y="{at + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    for tick in box.across.ticks:
        place = f'x="{box.x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}"'
        parts.append(f'<text {place} text-anchor="middle">{_short(tick)}</text>')
    middle = (box.left + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.text)}</text>')
    if y.text:
        # above the box: within it a line that begins high would cross the word
        parts.append(f'<text x="{box.left:.1f}" y="{TOP - 3}">{escape(y.text)}</text>')
    return parts


def _short(value: float) -> str:
    """A round number as it is written: 0.00125, not .00125000001; powers of ten from 1e6 on and below .0001."""
    return f"{value:.6g}"
