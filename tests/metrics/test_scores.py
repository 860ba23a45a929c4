import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.metrics.counts import count_binary
from segkd.metrics.scores import (
    BETA2,
    best_threshold,
    f_adaptive,
    f_beta,
    f_curve,
    iou,
    mean_iou,
    pixel_accuracy,
    precision_recall,
)
from segkd.types import IGNORE

seeds = st.integers(0, 2**31)
shares = st.integers(0, 10**6).map(lambda n: n / 10**6)


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
    np.testing.assert_allclose(f_curve(histogram(probability, label)), expected, rtol=1e-12)


@settings(deadline=None)
@given(seeds)
def test_the_adaptive_threshold_is_twice_the_mean_level_and_at_most_one(seed):
    probability, label = image(seed)
    level = np.floor(probability * np.float32(255))
    threshold = min(2 * level[label != IGNORE].mean(), 255)
    expected = naive_f(level.astype(float), label, threshold)
    assert f_adaptive(histogram(probability, label)) == pytest.approx(expected, rel=1e-12)


def test_the_adaptive_threshold_of_a_bright_map_is_one():
    label = np.array([[1, 0, 1]], np.uint8)
    sure = histogram(np.array([[1.0, 0.9, 0.8]], np.float32), label)
    assert f_adaptive(sure) == pytest.approx(naive_f(np.array([[1.0, 0.9, 0.8]]), label, 1.0))


@given(shares, shares, st.floats(0.01, 10))
def test_f_beta_lies_between_precision_and_recall(precision, recall, beta2):
    value = f_beta(np.array(precision), np.array(recall), beta2)
    assert min(precision, recall) * (1 - 1e-9) <= value <= max(precision, recall) * (1 + 1e-9)


@given(shares)
def test_f_beta_of_equals_is_that_and_of_nothing_is_zero(share):
    assert f_beta(np.array(share), np.array(share)) == pytest.approx(share)
    assert f_beta(np.array(share), np.array(0.0)) == 0 and f_beta(np.array(0.0), np.array(share)) == 0


def test_beta2_of_three_tenths_favours_precision():
    assert BETA2 == 0.3
    assert f_beta(np.array(0.9), np.array(0.6)) > f_beta(np.array(0.6), np.array(0.9))


@given(seeds)
def test_recall_never_rises_with_the_threshold_and_starts_at_one(seed):
    precision, recall = precision_recall(histogram(*image(seed)))
    assert recall[0] == 1 and (np.diff(recall) <= 0).all() and precision.max() <= 1 and precision.min() >= 0


def test_without_foreground_f_is_not_defined_and_never_zero():
    empty = histogram(*image(0, foreground=False))
    assert np.isnan(f_curve(empty)).all() and np.isnan(f_adaptive(empty))


def test_a_perfect_map_scores_one():
    label = image(1)[1]
    perfect = histogram((label == 1).astype(np.float32), label)
    assert (f_curve(perfect)[1:] == 1).all() and best_threshold(perfect) == 1 / 255


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
