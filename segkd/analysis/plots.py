"""Figures with a value per band: the overview, reliance on the input, spectra of the output, outlines.

This module imports matplotlib: import it where a figure is drawn.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segkd.analysis.canvas import (
    INK,
    Look,
    band_axis,
    canvas,
    centres,
    draw_curve,
    from_zero,
    hatch,
    hidden_bands,
    interval,
    legend,
    log_y,
    looks,
    note,
    words,
)
from segkd.analysis.summary import Curve, Group
from segkd.metrics.boundary import WIDTHS

CONSTANT = {"color": INK, "ls": "--", "lw": 1.1, "zorder": 1}
"""The line at 1, the error of a constant prediction."""


def plot_overview(groups: Sequence[Group]) -> Figure:
    """When each band of the output was learned, which band of the input is relied on, which band of the output is
    wrong: three panels over one axis of frequency."""
    figure = canvas(4.5)
    left, middle, right = figure.subplots(1, 3)
    known, hidden = looks(groups), hidden_bands(groups)
    score = groups[0].scores[-1]
    _draw_half(left, groups, known)
    for one in groups:
        x = centres(len(hidden))
        draw_curve(middle, x, one.curves[f"noise_drop/{score}"], known[one.name])
        draw_curve(right, x, one.curves["error"], known[one.name], ~one.representable)
    middle.axhline(0, color=INK, lw=0.8)
    right.axhline(1, **CONSTANT)
    right.text(0.012, 1.01, "constant prediction", size=8.5, color=INK, va="bottom")
    from_zero(right, 1.12)
    left.set_title("OUTPUT: when was it learned?\nlower = earlier")
    middle.set_title("INPUT: what does it rely on?\nhigher = relies more")
    right.set_title("OUTPUT: what is wrong in the end?\nlower = better")
    middle.set_ylabel(f"loss of {score} under noise\nof equal energy in the band")
    right.set_ylabel("relative error of the output")
    for axes in (left, middle, right):
        band_axis(axes, len(hidden))
    for axes in (left, right) if any("half" in one.curves for one in groups) else (right,):
        hatch(axes, hidden)
    legend(figure, known, None, *_patches(hidden))
    return figure


def plot_reliance(groups: Sequence[Group], score: str) -> Figure:
    """Four views of which frequencies of the input the networks rely on, by one of the scores."""
    figure = canvas(7.8)
    panels = figure.subplots(2, 2)
    known = looks(groups)
    rings = groups[0].runs[0].sensitivity.shape[1]
    for one in groups:
        x, look = centres(rings), known[one.name]
        draw_curve(panels[0, 0], x, one.curves["sensitivity"], look)
        draw_curve(panels[0, 0], x, one.curves["untrained_sensitivity"], look.as_reference("--"))
        draw_curve(panels[0, 1], x, one.curves[f"noise_drop/{score}"], look)
        draw_curve(panels[1, 0], x, one.curves[f"stop_drop/{score}"], look)
        _draw_passes(panels[1, 1], one, score, look)
    log_y(panels[0, 0])
    noise = groups[0].runs[0].noise
    panels[0, 0].set(
        title="Gradient: what would move the output?\ndashed: random weights",
        ylabel="gradient, relative to the margin",
    )
    panels[0, 1].set(
        title=f"Noise of equal energy added in a band\nroot mean square {noise:g} of 1", ylabel=f"loss of {score}"
    )
    panels[1, 0].set(
        title="Band left out of the image\nalso depends on how much the image had there", ylabel=f"loss of {score}"
    )
    panels[1, 1].set(
        title="Only frequencies below (solid) or above (dashed) kept\ndotted: unchanged image",
        ylabel=f"{score} left",
        ylim=(0, 1),
    )
    for axes in panels.flat:
        band_axis(axes, rings)
    panels[1, 1].set_xlabel("cut-off, cycles per pixel (period in pixels)")
    for axes in (panels[0, 1], panels[1, 0]):
        axes.axhline(0, color=INK, lw=0.8)
    legend(figure, known)
    return figure


def plot_spectra(groups: Sequence[Group]) -> Figure:
    """How the energy of images, labels and predictions lies in the bands, and the relative error of the output
    beside that of the untrained network and of the label through the decoder's stride."""
    figure = canvas(4.6)
    left, right = figure.subplots(1, 2)
    known, hidden = looks(groups), hidden_bands(groups)
    x, first = centres(len(hidden)), groups[0].curves
    left.plot(x, first["image"].mean, color="#777777", ls=":", lw=2)
    left.plot(x, first["label"].mean, color=INK, ls="--", lw=1.6, zorder=5)
    for one in groups:
        look = known[one.name]
        draw_curve(left, x, one.curves["prediction"], look)
        draw_curve(right, x, one.curves["error"], look, ~one.representable)
        draw_curve(right, x, one.curves["untrained_error"], look.as_reference(":"))
        draw_curve(right, x, one.curves["ceiling"], look.as_reference("--"))
    log_y(left)
    left.set(title="Where the energy lies", ylabel="share of the energy without the mean")
    for curve, text, drop in ((first["image"], "image", 7), (first["label"], "label", -13)):
        if np.isfinite(curve.mean[-1]):
            left.annotate(text, (x[-1], curve.mean[-1]), (-2, drop), textcoords="offset points", ha="right", size=9,
                          bbox={"fc": "white", "ec": "none", "pad": 0.4}, zorder=6)  # fmt: skip
    right.axhline(1, **CONSTANT | {"lw": 0.7, "ls": "-"})
    from_zero(right, 1.12)
    right.set(title="Relative error of the output", ylabel="error / label (root of energies)")
    hatch(right, hidden)
    for axes in (left, right):
        band_axis(axes, len(hidden))
    styles = {"random weights (right)": ":", "label drawn at the stride (right)": "--"}
    legend(figure, known, styles, *_patches(hidden))
    return figure


