from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.metrics.counts import count_binary, count_classes
from segkd.metrics.meter import LOWER_IS_BETTER, Meter, score_names
from segkd.metrics.rows import BOUNDARY
from segkd.types import IGNORE, InputError

TWO, ABC = ["background", "foreground"], ["a", "b", "c"]


def binary(probability, label):
    return count_binary(np.array(probability, np.float32), np.array(label, np.uint8), 0.5)


def many(predicted, label, classes=3):
    return count_classes(np.array(predicted, np.uint8), np.array(label, np.uint8), classes)


def filled(*counts, classes=TWO):
    meter = Meter(classes)
    for i, one in enumerate(counts):
        meter.add(f"image{i}", one)
    return meter


@cache
def random_counts(seed, number=7):
    draw, out = np.random.default_rng(seed), []
    for i in range(number):
        size = tuple(draw.integers(3, 9, 2))
        label = draw.choice([0, IGNORE] if i % 3 == 2 else [0, 1, IGNORE], size)
        out.append(binary(draw.random(size), label))
    return out


@pytest.mark.parametrize("classes", [2, 3])
def test_an_image_that_comes_twice_is_refused(classes):
    """Pooled scores counted it twice, means over images once, with the later counts."""
    label = np.array([[0, 1]], np.uint8)
    counts = count_binary(label * np.float32(1), label, 0.5) if classes == 2 else count_classes(label, label, 3)
    meter = Meter(["a", "b", "c"][:classes])
    meter.add("one", counts)
    before = meter.confusion.copy()
    with pytest.raises(InputError, match=r"holds 'one' already.*an id of its own"):
        meter.add("one", counts)
    assert (meter.confusion == before).all()


def test_numbers_by_hand():
    # levels 229 102 / 153 25: P, R are (1/2, 1) up to t = 25, (2/3, 1) to 102, (1/2, 1/2) to 153, (1, 1/2) to 229
    scores = filled(binary([[0.9, 0.4], [0.6, 0.1]], [[1, 1], [0, 0]])).scores()
    f_mean = (26 * (0.65 / 1.15) + 77 * (1.3 * 2 / 3 / 1.2) + 51 * 0.5 + 76 * 0.8125) / 256
    expected = {
        "f_max": 0.8125,
        "f_mean": f_mean,
        "f_adaptive": 0.0,  # twice the mean level is 254.5, above every level
        "mae": 0.35,
        "iou_fg_image": 1 / 3,
        "iou_fg_dataset": 1 / 3,
        "miou_image": 1 / 3,
        "miou_dataset": 1 / 3,
        "pixel_accuracy": 0.5,
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


def test_f_max_is_the_maximum_of_the_mean_curve_not_the_mean_of_maxima():
    # F is 1 up to level 51 in one image and, in the other, only above it
    low = binary([[0.2, 0.0]], [[1, 0]])
    high = binary([[1.0, 0.8]], [[1, 0]])
    scores = filled(low, high).scores()
    precise = 1.3 * 0.5 / (0.3 * 0.5 + 1)
    assert scores["f_max"] == pytest.approx((1 + precise) / 2)


def test_image_and_dataset_iou_weigh_images_differently():
    small = binary([[0.9, 0.1]], [[1, 0]])
    large = binary(np.zeros((8, 8)), np.ones((8, 8)))
    scores = filled(small, large).scores()
    assert scores["iou_fg_image"] == pytest.approx(0.5) and scores["iou_fg_dataset"] == pytest.approx(1 / 65)
    assert scores["miou_image"] == pytest.approx((1 + 0) / 2)
    assert scores["miou_dataset"] == pytest.approx((1 / 65 + 1 / 65) / 2)


def test_an_empty_mask_has_iou_one_if_left_empty_and_zero_if_not_and_no_f():
    right, wrong = binary([[0.1, 0.2]], [[0, 0]]), binary([[0.1, 0.9]], [[0, 0]])
    plain = binary([[0.9, 0.1, 0.1, 0.1]], [[1, 0, 0, 0]])
    assert filled(right).scores()["iou_fg_image"] == 1 and filled(wrong).scores()["iou_fg_image"] == 0
    assert np.isnan(filled(right).scores()["f_max"]) and np.isnan(filled(right).scores()["iou_fg_dataset"])
    meter = filled(right, wrong, plain)
    assert len(meter.without_foreground) == 2
    for name in ("f_max", "f_mean", "f_adaptive"):  # images without foreground are left out, not counted as zero
        assert meter.scores()[name] == filled(plain).scores()[name] > 0
    assert meter.scores()["mae"] == pytest.approx((0.15 + 0.5 + 0.1) / 3)


def test_an_image_without_a_valid_pixel_changes_no_score():
    plain, blank = binary([[0.9, 0.4]], [[1, 0]]), binary([[0.5, 0.5]], [[IGNORE, IGNORE]])
    assert filled(plain, blank).scores() == filled(plain).scores()
    assert all(np.isnan(value) for value in filled(blank).scores().values())


def test_ignored_pixels_change_no_score():
    plain = binary([[0.9, 0.4, 0.2]], [[1, 1, 0]])
    padded = binary([[0.9, 0.4, 0.2, 1.0, 0.0]], [[1, 1, 0, IGNORE, IGNORE]])
    assert filled(padded).scores() == filled(plain).scores()


def merged(counts, parts, order):
    """The meter of all counts, gathered from `parts` meters that saw them in the given order."""
    meters = [Meter(TWO) for _ in range(max(parts) + 1)]
    for i in order:
        meters[parts[i]].add(f"image{i}", counts[i])
    whole = Meter(TWO)
    for meter in reversed(meters):
        whole.merge(meter)
    return whole


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 4), st.lists(st.integers(0, 3), min_size=7, max_size=7), st.permutations(range(7)))
def test_any_partition_in_any_order_gives_the_same_scores_to_the_last_bit(seed, parts, order):
    counts = random_counts(seed)
    one, other = filled(*counts), merged(counts, parts, order)
    assert one.scores().keys() == other.scores().keys()
    np.testing.assert_array_equal(list(one.scores().values()), list(other.scores().values()))
    np.testing.assert_array_equal(list(one.per_class().values()), list(other.per_class().values()))
    assert one.threshold() == other.threshold() and one.without_foreground == other.without_foreground


