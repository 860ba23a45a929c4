"""What the numbers say, in words: the claims are fixed, the verdicts come from the data, and may be against them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from segkd.analysis.evidence import Sentence, Verdict
from segkd.analysis.summary import Curve, Group, difference
from segkd.frequency.rings import ring_names

ALPHA = 0.05
FEWEST = 4
"""Bands below which no order can be told: of 3, the smallest p of a rank correlation is 1/3."""
ARCHITECTURE = 0.9
"""Rank correlation with the untrained network above which a profile is said to be the architecture's."""


def sentences(groups: Sequence[Group]) -> list[Sentence]:
    """Of each group: order of learning, errors, reliance, control, check; then every group against the first."""
    found = []
    for group in groups:
        found += [learned(group), wrong(group), *relies(group), control(group)]
        if any(run.heatmap is not None for run in group.runs):
            found.append(checked(group))
    for other in groups[1:]:
        found += compared(other, groups[0])
    return found


def learned(group: Group) -> Sentence:
    """OUTPUT: did low frequencies come before high ones?"""
    claim = f"OUTPUT, {group.name}: learned low before high"
    if "half" not in group.curves:
        return Sentence(f"{claim}: no band errors were recorded while it trained.", "cannot be told")
    half = group.curves["half"]
    usable = group.representable & ~np.isnan(half.mean)
    bands = np.flatnonzero(usable)
    if len(bands) < FEWEST:
        why = f"only {len(bands)} bands were learned that the decoder can represent; an order needs {FEWEST}"
        return Sentence(f"{claim}: {why}.", "cannot be told")
    rho, p = rank_correlation(bands, half.mean[usable])
    each = ", ".join(f"{rank_correlation(bands, row[usable])[0]:.2f}" for row in half.seeds)
    text = (
        f"{claim}: Spearman of band and epoch at half error = {rho:.2f} (p = {p:.3f}, {len(bands)} bands; by seed: "
        f"{each}); half error at epoch {half.mean[bands[0]]:.2f} in {_band(bands[0])} and {half.mean[bands[-1]]:.2f} "
        f"in {_band(bands[-1])} cycles per pixel."
    )
    first = max(float(min(e for e in run.learning.epochs if e > 0)) for run in group.runs if run.learning is not None)
    if np.nanmax(half.mean[usable]) <= first:
        return Sentence(f"{text} All of it lies before the first validation: validate more often.", "cannot be told")
    return Sentence(text, _verdict(rho, p, len(group.runs)))


def wrong(group: Group) -> Sentence:
    """OUTPUT: where are the errors of the final network?"""
    error = group.curves["error"]
    values = [f"{_band(b)}: {error.mean[b]:.2f} [{error.low[b]:.2f}, {error.high[b]:.2f}]" for b in _ends(group)]
    grey = int((~group.representable).sum())
    note = f"; {grey} bands lie beyond the decoder's stride" if grey else ""
    return Sentence(
        f"OUTPUT, {group.name}: relative error (1: knows nothing of the band) {', '.join(values)}{note}.", "measured"
    )


def relies(group: Group) -> list[Sentence]:
    """INPUT: low frequencies more than high ones? Equal noise is asked; removal is told beside it."""
    score = group.scores[-1]
    noise, stop = group.curves[f"noise_drop/{score}"], group.curves[f"stop_drop/{score}"]
    gradient = group.curves["sensitivity"]
    lean, removal = _lean(noise), _lean(stop)
    verdict: Verdict = "supported" if lean[1] > 0 else "not supported" if lean[2] < 0 else "cannot be told"
    told = [
        f"most harmful band by equal noise {_band(_peak(noise))}",
        f"by removal {_band(_peak(stop))}",
        f"by gradient {_band(_peak(gradient))} cycles per pixel",
    ]
    text = (
        f"INPUT, {group.name}: relies on low frequencies more than on high ones: under noise of equal energy the lower "
        f"four bands cost {lean[0]:+.4f} {score} [{lean[1]:+.4f}, {lean[2]:+.4f}] more than the upper four; "
        f"{', '.join(told)}."
    )
    found = [Sentence(text, verdict)]
    if np.sign(lean[0]) != np.sign(removal[0]):
        found.append(
            Sentence(
                f"INPUT, {group.name}: removal says the opposite ({removal[0]:+.4f} [{removal[1]:+.4f}, "
                f"{removal[2]:+.4f}]), but it takes more energy where images have more (1/f); equal noise does not.",
                "measured",
            )
        )
    return found


