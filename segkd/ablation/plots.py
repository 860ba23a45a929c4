"""Comparisons as pictures, each a PNG and an SVG of the same name: gains, gain against cost, critical difference.

All are drawn with matplotlib's objects, without pyplot and its global state, and 8 inches wide; names are broken into
lines by their measured width, so that long ones do not run over the data. Colours and markers are those of spectral
figures: 72 arms look different, and shapes alone tell the first nine. This module imports matplotlib: import it where
a picture is drawn.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from segkd.ablation.rows import with_unit
from segkd.ablation.statistics import Comparison, Gain, Ranks
from segkd.analysis.canvas import COLOURS, INK, Look, look_of, save, without_warnings

WIDTH = 8.0
"""Inches; the PNG has 200 pixels to an inch and is still read at half of that, 800 pixels."""

SIZE = 11
"""Points."""


@dataclass(frozen=True)
class _Mark:
    """An arm in the plane of cost and gain: its look, name and numbers."""

    look: Look
    lines: list[str]
    x: float
    y: float
    interval: tuple[float, float] | None

    @property
    def height(self) -> float:
        """Inches that the name takes, with a gap."""
        return 0.2 * len(self.lines) + 0.1


def write_plots(comparison: Comparison, folder: Path) -> list[Path]:
    """Draws what can be drawn of a comparison; the files written."""
    with without_warnings():
        drawn = [draw(comparison, folder) for draw in (plot_gain, plot_cost_gain, plot_critical_difference)]
    return [path for paths in drawn if paths for path in paths]


def plot_gain(comparison: Comparison, folder: Path) -> tuple[Path, Path] | None:
    """`gain_<score>`: for each arm the mean gain with its 95 % interval and, faint, the single pairs.

    Returns:
        The PNG and the SVG; None when no arm has a pair with the baseline.
    """
    gains = _gains(comparison)
    if not gains:
        return None
    names = [_lines(name, 7.0) for name, _ in gains]
    title = _title(comparison, f"mean gain over {comparison.baseline} with 95 % interval, and single pairs")
    # a row holds the name above its data, so that names take no width from them
    heights = [0.36 + 0.2 * len(lines) for lines in names]
    figure, axes = _canvas(sum(heights), (0.05, 0.95), 0.2 + 0.2 * len(title))
    top = 0.0
    for (_, gain), lines, height in zip(gains, names, heights):
        axes.axhline(top, color="#dddddd", lw=0.8)
        axes.annotate("\n".join(lines), (0, top), (4, -5), ("axes fraction", "data"), "offset points", va="top",
                      size=SIZE, color=INK, bbox={"fc": "white", "ec": "none", "pad": 1.5})  # fmt: skip
        _draw_gain(axes, gain, top + height - 0.18)
        top += height
    axes.axvline(0, color=INK, lw=1.2, zorder=1)
    axes.set_ylim(top, 0)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    if np.ptp(axes.get_xlim()) < 1e-6:  # all gains equal: no axis of 1e-18
        axes.set_xlim(-0.001, 0.001)
    axes.set_xlabel(_gain_label(comparison, "right"), size=SIZE, color=INK)
    axes.set_title("\n".join(title), loc="left", size=SIZE, color=INK)
    return _save(figure, folder, f"gain_{comparison.score}")


def plot_cost_gain(comparison: Comparison, folder: Path) -> tuple[Path, Path] | None:
    """`cost_gain_<score>`: training time relative to the baseline's on the same units, against mean gain.

    Returns:
        The PNG and the SVG; None when no arm has a pair with the baseline for which times were taken.
    """
    marks = [_Mark(look_of(0), _lines(f"{comparison.baseline} (baseline)", 2.75), 1.0, 0.0, None)]
    for i, arm in enumerate(comparison.arms):
        if arm.gain is not None and not math.isnan(arm.gain.cost):
            marks.append(_Mark(look_of(i), _lines(arm.name, 2.75), arm.gain.cost, arm.gain.mean, arm.gain.interval))
    if len(marks) == 1:
        return None
    title = _title(comparison, "mean gain with 95 % interval, and its cost")
    height = max(3.4, sum(mark.height for mark in marks))
    figure, axes = _canvas(height, (0.125, 0.58), 0.2 + 0.2 * len(title))
    axes.axhline(0, color="#999999", lw=1, zorder=1)
    axes.axvline(1, color="#999999", lw=1, zorder=1)
    for mark in marks:
        axes.plot(mark.x, mark.y, marker=mark.look.marker, color=mark.look.colour, ms=9, mec="white", mew=0.8, zorder=3)
        if mark.interval is not None:
            axes.plot([mark.x, mark.x], mark.interval, color=mark.look.colour, lw=1, alpha=0.6, zorder=2)
    axes.margins(0.1)
    axes.set_xlabel("training time, baseline = 1 (left is cheaper)", size=SIZE, color=INK)
    axes.set_ylabel(_gain_label(comparison, "up"), size=SIZE, color=INK)
    axes.set_title("\n".join(title), loc="left", size=SIZE, color=INK)
    _draw_labels(figure, axes, sorted(marks, key=lambda mark: -mark.y))
    return _save(figure, folder, f"cost_gain_{comparison.score}")


def plot_critical_difference(comparison: Comparison, folder: Path) -> tuple[Path, Path] | None:
    """`critical_difference_<score>`: average ranks, the best on the right; bars join what is not separated.

    After figure 1 of Demsar, JMLR 2006.

    Returns:
        The PNG and the SVG; None for fewer than three arms, or fewer than two units that all arms have.
    """
    ranks = comparison.ranks
    if ranks is None:
        return None
    k, half = len(ranks.arms), len(ranks.arms) // 2  # the better half is named on the right
    names = [_lines(name, 2.05) for name in ranks.arms]
    levels = _levels(ranks.groups)
    first = 0.35 + 0.16 * (max(levels, default=-1) + 1)  # inches from the axis down to the first name
    depths = [*_depths(names[:half], first), *reversed(_depths(names[half:][::-1], first))]
    bottom = max(depth + 0.1 * len(lines) for depth, lines in zip(depths, names)) + 0.2
    figure, axes = _blank(bottom + 1.25)
    axes.set_axis_off()
    axes.set(xlim=(0, WIDTH), ylim=(bottom, -1.25))  # inches both ways, so that lines and letters fit by design
    place = [2.3 + 3.4 * (k - average) / (k - 1) for average in ranks.averages]
    p = f"= {ranks.p:.4f}" if ranks.p >= 0.0001 else "< 0.0001"
    title = _title(comparison, f"ranks by {comparison.score}, {ranks.n} units (data set, seed), Friedman p {p}")
    axes.text(WIDTH / 2, -1.05, "\n".join(title), ha="center", va="center", size=SIZE, color=INK)
    _draw_axis(axes, ranks)
    for i, (x, depth, lines) in enumerate(zip(place, depths, names)):
        right = i < half
        axes.plot([x, x, 5.8 if right else 2.2], [0, depth, depth], color=INK, lw=1.1)
        text = "\n".join(lines)
        axes.text(
            5.85 if right else 2.15, depth, text, ha="left" if right else "right", va="center", size=SIZE, color=INK
        )
    for (start, end), level in zip(ranks.groups, levels):
        y = 0.2 + 0.16 * level
        axes.plot([place[start] + 0.05, place[end] - 0.05], [y, y], color=COLOURS[0], lw=4.5, solid_capstyle="butt")
    return _save(figure, folder, f"critical_difference_{comparison.score}")


def _draw_axis(axes: Axes, ranks: Ranks) -> None:
    """The axis of ranks and, above it, the critical difference as long as it is on that axis."""
    k, step = len(ranks.arms), 3.4 / (len(ranks.arms) - 1)
    axes.plot([2.3, 5.7], [0, 0], color=INK, lw=1.2)
    for rank in range(1, k + 1):
        x = 2.3 + step * (k - rank)
        axes.plot([x, x], [0, -0.08], color=INK, lw=1.2)
        if (rank - 1) % math.ceil(k / 14) == 0:  # more figures than that would touch
            axes.text(x, -0.11, str(rank), ha="center", va="bottom", size=SIZE, color=INK)
    axes.text(2.1, -0.11, "average rank", ha="right", va="bottom", size=SIZE, color=INK)
    axes.text(5.9, -0.11, "(best)", ha="left", va="bottom", size=SIZE, color=INK)
    length = min(ranks.cd * step, 3.4)
    axes.plot([2.3, 2.3 + length], [-0.47, -0.47], color=COLOURS[0], lw=2, marker="|", ms=9)
    over = ", longer than the axis" if ranks.cd > k - 1 else ""
    axes.text(2.3, -0.56, f"CD = {ranks.cd:.2f}{over}", ha="left", va="bottom", size=SIZE, color=COLOURS[0])


def _draw_gain(axes: Axes, gain: Gain, y: float) -> None:
    axes.plot(gain.gains, [y] * len(gain.gains), "o", color=COLOURS[0], alpha=0.28, ms=6, mew=0, zorder=2)
    if gain.interval:
        axes.plot(gain.interval, [y, y], color=COLOURS[0], lw=2.2, marker="|", ms=9, mew=2.2, zorder=3)
    axes.plot(gain.mean, y, "D", color=COLOURS[1], ms=7, mec="white", mew=0.8, zorder=4)


def _draw_labels(figure: Figure, axes: Axes, marks: Sequence[_Mark]) -> None:
    """Names in a column right of the axes, in the order of their points and spread so that none overlaps."""
    figure.draw_without_rendering()  # fixes the limits, and with them the places of the points
    whole = figure.get_figheight() * axes.get_position().height
    heights = [mark.height / whole for mark in marks]
    to_axes = axes.transData + axes.transAxes.inverted()
    points = [float(to_axes.transform((mark.x, mark.y))[1]) for mark in marks]
    tops = _apart([1 - point - height / 2 for point, height in zip(points, heights)], heights)
    for mark, top, height in zip(marks, tops, heights):
        middle = 1 - top - height / 2
        axes.annotate("", (mark.x, mark.y), (1.05, middle), "data", "axes fraction", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": mark.look.colour, "lw": 0.8, "alpha": 0.7})  # fmt: skip
        axes.plot(1.07, middle, marker=mark.look.marker, color=mark.look.colour, ms=7, mec="white", mew=0.6,
                  transform=axes.transAxes, clip_on=False)  # fmt: skip
        axes.text(1.1, middle, "\n".join(mark.lines), transform=axes.transAxes, va="center", size=SIZE, color=INK)


def _gains(comparison: Comparison) -> list[tuple[str, Gain]]:
    return [(arm.name, arm.gain) for arm in comparison.arms if arm.gain is not None]


def _title(comparison: Comparison, text: str) -> list[str]:
    alone = all(gain.seeds == 1 for _, gain in _gains(comparison))
    split = f"{comparison.split}: " if comparison.split else ""
    return _lines(f"{split}{text}", 6.8) + (["one seed: a reading, no result"] if alone else [])


def _gain_label(comparison: Comparison, better: str) -> str:
    # the title has the whole name
    named = comparison.baseline.replace("$", r"\$") if len(comparison.baseline) <= 24 else "baseline"
    order = f"arm - {named}" if comparison.sign > 0 else f"{named} - arm"
    return f"gain in {with_unit(comparison.score)}, {order} ({better} is better)"


def _levels(groups: Sequence[tuple[int, int]]) -> list[int]:
    """For each bar the lowest level on which no earlier bar reaches it."""
    ends: list[int] = []
    levels = []
    for start, end in groups:
        level = next((i for i, reached in enumerate(ends) if reached < start), len(ends))
        ends[level : level + 1] = [end]
        levels.append(level)
    return levels


def _depths(names: Sequence[list[str]], first: float) -> list[float]:
    """The middles of names below one another, in inches from the axis."""
    depths = []
    for lines in names:
        depths.append(first + 0.1 * len(lines))
        first += 0.2 * len(lines) + 0.12
    return depths


def _apart(tops: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Tops, in 0..1 from above, moved as little as keeps the labels in order, within 1 and off each other."""
    placed = []
    free = 0.0
    for top, height in zip(tops, heights):
        placed.append(max(top, free))
        free = placed[-1] + height
    limit = 1.0
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit - heights[i])
        limit = placed[i]
    return placed


