"""What the numbers say, in words: the claims are fixed, the verdicts come from the data, and may be against them."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from segkd.analysis.evidence import Sentence, Verdict
from segkd.analysis.summary import LEVEL, Change, Curve, Group, change, percentiles, spearman, student
from segkd.frequency.rings import EDGES, ring_names

FEWEST = 5
"""Bands below which no order is told."""
SEEDS = 3
"""Seeds below which nothing is said of a method; what is said of these very networks needs images alone."""
ARCHITECTURE = 0.9
"""Rank correlation with the untrained network from which on a profile may be the architecture's."""
BORNE_OUT = 0.7
"""Rank correlation with single waves from which on they bear out the gradient."""
SPLIT = 4
"""Number of bands that count as low: those below 1/8 cycles per pixel."""


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
    """OUTPUT: did low frequencies come before high ones? Each seed has one rank correlation; they are the sample."""
    claim = f"OUTPUT, {group.name}: were low frequencies learned before high ones"
    if "seen" not in group.curves:
        return Sentence(f"{claim}? Not every run recorded band errors while it trained.", "cannot be told")
    half, seen = group.curves["half"], group.curves["seen"]
    usable = group.representable & ~np.isnan(seen.mean)
    bands = np.flatnonzero(usable)
    if len(bands) < FEWEST:
        why = f"{len(bands)} bands were learned in every run that the decoder can represent; an order needs {FEWEST}"
        return Sentence(f"{claim}? {why}.", "cannot be told")
    rhos = np.array([spearman(bands.astype(float), row[usable]) for row in seen.seeds])
    mean = float(np.nanmean(rhos)) if np.isfinite(rhos).any() else 0.0
    each = ", ".join("-" if np.isnan(rho) else f"{rho:.2f}" for rho in rhos)
    low, high = map(float, np.ravel(student(rhos[:, None]))) if len(rhos) >= SEEDS else (math.nan, math.nan)
    text = (  # the verdict is on the sign: seeds that agree exactly support a correlation that is next to nothing
        f"{claim}? Spearman of band and the validation that first saw half error = {mean:.2f}{_ends(low, high)} "
        f"over {len(bands)} bands (by seed: {each}); "
        f"half error at epoch {half.mean[bands[0]]:.2f} in {_band(bands[0])} and {half.mean[bands[-1]]:.2f} in "
        f"{_band(bands[-1])} cycles per pixel."
    )
    if min(len(np.unique(row[usable])) for row in seen.seeds) < 3:
        return Sentence(f"{text} It was over within two validations: validate more often.", "cannot be told")
    if len(rhos) < SEEDS:
        return Sentence(f"{text} Fewer than {SEEDS} seeds are no result.", "cannot be told")
    return Sentence(text, _verdict(low, high))


def wrong(group: Group) -> Sentence:
    """OUTPUT: where are the errors of the final network?"""
    error = group.curves["error"]
    values = [f"{_band(b)}: {error.mean[b]:.2f}{_ends(error.low[b], error.high[b])}" for b in _three(group)]
    grey = int((~group.representable).sum())
    note = f"; {grey} bands lie beyond the decoder's stride" if grey else ""
    return Sentence(
        f"OUTPUT, {group.name}: relative error (1: knows nothing of the band) "
        f"{', '.join(values) or 'of no band, as none is both in the labels and within reach of the decoder'}{note}.",
        "measured",
    )


def relies(group: Group) -> list[Sentence]:
    """INPUT: low frequencies more than high ones? Equal noise is asked; removal is told beside it."""
    score = group.scores[-1]
    noise, stop = group.curves[f"noise_drop/{score}"], group.curves[f"stop_drop/{score}"]
    lean, removal = _lean(noise), _lean(stop)
    peak = f"{_band(int(np.nanargmax(group.curves['sensitivity'].mean)))} cycles per pixel"
    text = (
        f"INPUT, {group.name}: does it rely on frequencies below {EDGES[SPLIT]:g} cycles per pixel more than on those "
        f"above? Noise of equal energy costs {abs(lean[0]):.4f} {score} {'more' if lean[0] > 0 else 'less'} in a band "
        f"below than in one above (difference {lean[0]:+.4f}{_ends(lean[1], lean[2], '+.4f')}); "
        f"most harmful by noise: {_peak(noise)}; by removal: {_peak(stop)}; the gradient is largest in {peak}."
    )
    found = [Sentence(text, _verdict(lean[1], lean[2]))]
    if _verdict(*lean[1:]) != "cannot be told" and _verdict(*removal[1:]) not in ("cannot be told", found[0].verdict):
        found.append(
            Sentence(
                f"INPUT, {group.name}: removal says the opposite ({removal[0]:+.4f}"
                f"{_ends(removal[1], removal[2], '+.4f')}), but it takes more energy where images have more (1/f); "
                "equal noise does not.",
                "measured",
            )
        )
    return found


