"""Equality with PySODMetrics 1.6.2. The numbers come from tests/golden/make_pysod.py, run beside that package."""

import numpy as np
import pytest

from segkd.metrics.counts import count_binary
from segkd.metrics.curves import curves
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PYSOD
from segkd.metrics.structure import s_measure
from tests.conftest import REPOSITORY
from tests.golden.pairs import all_pairs

SCALARS = ("f_adaptive", "e_adaptive", "mae", "s_measure", "f_weighted", "iou_fg_image", "dice", "ber")
PAIRS = all_pairs()
TABLE = dict(np.load(REPOSITORY / "tests" / "golden" / "pysod.npz"))


def test_the_table_is_of_these_pairs():
    assert TABLE["names"].tolist() == list(PAIRS) and len(TABLE["real_scalars"]) >= 10


@pytest.mark.parametrize("name", list(PAIRS))
def test_a_pair_has_the_same_scores_and_the_same_curves(name):
    levels, mask = PAIRS[name]
    number = list(PAIRS).index(name)
    meter = Meter(["background", "foreground"], PYSOD)
    meter.add(name, count_binary(levels, (mask > 128).astype(np.uint8), 0.5, PYSOD))
    scores = meter.scores()
    for score, expected in zip(SCALARS, TABLE["scalars"][number]):
        if np.isnan(expected):  # an empty quadrant: ours adds nothing where PySODMetrics gives no number
            assert score == "s_measure" and 0 <= scores[score] <= 1
        else:
            assert abs(scores[score] - expected) <= 1e-12, score
    for curve, expected in zip(("f", "e"), TABLE["curves"][number]):
        np.testing.assert_array_equal(meter.mean_curves[curve], expected)


def test_only_an_empty_quadrant_makes_pysod_give_no_number():
    rows, columns = np.where(np.isnan(TABLE["scalars"]))
    assert {SCALARS[column] for column in columns} == {"s_measure"}
    assert {list(PAIRS)[row] for row in rows} <= {"row", "column", "square"}


@pytest.mark.parametrize("number", range(len(TABLE["real_scalars"])))
def test_real_images_have_the_same_curves_and_structure(number):
    quadrants, shares = TABLE["real_quadrants"][number].astype(np.int64), TABLE["real_shares"][number]
    histogram = quadrants.sum(axis=0)
    there = np.flatnonzero(histogram.sum(axis=0))
    low, high = there[0] / 255, there[-1] / 255
    values = np.clip((np.arange(256) / 255 - low) / (high - low), 0, 1)
    again = np.stack([np.bincount((values * 255).astype(np.uint8), row, 256) for row in histogram]).astype(np.int64)
    found = curves(again[None], PYSOD)
    for curve, expected in zip(("f", "e"), TABLE["real_curves"][number]):
        np.testing.assert_array_equal(found[curve][0], expected)
    expected = dict(zip(SCALARS, TABLE["real_scalars"][number]))
    error = (histogram[0] * values).sum() + (histogram[1] * (1 - values)).sum()
    assert abs(error / histogram.sum() - expected["mae"]) <= 1e-12
    assert abs(s_measure(quadrants, shares, values) - expected["s_measure"]) <= 1e-12


def test_a_data_set_has_the_mean_of_its_images():
    meter = Meter(["background", "foreground"], PYSOD)
    for number, (levels, mask) in enumerate(list(PAIRS.values())[:16]):
        meter.add(f"{number:02d}", count_binary(levels, (mask > 128).astype(np.uint8), 0.5, PYSOD))
    np.testing.assert_array_equal(meter.mean_curves["f"], np.mean(TABLE["curves"][:16, 0], axis=0))
    assert meter.scores()["f_max"] == np.mean(TABLE["curves"][:16, 0], axis=0).max()
    for column, score in enumerate(SCALARS):
        assert abs(meter.scores()[score] - TABLE["scalars"][:16, column].mean()) <= 1e-12
