"""The figure of what was learned when: the output's relative error by band over the epochs.

This module imports matplotlib: import it where a figure is drawn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from segkd.analysis.canvas import INK, canvas, note, words
from segkd.analysis.evidence import Learning
from segkd.analysis.summary import Group
from segkd.frequency.rings import ring_edges

HIGHEST = 2.0
"""Errors above it are cut off, so that an untrained network's does not hide the rest."""


def plot_learning(groups: Sequence[Group]) -> Figure | None:
    """A panel per group, a line per band, thin lines for the seeds; below it the quantisation table of the same
    epochs where one was learned. None where no run recorded its learning."""
    recorded = {one.name: [run.learning for run in one.runs if run.learning is not None] for one in groups}
    recorded = {name: runs for name, runs in recorded.items() if runs}
    if not recorded:
        return None
    tabled = any(one.tables is not None for runs in recorded.values() for one in runs)
    columns = min(len(recorded), 2 if len(recorded) == 4 else 3)
    rows = -(-len(recorded) // columns)
    each = 2 if tabled else 1
    figure = canvas(0.6 + rows * each * (3.3 if each == 1 else 2.5))
    panels = figure.subplots(rows * each, columns, squeeze=False, sharex=True)
    rings = next(iter(recorded.values()))[0].errors.shape[1]
    norm = BoundaryNorm(ring_edges(rings), 256)
    shades = colormaps["viridis"](norm(np.array(ring_edges(rings)[:-1]) + 1e-9) * 0.94 / 256)
    top = max(_top(one) for runs in recorded.values() for one in runs)
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        mine = [panels[row * each + extra, column] for extra in range(each)]
        if number >= len(recorded):
            for axes in mine:
                axes.remove()
            continue
        name = list(recorded)[number]
        _draw_errors(mine[0], recorded[name], shades, top)
        mine[0].set_title(words(name, 92 // columns))
        if tabled:
            _draw_tables(mine[1], recorded[name], shades)
        mine[-1].set_xlabel("epoch")
        mine[-1].xaxis.set_tick_params(labelbottom=True)
        for axes, text in zip(mine, ("relative error of the output", "mean log2(step) of the table")):
            if column == 0:
                axes.set_ylabel(text)
    _colour_bar(figure, panels, shades, rings)
    return figure


def _draw_errors(axes: Axes, runs: Sequence[Learning], shades: np.ndarray, top: float) -> None:
    _draw(axes, [(one.epochs, one.errors) for one in runs], shades)
    axes.axhline(1, color=INK, ls="--", lw=1.1, zorder=1)
    axes.set_ylim(0, top)
    if any(np.nanmax(one.errors, initial=0.0) > top for one in runs):
        note(axes, f"errors above {top:g} are cut off")


def _draw_tables(axes: Axes, runs: Sequence[Learning], shades: np.ndarray) -> None:
    tables = [(one.table_epochs, one.tables) for one in runs if one.tables is not None]
    if not tables:
        axes.set(yticks=[])
        note(axes, "no table is learned", middle=True)
        return
    _draw(axes, tables, shades)


def _draw(axes: Axes, series: Sequence[tuple[Any, Any]], shades: np.ndarray) -> None:
    """Lines of all bands: one run's as they are, several runs' thin, with the thick mean where they have the same
    epochs."""
    alike = all(np.array_equal(epochs, series[0][0]) for epochs, _ in series)
    for band, shade in enumerate(shades):
        for epochs, values in series if len(series) > 1 else ():
            axes.plot(epochs, values[:, band], color=shade, lw=0.6, alpha=0.6, zorder=2)
        if alike:
            mean = np.mean([values[:, band] for _, values in series], axis=0)
            marker = "." if len(series[0][0]) <= 20 else ""
            axes.plot(series[0][0], mean, color=shade, lw=1.8, marker=marker, zorder=3)
    if len(series[0][0]) == 1:
        note(axes, "one validation only", middle=False)


def _top(one: Learning) -> float:
    return float(min(max(1.1, 1.05 * np.nanmax(one.errors, initial=0.0)), HIGHEST))


def _colour_bar(figure: Figure, panels: np.ndarray, shades: np.ndarray, rings: int) -> None:
    """Which colour is which band, on the right of all panels."""
    from matplotlib.colors import ListedColormap

    edges = ring_edges(rings)
    drawn = ScalarMappable(BoundaryNorm(edges, rings), ListedColormap(shades))
    at = [axes for axes in panels.flat if axes.figure is not None]
    bar = figure.colorbar(drawn, ax=at, label="band of the output, cycles per pixel", aspect=35, pad=0.02)
    bar.set_ticks(edges, labels=[f"{edge:.3g}" for edge in edges])
