"""Rows to evidence: mean, paired gain over a baseline with interval and test, ranks, and a sentence for each arm.

The unit is a pair (data set, seed) that both arms have. Gains are positive where the arm is better, whatever the
score. What is said holds for these data sets and other seeds: seeds share the data of their set and are no sample
of data sets (Demsar, JMLR 2006, section 3.2.3, on repetitions). Intervals pool all pairs, so the spread between data
sets is in them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segkd.ablation.rows import EVERY, Row, columns_of
from segkd.analysis.summary import student
from segkd.metrics.meter import LOWER_IS_BETTER
from segkd.types import InputError

Unit = tuple[str, int]
Cells = dict[str, dict[Unit, Row]]

ALPHA = 0.05
"""Below or at it, a corrected p counts as significant."""

EXACT_PAIRS = 40
"""Up to so many pairs all 2^n patterns of signs count."""

DRAWN = 2**16
"""Patterns of signs beyond it: random ones and the observed one."""


@dataclass(frozen=True)
class Gain:
    """An arm against the baseline.

    Attributes:
        units: (data set, seed) where both have a score.
        gains: arm - baseline for each unit, or baseline - arm for a score that should fall: positive is better.
        mean: of the gains.
        interval: low and high end of Student's 95 % interval of the mean gain; None below three pairs.
        p: of the sign-flip test, two-sided.
        p_holm: p corrected for all arms of the comparison.
        floor: the smallest corrected p that so few pairs, and so many arms, can give.
        cost: training time over the baseline's, the geometric mean over pairs; NaN where no time was taken.
    """

    units: tuple[Unit, ...]
    gains: tuple[float, ...]
    mean: float
    interval: tuple[float, float] | None
    p: float
    p_holm: float
    floor: float
    cost: float

    @property
    def seeds(self) -> int:
        """The most seeds that any data set has among the units."""
        sets = [dataset for dataset, _ in self.units]
        return max(sets.count(dataset) for dataset in sets)


@dataclass(frozen=True)
class Arm:
    """One arm by itself, and against the baseline.

    Attributes:
        n: units with a score.
        mean: over them; NaN without any.
        sd: standard deviation over them (n - 1 below); NaN for n < 2.
        missing: units that other arms have and this one has no row for.
        undefined: units whose score is NaN.
        gain: None for the baseline, and without a pair.
    """

    name: str
    n: int
    mean: float
    sd: float
    missing: tuple[Unit, ...]
    undefined: tuple[Unit, ...]
    gain: Gain | None


@dataclass(frozen=True)
class Ranks:
    """Friedman's test and Nemenyi's critical difference over the units that all arms have.

    Attributes:
        arms: names, best average rank first.
        averages: rank of each, 1 the best, ties averaged.
        n: units.
        chi2: Friedman's statistic, corrected for ties.
        p: of it, by the chi-square distribution.
        cd: arms whose averages differ by at least this are significantly different.
        groups: first and last index of each longest run of arms that `cd` does not separate.
    """

    arms: tuple[str, ...]
    averages: tuple[float, ...]
    n: int
    chi2: float
    p: float
    cd: float
    groups: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Comparison:
    """All arms of a split by one score.

    Attributes:
        units: number of units for which any arm has a score.
        arms: the baseline first.
        ranks: None below three arms or two units that all arms have.
    """

    split: str
    score: str
    baseline: str
    units: int
    arms: tuple[Arm, ...]
    ranks: Ranks | None

    @property
    def sign(self) -> int:
        """+1 when more of the score is better, -1 when less is."""
        return -1 if self.score in LOWER_IS_BETTER else 1


def compare(rows: Sequence[Row], split: str, score: str, baseline: str) -> Comparison:
    """Every arm against the baseline, by the rows of `split`.

    Raises:
        InputError: there is no such score, split or baseline, or two rows for the same cell.
    """
    if score not in EVERY:
        raise InputError(f"score: expected one of {', '.join(EVERY)}, found {score!r}.")
    if not any(score in row.scores for row in rows):
        there = columns_of(row.scores for row in rows)
        raise InputError(
            f"score: no cell has {score}; they have {', '.join(there)}. Score them again, or take one of these."
        )
    cells = cells_of(rows, split, baseline)
    scored = {name: _scored(cells[name], score) for name in cells}
    sign = -1 if score in LOWER_IS_BETTER else 1
    gains = {}
    for name in list(cells)[1:]:
        units = tuple(unit for unit in scored[baseline] if unit in scored[name])
        if units:
            better = [sign * (scored[name][unit] - scored[baseline][unit]) for unit in units]
            gains[name] = _gain(units, better, time_ratio(cells[name], cells[baseline]))
    gains = dict(zip(gains, _corrected(list(gains.values()))))
    everything = sorted({unit for rows_of_arm in cells.values() for unit in rows_of_arm})
    arms = tuple(_arm(name, cells[name], scored[name], everything, gains.get(name)) for name in cells)
    complete = [unit for unit in everything if all(unit in values for values in scored.values())]
    table = np.array([[sign * scored[name][unit] for name in cells] for unit in complete])
    enough = len(cells) >= 3 and len(complete) >= 2
    known = len({unit for values in scored.values() for unit in values})
    return Comparison(split, score, baseline, known, arms, rank(tuple(cells), table) if enough else None)


def cells_of(rows: Sequence[Row], split: str, baseline: str) -> Cells:
    """The rows of a split by arm and unit, the baseline first and then as they come; units in order."""
    here = [row for row in rows if row.split == split]
    names = list(dict.fromkeys(row.arm for row in here))
    if baseline not in names:
        found = ", ".join(names) or f"no row of the split {split!r}, but of {sorted({row.split for row in rows})}"
        raise InputError(f"baseline: expected an arm of the split {split!r}, found {baseline!r}; there are: {found}.")
    cells: Cells = {name: {} for name in [baseline, *names]}
    for row in sorted(here, key=lambda row: row.unit):
        if row.unit in cells[row.arm]:
            raise InputError(
                f"rows: expected one for each arm, data set, seed and split, found two for {row.arm}, {row.dataset}, "
                f"seed {row.seed}, {split}; remove one."
            )
        cells[row.arm][row.unit] = row
    return cells


def student_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean, mean -+ t(n - 1) sd / sqrt n (Student, Biometrika 1908); None below 3 values.

    It holds the truth as often as it says where values are roughly normal. A bootstrap of few is too narrow: it draws
    from them alone.
    """
    if len(values) < 3:  # two would give one 13 standard errors to each side
        return None
    low, high = student(np.array(values, float)[:, None])
    return float(low[0]), float(high[0])


