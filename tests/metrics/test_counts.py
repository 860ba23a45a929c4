import jaxtyping
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segkd.metrics.counts import EXACT, confusion, count_binary, count_classes, joint_histogram
from segkd.metrics.protocol import PYSOD
from segkd.types import IGNORE, InputError

probabilities = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30)


def plane(values, dtype):
    return np.array([values], dtype)


def random_label(classes, seed, size=(7, 9)):
    return np.random.default_rng(seed).choice([*range(classes), IGNORE], size).astype(np.uint8)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(0, 2**31))
def test_confusion_equals_a_double_loop_that_skips_ignored_pixels(classes, seed):
    label = random_label(classes, seed)
    predicted = np.random.default_rng(seed + 1).integers(0, classes, label.shape).astype(np.uint8)
    expected = np.zeros((classes, classes), int)
    for row in range(label.shape[0]):
        for column in range(label.shape[1]):
            if label[row, column] != IGNORE:
                expected[label[row, column], predicted[row, column]] += 1
    np.testing.assert_array_equal(confusion(predicted, label, classes), expected)
    counts = count_classes(predicted, label, classes)
    np.testing.assert_array_equal(counts.confusion, expected)
    assert counts.histogram is None and counts.error == 0


def test_images_of_more_pixels_than_floats_count_exactly_are_counted_alike(monkeypatch):
    draw = np.random.default_rng(0)
    for planes in (2, 8, 256):
        low = draw.integers(0, 256, (40, 301)).astype(np.uint8)
        high = draw.choice([*range(min(planes, IGNORE)), IGNORE], low.shape).astype(np.uint8)
        expected = np.zeros((256, 256), np.int64)
        np.add.at(expected, (high, low), 1)
        for exact in (EXACT, 0):
            monkeypatch.setattr("segkd.metrics.counts.EXACT", exact)
            np.testing.assert_array_equal(joint_histogram(low, high, planes), expected[:planes])


def test_255_classes_fit_beside_ignore():
    label = np.arange(256, dtype=np.uint8).reshape(16, 16)
    matrix = confusion(np.minimum(label, 254), label, 255)
    np.testing.assert_array_equal(matrix, np.eye(255))


def test_a_label_or_a_prediction_that_is_no_class_is_refused():
    with pytest.raises(InputError, match=r"label: expected classes 0\.\.2 or 255 \(ignored\), found 7"):
        confusion(plane([0, 1], np.uint8), plane([7, 200], np.uint8), 3)
    with pytest.raises(InputError, match=r"prediction: expected classes 0\.\.2, found 3"):
        confusion(plane([3, 0], np.uint8), plane([0, 0], np.uint8), 3)
    assert confusion(plane([3, 0], np.uint8), plane([IGNORE, 0], np.uint8), 3).sum() == 1


@pytest.mark.parametrize("stray", [2, 3, 7, 8, 254])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_label_of_two_classes_that_holds_another_number_is_refused(stray, ignored, dtype):
    label = np.zeros((8, 8), np.uint8)
    label[:4] = stray
    label[7, 7] = IGNORE if ignored else 1
    with pytest.raises(InputError, match=rf"label: expected classes 0\.\.1 or 255 \(ignored\), found {stray}"):
        count_binary(np.zeros((8, 8), dtype), label, 0.5)


@pytest.fixture
def unchecked(monkeypatch):
    """As outside of the tests, where nobody checks annotations."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, bool])
def test_class_numbers_of_another_type_are_refused(unchecked, dtype):
    """Of wide numbers every label was counted as class 0: they were read byte by byte."""
    label = plane([0, 1, 2, IGNORE], np.uint8)
    with pytest.raises(InputError, match=rf"uint8 \[h w\] of one size, found {np.dtype(dtype)} \(1, 4\) and"):
        count_classes(label.astype(dtype), label.astype(dtype), 3)
    with pytest.raises(InputError, match=rf"and {np.dtype(dtype)} \(1, 4\)\. Bring .* \.astype"):
        count_binary(plane([0, 0, 1, 1], np.float32), label.clip(0, 1).astype(dtype), 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("shape", [(4, 5), (5, 4, 1), (20,)])
def test_a_prediction_of_another_size_than_its_label_is_refused(unchecked, dtype, shape):
    with pytest.raises(InputError, match=r"of one size, found uint8 .* and uint8 \(5, 4\)"):
        count_binary(np.zeros(shape, dtype), np.zeros((5, 4), np.uint8), 0.5)


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan")])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(InputError, match=r"probability: expected 0\.\.1"):
        count_binary(plane([0.5, bad], np.float32), plane([0, 1], np.uint8), 0.5)


EDGES = (np.arange(256) / 255).astype(np.float32)


@settings(deadline=None)
@given(probabilities, st.integers(0, 2**31))
@example([0.0, 1.0], 0)
def test_binary_counts_equal_loops_over_pixels(values, seed):
    """Also that "level >= t" is exactly "p >= t / 255", for every t."""
    label = np.random.default_rng(seed).choice([0, 1, IGNORE], (1, len(values))).astype(np.uint8)
    image = plane(values, np.float32)
    counts = count_binary(image, label, 0.25)
    matrix, error = np.zeros((2, 2), int), 0.0
    for value, truth in zip(image[0], label[0]):
        if truth != IGNORE:
            matrix[truth, int(value >= 0.25)] += 1
            error += abs(float(value) - float(truth))
    np.testing.assert_array_equal(counts.confusion, matrix)
    assert counts.error == pytest.approx(error, abs=1e-5)
    for c in (0, 1):
        above = (image[label == c] >= EDGES[:, None]).sum(axis=1)
        np.testing.assert_array_equal(counts.histogram[c, ::-1].cumsum()[::-1], above)


def test_levels_and_masks_are_exact_beside_every_threshold():
    zero = np.zeros((1, 256), np.uint8)
    below = np.nextafter(EDGES, np.float32(-1)).clip(0)
    assert count_binary(EDGES[None], zero, 0.5).histogram[0].tolist() == [1] * 256
    assert count_binary(below[None], zero, 0.5).histogram[0].tolist() == [2] + [1] * 254 + [0]
    for t in (1, 51, 128, 254):  # the mask is what the histogram holds from there on
        assert count_binary(EDGES[None], zero, t / 255).confusion[0, 1] == 256 - t
        assert count_binary(below[None], zero, t / 255).confusion[0, 1] == 255 - t
        levels = np.arange(256, dtype=np.uint8)[None]
        assert count_binary(levels, zero, t / 255).confusion[0, 1] == 256 - t
        assert count_binary(levels, zero, t / 255, PYSOD).confusion[0, 1] == 255 - t  # more than the threshold


def test_an_image_of_ignored_pixels_alone_counts_nothing():
    counts = count_binary(np.full((3, 4), 0.7, np.float32), np.full((3, 4), IGNORE, np.uint8), 0.5)
    assert counts.confusion.sum() == 0 and counts.histogram.sum() == 0 and counts.error == 0
