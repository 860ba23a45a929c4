from dataclasses import replace

import numpy as np
import pytest

from segkd.datasets.data import Records
from segkd.datasets.sheet import TINTS, contact_sheet, overlay
from segkd.types import IGNORE


def records(n, size=(40, 60)):
    """Record i is grey of level 10 i and carries a square object."""
    label = np.zeros(size, np.uint8)
    label[10:30, 10:30] = 1
    return Records("train", tuple(f"id{i}" for i in range(n)), lambda i: (np.full((*size, 3), 10 * i, np.uint8), label))


def test_an_overlay_tints_classes_outlines_them_and_leaves_the_background():
    image = np.full((24, 24, 3), 100, np.uint8)
    label = np.zeros((24, 24), np.uint8)
    label[4:12, 4:12], label[14:22, 14:22] = 1, 2
    painted = overlay(image, label)
    assert (painted[label == 0] == 100).all()
    for value, middle, edge in ((1, (8, 8), (4, 8)), (2, (18, 18), (18, 21))):
        np.testing.assert_allclose(painted[middle], 60 + 0.4 * TINTS[value - 1], atol=1)
        np.testing.assert_array_equal(painted[edge], TINTS[value - 1])
    assert (image == 100).all()


def test_an_overlay_hatches_ignored_pixels():
    label = np.full((12, 12), IGNORE, np.uint8)
    label[:6] = 0
    painted = overlay(np.zeros((12, 12, 3), np.uint8), label)
    assert (painted[:6] == 0).all() and set(np.unique(painted[6:])) == {0, 128}


@pytest.mark.parametrize("n, number, columns, grid", [(5, 4, 3, (2, 3)), (2, 9, 6, (1, 2)), (1, 1, 6, (1, 1))])
def test_a_sheet_is_a_grid_of_pairs(n, number, columns, grid):
    sheet = contact_sheet(records(n), number, side=60, columns=columns)
    assert sheet.shape == (grid[0] * 78, grid[1] * 126, 3) and sheet.dtype == np.uint8


def test_a_sheet_spreads_over_the_whole_split_and_shows_image_beside_overlay():
    sheet = contact_sheet(records(21), 3, side=60, columns=3)
    for tile, level in enumerate((0, 100, 200)):
        left = 126 * tile
        np.testing.assert_array_equal(sheet[20, left + 20], [level] * 3)
        np.testing.assert_array_equal(sheet[35, left + 62 + 50], [level] * 3)  # background of the overlay
        np.testing.assert_allclose(sheet[20, left + 62 + 20], 0.6 * level + 0.4 * TINTS[0], atol=1)


def test_a_sheet_takes_tall_and_wide_images_of_any_class():
    label = np.full((90, 10), 7, np.uint8)
    tall = Records("val", ("x" * 60,), lambda i: (np.zeros((90, 10, 3), np.uint8), label))
    assert contact_sheet(tall, 4, side=45).shape == (63, 96, 3)


def test_names_are_written_in_any_letters_and_never_end_the_program():
    """OpenCV ends with a segmentation fault at a byte that is no UTF-8."""
    plain = records(1)
    odd = "b\xfc\xe9\u0416\udce9\x1b\nx"
    written = contact_sheet(replace(plain, ids=(odd,)), 1)
    blank = contact_sheet(replace(plain, ids=("",)), 1)
    assert written.shape == blank.shape and (written[160:] < 128).sum() > 100 and (blank[160:] == 255).all()
    np.testing.assert_array_equal(written[:160], blank[:160])
