"""How scores on val grew while the arms of a comparison trained, as pictures.

This module imports matplotlib: import it where a picture is drawn.
"""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from segkd.ablation.curves import Points, Record
from segkd.ablation.rows import with_unit
from segkd.ablation.statistics import Comparison
from segkd.analysis.canvas import INK, Look, canvas, legend, look_of, save, style, words

MOST = 8
"""Arms in one picture: as many as there are colours; of more, those with the best gains beside the baseline."""


def plot_curves(records: Sequence[Record], comparison: Comparison, folder: Path) -> tuple[Path, Path] | None:
    """`curves_<score>`: for each data set the score on val by optimiser step, a line for each arm: the mean over the
    seeds that all arms drawn there have, at the steps that they share; every training as a faint line.

    Returns:
        The PNG and the SVG; None where no record has the score.
    """
    score, arms = comparison.score, _drawn(comparison)
    shown = [one for one in records if one.arm in arms and one.points(score)]
    if not shown:
        return None
    sets = list(dict.fromkeys(one.dataset for one in shown))
    known = {arm: look_of(i) for i, arm in enumerate(arms) if any(one.arm == arm for one in shown)}
    columns = min(len(sets), 3)
    with style():
        figure = canvas(0.7 + (4.2 if len(sets) == 1 else 3.2 * ceil(len(sets) / columns)))
        panels = figure.subplots(ceil(len(sets) / columns), columns, squeeze=False).ravel()
        for axes, dataset in zip(panels, sets):
            own = [one for one in shown if one.dataset == dataset]
            axes.set_ylim(_reach([one.points(score) for one in own], comparison.sign))
            _draw(axes, own, known, score)
            axes.set_title(words(dataset, 40))
        for axes in panels[len(sets) :]:
            axes.set_axis_off()
        panels[0].set_ylabel(f"{with_unit(score)} on val")
        title = f"{score} on val while training: mean over the seeds that all have, and single trainings"
        figure.suptitle(title, size=11, color=INK, x=0.01, ha="left")
        legend(figure, known)
        png = save(figure, folder, f"curves_{score}")
    return png, png.with_suffix(".svg")


def _drawn(comparison: Comparison) -> list[str]:
    """The arms of a picture, the baseline first; of too many, those with the best gains."""
    others = [arm for arm in comparison.arms if arm.name != comparison.baseline]
    if len(others) >= MOST:
        gains = {arm.name: arm.gain.mean if arm.gain else float("-inf") for arm in others}
        best = sorted(gains, key=lambda name: -gains[name])[: MOST - 1]
        others = [arm for arm in others if arm.name in best]
    return [comparison.baseline, *(arm.name for arm in others)]


def _draw(axes: Axes, records: Sequence[Record], known: dict[str, Look], score: str) -> None:
    """One data set: single trainings, and the mean of each arm over the seeds that all its arms have."""
    by_arm = {arm: {one.seed: one.points(score) for one in records if one.arm == arm} for arm in known}
    by_arm = {arm: curves for arm, curves in by_arm.items() if curves}
    shared = set.intersection(*(set(curves) for curves in by_arm.values()))
    for arm, curves in by_arm.items():
        look = known[arm]
        for points in curves.values():
            axes.plot([*points], [*points.values()], color=look.colour, lw=0.8, alpha=0.35, zorder=2)
        if mean := _mean([curves[seed] for seed in sorted(shared)]):
            axes.plot([*mean], [*mean.values()], look.marker, ls="-", color=look.colour, lw=1.8, ms=5, zorder=3)
    axes.set_xlabel("optimiser steps")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _reach(curves: Sequence[Points], sign: int) -> tuple[float, float]:
    """The ends of the y axis: all of the last three quarters of the trainings. Before, scores are far from where they
    end, and with them in sight no two arms could be told apart."""
    values = [value for points in curves for step, value in points.items() if step >= max(points) / 4]
    best = max(sign * value for points in curves for value in points.values())
    ends = sorted((sign * best, sign * min(sign * value for value in values)))
    room = max(0.05 * (ends[1] - ends[0]), 1e-3)
    return ends[0] - room, ends[1] + room


def _mean(curves: Sequence[Points]) -> Points:
    """The mean of several curves at the steps that all have; empty without any."""
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    return {step: fmean(points[step] for points in curves) for step in steps}
