import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segkd.ablation import statistics
from segkd.ablation.rows import SCORES, Row
from segkd.ablation.statistics import (
    compare,
    holm,
    sign_flip_p,
    smallest_p,
)
from segkd.types import InputError


def make_rows(values, seconds=None, split="test", score="f_mean"):
    """Rows from {arm: {(data set, seed): score}}; the other scores are NaN."""
    blank = dict.fromkeys(SCORES, math.nan)
    return [
        Row(arm, dataset, seed, split, {**blank, score: float(value)}, 2000, 32000, (seconds or {}).get(arm, 60.0), "")
        for arm, cells in values.items()
        for (dataset, seed), value in cells.items()
    ]


def random_values(arms, sets=2, seeds=3, lift=0.0, draw=0):
    """Scores of arms named a, b, ...; each arm is better than the one before by `lift` on average."""
    generator = np.random.default_rng(draw)
    units = [(f"set{i}", seed) for i in range(sets) for seed in range(seeds)]
    base = generator.uniform(0.6, 0.9, len(units))
    return {
        "abcdefghijkl"[i]: dict(zip(units, base + lift * i + generator.normal(0, 0.004, len(units))))
        for i in range(arms)
    }


def gain_of(comparison, name):
    return next(arm for arm in comparison.arms if arm.name == name).gain


# the sign-flip test


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
@example([1, 2, 3])
@example([0, 0, 0])
@example([7])
@example([-73, 111, 270, 90, 204, 113, 122, -837])  # a sum of 0 that rounding hides
def test_sign_flip_p_is_the_share_of_sign_patterns_at_least_as_far_from_0(numbers):
    sums = [sum(s * n for s, n in zip(signs, numbers)) for signs in itertools.product((1, -1), repeat=len(numbers))]
    expected = sum(abs(total) >= abs(sum(numbers)) for total in sums) / len(sums)
    # divided by 1000 sums that are equal differ by rounding: they must still count as equal
    assert sign_flip_p([n / 1000 for n in numbers], 0) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_sign_flip_p_of_many_pairs_is_that_of_every_pattern(scale):
    values = np.random.default_rng(4).normal(0.4, 1, 15) * scale
    signs = np.array(list(itertools.product((1, -1), repeat=15)))
    exact = np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-12 * scale)
    assert 0.05 < exact < 0.5
    assert sign_flip_p(values.tolist(), 1) == exact == sign_flip_p(values.tolist(), 2)


def test_drawn_signs_are_seeded_and_near_the_exact_p(monkeypatch):
    values = np.random.default_rng(4).normal(0.4, 1, 15).tolist()
    exact = sign_flip_p(values, 1)
    monkeypatch.setattr(statistics, "EXACT_PAIRS", 14)
    drawn = sign_flip_p(values, 1)
    assert drawn == sign_flip_p(values, 1) != sign_flip_p(values, 2)
    assert drawn == pytest.approx(exact, abs=0.01)


def test_sign_flip_p_is_scipy_s():
    values = np.random.default_rng(5).normal(0.4, 1, 12)
    found = scipy.stats.permutation_test(
        (values,), lambda flipped, axis: flipped.mean(axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=2**12,
    )  # fmt: skip
    assert sign_flip_p(values.tolist(), 0) == pytest.approx(found.pvalue)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13, 14, 30, 40, 41])
def test_the_smallest_p_is_reached_when_all_pairs_lie_on_one_side(n):
    assert sign_flip_p([0.01 * (i + 1) for i in range(n)], 0) == pytest.approx(smallest_p(n))
    assert smallest_p(n) == (2 / 2**n if n <= 40 else 2**-16)


# Holm


def test_holm_by_the_example_of_demsar_section_3_2_2():
    """p = .016, .019, .607 against .017, .025, .05: the first two are rejected."""
    assert holm([0.016, 0.019, 0.607]) == pytest.approx([0.048, 0.048, 0.607])
    assert holm([0.607, 0.016, 0.019]) == pytest.approx([0.607, 0.048, 0.048])
    assert holm([]) == [] and holm([0.6, 0.7]) == [1.0, 1.0]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_with_bonferroni(ps):
    """The witness: an arm is rejected when Bonferroni rejects every set of arms that it is in (Marcus et al., 1976)."""
    arms = range(len(ps))
    families = [family for size in range(1, len(ps) + 1) for family in itertools.combinations(arms, size)]
    expected = [max(min(1, len(f) * min(ps[j] for j in f)) for f in families if i in f) for i in arms]
    assert holm(ps) == pytest.approx(expected)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 5))