def sign_flip_p(values: Sequence[float], seed: int) -> float:
    """Two-sided p of "each value is as likely as its negative", by the mean; exact up to `EXACT_PAIRS` values.

    The share of the 2^n patterns of signs whose sum lies as far from 0. They are not walked through: each sum is one of
    the first half's and one of the second's, and how many of these lie far enough is looked up in sorted order
    (Horowitz and Sahni, JACM 1974).
    """
    given = np.asarray(values, float)
    far = abs(given.sum()) - 1e-12 * np.abs(given).sum()  # sums that are equal but for rounding are equal
    if len(given) > EXACT_PAIRS:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (DRAWN - 1, len(given)))
        return float(1 + (np.abs(signs @ given) >= far).sum()) / DRAWN
    first, second = (_sums(half) for half in np.array_split(given, 2))
    second.sort()
    below = np.searchsorted(second, -far - first, side="right")
    above = len(second) - np.searchsorted(second, far - first, side="left")
    return min(1.0, float((below + above).sum()) / 2 ** len(given))  # where far is 0, some would count twice


def _sums(values: np.ndarray) -> np.ndarray:
    """Of all patterns of signs, [2^n]."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def smallest_p(n: int) -> float:
    """The smallest p that `sign_flip_p` can give for n pairs: all of them on one side."""
    return min(1.0, 2.0 / 2**n) if n <= EXACT_PAIRS else 1 / DRAWN


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics, 1979), in the given order; at most 1."""
    corrected = [0.0] * len(ps)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - place) * ps[index]))
        corrected[index] = highest
    return corrected


def critical_difference(arms: int, n: int, alpha: float = ALPHA) -> float:
    """q sqrt(k (k + 1) / (6 n)), q the studentized range over sqrt 2 (Demsar, JMLR 2006, section 3.2.2)."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - alpha, arms, np.inf) / math.sqrt(2) * math.sqrt(arms * (arms + 1) / (6 * n)))


def rank(names: tuple[str, ...], table: np.ndarray, alpha: float = ALPHA) -> Ranks:
    """Average ranks of a table [units, arms] where more is better, Friedman's test and the critical difference."""
    from scipy.stats import friedmanchisquare, rankdata

    table = np.round(table, 12)  # what differs by rounding alone is a tie
    averages = rankdata(-table, axis=1).mean(axis=0)
    if np.ptp(table, axis=1).max() > 0:
        chi2, p = friedmanchisquare(*table.T)
    else:  # all arms tie on every unit, where the correction for ties divides 0 by 0
        chi2, p = 0.0, 1.0
    order = np.argsort(averages, kind="stable")
    averages, cd = averages[order], critical_difference(len(names), len(table), alpha)
    runs = [(i, int(np.flatnonzero(averages - averages[i] < cd)[-1])) for i in range(len(names))]
    groups = tuple(run for i, run in enumerate(runs) if run[1] > i and (i == 0 or run[1] > runs[i - 1][1]))
    ordered = tuple(names[i] for i in order)
    return Ranks(ordered, tuple(averages.tolist()), len(table), float(chi2), float(p), cd, groups)


def _scored(cells: dict[Unit, Row], score: str) -> dict[Unit, float]:
    return {unit: row.scores[score] for unit, row in cells.items() if not math.isnan(row.scores.get(score, math.nan))}


def time_ratio(units: dict[Unit, Row], base: dict[Unit, Row]) -> float:
    """Geometric mean over the pairs of the training time over the baseline's, so that long trainings weigh no more than
    short ones; NaN where no time is known."""
    pairs = [(row.seconds, base[unit].seconds) for unit, row in units.items() if unit in base]
    logs = [math.log(ours / theirs) for ours, theirs in pairs if min(ours, theirs) > 0]  # 0: the time is not known
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def _gain(units: tuple[Unit, ...], gains: list[float], cost: float) -> Gain:
    p, interval = sign_flip_p(gains, seed=0), student_interval(gains)
    return Gain(units, tuple(gains), float(np.mean(gains)), interval, p, p, smallest_p(len(units)), cost)


def _corrected(gains: list[Gain]) -> list[Gain]:
    """Holm's correction of the p, and of the smallest p: it is monotone in each, so that stays the smallest."""
    pairs = zip(holm([gain.p for gain in gains]), holm([gain.floor for gain in gains]))
    return [replace(gain, p_holm=p, floor=floor) for gain, (p, floor) in zip(gains, pairs)]


def _arm(
    name: str, cells: dict[Unit, Row], scored: dict[Unit, float], everything: list[Unit], gain: Gain | None
) -> Arm:
    values = list(scored.values())
    missing = tuple(unit for unit in everything if unit not in cells)
    undefined = tuple(unit for unit in cells if unit not in scored)
    mean = float(np.mean(values)) if values else math.nan
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Arm(name, len(values), mean, sd, missing, undefined, gain)
