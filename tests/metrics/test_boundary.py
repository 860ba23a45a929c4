import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from segkd.metrics.boundary import WIDTHS, boundary_counts, boundary_counts_of_classes, hd95
from segkd.metrics.counts import count_binary, count_classes
from segkd.metrics.meter import Meter
from segkd.types import IGNORE


def masks(seed, size=(40, 53)):
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        coarse = cv2.resize(draw.random((5, 6)), size[::-1])
        found.append((coarse > draw.uniform(0.3, 0.8)).astype(np.uint8))
    return found


def naive_band(mask, d):
    """The paper's reference code: a border of one pixel of zeros, then d erosions of 3 x 3."""
    padded = np.pad(mask, 1)
    return mask - cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=d)[1:-1, 1:-1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_bands_equal_repeated_erosions(seed):
    one, other = masks(seed, (150, 201))
    for (both, either), width in zip(boundary_counts(one, other), WIDTHS):
        d = max(1, round(width * float(np.hypot(150, 201))))
        a, b = naive_band(one, d), naive_band(other, d)
        assert both == (a & b).sum() and either == (a | b).sum()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_the_hausdorff_distance_equals_all_pairs_of_outline_pixels(seed):
    one, other = masks(seed)
    if not (one.any() and other.any()):
        return
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    outlines = [np.argwhere(m & ~binary_erosion(m, cross)) for m in (one, other)]
    distances = cdist(*outlines)
    # the last bit too: a resumed run must find the scores of one that was never killed
    assert hd95(one, other) == max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))


def test_the_policy_for_empty_masks():
    empty, full = np.zeros((30, 40), np.uint8), np.ones((30, 40), np.uint8)
    assert hd95(empty, empty) == 0 and hd95(empty, full) == hd95(full, empty) == 50
    assert hd95(full, full) == 0
    assert boundary_counts(empty, empty).sum() == 0
    assert (boundary_counts(full, empty)[:, 0] == 0).all() and (boundary_counts(full, empty)[:, 1] > 0).all()


def test_a_shifted_square_is_as_far_as_it_was_shifted():
    one, other = np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint8)
    one[10:30, 10:30] = 1
    other[10:30, 17:37] = 1
    assert hd95(one, other) == 7
    narrow, _, wide = boundary_counts(one, other)
    assert narrow[0] / narrow[1] < 0.5 and wide[1] >= narrow[1]


def test_bands_are_half_a_one_and_two_hundredths_of_the_diagonal_wide_under_these_names():
    full = np.ones((600, 800), np.uint8)  # a diagonal of 1000
    frames = [600 * 800 - (600 - 2 * d) * (800 - 2 * d) for d in (5, 10, 20)]
    assert boundary_counts(full, full).tolist() == [[frame, frame] for frame in frames]
    label, shifted = np.zeros((2, 120, 160), np.uint8)
    label[20:90, 20:90] = shifted[20:90, 21:91] = 1
    for classes, counts in (
        (2, count_binary(shifted * np.uint8(255), label, 0.5)),
        (3, count_classes(shifted, label, 3)),
    ):
        meter = Meter([str(c) for c in range(classes)])
        meter.add("one", counts)
        for scores in (meter.rows["one"], meter.scores()):
            assert scores["boundary_iou_005"] < scores["boundary_iou_010"] < scores["boundary_iou"] < 1
    both, either = counts.boundary[2, :2].T
    assert scores["boundary_iou"] == pytest.approx(np.mean(both / either))  # of background and object, not of pixels


def test_classes_are_counted_one_by_one_and_ignored_pixels_in_none():
    label = np.zeros((20, 20), np.uint8)
    label[5:15, 5:15] = 2
    label[:, 18:] = IGNORE
    predicted = label.copy()
    predicted[label == IGNORE] = 1
    counts = boundary_counts_of_classes(predicted, label, 3, [0, 1, 2])
    assert (counts[:, 1] == 0).all() and (counts[:, 2, 0] == counts[:, 2, 1]).all() and counts[:, 2, 0].min() > 0
