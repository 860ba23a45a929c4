"""What all spectral figures share: size, colours, the axis of bands, curves with intervals, files.

Figures are 10 inches wide, are saved with 150 pixels to an inch and read at 1000 pixels. Colours are those of Okabe
and Ito, told apart by all eyes; with markers, 72 groups look different. Drawn with matplotlib's objects, without
pyplot and its global state. This module imports matplotlib: import it where a figure is drawn.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from segkd.analysis.summary import Curve, Group
from segkd.disk import write_whole
from segkd.frequency.rings import EDGES

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#777777")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""One more than there are colours, so that all pairs come up."""

WIDTH = 10.0
"""Inches."""

INK = "#222222"
BAND_AXIS = "frequency, cycles per pixel (period in pixels)"
STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "hatch.linewidth": 0.6,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "segkd",  # the same evidence gives the same file
}


@dataclass(frozen=True)
class Look:
    """How a group is drawn, in all figures alike."""

    colour: str
    marker: str
    style: str = "-"
    faint: bool = False
    """Without markers, interval and seeds: for what the eye compares with."""

    def as_reference(self, style: str) -> "Look":
        """The same group's look for a second, fainter curve."""
        return replace(self, style=style, faint=True)


def look_of(place: int) -> Look:
    """The look of what stands at a place among others."""
    return Look(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])


def looks(groups: Sequence[Group]) -> dict[str, Look]:
    """The look of each group by its name."""
    return {one.name: look_of(i) for i, one in enumerate(groups)}


def canvas(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of so many inches."""
    return Figure(figsize=(width, height))


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Writes `name`.png and `name`.svg; the path of the PNG."""
    png = folder / f"{name}.png"
    write_whole(png, partial(figure.savefig, format="png", facecolor="white"))
    figure.set_layout_engine("none")  # what fits once fits twice: to lay out anew takes seconds
    draw = partial(figure.savefig, format="svg", facecolor="white", metadata={"Date": None})
    write_whole(folder / f"{name}.svg", draw)
    return png


@contextmanager
def style() -> Iterator[None]:
    """A context in which figures are drawn."""
    with matplotlib.rc_context(STYLE), without_warnings():
        yield


@contextmanager
def without_warnings() -> Iterator[None]:
    """A context in which letters that the font lacks (Chinese names) are boxes in a PNG, and are themselves in an SVG,
    without a warning for each letter and each time that it is measured."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


def words(text: str, width: int) -> str:
    """A name broken into lines of at most `width` letters, behind signs where it can be; a dollar is a dollar."""
    lines = [""]
    for word in re.findall(r"[^\s_+/,:;=-]*[\s_+/,:;=-]*", " ".join(text.split())):
        for piece in (word[i : i + width] for i in range(0, len(word), width)):
            if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines).replace("$", r"\$")


def centres(rings: int) -> Float[np.ndarray, " rings"]:
    """The place of each band on the axis, on which all are equally wide: they get narrower towards 0."""
    return np.arange(rings) + 0.5


def band_axis(axes: Axes, rings: int) -> None:
    """The x axis of bands: frequency with the period below it, a faint line at each band's edge."""
    axes.set_xlim(0, rings)
    names = [f"{edge:.3g}".removeprefix("0") or "0" for edge in EDGES]
    periods = [f"({1 / edge:.2g})" if edge else "" for edge in EDGES]
    # every other edge has its number: all of them would touch
    texts = ["" if i % 2 and rings > 4 else f"{a}\n{b}" for i, (a, b) in enumerate(zip(names, periods))]
    axes.set_xticks(range(rings + 1), texts)
    axes.grid(True, axis="x")
    axes.set_xlabel(BAND_AXIS if axes.get_position().width > 0.3 else "frequency, cycles/pixel (period, pixels)")


def draw_curve(
    axes: Axes, x: Float[np.ndarray, " x"], curve: Curve, look: Look, hollow: np.ndarray | None = None
) -> None:
    """The mean as a line, its interval as a band, the seeds as thin marks; nothing where nothing is finite.

    The interval is that over images, or, where a quantity is none of single images, over seeds.

    Args:
        axes: to draw on.
        x: place of each value.
        curve: to draw.
        look: of the group.
        hollow: True where the marker is left white: a band that the decoder cannot represent.
    """
    if not np.isfinite(curve.mean).any() and not np.isfinite(curve.seeds).any():
        return
    if look.faint:
        axes.plot(x, curve.mean, color=look.colour, ls=look.style, lw=1.3, alpha=0.85, zorder=2)
        return
    low, high = interval(curve)
    axes.fill_between(x, low, high, color=look.colour, alpha=0.17, lw=0, zorder=1)
    axes.plot(x, curve.mean, color=look.colour, ls=look.style, lw=1.8, zorder=3)
    solid = np.isfinite(x) if hollow is None else ~hollow
    for where, face in ((solid, look.colour), (~solid, "white")):
        axes.plot(x[where], curve.mean[where], look.marker, color=look.colour, mfc=face, ms=5.5, zorder=4)
    if len(curve.seeds) > 1:
        for values in curve.seeds:
            axes.plot(x, values, look.marker, color=look.colour, ms=3, mfc="none", mew=0.6, alpha=0.7, zorder=2)


def interval(curve: Curve) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " x"]]:
    """The interval over images; that over seeds where there is none; else NaN."""
    if np.isfinite(curve.low).any() or curve.seed_interval is None:
        return curve.low, curve.high
    return curve.seed_interval