def test_curves_are_made_by_blocks_and_no_score_depends_on_their_size(monkeypatch):
    counts = random_counts(3, 11)
    whole = filled(*counts)
    monkeypatch.setattr("segkd.metrics.meter.BLOCK", 2)
    parts = filled(*counts)
    assert parts.scores() == whole.scores() and list(parts.rows) == list(whole.rows)
    assert str(parts.rows) == str(whole.rows)  # NaN is NaN there
    for name, curve in whole.mean_curves.items():
        np.testing.assert_array_equal(parts.mean_curves[name], curve)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_the_counts_of_an_image_of_two_classes_keep_a_few_kilobytes(dtype):
    counts = count_binary(np.ones((300, 200), dtype), np.ones((300, 200), np.uint8), 0.5)
    kept = [counts.confusion, counts.histogram, counts.boundary, counts.sure]
    assert sum((array if array.base is None else array.base).nbytes for array in kept) < 5000


def test_meters_that_share_an_image_do_not_merge():
    counts = random_counts(0, number=2)
    one, other = filled(*counts), filled(counts[0])
    with pytest.raises(ValueError, match=r"share images: \['image0'\]"):
        one.merge(other)


@pytest.mark.parametrize("classes", [2, 3, 11])
def test_score_names_are_the_names_of_the_scores(classes):
    names = [str(c) for c in range(classes)]
    label = np.random.default_rng(0).integers(0, classes, (5, 6)).astype(np.uint8)
    one = binary(label * 0.8, label) if classes == 2 else many(label, label, classes)
    assert list(filled(one, classes=names).scores()) == score_names(classes)


def test_scores_of_parts_are_their_means_where_they_are_defined_and_the_worst_is_the_lowest():
    right, wrong, empty = (binary([p], [y]) for p, y in (([0.9, 0.1], [1, 0]), ([0.1, 0.9], [1, 0]), ([0.1], [0])))
    meter, other = Meter(TWO), Meter(TWO)
    meter.add("a", right, "good")
    meter.add("b", right, "good")
    for id, counts, part in (("c", wrong, "bad"), ("d", right, "good"), ("e", empty, "aside")):
        other.add(id, counts, part)
    meter.merge(other)
    each, scores = meter.by_part(), meter.scores()
    assert list(each) == ["aside", "bad", "good"] and list(meter.parts["good"].rows) == ["a", "b", "d"]
    assert scores["iou_fg_image"] == meter.score("iou_fg_image") == pytest.approx((0 + 1 + 1) / 3)
    assert scores["f_max"] == pytest.approx((each["bad"]["f_max"] + 1) / 2) and np.isnan(each["aside"]["f_max"])
    assert meter.score("worst_f_max") == each["bad"]["f_max"] < 1


