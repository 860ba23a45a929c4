import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.metrics.counts import count_binary
from segkd.metrics.curves import curves, f_of
from segkd.metrics.protocol import BETA2, PLAIN, PYSOD
from segkd.metrics.scores import best_threshold, iou, kappa, mean_iou, pixel_accuracy
from segkd.types import IGNORE

seeds = st.integers(0, 2**31)
numbers = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
"""Hits, false alarms, and foreground that was missed."""


def image(seed, foreground=True):
    """A random probability map that knows something of its label, and the label."""
    draw = np.random.default_rng(seed)
    label = (draw.random((6, 7)) < draw.uniform(0.1, 0.9)).astype(np.uint8)
    label[0, 0] = 1
    probability = np.clip(draw.normal(0.3 + 0.4 * label, 0.3), 0, 1).astype(np.float32)
    label[draw.random((6, 7)) < 0.1] = IGNORE
    label[0, 0] = 1 if foreground else IGNORE
    return probability, label if foreground else np.where(label == 1, 0, label).astype(np.uint8)


def histogram(probability, label):
    return count_binary(probability, label, 0.5).histogram


def f_adaptive(probability, label):
    counts = count_binary(probability, label, 0.5)
    hits, alarms, figure = (np.array([n]) for n in (*counts.adaptive, counts.histogram[1].sum()))
    return f_of(hits, alarms, figure, PLAIN)[2][0]


def scored(hits, alarms, missed):
    """Precision, recall and F of numbers of pixels."""
    found = f_of(np.array([hits]), np.array([alarms]), np.array([hits + missed]), PLAIN)
    return tuple(float(one[0]) for one in found)


