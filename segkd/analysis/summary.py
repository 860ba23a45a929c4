"""Runs of one name as one group: what each quantity is per band, with intervals over images and over seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from segkd.analysis.evidence import Condition, Evidence
from segkd.analysis.learning import half_epochs
from segkd.frequency.rings import ring_matrix
from segkd.metrics.scores import ratio
from segkd.types import InputError

RESAMPLES = 1000
FEWEST = 10
"""Images below which a bootstrap interval is far too narrow: none is given."""
LEVEL = 0.95
REPRESENTED = 0.5
"""Highest error of a label passed through the decoder's stride in a band that the decoder is said to represent."""

Statistic = Callable[[Evidence, Float[np.ndarray, "r n"]], Float[np.ndarray, "r x"]]
"""A run and weights of its images, a row per resample -> values."""


@dataclass(frozen=True)
class Curve:
    """A number per band (or width, or level) of a group, mean over seeds.

    Attributes:
        mean: the value.
        low: lower end of the 95 % bootstrap interval over images (drawn alike for all seeds and groups); NaN where a
            quantity is none of single images, or of fewer than `FEWEST`.
        high: upper end.
        seeds: the value of each seed.
        draws: the value of each bootstrap resample, for differences of groups.
    """

    mean: Float[np.ndarray, " x"]
    low: Float[np.ndarray, " x"]
    high: Float[np.ndarray, " x"]
    seeds: Float[np.ndarray, "s x"]
    draws: Float[np.ndarray, "r x"]

    @property
    def seed_interval(self) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " x"]] | None:
        """The 95 % Student interval of the mean over seeds; None below 3 seeds."""
        return student(self.seeds) if len(self.seeds) >= 3 else None


@dataclass(frozen=True)
class Group:
    """The runs of one name and what they show.

    Attributes:
        name: of the group.
        runs: its members, one per seed.
        curves: by name, a value per band unless said otherwise: "error" (E_b of the final network), "ceiling" (E_b of
            the label drawn at the decoder's stride), "untrained_error", "sensitivity" (root mean power of the gradient
            over the root mean square of the margin), "untrained_sensitivity", "stop_drop/<score>" and
            "noise_drop/<score>" (what the score loses), "low/<score>" and "high/<score>" (the score that is left; one
            value fewer, the pass that keeps all is "clean"), "image", "label", "prediction" (share of the energy),
            "half" and "seen" (epoch at half error, interpolated, and of the validation that saw it; only with
            `learning`), "clean/<score>" (one value), "boundary" and "interior" (per width), "aliasing" (per level).
    """

    name: str
    runs: tuple[Evidence, ...]
    curves: Mapping[str, Curve]

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the scores; the last one stands in the overview."""
        return tuple(self.runs[0].scores)

    @property
    def representable(self) -> np.ndarray:
        """False for the bands that the decoder's stride cannot represent; one that is not there is not among them."""
        return ~(self.curves["ceiling"].mean > REPRESENTED)


def group(evidence: Sequence[Evidence], seed: int = 0) -> list[Group]:
    """The groups in the order of their first runs; images are drawn alike for all, so that groups are paired.

    Raises:
        InputError: the runs saw other images or sizes, so that their bands are not the same.
    """
    first, names = evidence[0], list(dict.fromkeys(one.name for one in evidence))
    for one in evidence:
        if (one.ids, one.size) != (first.ids, first.size):
            raise InputError(
                f"analyse spectra: expected runs that see the same images at the same size, found {first.size} and "
                f"{len(first.ids)} images in {first.run}, {one.size} and {len(one.ids)} images in {one.run}. "
                "Analyse them one by one."
            )
    evidence = sorted(evidence, key=lambda one: one.seed)  # seeds are paired by their numbers
    n = len(first.ids)
    draw = np.random.default_rng(seed)
    weights = np.stack([np.full(n, 1 / n), *draw.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n])
    return [_grouped(name, tuple(one for one in evidence if one.name == name), weights) for name in names]


@dataclass(frozen=True)
class Change:
    """A difference of two groups by band.

    Attributes:
        mean: of the difference.
        low: lower end of its interval over images, drawn alike for both; NaN where a quantity is none of images.
        high: upper end.
        seed_low: lower end of its interval over seeds, paired where both groups have the same seeds, else Welch's; NaN
            below 3 seeds.
        seed_high: upper end.
    """

    mean: Float[np.ndarray, " x"]
    low: Float[np.ndarray, " x"]
    high: Float[np.ndarray, " x"]
    seed_low: Float[np.ndarray, " x"]
    seed_high: Float[np.ndarray, " x"]


def change(other: Group, base: Group, key: str, level: float = LEVEL) -> Change:
    """`other` - `base` of a curve, with intervals of the given level."""
    ours, theirs = other.curves[key], base.curves[key]
    mean, images = ours.mean - theirs.mean, percentiles(ours.draws - theirs.draws, level)
    if min(len(ours.seeds), len(theirs.seeds)) < 3:
        nothing = np.full(len(mean), np.nan)
        return Change(mean, *images, nothing, nothing)
    if [run.seed for run in other.runs] == [run.seed for run in base.runs]:
        return Change(mean, *images, *student(ours.seeds - theirs.seeds, level))
    return Change(mean, *images, *welch(ours.seeds, theirs.seeds, level))


def student(
    values: Float[np.ndarray, "s x"], level: float = LEVEL
) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " x"]]:
    """Mean -+ t s / sqrt(n) over the first axis."""
    from scipy.stats import t  # slow to import

    half = t.ppf((1 + level) / 2, len(values) - 1) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return values.mean(axis=0) - half, values.mean(axis=0) + half