def test_no_corrected_p_is_below_its_floor_and_none_below_the_plain_p(draw, arms, seeds):
    comparison = compare(make_rows(random_values(arms, 1, seeds, 0.02, draw)), "test", "f_mean", "a")
    for arm in comparison.arms[1:]:
        assert arm.gain.floor <= arm.gain.p_holm + 1e-12
        assert arm.gain.p <= arm.gain.p_holm <= 1
        assert arm.gain.floor == pytest.approx(min(1, (arms - 1) * 2 / 2**seeds))


def test_the_floor_of_an_arm_with_more_pairs_counts_only_what_the_others_leave():
    values = random_values(3, 1, 6)
    values["c"] = dict(list(values["c"].items())[:3])
    comparison = compare(make_rows(values), "test", "f_mean", "a")
    assert gain_of(comparison, "b").floor == pytest.approx(2 * 2 / 2**6)
    assert gain_of(comparison, "c").floor == pytest.approx(2 / 2**3)


# the comparison


def test_the_numbers_of_a_small_example_by_hand():
    values = {
        "base": {("d", 0): 0.50, ("d", 1): 0.60, ("e", 0): 0.70, ("e", 1): 0.80},
        "arm": {("d", 0): 0.52, ("d", 1): 0.61, ("e", 0): 0.69, ("e", 2): 0.99},
    }
    comparison = compare(make_rows(values, {"base": 100.0, "arm": 130.0}), "test", "f_mean", "base")
    base, arm = comparison.arms
    assert (base.name, base.n, base.gain, base.missing) == ("base", 4, None, (("e", 2),))
    assert base.mean == pytest.approx(0.65) and base.sd == pytest.approx(math.sqrt(0.05 / 3))
    assert arm.gain.units == (("d", 0), ("d", 1), ("e", 0))
    assert arm.gain.gains == pytest.approx((0.02, 0.01, -0.01))
    assert arm.gain.mean == pytest.approx(0.02 / 3) and arm.gain.cost == pytest.approx(1.3)
    half = 4.3027 * math.sqrt(7 / 3) * 0.01 / math.sqrt(3)  # t(2) sd / sqrt 3
    assert arm.gain.interval == pytest.approx((0.02 / 3 - half, 0.02 / 3 + half), abs=1e-6)
    # of the 8 sign patterns of (2, 1, -1) six have a sum of 2 or more from 0
    assert arm.gain.p == arm.gain.p_holm == pytest.approx(6 / 8)
    assert (arm.n, arm.missing, arm.undefined) == (4, (("e", 1),), ())
    assert comparison.units == 5 and comparison.ranks is None and arm.gain.seeds == 2


def test_one_unit_has_a_mean_and_nothing_more():
    comparison = compare(make_rows({"a": {("d", 0): 0.5}, "b": {("d", 0): 0.7}}), "test", "f_mean", "a")
    arm = comparison.arms[1]
    assert arm.mean == 0.7 and math.isnan(arm.sd)
    assert arm.gain.interval is None and arm.gain.p == 1 and arm.gain.mean == pytest.approx(0.2)
    assert arm.gain.seeds == 1


def test_less_is_better_for_mae_so_its_gain_is_baseline_minus_arm():
    values = random_values(2, lift=0.01)
    more = gain_of(compare(make_rows(values), "test", "f_mean", "a"), "b")
    less = gain_of(compare(make_rows(values, score="mae"), "test", "mae", "a"), "b")
    assert less.gains == pytest.approx([-gain for gain in more.gains])
    assert more.mean > 0 > less.mean


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_swapping_arm_and_baseline_turns_the_gain_around(draw):
    rows = make_rows(random_values(2, 2, 4, 0.002, draw))
    there, back = gain_of(compare(rows, "test", "f_mean", "a"), "b"), gain_of(compare(rows, "test", "f_mean", "b"), "a")
    assert back.mean == pytest.approx(-there.mean)
    assert back.gains == pytest.approx([-gain for gain in there.gains])
    assert back.p == pytest.approx(there.p) and back.p_holm == pytest.approx(there.p_holm)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))


def test_a_constant_on_one_arm_moves_its_gain_and_on_a_unit_moves_nothing():
    values = random_values(3, 2, 4)
    before = gain_of(compare(make_rows(values), "test", "f_mean", "a"), "b")
    lifted = {**values, "b": {unit: value + 0.05 for unit, value in values["b"].items()}}
    after = gain_of(compare(make_rows(lifted), "test", "f_mean", "a"), "b")
    assert after.mean == pytest.approx(before.mean + 0.05)
    assert after.interval == pytest.approx([end + 0.05 for end in before.interval])
    harder = {arm: {u: v - 0.1 * (u == ("set0", 1)) for u, v in cells.items()} for arm, cells in values.items()}
    same = gain_of(compare(make_rows(harder), "test", "f_mean", "a"), "b")
    assert same.gains == pytest.approx(before.gains)
    assert same.interval == pytest.approx(before.interval)


