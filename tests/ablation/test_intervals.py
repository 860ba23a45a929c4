"""Intervals of paired gains."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.ablation.statistics import (
    student_interval,
)


def test_the_interval_by_hand():
    """Of 1, 2 and 6 the mean is 3 and the sd sqrt 7; t(2) at .975 is 4.303, as in any table."""
    half = 4.3027 * math.sqrt(7) / math.sqrt(3)
    assert student_interval([1.0, 2.0, 6.0]) == pytest.approx((3 - half, 3 + half), abs=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30))
def test_the_interval_ends_where_the_t_test_is_at_five_per_cent(values):
    low, high = student_interval(values)
    assert low <= np.mean(values) <= high
    if high - low > 1e-6:
        assert [scipy.stats.ttest_1samp(values, end).pvalue for end in (low, high)] == pytest.approx([0.05, 0.05])
        assert (low, high) == pytest.approx(scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95))


@pytest.mark.parametrize("pairs", [3, 6])
def test_the_interval_holds_the_truth_as_often_as_it_says(pairs):
    """2000 intervals of normal gains: the share has a standard error of .005."""
    gains = np.random.default_rng(pairs).normal(0.003, 0.005, (2000, pairs))
    held = [low <= 0.003 <= high for low, high in (student_interval(row.tolist()) for row in gains)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_the_interval_moves_stretches_and_turns_with_the_values():
    values = np.random.default_rng(5).normal(0, 1, 9)
    low, high = student_interval(values.tolist())
    assert student_interval((3 * values + 2).tolist()) == pytest.approx((3 * low + 2, 3 * high + 2))
    assert student_interval((-values).tolist()) == pytest.approx((-high, -low))
    assert student_interval(values[::-1].tolist()) == pytest.approx((low, high))


@pytest.mark.parametrize(
    "values, expected",
    [
        ([], None),
        ([0.1], None),
        ([0.1, 0.2], None),
        ([0.0] * 4, (0.0, 0.0)),
        ([0.3, 0.1 + 0.2, 0.3], (0.3, 0.3)),
    ],
)
def test_degenerate_intervals(values, expected):
    found = student_interval(values)
    assert found is None if expected is None else found == pytest.approx(expected)