def welch(
    ours: Float[np.ndarray, "s x"], theirs: Float[np.ndarray, "z x"], level: float = LEVEL
) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " x"]]:
    """The interval of a difference of means of unequal variances, unpaired (Welch, Biometrika 1947)."""
    from scipy.stats import ttest_ind  # slow to import

    found = ttest_ind(ours, theirs, equal_var=False).confidence_interval(level)
    return found.low, found.high


def spearman(a: Float[np.ndarray, " m"], b: Float[np.ndarray, " m"]) -> float:
    """Correlation of the ranks; NaN where one side is constant."""
    from scipy.stats import spearmanr  # slow to import

    return float("nan") if np.ptp(a) == 0 or np.ptp(b) == 0 else float(spearmanr(a, b).statistic)


def _grouped(name: str, runs: tuple[Evidence, ...], weights: np.ndarray) -> Group:
    first = runs[0]
    statistics: dict[str, Statistic] = {
        "error": _relative("error"),
        "ceiling": _relative("ceiling"),
        "untrained_error": _relative("untrained"),
        "sensitivity": lambda one, w: _where_bands_are(one, _scaled(w, one.sensitivity, one.margin)),
        "untrained_sensitivity": lambda one, w: _where_bands_are(
            one, _scaled(w, one.untrained_sensitivity, one.untrained_margin)
        ),
        "boundary": lambda one, w: weighted_mean(w, one.boundary),
        "interior": lambda one, w: weighted_mean(w, one.interior),
    }
    if first.aliasing:
        statistics["aliasing"] = lambda one, w: w @ np.stack([share for _, _, share in one.aliasing], axis=1)
    statistics |= {key: _share(key) for key in ("image", "label", "prediction")}
    for score, conditions in first.scores.items():
        statistics |= _of_score(score, conditions)
    curves = {key: _curve(runs, statistic, weights) for key, statistic in statistics.items()}
    if all(one.learning is not None for one in runs):
        halves = np.stack([half_epochs(one.learning) for one in runs if one.learning is not None], axis=1)
        nothing = np.full(halves.shape[2], np.nan)
        for key, values in zip(("half", "seen"), halves):
            draws = np.full((RESAMPLES, len(nothing)), np.nan)
            curves[key] = Curve(values.mean(axis=0), nothing, nothing, values, draws)
    return Group(name, runs, curves)


def _relative(key: str) -> Statistic:
    """E_b = (sum |P_b e|^2 / sum |P_b g|^2)^.5: errors of all images over labels of all images."""

    def statistic(one: Evidence, w: np.ndarray) -> np.ndarray:
        return np.sqrt(ratio(w @ one.energy[key], w @ one.energy["label"]))

    return statistic


def _scaled(w: np.ndarray, powers: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Change of the margin per unit of a wave, both relative to the margin's own root mean square."""
    return np.sqrt((w @ powers) / np.maximum(w @ margin, np.finfo(float).tiny)[:, None])


def _where_bands_are(one: Evidence, values: np.ndarray) -> np.ndarray:
    """NaN in bands that small images do not have: there is nothing to remove and nothing to add."""
    there = ring_matrix(*one.size).sum(dim=0).numpy() > 0
    return np.where(there, values, np.nan)


def _share(key: str) -> Statistic:
    def statistic(one: Evidence, w: np.ndarray) -> np.ndarray:
        energy = w @ one.energy[key]
        return energy / np.maximum(energy.sum(axis=1, keepdims=True), np.finfo(float).tiny)

    return statistic


def _of_score(score: str, conditions: Mapping[Condition, np.ndarray]) -> dict[str, Statistic]:
    """The statistics of one score: clean, what is lost to each change, and what is left under each pass."""

    def table(one: Evidence, kind: str) -> np.ndarray:
        found = sorted(condition for condition in conditions if condition.kind == kind)
        return np.stack([one.scores[score][condition] for condition in found], axis=1)

    def drop(kind: str) -> Statistic:
        return lambda one, w: _where_bands_are(one, weighted_mean(w, table(one, "clean") - table(one, kind)))

    def left(kind: str) -> Statistic:
        return lambda one, w: weighted_mean(w, table(one, kind))

    return {
        f"clean/{score}": left("clean"),
        f"stop_drop/{score}": drop("stop"),
        f"noise_drop/{score}": drop("noise"),
        f"low/{score}": left("low"),
        f"high/{score}": left("high"),
    }


def weighted_mean(w: Float[np.ndarray, "r n"], values: Float[np.ndarray, "n x"]) -> Float[np.ndarray, "r x"]:
    """Means over the images where a value is defined."""
    defined = ~np.isnan(values)
    return ratio(w @ np.where(defined, values, 0), w @ defined)


def _curve(runs: Sequence[Evidence], statistic: Statistic, weights: np.ndarray) -> Curve:
    values = np.stack([statistic(one, weights) for one in runs])  # [seeds, 1 + resamples, x]
    draws = values[:, 1:].mean(axis=0)
    if weights.shape[1] < FEWEST:
        draws = np.full_like(draws, np.nan)
    return Curve(values[:, 0].mean(axis=0), *percentiles(draws), values[:, 0], draws)


def percentiles(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The interval over the resamples in which a value is defined: a few without it must not undo the others."""
    ends = np.full((2, draws.shape[1]), np.nan)
    some = ~np.isnan(draws).all(axis=0)
    ends[:, some] = np.nanquantile(draws[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends[0], ends[1]