def control(group: Group) -> Sentence:
    """INPUT: is the gradient's profile learned, or the architecture's?"""
    trained, blank = group.curves["sensitivity"].mean, group.curves["untrained_sensitivity"].mean
    there = ~np.isnan(trained) & ~np.isnan(blank)
    rho, _ = rank_correlation(trained[there], blank[there])
    own = rho >= ARCHITECTURE
    said = "the profile may be the architecture's, not learned" if own else "training changed the profile"
    return Sentence(
        f"INPUT, {group.name}: gradient profile against the untrained network's: Spearman {rho:.2f}: {said}.",
        "measured",
    )


def checked(group: Group) -> Sentence:
    """INPUT: does the gradient say what single waves do?"""
    maps = [run.heatmap for run in group.runs if run.heatmap is not None]
    rhos = [rank_correlation(one.gain, one.gradient)[0] for one in maps]
    drops = [rank_correlation(one.drop, one.gradient)[0] for one in maps]
    return Sentence(
        f"INPUT, {group.name}: the gradient against {len(maps[0].gain)} single waves on {maps[0].images} images: "
        f"Spearman {np.mean(rhos):.2f} with the change of the margin, {np.mean(drops):.2f} with the loss of IoU.",
        "measured",
    )


def compared(other: Group, base: Group) -> list[Sentence]:
    """Which bands did `other` learn earlier, rely on less, get wrong less than `base`?"""
    score = base.scores[-1]
    asked = [("OUTPUT", "got wrong less", "error"), ("INPUT", "relied on less (noise)", f"noise_drop/{score}")]
    if "half" in other.curves and "half" in base.curves:
        asked.insert(0, ("OUTPUT", "learned earlier", "half"))
    found = []
    for side, what, key in asked:
        change = difference(other.curves[key], base.curves[key])
        less, more = _sure(change, other, base)
        few = min(len(other.runs), len(base.runs)) < 3
        verdict: Verdict = "cannot be told" if few else "supported" if less else "not supported"
        why = " (fewer than 3 seeds: no result)" if few else ""
        text = f"{side}, {other.name} against {base.name}: {what} in {_list(less)}; the opposite in {_list(more)}{why}."
        found.append(Sentence(text, verdict))
    return found


def rank_correlation(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Spearman's rho and its two-sided p by permutation, exact up to 8 pairs; (0, 1) where one side is constant."""
    from scipy.stats import permutation_test, spearmanr  # slow to import

    a, b = np.asarray(x, float), np.asarray(y, float)
    if np.isnan(a).any() or np.isnan(b).any() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0, 1.0
    found = permutation_test(
        (a,), lambda moved: float(spearmanr(moved, b).statistic), permutation_type="pairings", vectorized=False,
        n_resamples=5040 if len(a) <= 7 else 4999, random_state=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.statistic), float(found.pvalue)


def _verdict(rho: float, p: float, seeds: int) -> Verdict:
    if p >= ALPHA:
        return "cannot be told"
    return "supported" if rho > 0 else "not supported"


def _lean(curve: Curve) -> tuple[float, float, float]:
    """Mean of the lower half of the bands minus the upper half: value and interval over images."""
    half = len(curve.mean) // 2

    values = np.concatenate([curve.mean[None], curve.draws])
    lean = np.nanmean(values[:, :half], axis=1) - np.nanmean(values[:, half:], axis=1)
    low, high = np.quantile(lean[1:], [0.025, 0.975])
    return float(lean[0]), float(low), float(high)


def _sure(change: Curve, other: Group, base: Group) -> tuple[list[int], list[int]]:
    """Bands with a change below 0, and above: by the interval over images, and over seeds where there are three."""
    low, high = change.low.copy(), change.high.copy()
    if np.isnan(low).all():  # not of single images: seeds alone can tell
        low, high = change.mean.copy(), change.mean.copy()
    over_seeds = change.seed_interval
    if over_seeds is not None:
        low, high = np.fmin(low, over_seeds[0]), np.fmax(high, over_seeds[1])
    low, high = np.nan_to_num(low, nan=-1.0), np.nan_to_num(high, nan=1.0)
    return np.flatnonzero(high < 0).tolist(), np.flatnonzero(low > 0).tolist()


def _ends(group: Group) -> list[int]:
    """The lowest, a middle and the highest band that label and decoder have."""
    there = np.flatnonzero(group.representable & ~np.isnan(group.curves["error"].mean))
    return sorted({int(there[0]), int(there[len(there) // 2]), int(there[-1])}) if len(there) else []


def _peak(curve: Curve) -> int:
    return int(np.nanargmax(np.where(np.isnan(curve.mean), -np.inf, curve.mean)))


def _band(number: int | np.integer) -> str:
    return ring_names()[int(number)]


def _list(bands: Sequence[int]) -> str:
    return ", ".join(_band(band) for band in bands) or "no band"