def _lines(name: str, inches: float) -> list[str]:
    """A name broken behind spaces and signs into lines that are no wider; within a word only when it must be."""

    font, measure = FontProperties(size=SIZE), TextToPath()

    def fits(text: str) -> bool:
        return measure.get_text_width_height_descent(text, font, ismath=False)[0] <= inches * 72

    words = re.findall(r"[^\s_+/,:;-]*[\s_+/,:;-]*", " ".join(name.split()))
    lines = [""]
    for piece in (part for word in words for part in ([word] if fits(word) else word)):
        if lines[-1] and not fits(lines[-1] + piece.rstrip()):
            lines.append("")
        lines[-1] += piece
    return [line.rstrip().replace("$", r"\$") for line in lines]  # a dollar is a dollar, no formula


def _canvas(height: float, sides: tuple[float, float], top: float) -> tuple[Figure, Axes]:
    """Axes of so many inches between `sides` (shares of the width), with `top` inches above for a title."""
    whole = height + top + 0.65
    figure = Figure(figsize=(WIDTH, whole))
    axes = figure.add_axes((sides[0], 0.65 / whole, sides[1] - sides[0], height / whole))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _blank(height: float) -> tuple[Figure, Axes]:
    """Axes without margins."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.add_axes((0, 0, 1, 1))


def _save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    # text stays text in the SVG, and the same comparison gives the same file
    with matplotlib.rc_context({"savefig.dpi": 200, "svg.fonttype": "none", "svg.hashsalt": "segkd"}):
        png = save(figure, folder, name)
    return png, png.with_suffix(".svg")
