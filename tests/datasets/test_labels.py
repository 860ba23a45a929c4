import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.datasets.labels import (
    class_shares,
    code_from_map,
    code_from_threshold,
    guess_code,
    normalise_shares,
    resize_label,
)
from segkd.types import IGNORE, InputError


def read(code, values, dtype=np.uint8):
    return code(np.array([values], dtype))[0].tolist()


def unknown(code, values):
    counts = np.zeros(65536, np.int64)
    counts[values] = 1
    return code.unknown(counts)


def test_a_label_map_reads_each_raw_value_as_its_class():
    code = code_from_map({10: 0, 20: 2, 30: 1, 31: 1}, [7], 3)
    assert read(code, [10, 20, 30, 31, 7]) == [0, 2, 1, 1, IGNORE]
    assert unknown(code, [7, 10, 20, 30, 31]) == [] and unknown(code, [0, 20, 255]) == [0, 255]
    assert "10 -> 0, 20 -> 2, 30 -> 1, 31 -> 1" in code.rule and "[7]" in code.rule


def test_raw_values_of_16_bits_are_read():
    code = code_from_map({0: 0, 256: 1, 65535: 2}, [1000], 3)
    assert read(code, [0, 256, 65535, 1000], np.uint16) == [0, 1, 2, IGNORE]
    assert unknown(code, [256, 512]) == [512]


def test_255_may_be_a_class_or_ignored_or_neither():
    assert read(code_from_map({0: 0, 255: 1}, [], 2), [0, 255]) == [0, 1]
    assert read(code_from_map({0: 0, 1: 1}, [255], 2), [0, 1, 255]) == [0, 1, IGNORE]
    assert unknown(code_from_map({0: 0, 1: 1}, [], 2), [0, 1, 255]) == [255]


@pytest.mark.parametrize("target", [2, -1, 255])
def test_a_map_to_a_class_that_does_not_exist_is_refused(target):
    with pytest.raises(InputError, match=rf"raw value 9 to class {target}.*2 classes.*0\.\.1"):
        code_from_map({9: target}, [], 2)


@pytest.mark.parametrize("raw", [-1, 65536])
def test_raw_values_that_no_mask_can_hold_are_refused(raw):
    with pytest.raises(InputError, match=rf"raw value {raw} .*expected 0\.\.65535"):
        code_from_map({0: 0, raw: 1}, [], 2)
    with pytest.raises(InputError, match=rf"raw value {raw} .*expected 0\.\.65535"):
        code_from_map({0: 0, 1: 1}, [raw], 2)


def test_a_value_both_mapped_and_ignored_is_refused():
    with pytest.raises(InputError, match=r"raw value 5 is in data.label_map \(class 1\) and in data.ignore"):
        code_from_map({0: 0, 5: 1}, [5], 2)


@given(st.integers(0, 255), st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_a_threshold_splits_all_values(threshold, values):
    code = code_from_threshold(threshold)
    assert read(code, values, np.uint16) == [int(value > threshold) for value in values]
    assert unknown(code, values) == []


def test_a_threshold_leaves_ignored_values_out():
    code = code_from_threshold(128, [7, 200])
    assert read(code, [0, 7, 128, 129, 200, 255]) == [0, IGNORE, 0, 1, IGNORE, 1]
    assert "[7, 200]" in code.rule


@pytest.mark.parametrize("values", [[0, 255], [255]])
def test_two_classes_of_0_and_255_are_guessed(values):
    assert read(guess_code(values, [], 2), [0, 255]) == [0, 1]


@pytest.mark.parametrize("values", [[0, 1], [0], [1]])
def test_two_classes_of_0_and_1_are_guessed(values):
    code = guess_code(values, [], 2)
    assert read(code, [0, 1]) == [0, 1] and unknown(code, [255]) == [255]


def test_a_guess_never_reads_255_as_a_class_beside_other_values_or_classes():
    assert unknown(guess_code([0, 1, 255], [], 2), [0, 1, 255]) == [255]
    assert unknown(guess_code([0, 255], [], 3), [0, 255]) == [255]
    assert unknown(guess_code([0, 3], [], 3), [0, 1, 2, 3]) == [3]


def test_a_guess_respects_ignore():
    assert read(guess_code([0, 1, 255], [255], 2), [0, 1, 255]) == [0, 1, IGNORE]
    assert read(guess_code([0, 2, 4], [2], 5), [0, 2, 4]) == [0, IGNORE, 4]


@settings(deadline=None)
@given(st.integers(1, 255), st.integers(1, 300))
def test_a_resized_label_takes_the_source_pixel_under_each_centre(old, new):
    column = np.arange(old, dtype=np.uint8)[:, None]
    taken = resize_label(np.tile(column, 3), (new, 3))[:, 1].astype(int)
    centre = (2 * np.arange(new) + 1) * old  # in units of 1 / (2 new) source pixels: whole numbers, no rounding
    assert (2 * new * taken <= centre).all() and (centre <= 2 * new * (taken + 1)).all()
    np.testing.assert_array_equal(resize_label(np.tile(column.T, (3, 1)), (3, new))[1], taken)


def mean_shift(resize):
    """Mean shift of the centroid of discs, in source pixels."""
    draw, shifts = np.random.default_rng(0), []
    rows, columns = np.mgrid[:61, :83] + 0.5
    for _ in range(30):
        y, x, radius = draw.uniform(20, 40), draw.uniform(20, 60), draw.uniform(8, 18)
        mask = (np.hypot(rows - y, columns - x) < radius).astype(np.uint8)
        small = resize(mask)
        after = [(c.mean() + 0.5) * o / n for c, o, n in zip(np.nonzero(small), mask.shape, small.shape)]
        shifts.append([a - c.mean() - 0.5 for a, c in zip(after, np.nonzero(mask))])
    return np.abs(np.mean(shifts, axis=0))


@pytest.mark.parametrize("size", [(32, 40), (20, 29), (100, 200)])
def test_the_centroid_of_a_resized_mask_stays_and_plain_nearest_would_move_it(size):
    pitch = np.divide((61, 83), size)  # source pixels per target pixel
    assert (mean_shift(lambda mask: resize_label(mask, size)) < 0.1 * pitch).all()
    assert (mean_shift(lambda mask: cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)) > 0.4 * pitch).all()


def test_class_shares_are_one_hot_and_empty_where_ignored():
    shares = class_shares(np.array([[0, 2, IGNORE]], np.uint8), 3)
    assert shares.tolist() == [[[1, 0, 0], [0, 0, 1], [0, 0, 0]]]


def test_normalised_shares_sum_to_one_or_stay_empty():
    shares = np.array([[[0.2, 0.2], [0, 0], [1, 0], [0.3, 0.1]]], np.float32)
    np.testing.assert_allclose(normalise_shares(shares), [[[0.5, 0.5], [0, 0], [1, 0], [0.75, 0.25]]], rtol=1e-6)
