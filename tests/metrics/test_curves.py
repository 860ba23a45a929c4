import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.metrics.counts import count_binary
from segkd.metrics.curves import curves, e_of
from segkd.metrics.protocol import PLAIN, PYSOD


def pair(seed):
    draw = np.random.default_rng(seed)
    label = (draw.random((9, 11)) < draw.uniform(0.1, 0.9)).astype(np.uint8)
    return draw.integers(0, 256, label.shape).astype(np.uint8), label


def naive_e(predicted, truth):
    """Fan et al., eqs. 2-4, pixel by pixel."""
    a, b = predicted - predicted.mean(), truth - truth.mean()
    aligned = 2 * a * b / (a * a + b * b + np.spacing(1))
    return ((aligned + 1) ** 2 / 4).mean()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_the_e_curve_equals_the_paper_at_every_threshold(seed):
    levels, label = pair(seed)
    if label.all() or not label.any():
        return
    found = curves(count_binary(levels, label, 0.5).histogram[None])["e"][0]
    expected = [naive_e((levels >= t).astype(float), label) for t in range(256)]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_the_plain_e_measure_never_exceeds_1_and_pysods_is_n_over_n_minus_1_of_it(seed):
    histogram = count_binary(*pair(seed), 0.5).histogram[None]
    plain, other = curves(histogram, PLAIN)["e"], curves(histogram, PYSOD)["e"]
    assert plain.max() <= 1 + 1e-12 and plain.min() >= 0
    np.testing.assert_allclose(other, plain * 99 / 98)


@pytest.mark.parametrize("truth", [0, 1])
def test_empty_and_full_masks_score_the_share_that_agrees(truth):
    label = np.full((4, 5), truth, np.uint8)
    levels = np.zeros((4, 5), np.uint8)
    levels[0] = 200
    found = curves(count_binary(levels, label, 0.5).histogram[None])
    assert found["e"][0, 100] == pytest.approx(0.25 if truth else 0.75)
    assert np.isnan(found["f"]).all() == (truth == 0)
    zero = curves(count_binary(levels, label, 0.5, PYSOD).histogram[None], PYSOD)["f"]
    assert (zero == 0).all() == (truth == 0)


def test_a_perfect_map_has_e_1():
    figure, ground = np.array([30]), np.array([70])
    assert e_of(figure, np.array([0]), figure, ground, PLAIN) == pytest.approx(1)