def naive_f(probability, label, threshold):
    """(1 + .3) P R / (.3 P + R) of one thresholded map, from its pixels."""
    valid = label != IGNORE
    predicted, truth = (probability >= threshold)[valid], (label == 1)[valid]
    hits = (predicted & truth).sum()
    precision, recall = hits / predicted.sum() if predicted.any() else 0.0, hits / truth.sum()
    return 1.3 * precision * recall / (0.3 * precision + recall) if hits else 0.0


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_the_f_curve_equals_a_loop_over_thresholds(seed):
    probability, label = image(seed)
    expected = [naive_f(probability, label, np.float32(t / 255)) for t in range(256)]
    found = curves(histogram(probability, label)[None])["f"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_the_adaptive_threshold_is_twice_the_mean_level_and_at_most_one(seed):
    probability, label = image(seed)
    level = np.floor(probability * np.float32(255))
    threshold = min(2 * level[label != IGNORE].mean(), 255)
    expected = naive_f(level.astype(float), label, threshold)
    assert f_adaptive(probability, label) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", [77, 100, 200, 255])
def test_a_level_that_is_twice_the_mean_is_predicted_by_bytes_and_by_numbers(level):
    label = np.zeros((10, 10), np.uint8)
    label[:5] = 1
    assert f_adaptive(label * np.uint8(level), label) == f_adaptive(label * np.float32(level / 255), label) == 1


def test_the_adaptive_threshold_of_a_bright_map_is_one():
    label = np.array([[1, 0, 1]], np.uint8)
    sure = np.array([[1.0, 0.9, 0.8]], np.float32)
    assert f_adaptive(sure, label) == pytest.approx(naive_f(sure, label, 1.0))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_nothing_below_the_adaptive_threshold_is_predicted_nor_a_map_of_zeros(dtype):
    label, scale = np.array([[1, 0, 0]], np.uint8), 1 if dtype is np.uint8 else np.float32(255)
    for levels in ([0, 0, 0], [67, 34, 0]):  # twice the mean is 67.3
        assert f_adaptive((np.array([levels]) / scale).astype(dtype), label) == 0


def test_a_level_that_ties_with_the_adaptive_threshold_of_pysod_ties_beside_ignored_pixels_too():
    levels, label = np.array([[64, 0, 255]], np.uint8), np.array([[1, 0, IGNORE]], np.uint8)
    assert count_binary(levels, label, 0.5, PYSOD).adaptive == (1, 0)


@given(numbers)
def test_f_beta_lies_between_precision_and_recall(found):
    if sum(found[::2]):
        precision, recall, f = scored(*found)
        assert min(precision, recall) * (1 - 1e-9) <= f <= max(precision, recall) * (1 + 1e-9)
        assert found[1] != found[2] or f == pytest.approx(precision)


def test_f_of_nothing_found_is_zero_and_beta2_of_three_tenths_favours_precision():
    assert scored(0, 7, 5) == scored(0, 0, 5) == (0, 0, 0)
    assert BETA2 == 0.3 and scored(6, 1, 4)[2] > scored(6, 4, 1)[2]


@settings(max_examples=20)
@given(seeds)
def test_recall_never_rises_with_the_threshold_and_starts_at_one(seed):
    found = curves(histogram(*image(seed))[None])
    precision, recall = found["precision"][0], found["recall"][0]
    assert recall[0] == 1 and (np.diff(recall) <= 0).all() and precision.max() <= 1 and precision.min() >= 0


def test_without_foreground_f_is_not_defined_and_never_zero():
    empty = image(0, foreground=False)
    assert np.isnan(curves(histogram(*empty)[None])["f"]).all() and np.isnan(f_adaptive(*empty))


def test_a_perfect_map_scores_one():
    label = image(1)[1]
    perfect = histogram((label == 1).astype(np.float32), label)
    assert (curves(perfect[None])["f"][0, 1:] == 1).all() and best_threshold(perfect) == 127 / 255


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_the_best_threshold_has_the_best_iou_of_all(seed):
    probability, label = image(seed)
    valid = label != IGNORE

    def naive_iou(threshold):
        predicted, truth = (probability >= np.float32(threshold))[valid], (label == 1)[valid]
        return (predicted & truth).sum() / (predicted | truth).sum()

    best = best_threshold(histogram(probability, label))
    assert naive_iou(best) == max(naive_iou(t / 255) for t in range(256))


@given(seeds, st.integers(2, 6))
def test_iou_equals_sets_of_pixels(seed, classes):
    draw = np.random.default_rng(seed)
    truth, predicted = draw.integers(0, classes, (2, 30))
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    for c, value in enumerate(iou(matrix)):
        union = ((truth == c) | (predicted == c)).sum()
        if union:
            assert value == ((truth == c) & (predicted == c)).sum() / union
        else:
            assert np.isnan(value)
    assert mean_iou(matrix) == pytest.approx(np.nanmean(iou(matrix)))
    assert pixel_accuracy(matrix) == pytest.approx((truth == predicted).mean())


@given(seeds, st.integers(2, 4))
def test_kappa_is_what_is_right_beyond_pairs_drawn_apart(seed, classes):
    draw = np.random.default_rng(seed)
    truth = draw.choice(classes, 12, p=draw.dirichlet([1] * classes)).tolist()
    predicted = draw.integers(0, classes, 12).tolist()
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    right = sum(t == p for t, p in zip(truth, predicted)) / 12
    chance = sum(t == p for t in truth for p in predicted) / 144  # of a prediction drawn from another pixel
    assert kappa(matrix) == pytest.approx((right - chance) / (1 - chance) if chance < 1 else 1.0)


def test_iou_is_not_defined_only_for_a_class_that_is_neither_there_nor_predicted():
    values = iou(np.array([[4, 0, 1], [0, 0, 0], [0, 0, 3]]))
    np.testing.assert_array_equal(values, [0.8, np.nan, 0.75])
    assert mean_iou(np.array([[4, 0, 1], [0, 0, 0], [0, 0, 3]])) == pytest.approx(0.775)
    np.testing.assert_array_equal(iou(np.array([[4, 1], [0, 0]])), [0.8, 0])


def test_without_pixels_nothing_is_defined():
    nothing = np.zeros((2, 2), np.int64)
    assert np.isnan(iou(nothing)).all() and np.isnan(mean_iou(nothing)) and np.isnan(pixel_accuracy(nothing))


@given(st.lists(st.integers(0, 50), min_size=9, max_size=9), st.permutations(range(3)))
def test_renumbering_the_classes_renumbers_the_scores(numbers, order):
    matrix = np.array(numbers, np.int64).reshape(3, 3)
    renumbered = matrix[np.ix_(order, order)]
    np.testing.assert_array_equal(iou(renumbered), iou(matrix)[order])
    np.testing.assert_allclose(mean_iou(renumbered), mean_iou(matrix))


def test_without_foreground_the_best_threshold_is_a_half():
    assert best_threshold(histogram(np.full((4, 4), 0.3, np.float32), np.zeros((4, 4), np.uint8))) == 0.5