def control(group: Group) -> Sentence:
    """INPUT: is the gradient's profile learned, or the architecture's?"""
    trained, blank = group.curves["sensitivity"].mean, group.curves["untrained_sensitivity"].mean
    there = ~np.isnan(trained) & ~np.isnan(blank)
    if not trained[there].any():
        nothing = "the gradient is 0 in every band: the output does not follow the image"
        return Sentence(f"INPUT, {group.name}: {nothing}.", "measured")
    rho = spearman(trained[there], blank[there])
    own = "; the profile may be the architecture's" if rho >= ARCHITECTURE else ""
    return Sentence(
        f"INPUT, {group.name}: the gradient's highest band is {_spread(trained[there]):.1f} times its lowest, and "
        f"{_spread(blank[there]):.1f} times in the same network with random weights; Spearman of the two profiles "
        f"{_rho(rho)}{own}.",
        "measured",
    )


def checked(group: Group) -> Sentence:
    """INPUT: does the gradient say what single waves do?"""
    maps = [run.heatmap for run in group.runs if run.heatmap is not None]
    rho = float(np.mean([spearman(one.gain, one.gradient) for one in maps]))
    drop = float(np.mean([spearman(one.drop, one.gradient) for one in maps]))
    said = "bear out" if rho >= BORNE_OUT else "do not bear out"
    return Sentence(
        f"INPUT, {group.name}: {len(maps[0].gain)} single waves on {maps[0].images} images {said} the order that the "
        f"gradient tells: Spearman {_rho(rho)} with the change of the margin, {_rho(drop)} with the loss of IoU.",
        "measured",
    )


def compared(other: Group, base: Group) -> list[Sentence]:
    """Which bands did `other` learn earlier, rely on less, get wrong less than `base`, and by how much?"""
    score, drawn = base.scores[-1], other.representable & base.representable
    asked = [("OUTPUT", "got wrong less", "error"), ("INPUT", "relied on less (noise)", f"noise_drop/{score}")]
    if "half" in other.curves and "half" in base.curves:
        asked.insert(0, ("OUTPUT", "learned earlier", "half"))
    few = min(len(other.runs), len(base.runs)) < SEEDS
    found = []
    for side, what, key in asked:
        allowed = drawn if side == "OUTPUT" else np.full(len(drawn), True)
        # of eight bands one differs by chance: each interval is wider, that all hold together (Bonferroni)
        by = change(other, base, key, 1 - (1 - LEVEL) / len(allowed))
        less, more = _sure(by, allowed)
        verdict: Verdict = "cannot be told"
        if bool(less) != bool(more):
            verdict = "supported" if less else "not supported"
        why = f" Fewer than {SEEDS} seeds are no result." if few else ""
        where, opposite = _list(less, by.mean), _list(more, by.mean)
        text = f"{side}, {other.name} against {base.name}: {what} in {where}; the opposite in {opposite}.{why}"
        found.append(Sentence(text, verdict))
    return found


def _verdict(low: float, high: float) -> Verdict:
    """Of the claim that a number is above 0."""
    return "supported" if low > 0 else "not supported" if high < 0 else "cannot be told"


def _lean(curve: Curve) -> tuple[float, float, float]:
    """Mean of the low bands minus that of the others: value, and an interval that holds over images and, from three
    seeds on, over seeds too; NaN where there is none."""

    def of(values: Float[np.ndarray, "m x"]) -> Float[np.ndarray, " m"]:
        there = ~np.isnan(curve.mean)
        low = np.arange(len(there)) < SPLIT
        return values[:, low & there].mean(axis=1) - values[:, ~low & there].mean(axis=1)

    ends = percentiles(of(curve.draws)[:, None])
    low, high = ends[0][0], ends[1][0]
    if len(curve.seeds) >= SEEDS:
        ends = student(of(curve.seeds)[:, None])
        low, high = np.minimum(low, ends[0][0]), np.maximum(high, ends[1][0])
    return float(of(curve.mean[None])[0]), float(low), float(high)


def _sure(found: Change, allowed: Bool[np.ndarray, " x"]) -> tuple[list[int], list[int]]:
    """Bands whose change is below 0, and above, over images (where it is one of images) and over seeds."""
    images = ~np.isnan(found.low)
    below = allowed & (~images | (found.high < 0)) & (found.seed_high < 0)
    above = allowed & (~images | (found.low > 0)) & (found.seed_low > 0)
    return np.flatnonzero(below).tolist(), np.flatnonzero(above).tolist()


def _three(group: Group) -> list[int]:
    """The lowest, a middle and the highest band that label and decoder have."""
    there = np.flatnonzero(group.representable & ~np.isnan(group.curves["error"].mean))
    return sorted({int(there[0]), int(there[len(there) // 2]), int(there[-1])}) if len(there) else []


def _peak(curve: Curve) -> str:
    """The band that costs most, if its interval lies above 0."""
    if np.isnan(curve.mean).all():
        return "no band"
    band = int(np.nanargmax(curve.mean))
    return _band(band) if curve.mean[band] > 0 and not curve.low[band] <= 0 else "no band for sure"


def _spread(values: np.ndarray) -> float:
    return float(values.max() / values.min()) if len(values) and values.min() > 0 else float("nan")


def _ends(low: float, high: float, form: str = ".2f") -> str:
    return "" if np.isnan(low) or np.isnan(high) else f" [{low:{form}}, {high:{form}}]"


def _rho(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.2f}"


def _band(number: int | np.integer) -> str:
    return ring_names()[int(number)]


def _list(bands: Sequence[int], by: Float[np.ndarray, " x"]) -> str:
    """The bands, each with its change."""
    return ", ".join(f"{_band(band)} ({by[band]:+.2g})" for band in bands) or "no band"
