import numpy as np
import pytest

from segkd.metrics.counts import confusion, count_binary, count_classes, foreground
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PLAIN, PYSOD
from segkd.metrics.rows import row_of_classes
from segkd.metrics.scores import calibration_error, class_accuracy, dice, mean_iou
from segkd.types import IGNORE

TWO = ["background", "foreground"]


def row(levels, label, protocol=PLAIN):
    meter = Meter(TWO, protocol)
    meter.add("one", count_binary(np.asarray(levels, np.uint8), np.asarray(label, np.uint8), 0.5, protocol))
    return meter.rows["one"]


def test_rows_hold_what_the_functions_of_one_image_give():
    draw = np.random.default_rng(0)
    for seed in range(8):
        draw = np.random.default_rng(seed)
        label = draw.choice([0, 1, IGNORE], (12, 13)).astype(np.uint8)
        counts = count_binary(draw.integers(0, 256, label.shape).astype(np.uint8), label, 0.5)
        meter = Meter(TWO)
        meter.add("one", counts)
        found = meter.rows["one"]
        assert found["ber"] == pytest.approx(1 - class_accuracy(counts.confusion))
        assert found["dice"] == pytest.approx(dice(counts.confusion)[1])
        assert found["miou_image"] == pytest.approx(mean_iou(counts.confusion))
        assert found["ece"] == pytest.approx(float(calibration_error(counts.histogram, counts.sure)))


@pytest.mark.parametrize(
    ("levels", "truth", "expected"),
    [
        # empty left empty, empty called full, full called empty, full called full; then a half-sure constant
        (
            0,
            0,
            {
                "iou_fg_image": 1,
                "miou_image": 1,
                "dice": 1,
                "boundary_iou": 1,
                "ber": 0,
                "s_measure": 1,
                "e_adaptive": 1,
            },
        ),
        (255, 0, {"iou_fg_image": 0, "dice": 0, "boundary_iou": 0, "ber": 1, "mae": 1, "s_measure": 0, "hd95": 10}),
        (0, 1, {"iou_fg_image": 0, "dice": 0, "f_adaptive": 0, "ber": 1, "s_measure": 0, "hd95": 10}),
        (255, 1, {"iou_fg_image": 1, "miou_image": 1, "f_max": 1, "f_weighted": 1, "ber": 0, "e_max": 1, "hd95": 0}),
        (128, 1, {"iou_fg_image": 1, "mae": 127 / 255, "s_measure": 128 / 255, "ece": 127 / 255}),
    ],
)
def test_empty_full_and_constant_have_stated_scores(levels, truth, expected):
    found = row(np.full((6, 8), levels), np.full((6, 8), truth))
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert np.isnan(found["f_max"]) == np.isnan(found["f_weighted"]) == (truth == 0)
    for name, value in found.items():
        assert np.isnan(value) or name == "hd95" or -1e-12 <= value <= 1 + 1e-12


def test_pysod_counts_an_empty_mask_as_zero_and_plain_not_at_all():
    found = row(np.full((6, 8), 9), np.zeros((6, 8)), PYSOD)
    assert found["f_max"] == found["f_weighted"] == found["iou_fg_image"] == found["dice"] == 0
    assert found["ber"] == pytest.approx(0.5)


def test_a_low_contrast_map_is_stretched_by_pysod_and_taken_as_it_is_by_plain():
    label = np.zeros((8, 8), np.uint8)
    label[2:5, 2:5] = 1
    levels = 100 + label
    assert row(levels, label, PYSOD)["mae"] == 0 and row(levels, label, PLAIN)["mae"] > 0.38
    assert row(levels, label, PYSOD)["iou_fg_image"] == 1 and row(levels, label, PLAIN)["iou_fg_image"] == 0
    beyond, ignored = levels.copy(), label.copy()
    beyond[0, :2], ignored[0, :2] = (0, 255), IGNORE  # the range is that of the whole map, as it would be of a file
    assert row(beyond, ignored, PYSOD)["mae"] == pytest.approx(row(beyond, ignored, PLAIN)["mae"])
    levels = label * np.uint8(64)
    levels[0, 0] = 128  # stretched, 64 is exactly the threshold: not above it
    for protocol in (PYSOD, PLAIN):
        probability = levels / np.float32(255)
        mask = foreground(probability, 0.5, protocol)  # what a picture shows is what is counted
        assert mask.sum() == 1
        counted = count_binary(probability, label, 0.5, protocol).confusion
        np.testing.assert_array_equal(confusion(mask, label, 2), counted)


