import numpy as np
import pytest

from segkd.datasets.palette import OBJECT, class_colours, outlines, overlay, paint_label, tints
from segkd.types import IGNORE


@pytest.mark.parametrize("classes", [2, 3])
def test_an_overlay_tints_classes_outlines_them_and_leaves_the_background(classes):
    image = np.full((24, 24, 3), 100, np.uint8)
    label = np.zeros((24, 24), np.uint8)
    label[4:12, 4:12], label[14:22, 14:22] = 1, classes - 1
    painted = overlay(image, label, classes)
    assert (painted[label == 0] == 100).all()
    for value, middle, edge in ((1, (8, 8), (4, 8)), (classes - 1, (18, 18), (18, 21))):
        np.testing.assert_allclose(painted[middle], 60 + 0.4 * tints(classes)[value], atol=1)
        np.testing.assert_array_equal(painted[edge], tints(classes)[value])
    assert (image == 100).all()


def test_an_overlay_hatches_ignored_pixels():
    label = np.full((12, 12), IGNORE, np.uint8)
    label[:6] = 0
    painted = overlay(np.zeros((12, 12, 3), np.uint8), label, 2)
    assert (painted[:6] == 0).all() and set(np.unique(painted[6:])) == {0, 128}


def test_an_outline_is_seen_at_any_size():
    for side, wide in ((40, 1), (1200, 3)):
        label = np.zeros((side, side), np.uint8)
        label[side // 4 : side // 2] = 1
        painted = overlay(np.zeros((side, side, 3), np.uint8), label, 2)
        assert (painted[:, 0] == OBJECT).all(axis=-1).sum() == 2 * wide
    assert [int(outlines(label, reach)[:, 0].sum()) for reach in (0, 1, 2)] == [2, 4, 8]


def test_colours_are_distinct_and_ignored_pixels_grey():
    assert len({tuple(colour) for colour in tints(11)[:11]}) == 11 and tuple(tints(2)[1]) == OBJECT
    np.testing.assert_array_equal(tints(11)[:11], class_colours(11))
    assert (paint_label(np.array([[IGNORE]]), 3) == 110).all() and (tints(3)[3:] == 110).all()
