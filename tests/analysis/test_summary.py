import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from segkd.analysis.evidence import Condition
from segkd.analysis.summary import RESAMPLES, change, group, student, weighted_mean, welch
from segkd.types import InputError


def test_relative_error_is_the_root_of_a_ratio_of_sums(make_evidence):
    runs = [make_evidence("a", seed) for seed in range(2)]
    (one,) = group(runs)
    for name, key in (("error", "error"), ("ceiling", "ceiling"), ("untrained_error", "untrained")):
        for band in range(8):
            slow = []
            for run in runs:
                above = sum(float(run.energy[key][i, band]) for i in range(len(run.ids)))
                below = sum(float(run.energy["label"][i, band]) for i in range(len(run.ids)))
                slow.append(math.sqrt(above / below))
            np.testing.assert_allclose(one.curves[name].seeds[:, band], slow)
            assert one.curves[name].mean[band] == pytest.approx(sum(slow) / 2)


def test_drops_and_passes_are_means_of_images(make_evidence):
    run = make_evidence()
    (one,) = group([run])
    scores = run.scores["f_mean"]
    for kind in ("stop", "noise"):
        for band in range(8):
            lost = [scores[Condition("clean")][i] - scores[Condition(kind, band)][i] for i in range(12)]
            assert one.curves[f"{kind}_drop/f_mean"].mean[band] == pytest.approx(sum(lost) / 12)
    assert one.curves["low/f_mean"].mean.shape == one.curves["high/f_mean"].mean.shape == (7,)
    assert one.curves["low/f_mean"].mean[0] == pytest.approx(scores[Condition("low", 0)].mean())
    assert one.curves["high/f_mean"].mean[0] == pytest.approx(scores[Condition("high", 1)].mean())
    assert one.curves["clean/f_mean"].mean == pytest.approx([scores[Condition("clean")].mean()])
    expected = np.sqrt(run.sensitivity.mean(axis=0) / run.margin.mean())
    np.testing.assert_allclose(one.curves["sensitivity"].mean, expected)
    for key in ("image", "label", "prediction"):
        assert one.curves[key].mean.sum() == pytest.approx(1)
    assert one.curves["aliasing"].mean == pytest.approx([share.mean() for _, _, share in run.aliasing])
    assert one.scores == ("f_mean", "miou_image")
    np.testing.assert_array_equal(one.representable, [True] * 4 + [False] * 4)


def test_images_without_a_score_are_left_out(make_evidence):
    run = make_evidence()
    clean, noise = (run.scores["f_mean"][Condition(kind)] for kind in ("clean", "noise"))
    clean[3] = noise[3] = np.nan
    (one,) = group([run])
    kept = [i for i in range(12) if i != 3]
    assert one.curves["clean/f_mean"].mean[0] == pytest.approx(clean[kept].mean())
    assert one.curves["noise_drop/f_mean"].mean[0] == pytest.approx((clean - noise)[kept].mean())
    assert np.isfinite(one.curves["clean/f_mean"].low).all()
    (w, values) = np.array([[0.5, 0.5, 0], [0, 0, 1]]), np.array([[1.0], [3], [np.nan]])
    np.testing.assert_array_equal(weighted_mean(w, values), [[2], [np.nan]])


def test_one_image_that_alone_has_a_score_still_has_an_interval(make_evidence):
    """A resample without it has no value: the interval is over the others."""
    run = make_evidence()
    run.boundary[1:, 0] = np.nan
    (one,) = group([run])
    curve = one.curves["boundary"]
    assert np.isnan(curve.draws[:, 0]).any()
    np.testing.assert_allclose([curve.mean[0], curve.low[0], curve.high[0]], run.boundary[0, 0])


def test_the_interval_holds_the_mean_and_shrinks_with_images(make_evidence):
    widths = []
    for n in (20, 320):
        curve = group([make_evidence(n=n)])[0].curves["noise_drop/f_mean"]
        assert (curve.low < curve.mean).all() and (curve.mean < curve.high).all() and len(curve.draws) == RESAMPLES
        widths.append(float((curve.high - curve.low).mean()))
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.35)  # 1 / sqrt(n)


def test_the_interval_is_about_two_standard_errors(make_evidence):
    run = make_evidence(n=400)
    curve = group([run])[0].curves["clean/f_mean"]
    clean = run.scores["f_mean"][Condition("clean")]
    assert float(curve.high[0] - curve.low[0]) == pytest.approx(2 * 1.96 * clean.std() / 20, rel=0.12)