def test_calibration_by_hand():
    # 100 pixels at p = .8, 60 of them foreground; 100 at p = .2, 20 of them foreground
    histogram = np.zeros((2, 256), np.int64)
    histogram[:, 204], histogram[:, 51] = (40, 60), (80, 20)
    sure = np.zeros(15)
    sure[12], sure[3] = 100 * 0.8, 100 * 0.2
    assert calibration_error(histogram, sure) == pytest.approx(0.5 * 0.2)


def slow_ece(p, label):
    """ECE from the pixels of a map, 15 equal bins, the last one closed."""
    p, truth = p[label != IGNORE].astype(float), label[label != IGNORE] == 1
    bins = np.minimum(np.floor(p * 15 + 1e-9), 14)
    parts = [((bins == k).mean(), p[bins == k], truth[bins == k]) for k in range(15) if (bins == k).any()]
    return sum(share * abs(sure.mean() - right.mean()) for share, sure, right in parts)


def calibrated(seed, shape=(37, 41)):
    """A confident map, nearly calibrated, with probabilities at the edges of bins, and its label."""
    draw = np.random.default_rng(seed)
    p = (1 / (1 + np.exp(-draw.normal(0, 6, shape)))).astype(np.float32)
    p[0, :16] = np.arange(16) / np.float32(15)
    label = (draw.random(shape) < p).astype(np.uint8)
    label[draw.random(shape) < 0.1] = IGNORE
    return p, label


def test_calibration_of_real_numbers_is_that_of_their_pixels_by_image_and_over_a_data_set():
    pairs = {str(seed): calibrated(seed) for seed in range(5)}
    meters = [Meter(TWO), Meter(TWO)]
    for id, (p, label) in pairs.items():
        meters[int(id) % 2].add(id, count_binary(p, label, 0.5))
    whole = meters[1]
    whole.merge(meters[0])
    for id, pair in pairs.items():
        assert whole.rows[id]["ece"] == pytest.approx(slow_ece(*pair), abs=1e-9)
        assert whole.rows[id]["ece"] <= whole.rows[id]["mae"]
    together = [np.concatenate([pair[i].ravel() for pair in pairs.values()]) for i in range(2)]
    assert whole.scores()["ece"] == pytest.approx(slow_ece(*together), abs=1e-9)


@pytest.mark.parametrize(("p", "label", "expected"), [(0.9995, 1, 0.0005), (0.0035, 0, 0.0035), (1, 1, 0)])
def test_a_network_that_is_nearly_sure_and_right_is_nearly_calibrated(p, label, expected):
    meter = Meter(TWO)
    meter.add("one", count_binary(np.full((200, 300), p, np.float32), np.full((200, 300), label, np.uint8), 0.5))
    assert meter.scores()["ece"] == pytest.approx(expected, abs=1e-7)
    assert meter.scores()["mae"] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("ends", [(0, 255), (20, 193), (100, 101)])
def test_calibration_of_pysod_is_that_of_the_stretched_map(ends):
    p, label = calibrated(0)
    levels = np.rint(ends[0] + p * (ends[1] - ends[0])).astype(np.uint8)
    meter = Meter(TWO, PYSOD)
    meter.add("one", count_binary(levels, label, 0.5, PYSOD))
    stretched = (levels - float(ends[0])) / (ends[1] - ends[0])  # 173 steps meet no edge of a bin
    assert meter.rows["one"]["ece"] == pytest.approx(slow_ece(stretched, label), abs=1e-9)


def test_many_classes_by_hand():
    label = np.array([[0, 0, 1, 1, IGNORE]], np.uint8)
    found = row_of_classes(count_classes(np.array([[0, 1, 1, 1, 2]], np.uint8), label, 3))
    assert found["miou_image"] == pytest.approx((1 / 2 + 2 / 3) / 2) and found["pixel_accuracy"] == 3 / 4
    assert found["boundary_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert class_accuracy(np.array([[1, 1], [0, 2]])) == 0.75
    for predicted, truth in (([[0, 1]], [[0, 0]]), ([[0, 0]], [[0, 1]])):  # class 1 is in one of them alone
        found = row_of_classes(count_classes(np.array(predicted, np.uint8), np.array(truth, np.uint8), 3))
        assert found["miou_image"] == found["boundary_iou"] == 1 / 4