def test_the_order_of_rows_and_rows_of_another_split_change_nothing():
    rows = make_rows(random_values(3))
    expected = compare(rows, "test", "f_mean", "b")
    order = sorted(rows, key=lambda row: (row.arm, -row.seed))
    other = make_rows(random_values(4, lift=0.3), split="val")
    assert compare([*other, *order], "test", "f_mean", "b") == expected
    assert [arm.name for arm in expected.arms] == ["b", "a", "c"]


def test_a_score_that_is_nan_drops_the_unit_and_is_counted():
    values = random_values(3, 2, 3)
    values["b"]["set1", 2] = math.nan
    comparison = compare(make_rows(values), "test", "f_mean", "a")
    arm = comparison.arms[1]
    assert arm.n == 5 and arm.undefined == (("set1", 2),) and arm.missing == ()
    assert ("set1", 2) not in arm.gain.units and len(arm.gain.units) == 5
    assert len(gain_of(comparison, "c").units) == 6
    assert comparison.ranks.n == 5 and comparison.units == 6
    nowhere = compare(
        make_rows({arm: dict.fromkeys(cells, math.nan) for arm, cells in values.items()}), "test", "f_mean", "a"
    )
    assert nowhere.units == 0 and all(math.isnan(arm.mean) and arm.gain is None for arm in nowhere.arms)


def test_arms_without_a_common_unit_have_no_gain():
    comparison = compare(make_rows({"a": {("d", 0): 0.5}, "b": {("d", 1): 0.6}}), "test", "f_mean", "a")
    assert comparison.arms[1].gain is None and comparison.arms[1].missing == (("d", 0),)


def test_cost_is_over_the_shared_units_and_nan_when_no_time_was_taken():
    rows = make_rows({"a": {("d", 0): 0.5, ("e", 0): 0.5}, "b": {("d", 0): 0.6}})
    seconds = {("a", "d"): 10.0, ("a", "e"): 1000.0, ("b", "d"): 15.0}
    rows = [replace(row, seconds=seconds[row.arm, row.dataset]) for row in rows]
    assert gain_of(compare(rows, "test", "f_mean", "a"), "b").cost == pytest.approx(1.5)
    longer = [*rows, replace(rows[-1], dataset="e")]  # a run that was killed: its time is not known
    longer = [replace(row, seconds=0.0) if (row.arm, row.dataset) == ("b", "e") else row for row in longer]
    assert gain_of(compare(longer, "test", "f_mean", "a"), "b").cost == pytest.approx(1.5)
    timeless = [replace(row, seconds=0.0) for row in rows]
    assert math.isnan(gain_of(compare(timeless, "test", "f_mean", "a"), "b").cost)


def test_cost_is_the_geometric_mean_of_the_pairs():
    rows = make_rows({"a": {("d", 0): 0.5, ("e", 0): 0.5}, "b": {("d", 0): 0.6, ("e", 0): 0.6}})
    seconds = {("a", "d"): 10.0, ("a", "e"): 1000.0, ("b", "d"): 40.0, ("b", "e"): 1000.0}
    rows = [replace(row, seconds=seconds[row.arm, row.dataset]) for row in rows]
    assert gain_of(compare(rows, "test", "f_mean", "a"), "b").cost == pytest.approx(2.0)


def test_mistakes_are_named():
    rows = make_rows(random_values(2))
    with pytest.raises(InputError, match=r"score: expected one of f_mean, .*found 'f_meen'"):
        compare(rows, "test", "f_meen", "a")
    with pytest.raises(InputError, match=r"score: no cell has hd95; they have f_mean, .*mae\. Score them again"):
        compare(rows, "test", "hd95", "a")
    with pytest.raises(InputError, match="baseline: expected an arm of the split 'test', found 'z'; there are: a, b"):
        compare(rows, "test", "f_mean", "z")
    with pytest.raises(InputError, match=r"no row of the split 'val', but of \['test'\]"):
        compare(rows, "val", "f_mean", "a")
    with pytest.raises(InputError, match="found two for b, set1, seed 2, test"):
        compare([*rows, rows[-1]], "test", "f_mean", "a")