def plot_outline(groups: Sequence[Group]) -> Figure:
    """IoU on the outline beside IoU away from it, and, where measured, the aliasing of the encoder's levels."""
    aliased = [one for one in groups if "aliasing" in one.curves]
    figure = canvas(4.2)
    panels = figure.subplots(1, 3 if aliased else 2)
    known = looks(groups)
    levels = [100 * width for width in WIDTHS]
    for axes, key, title in ((panels[0], "boundary", "On the outline"), (panels[1], "interior", "Away from it")):
        for number, one in enumerate(groups):
            at = np.arange(len(levels)) + _dodge(number, len(groups))
            _draw_points(axes, one.curves[key], known[one.name], at)
        axes.set_xticks(range(len(levels)), [f"{level:g} %" for level in levels])
        axes.set(title=title, xlabel="width, share of the diagonal", xlim=(-0.5, len(levels) - 0.5))
        axes.set_ylim(0, 1)
        axes.grid(False, axis="x")
    panels[0].set_ylabel("Boundary IoU")
    panels[1].set_ylabel("interior IoU")
    if aliased:
        _draw_aliasing(panels[2], aliased, known)
    legend(figure, known)
    return figure


def _draw_half(axes: Axes, groups: Sequence[Group], known: dict[str, Look]) -> None:
    recorded = [one for one in groups if "half" in one.curves]
    for one in recorded:
        curve = one.curves["half"]
        draw_curve(axes, centres(len(curve.mean)), curve, known[one.name], ~one.representable)
    axes.set_ylabel("epoch at half error")
    if not recorded:
        axes.set_yticks([])
        note(axes, "no run recorded its output error\nwhile it trained, so this\ncannot be told", middle=True)
        return
    # a Student interval of few seeds is wide: it must not squash what was measured
    axes.set_ylim(0, 1.3 * max(0.1, *(float(np.nanmax(one.curves["half"].seeds, initial=0.0)) for one in recorded)))
    if len(recorded) < len(groups):
        missing = [words(one.name, 24) for one in groups if "half" not in one.curves]
        note(axes, "not recorded:\n" + "\n".join(missing))
    elif any(np.isnan(one.curves["half"].mean).any() for one in recorded):
        note(axes, "no line: not learned")


def _draw_passes(axes: Axes, one: Group, score: str, look: Look) -> None:
    """The score over the cut-off: low frequencies kept, high ones kept, and the image unchanged."""
    low, high = one.curves[f"low/{score}"], one.curves[f"high/{score}"]
    cut = np.arange(len(low.mean)) + 1.0
    draw_curve(axes, cut, low, look)
    draw_curve(axes, cut, high, Look(look.colour, look.marker, "--"))
    axes.axhline(float(one.curves[f"clean/{score}"].mean[0]), color=look.colour, ls=":", lw=1.2)


def _draw_points(axes: Axes, curve: Curve, look: Look, x: np.ndarray) -> None:
    """A point with its interval per value, and the seeds beside it."""
    low, high = interval(curve)
    axes.vlines(x, low, high, color=look.colour, lw=1.6, zorder=2)
    axes.plot(x, curve.mean, look.marker, color=look.colour, ms=6.5, zorder=3)
    if len(curve.seeds) > 1:
        for values in curve.seeds:
            axes.plot(x + 0.05, values, look.marker, color=look.colour, ms=3, mfc="none", mew=0.6, alpha=0.8)


def _draw_aliasing(axes: Axes, groups: Sequence[Group], known: dict[str, Look]) -> None:
    strides = {one.name: [stride for _, stride, _ in one.runs[0].aliasing] for one in groups}
    every = sorted(set().union(*strides.values()))  # networks of two groups may have other levels
    for number, one in enumerate(groups):
        at = np.array([every.index(stride) for stride in strides[one.name]])
        _draw_points(axes, one.curves["aliasing"], known[one.name], at + _dodge(number, len(groups)))
    axes.set_xticks(range(len(every)), [f"1/{stride}" for stride in every])
    axes.set(title="Aliasing in the encoder", ylabel="energy above the next Nyquist, share")
    axes.set(xlabel="encoder level, size of its features", xlim=(-0.5, len(every) - 0.5))
    axes.grid(False, axis="x")
    from_zero(axes, 0.05)


def _dodge(number: int, count: int) -> float:
    return 0.0 if count == 1 else 0.5 * (number / (count - 1) - 0.5)


def _patches(hidden: np.ndarray) -> list[Patch]:
    """The legend's entry for greyed bands."""
    if not hidden.any():
        return []
    return [Patch(fc="#f0f0f0", ec="#bbbbbb", hatch="///", lw=0, label="too fine for the decoder's stride")]
