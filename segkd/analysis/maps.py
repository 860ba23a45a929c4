"""Figures of two-dimensional spectra: mean power and sensitivity over both frequencies, block DCT, heat map.

This module imports matplotlib: import it where a figure is drawn.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from segkd.analysis.canvas import COLOURS, canvas, plain_log, words
from segkd.analysis.evidence import HeatMap
from segkd.analysis.summary import Group, spearman
from segkd.frequency.rings import EDGES

COLUMNS = {
    "image": "DATA\nimage",
    "label": "DATA\nlabel",
    "prediction": "OUTPUT\nprediction",
    "error": "OUTPUT\nerror",
    "sensitivity": "INPUT\nsensitivity",
    "untrained_sensitivity": "INPUT\nuntrained",
}
TOGETHER = ("label", "prediction", "error")
"""Shown with one scale of colour, since they are of one unit."""


def full_plane(half: Float[np.ndarray, "h k"], w: int) -> Float[np.ndarray, "h w"]:
    """Power on the whole plane from that on the half plane of a real field w pixels wide, frequency 0 in the middle.

    |F(-fy, -fx)| = |F(fy, fx)|: what is missing is the half plane turned by half a turn.
    """
    h, k = half.shape
    rows = -np.arange(h) % h
    mirrored = half[rows][:, w - np.arange(k, w)]
    return np.fft.fftshift(np.concatenate([half, mirrored], axis=1))


def plot_maps(groups: Sequence[Group]) -> Figure:
    """Mean power over both frequencies, a row per group, rings at the edges of the bands."""
    size = groups[0].runs[0].size
    figure = canvas(1.1 + 1.5 * len(groups))
    panels = figure.subplots(len(groups), len(COLUMNS), squeeze=False, sharex=True, sharey=True)
    planes = [[_mean_plane(one, key) for key in COLUMNS] for one in groups]
    norms = _norms(planes)
    for row, one in enumerate(groups):
        for column, title in enumerate(COLUMNS.values()):
            axes = panels[row, column]
            drawn = _draw_plane(axes, planes[row][column], size, norms[column])
            if row == 0:
                axes.set_title(title, loc="center")
            if row == len(groups) - 1:
                bar = figure.colorbar(drawn, ax=panels[:, column], location="bottom", aspect=12, pad=0.01)
                _label_ends(bar, norms[column])
        panels[row, 0].set_ylabel(words(one.name, 18), size=9)  # more would run into the rows beside it
    figure.supxlabel("horizontal frequency, upwards vertical frequency, cycles per pixel; colour: mean power", size=10)
    return figure


def plot_dct(groups: Sequence[Group]) -> Figure:
    """Root mean square of the gradient's 8 x 8 block DCT, a panel per group with one scale of colour."""
    columns = min(len(groups), 4)
    rows = -(-len(groups) // columns)
    titles = [words(one.name, 25 if columns == 4 else 30) for one in groups]
    lines = max(title.count("\n") for title in titles)
    figure = canvas(0.4 + (2.5 + 0.3 * (columns < 4) + 0.2 * lines) * rows, min(10.0, 2.5 * columns + 1.6))
    panels = figure.subplots(rows, columns, squeeze=False)
    tables = [np.sqrt(np.mean([run.dct.mean(axis=0) for run in one.runs], axis=0)) for one in groups]
    norm = _norm(np.stack(tables), 0.0)
    for number, axes in enumerate(panels.flat):
        if number >= len(groups):
            axes.remove()
            continue
        drawn = axes.imshow(tables[number], norm=norm, cmap="viridis")
        axes.grid(False)
        axes.set_title(titles[number])
        axes.set(xticks=range(8), yticks=range(8))
        if number + columns >= len(groups):  # the lowest of its column
            axes.set_xlabel("v (v/16 cycles per pixel across)", size=9)
        if number % columns == 0:
            axes.set_ylabel("u (u/16 down)", size=9)
    left = list(panels.flat)[: len(groups)]
    bar = figure.colorbar(drawn, ax=left, label="root mean square of the gradient", aspect=20, pad=0.02)
    plain_log(bar.ax.yaxis)
    return figure


def plot_heatmap(groups: Sequence[Group]) -> Figure | None:
    """Effect of single waves, measured, against what the gradient says of them; None where none was measured."""
    found = [
        (f"{one.name}, seed {run.seed}" if len(one.runs) > 1 else one.name, run.heatmap)
        for one in groups for run in one.runs if run.heatmap is not None
    ]  # fmt: skip
    if not found:
        return None
    columns = min(len(found), 3)
    rows = -(-len(found) // columns)
    figure = canvas(0.4 + 3.4 * rows, min(10.0, 3.1 * columns + 1.6))
    panels = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(panels.flat):
        if number >= len(found):
            axes.remove()
            continue
        name, heatmap = found[number]
        drawn = _draw_heatmap(axes, heatmap)
        axes.set_title(f"{words(name, 28)}\nSpearman {spearman(heatmap.gradient, heatmap.gain):.2f}\n"
                       f"{len(heatmap.radii)} waves, {heatmap.images} images")  # fmt: skip
        axes.set_xlabel("gradient")
        if number % columns == 0:
            axes.set_ylabel("measured, change of logit\nmargin per unit of the wave")
    left = list(panels.flat)[: len(found)]
    figure.colorbar(drawn, ax=left, label="frequency, cycles per pixel", aspect=25, pad=0.02)
    return figure


def _mean_plane(one: Group, key: str) -> np.ndarray:
    mean = np.mean([getattr(run.spectra, key) for run in one.runs], axis=0)
    return full_plane(mean, one.runs[0].size[1])


def _norms(planes: Sequence[Sequence[np.ndarray]]) -> list[LogNorm]:
    """A scale of colour per column, shared by all groups and by the columns of one unit."""
    keys = list(COLUMNS)
    columns = [np.stack([row[column] for row in planes]) for column in range(len(keys))]
    shared = _norm(np.concatenate([columns[keys.index(key)] for key in TOGETHER]), 0.02)
    return [shared if key in TOGETHER else _norm(columns[i], 0.02) for i, key in enumerate(keys)]


def _norm(values: np.ndarray, cut: float) -> LogNorm:
    """A logarithmic scale of the positive values but for a share `cut` at both ends."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size == 0:
        return LogNorm(0.1, 1.0, clip=True)
    low, high = np.quantile(positive, [cut, 1 - cut / 10])
    return LogNorm(float(low) * 0.999, float(max(high, low * 1.01)), clip=True)


def _draw_plane(axes: Axes, plane: np.ndarray, size: tuple[int, int], norm: LogNorm):
    h, w = size
    fy, fx = np.fft.fftshift(np.fft.fftfreq(h)), np.fft.fftshift(np.fft.fftfreq(w))
    extent = (fx[0] - 0.5 / w, fx[-1] + 0.5 / w, fy[0] - 0.5 / h, fy[-1] + 0.5 / h)
    drawn = axes.imshow(plane, norm=norm, cmap="magma", extent=extent, origin="lower", interpolation="nearest")
    for edge in EDGES[1:]:
        axes.add_patch(Circle((0, 0), edge, fill=False, ec="white", lw=0.4, alpha=0.35))
    axes.grid(False)
    axes.set(xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5), aspect="equal", xlim=(-0.5, 0.5), ylim=(-0.5, 0.5))
    axes.tick_params(labelsize=7.5)
    axes.spines[["left", "bottom"]].set_visible(False)
    return drawn


def _label_ends(bar: Colorbar, norm: LogNorm) -> None:
    """Numbers at the two ends of a short bar, where more would touch."""
    bar.ax.minorticks_off()
    ends = [float(norm.vmin or 0), float(norm.vmax or 0)]
    bar.set_ticks(ends, labels=[f"{end:.0e}" for end in ends])
    bar.ax.tick_params(labelsize=7.5)
    left, right = bar.ax.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")


def _draw_heatmap(axes: Axes, one: HeatMap):
    """A point per wave, logarithmic both ways, and the line where both are equal."""
    kept = (one.gradient > 0) & (one.gain > 0)
    drawn = axes.scatter(one.gradient[kept], one.gain[kept], c=one.radii[kept], cmap="viridis", s=18, vmin=0, vmax=0.5)
    if kept.any():
        axes.set(xscale="log", yscale="log")
        both = np.concatenate([one.gradient[kept], one.gain[kept]])
        axes.plot([both.min(), both.max()], [both.min(), both.max()], color=COLOURS[7], lw=1, ls="--", zorder=1)
        plain_log(axes.xaxis)
        plain_log(axes.yaxis)
    return drawn
