"""The figures of a spectral analysis, each a PNG and an SVG of the same name."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from segkd.analysis.summary import Group


def draw_figures(groups: Sequence[Group], folder: Path) -> dict[str, Path]:
    """Draws what the groups hold; the PNG of each figure by its name, in the order in which they are read.

    Always: "overview", "spectra", "outline", "reliance" (and "reliance_f_mean" for two classes), "dct", "maps". Where
    a run recorded its learning, "learning"; where a run has the measured heat map, "heatmap".
    """
    # matplotlib is slow to import: only who draws waits for it
    from segkd.analysis.canvas import save, style
    from segkd.analysis.maps import plot_dct, plot_heatmap, plot_maps
    from segkd.analysis.plots import plot_outline, plot_overview, plot_reliance, plot_spectra
    from segkd.analysis.training import plot_learning

    plots: dict[str, Callable] = {
        "overview": plot_overview,
        "learning": plot_learning,
        "spectra": plot_spectra,
        "outline": plot_outline,
        "reliance": partial(plot_reliance, score=groups[0].scores[-1]),
        **{f"reliance_{score}": partial(plot_reliance, score=score) for score in groups[0].scores[:-1]},
        "dct": plot_dct,
        "heatmap": plot_heatmap,
        "maps": plot_maps,
    }
    found = {}
    with style():
        for name, plot in plots.items():
            figure = plot(groups)
            if figure is not None:
                found[name] = save(figure, folder, name)
    return found
