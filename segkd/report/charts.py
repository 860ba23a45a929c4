"""Line charts as SVG text: they take their colours from the page, so they follow its dark mode."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segkd.report.text import escape

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40


@dataclass(frozen=True)
class Axis:
    """The words and the range of an axis; without a range, that of the data."""

    text: str
    low: float | None = None
    high: float | None = None


def line_chart(title: str, x: Axis, y: Axis, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """A chart of named lines (x, y); points that are not finite break a line. "" if nothing is finite."""
    finite = {
        name: [(a, b) if math.isfinite(a) and math.isfinite(b) else None for a, b in zip(*points)]
        for name, points in lines.items()
    }
    points = [point for line in finite.values() for point in line if point]
    if not points:
        return ""
    across, up = _range([p[0] for p in points], x), _range([p[1] for p in points], y)
    parts = [
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>',
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_grid(across, up, x, y),
    ]
    for number, line in enumerate(finite.values()):
        path, broken = "", True
        for point in line:
            if point:
                path += (
                    f"{'M' if broken else 'L'}{_place(point[0], across, True):.1f} {_place(point[1], up, False):.1f}"
                )
            broken = point is None
        parts.append(f'<path class="line line{number % 6}" d="{path}"/>')
    keys = "".join(f'<span class="key key{n % 6}">{escape(name)}</span>' for n, name in enumerate(finite))
    return "".join([*parts, "</svg>", f'<div class="keys">{keys}</div>' if len(finite) > 1 else "", "</figure>"])


def _range(values: Sequence[float], axis: Axis) -> tuple[float, float]:
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _place(value: float, span: tuple[float, float], across: bool) -> float:
    share = (min(max(value, span[0]), span[1]) - span[0]) / (span[1] - span[0])
    return LEFT + share * (WIDTH - LEFT - RIGHT) if across else HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(across: tuple[float, float], up: tuple[float, float], x: Axis, y: Axis) -> list[str]:
    parts = []
    for number in range(5):
        value = up[0] + (up[1] - up[0]) * number / 4
        at = _place(value, up, False)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>')
        value = across[0] + (across[1] - across[0]) * number / 4
        at = _place(value, across, True)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_short(value)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.text)}</text>')
    if y.text:
        parts.append(f'<text x="{LEFT + 4}" y="{TOP + 12}">{escape(y.text)}</text>')
    return parts


def _short(value: float) -> str:
    return f"{value:.3g}"
