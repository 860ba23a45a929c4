import numpy as np
import pytest

from segkd.metrics.counts import count_binary, count_classes
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
        assert found["ece"] == pytest.approx(calibration_error(counts.histogram))


@pytest.mark.parametrize(
    ("levels", "truth", "expected"),
    [
        # empty left empty, empty called full, full called empty, full called full; then a half-sure constant
        (0, 0, {"iou_fg_image": 1, "dice": 1, "boundary_iou": 1, "ber": 0, "mae": 0, "s_measure": 1, "e_adaptive": 1}),
        (255, 0, {"iou_fg_image": 0, "dice": 0, "boundary_iou": 0, "ber": 1, "mae": 1, "s_measure": 0, "hd95": 10}),
        (0, 1, {"iou_fg_image": 0, "dice": 0, "f_adaptive": 0, "ber": 1, "s_measure": 0, "hd95": 10}),
        (255, 1, {"iou_fg_image": 1, "dice": 1, "f_max": 1, "f_weighted": 1, "ber": 0, "e_max": 1, "hd95": 0}),
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


def test_calibration_by_hand():
    # 100 pixels at p = .8, 60 of them foreground; 100 at p = .2, 20 of them foreground
    histogram = np.zeros((2, 256), np.int64)
    histogram[:, 204], histogram[:, 51] = (40, 60), (80, 20)
    assert calibration_error(histogram) == pytest.approx(0.5 * 0.2)


def test_many_classes_by_hand():
    label = np.array([[0, 0, 1, 1, IGNORE]], np.uint8)
    found = row_of_classes(count_classes(np.array([[0, 1, 1, 1, 2]], np.uint8), label, 3))
    assert found["miou_image"] == pytest.approx((1 / 2 + 2 / 3) / 2) and found["pixel_accuracy"] == 3 / 4
    assert found["boundary_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert class_accuracy(np.array([[1, 1], [0, 2]])) == 0.75