def log_y(axes: Axes) -> None:
    """A logarithmic y axis, where anything positive was drawn."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines] or [np.zeros(0)])
    if (values[np.isfinite(values)] > 0).any():
        axes.set_yscale("log", nonpositive="clip")
        plain_log(axes.yaxis)


def plain_log(axis: Axis) -> None:
    """Numbers as they are written by hand, .02 and not 2 x 10^-2, few enough that they do not touch."""
    low, high = sorted(axis.get_view_interval())
    close = high < 300 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if close else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def from_zero(axes: Axes, least: float) -> None:
    """A y axis that starts at 0 and reaches `least` at least."""
    axes.set_ylim(0, max(axes.get_ylim()[1], least))


def hatch(axes: Axes, hidden: Bool[np.ndarray, " rings"]) -> None:
    """Greys the bands that no decoder here can represent."""
    for band in np.flatnonzero(hidden).tolist():
        axes.axvspan(band, band + 1, fc="#f0f0f0", ec="#cfcfcf", hatch="///", lw=0, zorder=0)


def hidden_bands(groups: Sequence[Group]) -> Bool[np.ndarray, " rings"]:
    """True for the bands that none of the groups can represent."""
    return np.all([~one.representable for one in groups], axis=0)


def note(axes: Axes, text: str, middle: bool = False) -> None:
    """Words in the plot: in its middle when they stand for what is not there, else above it on the right."""
    x, y, across, up = (0.5, 0.5, "center", "center") if middle else (0.99, 0.98, "right", "top")
    axes.text(x, y, text, transform=axes.transAxes, ha=across, va=up, size=9, color="#555555", zorder=5)


def legend(figure: Figure, known: Mapping[str, Look], styles: Mapping[str, str] | None = None, *more: Artist) -> None:
    """One legend below the figure: the groups, then what the line styles mean, then anything else with a label."""
    handles: list = [
        Line2D([], [], color=look.colour, marker=look.marker, lw=1.8, ms=5.5, label=words(name, 34))
        for name, look in known.items()
    ]
    for text, line in (styles or {}).items():
        handles.append(Line2D([], [], color="#444444", ls=line, lw=1.5, label=text))
    handles += more
    longest = max((max(map(len, handle.get_label().split("\n"))) for handle in handles), default=0)
    columns = max(1, min(len(handles), int(128 / (longest + 7))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
