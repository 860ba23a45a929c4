"""Ranks and critical differences."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.ablation.statistics import (
    compare,
    critical_difference,
    rank,
)
from tests.ablation.test_statistics import make_rows, random_values

# Demsar, JMLR 2006, table 6: ranks of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf by AUC on 14 data sets
DEMSAR_ARMS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
DEMSAR_RANKS = np.array([
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
    [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2],
])  # fmt: skip


def test_ranks_and_critical_difference_of_demsars_example():
    """Average ranks, CD = 1.25 at .05 and 1.12 at .10, and the groups of figure 1(a)."""
    ranks = rank(DEMSAR_ARMS, -DEMSAR_RANKS)
    assert ranks.arms == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert ranks.averages == pytest.approx((1.964, 2.000, 2.893, 3.143), abs=5e-4)
    assert ranks.n == 14 and ranks.cd == pytest.approx(1.25, abs=0.005)
    assert ranks.groups == ((0, 3),), "no difference is significant at .05"
    loose = rank(DEMSAR_ARMS, -DEMSAR_RANKS, alpha=0.10)
    assert loose.cd == pytest.approx(1.12, abs=0.005)
    assert loose.groups == ((0, 2), (2, 3)), "C4.5 is worse than +m and +m+cf; of +cf nothing can be said"
    # the paper's 9.28 is not corrected for ties; the correction divides by 1 - sum(t^3 - t) / (n (k^3 - k))
    ties = [2, 2, 4, 2]
    corrected = 9.28 / (1 - sum(t**3 - t for t in ties) / (14 * (4**3 - 4)))
    assert ranks.chi2 == pytest.approx(corrected, abs=0.01)


@pytest.mark.parametrize(
    "arms, q05, q10",
    [(2, 1.960, 1.645), (3, 2.343, 2.052), (4, 2.569, 2.291), (7, 2.949, 2.693), (10, 3.164, 2.920)],
)
def test_critical_values_of_demsars_table_5a(arms, q05, q10):
    for n in (5, 30):
        scale = math.sqrt(arms * (arms + 1) / (6 * n))
        assert critical_difference(arms, n) == pytest.approx(q05 * scale, abs=0.001 * scale)
        assert critical_difference(arms, n, 0.10) == pytest.approx(q10 * scale, abs=0.001 * scale)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.integers(3, 6), st.integers(2, 5))
def test_ranks_are_those_of_counting_and_joined_arms_are_those_that_the_cd_does_not_separate(draw, arms, units):
    table = np.random.default_rng(draw).integers(0, 4, (units, arms)).astype(float)
    names = tuple("abcdef"[:arms])
    ranks = rank(names, table)
    for name, average in zip(ranks.arms, ranks.averages):
        mine = table[:, [names.index(name)]]
        counted = 1 + (table > mine).sum(axis=1) + ((table == mine).sum(axis=1) - 1) / 2
        assert average == pytest.approx(counted.mean())
    assert sum(ranks.averages) == pytest.approx(arms * (arms + 1) / 2)
    assert list(ranks.averages) == sorted(ranks.averages)
    pairs = list(itertools.combinations(range(arms), 2))
    joined = {pair for pair in pairs if any(start <= pair[0] and pair[1] <= end for start, end in ranks.groups)}
    assert joined == {(i, j) for i, j in pairs if ranks.averages[j] - ranks.averages[i] < ranks.cd}
    assert 0 <= ranks.p <= 1 and rank(names, np.exp(table)).averages == ranks.averages


def test_the_best_arm_ranks_first_whichever_way_the_score_runs():
    values = random_values(4, 2, 3, lift=0.05)
    assert compare(make_rows(values), "test", "f_mean", "a").ranks.arms == ("d", "c", "b", "a")
    assert compare(make_rows(values, score="mae"), "test", "mae", "a").ranks.arms == ("a", "b", "c", "d")


def test_ranks_where_all_tie_and_where_there_is_too_little():
    ranks = rank(("a", "b", "c"), np.full((4, 3), 0.3) + np.array([0, 1e-15, 0]))
    assert ranks.averages == (2.0, 2.0, 2.0) and (ranks.chi2, ranks.p, ranks.groups) == (0.0, 1.0, ((0, 2),))
    assert compare(make_rows(random_values(2, 3, 3)), "test", "f_mean", "a").ranks is None
    assert compare(make_rows(random_values(3, 1, 1)), "test", "f_mean", "a").ranks is None
    assert compare(make_rows(random_values(3, 1, 2)), "test", "f_mean", "a").ranks.n == 2