def test_what_comes_later_is_in_the_scores_of_many_classes_too():
    two = many([[0, 0, 1, 1]], [[0, 1, 1, 1]]), many([[0, 0]], [[0, IGNORE]])
    whole, meter, other = filled(*two, classes=ABC), filled(two[0], classes=ABC), Meter(ABC)
    other.add("image1", two[1])
    assert meter.scores() != whole.scores()
    meter.merge(other)
    assert meter.scores() == whole.scores() and list(meter.rows) == ["image0", "image1"]
    meter.add("image2", two[0])
    assert list(meter.rows) == ["image0", "image1", "image2"]
    with pytest.raises(ValueError, match=r"share images: \['image1'\]"):
        meter.merge(other)


def test_many_classes_by_hand():
    meter = filled(
        many([[0, 0, 1, 1]], [[0, 1, 1, 1]]),
        many([[0, 0]], [[0, IGNORE]]),
        classes=["road", "car", "sky"],
    )
    assert meter.scores() == pytest.approx(
        {
            "miou_image": ((1 / 2 + 2 / 3) / 2 + 1) / 2,
            "miou_dataset": (2 / 3 + 2 / 3) / 2,
            "pixel_accuracy": 4 / 5,
            "dice": 4 / 5,
            "class_accuracy": (1 + 2 / 3) / 2,
        }
        | dict.fromkeys(BOUNDARY, 2 / 3)  # a row of pixels is all outline; counted over both images
    )
    per_class = meter.per_class()
    assert list(per_class) == ["road", "car", "sky"]
    assert per_class["road"] == per_class["car"] == pytest.approx(2 / 3) and np.isnan(per_class["sky"])
    assert meter.without_foreground == set()


def test_the_threshold_is_chosen_on_all_images_together():
    label = np.array([[1, 1, 0, 0]])
    meter = filled(binary([[0.4, 0.3, 0.1, 0.0]], label), binary([[0.35, 0.9, 0.2, 0.1]], label))
    assert 0.2 < meter.threshold() <= 0.3


def test_each_image_keeps_its_own_scores():
    meter = filled(binary([[0.9, 0.1]], [[1, 0]]), binary([[0.2, 0.1]], [[1, 0]]))
    assert [meter.rows[f"image{i}"]["iou_fg_image"] for i in range(2)] == [1, 0]
    assert meter.rows["image1"]["mae"] == pytest.approx((0.8 + 0.1) / 2)
    assert meter.rows["image0"]["f_max"] == pytest.approx(1)


def test_a_perfect_map_has_the_best_of_every_score():
    label = np.zeros((40, 50), np.uint8)
    label[10:30, 12:41] = 1
    scores = filled(binary(label.astype(float), label)).scores()
    for name, value in scores.items():
        best = 0.0 if name in LOWER_IS_BETTER else 1.0
        # threshold 0 calls everything foreground, so that means over thresholds never reach 1
        tolerance = 0.01 if name in ("f_mean", "e_mean") else 1e-12
        assert value == pytest.approx(best, abs=tolerance), name


def test_no_images_give_no_scores():
    assert all(np.isnan(value) for value in Meter(["a", "b", "c"]).scores().values())


def test_scores_of_levels_and_of_probabilities_agree():
    draw = np.random.default_rng(3)
    label = draw.choice([0, 1, IGNORE], (30, 31), p=[0.6, 0.3, 0.1]).astype(np.uint8)
    levels = np.clip(draw.normal(60 + 120 * (label == 1), 50), 0, 255).astype(np.uint8)
    # nudged up, so that floor(255 p) is the level in float32 too
    nudged = np.minimum(np.nextafter((levels / np.float32(255)).astype(np.float32), np.float32(2)), 1)
    one, other = filled(count_binary(levels, label, 0.5)).scores(), filled(binary(nudged, label)).scores()
    assert one == pytest.approx(other, rel=1e-5)
