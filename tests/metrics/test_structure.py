import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.metrics.counts import count_binary
from segkd.metrics.structure import quadrant_plane


def structure(levels, label):
    return count_binary(np.asarray(levels, np.uint8), np.asarray(label, np.uint8), 0.5).shape["s_measure"]


def test_quadrants_meet_at_the_rounded_centroid():
    label = np.zeros((6, 8), np.uint8)
    label[1:3, 2:4] = 1  # centroid (1.5, 2.5): halves go to the even neighbour
    plane, shares = quadrant_plane(label, label)
    assert (plane >> 1)[2, 2] == 0 and (plane >> 1)[2, 3] == 1 and (plane >> 1)[3, 2] == 2 and (plane >> 1)[3, 3] == 3
    np.testing.assert_allclose(shares, [9 / 48, 15 / 48, 9 / 48, 15 / 48])


def test_an_object_in_the_last_corner_is_defined():
    label = np.zeros((9, 9), np.uint8)
    label[-1, -1] = 1
    assert structure(label * 255, label) == pytest.approx(1, abs=1e-9)
    assert 0 <= structure(255 - label * 255, label) < 0.5


def test_empty_and_full_masks_score_the_mean():
    levels = np.tile(np.arange(0, 250, 25, dtype=np.uint8), (4, 1))
    mean = levels.mean() / 255
    assert structure(levels, np.zeros_like(levels)) == pytest.approx(1 - mean)
    assert structure(levels, np.ones_like(levels)) == pytest.approx(mean)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 20))
def test_it_lies_in_0_to_1_whatever_comes(seed, height, width):
    draw = np.random.default_rng(seed)
    label = (draw.random((height, width)) < draw.random()).astype(np.uint8)
    levels = draw.choice([0, 1, 128, 255], label.shape)
    assert 0 <= structure(levels, label) <= 1 + 1e-12