def test_groups_see_the_same_resamples_so_a_constant_difference_has_no_width(make_evidence):
    base = make_evidence("a")
    table = {score: {c: v - 0.1 for c, v in found.items()} for score, found in base.scores.items()}
    first, second = group([base, replace(base, name="b", scores=table)])
    gain = change(second, first, "clean/f_mean")
    np.testing.assert_allclose([gain.mean[0], gain.low[0], gain.high[0]], -0.1)
    assert np.isnan(gain.seed_low).all()  # one seed
    alone = first.curves["clean/f_mean"]
    assert alone.high[0] - alone.low[0] > 0.01  # each by itself is uncertain


def test_seeds_are_paired_by_their_numbers_else_by_nothing(make_evidence):
    order = (2, 0, 1)
    first, second = group([*(make_evidence("a", s) for s in range(3)), *(make_evidence("b", s) for s in order)])
    ours, theirs = second.curves["error"].seeds, first.curves["error"].seeds
    assert [run.seed for run in second.runs] == [0, 1, 2]
    gain = change(second, first, "error")
    np.testing.assert_allclose([gain.seed_low, gain.seed_high], student(ours - theirs))
    wide = change(second, first, "error", 0.99)
    assert (wide.seed_low < gain.seed_low).all() and (wide.low <= gain.low).all()
    (more,) = group([make_evidence("c", s) for s in range(4)])
    loose = change(more, first, "error")
    np.testing.assert_allclose([loose.seed_low, loose.seed_high], welch(more.curves["error"].seeds, theirs))


def test_welch_is_the_textbooks():
    draw = np.random.default_rng(0)
    a, b = draw.normal(0, 1, (5, 1)), draw.normal(0, 3, (4, 1))
    va, vb = a.var(ddof=1) / 5, b.var(ddof=1) / 4
    freedom = (va + vb) ** 2 / (va**2 / 4 + vb**2 / 3)
    slow = stats.t.interval(0.95, freedom, loc=a.mean() - b.mean(), scale=np.sqrt(va + vb))
    np.testing.assert_allclose([end[0] for end in welch(a, b)], slow)


def test_few_images_have_no_interval(make_evidence):
    (one,) = group([make_evidence(n=9)])
    assert np.isnan(one.curves["error"].low).all() and np.isfinite(one.curves["error"].mean).all()


def test_a_band_that_is_not_there_is_not_called_beyond_the_decoder(make_evidence):
    run = make_evidence()
    energy = {key: np.where(np.arange(8) == 0, 0, values) for key, values in run.energy.items()}
    (one,) = group([replace(run, energy=energy)])
    assert np.isnan(one.curves["ceiling"].mean[0]) and one.representable[0] and not one.representable[7]


def test_three_seeds_have_a_student_interval_and_two_have_none(make_evidence):
    runs = [make_evidence("a", seed) for seed in range(3)]
    curve = group(runs)[0].curves["error"]
    low, high = curve.seed_interval
    for band in range(8):
        values = curve.seeds[:, band]
        slow = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
        np.testing.assert_allclose([low[band], high[band]], slow)
    assert group(runs[:2])[0].curves["error"].seed_interval is None
    np.testing.assert_allclose(student(np.ones((4, 1))), [[1], [1]])


def test_half_needs_the_learning_of_all_runs(make_evidence):
    runs = [make_evidence("a", 0), make_evidence("a", 1)]
    curve = group(runs)[0].curves["half"]
    assert curve.seeds.shape == (2, 8) and np.isnan(curve.low).all()
    assert "half" not in group([runs[0], replace(runs[1], learning=None)])[0].curves


def test_groups_stand_in_the_order_of_their_first_runs_and_are_drawn_alike_again(make_evidence):
    runs = [make_evidence("b", 0), make_evidence("a", 0), make_evidence("b", 1)]
    once, again = group(runs), group(runs)
    assert [(one.name, len(one.runs)) for one in once] == [("b", 2), ("a", 1)]
    np.testing.assert_array_equal(once[0].curves["error"].draws, again[0].curves["error"].draws)


def test_runs_on_other_images_are_refused(make_evidence):
    for other in (make_evidence("b", n=11), make_evidence("b", size=(32, 48))):
        with pytest.raises(InputError, match=r"same images at the same size.*one by one"):
            group([make_evidence("a"), other])
    swapped = replace(make_evidence("b"), ids=tuple(reversed(make_evidence().ids)))
    with pytest.raises(InputError, match="same images"):
        group([make_evidence("a"), swapped])
