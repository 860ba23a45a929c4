"""The figure of what was learned when: the output's relative error by band over the epochs.

This module imports matplotlib: import it where a figure is drawn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from segkd.analysis.canvas import INK, canvas, note, words
from segkd.analysis.evidence import Learning
from segkd.analysis.summary import Group
from segkd.frequency.rings import EDGES

HIGHEST = 2.0
"""Errors above it are cut off, so that an untrained network's does not hide the rest."""


def plot_learning(groups: Sequence[Group]) -> Figure | None:
    """A panel per group, a line per band, thin lines for the seeds; below them the quantisation tables over the same
    epochs of the groups that learned one. None where no run recorded its learning."""
    recorded = {one.name: [run.learning for run in one.runs if run.learning is not None] for one in groups}
    recorded = {name: runs for name, runs in recorded.items() if runs}
    if not recorded:
        return None
    tabled = {name: runs for name, runs in recorded.items() if any(one.tables is not None for one in runs)}
    columns = min(len(recorded), 2 if len(recorded) == 4 else 3)
    above, below = -(-len(recorded) // columns), -(-len(tabled) // columns)
    figure = canvas(0.5 + 2.8 * (above + below))
    panels = figure.subplots(above + below, columns, squeeze=False)
    rings = next(iter(recorded.values()))[0].errors.shape[1]
    shades = colormaps["viridis"](np.linspace(0, 0.94, rings))
    top = max(_top(one) for runs in recorded.values() for one in runs)
    free = set(panels.flat)
    for number, (name, runs) in enumerate(recorded.items()):
        axes = panels[number // columns, number % columns]
        free.discard(axes)
        _draw_errors(axes, runs, shades, top)
        axes.set(title=words(name, 92 // columns), xlabel="epoch")
        axes.set_ylabel("relative error of the output" if number % columns == 0 else "")
    for number, (name, runs) in enumerate(tabled.items()):
        axes = panels[above + number // columns, number % columns]
        free.discard(axes)
        _draw(axes, [(one.table_epochs, one.tables) for one in runs if one.tables is not None], shades)
        axes.set(title=words(f"Table of {name}", 96 // columns), xlabel="epoch")
        axes.set_ylabel("mean log2(quantisation step)" if number % columns == 0 else "")
    for axes in free:
        axes.remove()
    _colour_bar(figure, [axes for axes in panels.flat if axes not in free], shades)
    return figure


def _draw_errors(axes: Axes, runs: Sequence[Learning], shades: np.ndarray, top: float) -> None:
    _draw(axes, [(one.epochs, one.errors) for one in runs], shades)
    axes.axhline(1, color=INK, ls="--", lw=1.1, zorder=1)
    axes.set_ylim(0, top)
    if any(np.nanmax(one.errors, initial=0.0) > top for one in runs):
        note(axes, f"errors above {top:g} are cut off")


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
        note(axes, "one validation only")


def _top(one: Learning) -> float:
    return float(min(max(1.1, 1.05 * np.nanmax(one.errors, initial=0.0)), HIGHEST))


def _colour_bar(figure: Figure, panels: Sequence[Axes], shades: np.ndarray) -> None:
    """Which colour is which band, on the right of all panels."""
    places = list(range(len(shades) + 1))
    drawn = ScalarMappable(BoundaryNorm(places, len(shades)), ListedColormap(shades))
    bar = figure.colorbar(drawn, ax=panels, label="band, cycles per pixel", aspect=35, pad=0.02)
    bar.set_ticks(places, labels=[f"{edge:.3g}" for edge in EDGES])
