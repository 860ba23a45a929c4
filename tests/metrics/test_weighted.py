import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve, distance_transform_edt

from segkd.metrics.counts import count_binary
from segkd.metrics.weighted import weighted_f
from segkd.types import IGNORE

VALUES = np.arange(256) / 255


def witness(levels, truth):
    """Margolin et al., retyped from the paper with scipy's own nearest indices."""
    p, g = levels / 255, truth > 0
    distance, (rows, columns) = distance_transform_edt(~g, return_indices=True)
    error = np.abs(p - g)
    filled = np.where(g, error, error[rows, columns])
    line = np.exp(-(np.arange(-3, 4) ** 2) / 50)
    kernel = np.outer(line, line) / line.sum() ** 2
    smooth = convolve(filled, kernel, mode="constant")
    lowered = np.where(g & (smooth < error), smooth, error)
    weighted = lowered * np.where(g, 1, 2 - 0.5 ** (distance / 5))
    hits, alarms = g.sum() - weighted[g].sum(), weighted[~g].sum()
    recall, precision = 1 - weighted[g].mean(), hits / (hits + alarms + 1e-300)
    return 2 * recall * precision / (recall + precision + 1e-300)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.floats(-3, -0.1), st.integers(1, 40), st.integers(1, 40))
def test_it_equals_the_paper_with_full_distance_transforms(seed, density, height, width):
    draw = np.random.default_rng(seed)
    truth = (draw.random((height, width)) < 10**density).astype(np.uint8)
    truth[draw.integers(height), draw.integers(width)] = 1
    levels = (draw.integers(0, 256, truth.shape) * (draw.random(truth.shape) < draw.random())).astype(np.uint8)
    assert weighted_f(levels, truth, None, VALUES) == pytest.approx(witness(levels, truth), abs=1e-12)


def test_a_false_alarm_far_away_costs_more_than_one_beside_the_object():
    truth = np.zeros((40, 40), np.uint8)
    truth[10:20, 10:20] = 1
    near, far = truth * np.uint8(255), truth * np.uint8(255)
    near[21, 12], far[38, 38] = 255, 255
    assert weighted_f(far, truth, None, VALUES) < weighted_f(near, truth, None, VALUES) < 1


def test_without_foreground_it_is_not_defined():
    empty = np.zeros((5, 5), np.uint8)
    assert np.isnan(weighted_f(empty, empty, None, VALUES))


def test_ignored_pixels_act_as_if_the_image_ended_there():
    draw = np.random.default_rng(1)
    label = (draw.random((20, 14)) < 0.3).astype(np.uint8)
    levels = draw.integers(0, 256, label.shape).astype(np.uint8)
    wide = np.full((20, 20), IGNORE, np.uint8)
    wide[:, :14] = label
    more = draw.integers(0, 256, wide.shape).astype(np.uint8)
    more[:, :14] = levels
    one, other = count_binary(levels, label, 0.5), count_binary(more, wide, 0.5)
    assert other.shape["f_weighted"] == pytest.approx(one.shape["f_weighted"], abs=1e-12)
    assert other.shape["s_measure"] == pytest.approx(one.shape["s_measure"], abs=1e-12)
