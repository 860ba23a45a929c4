from dataclasses import replace

import numpy as np
import pytest

from segkd.datasets.data import Records
from segkd.datasets.palette import OBJECT, tints
from segkd.datasets.sheet import contact_sheet

TWO = ["background", "object"]


def records(n, size=(40, 60)):
    """Record i is grey of level 10 i and carries a square object."""
    label = np.zeros(size, np.uint8)
    label[10:30, 10:30] = 1
    return Records("train", tuple(f"id{i}" for i in range(n)), lambda i: (np.full((*size, 3), 10 * i, np.uint8), label))


@pytest.mark.parametrize("n, number, columns, grid", [(5, 4, 3, (2, 3)), (2, 9, 6, (1, 2)), (1, 1, 6, (1, 1))])
def test_a_sheet_is_a_grid_of_pairs(n, number, columns, grid):
    sheet = contact_sheet(records(n), number, TWO, side=60, columns=columns)
    assert sheet.shape == (grid[0] * 58, grid[1] * 126, 3) and sheet.dtype == np.uint8


def test_a_sheet_spreads_over_the_whole_split_and_shows_image_beside_overlay():
    sheet = contact_sheet(records(21), 3, TWO, side=60, columns=3)
    for tile, level in enumerate((0, 100, 200)):
        left = 126 * tile
        np.testing.assert_array_equal(sheet[20, left + 20], [level] * 3)
        np.testing.assert_array_equal(sheet[35, left + 62 + 50], [level] * 3)  # background of the overlay
        np.testing.assert_allclose(sheet[20, left + 62 + 20], 0.6 * level + 0.4 * np.array(OBJECT), atol=1)


def test_a_sheet_takes_tall_and_wide_images_of_any_class():
    label = np.full((90, 10), 7, np.uint8)
    tall = Records("val", ("x" * 60,), lambda i: (np.zeros((90, 10, 3), np.uint8), label))
    assert contact_sheet(tall, 4, [f"c{n}" for n in range(8)], side=45).shape == (63 + 4 * 18, 96, 3)


def test_names_are_written_in_any_letters_and_never_end_the_program():
    """OpenCV ends with a segmentation fault at a byte that is no UTF-8."""
    plain = records(1)
    odd = "b\xfc\xe9\u0416\udce9\x1b\nx"
    written = contact_sheet(replace(plain, ids=(odd,)), 1, TWO)
    blank = contact_sheet(replace(plain, ids=("",)), 1, TWO)
    assert written.shape == blank.shape and (written[107:] < 128).sum() > 100 and (blank[107:] == 255).all()
    np.testing.assert_array_equal(written[:107], blank[:107])


def test_of_several_splits_each_record_that_is_not_to_train_on_says_its_own():
    three, sheets = records(3), []
    splits = {"id0": "train", "id1": "val", "id2": "test"}
    for ids, told in (
        (three.ids, splits), (three.ids, None), (("id0", "val: id1", "test: id2"), None),
        (("id0", "x" * 60, "id2"), {"x" * 60: "val"}), (("id0", "val: " + "x" * 39, "id2"), None),
    ):  # fmt: skip
        sheets.append(contact_sheet(replace(three, ids=ids), 3, TWO, splits=told))
    assert np.array_equal(sheets[0], sheets[2]) and not np.array_equal(sheets[0], sheets[1])
    assert np.array_equal(sheets[3], sheets[4])  # a long name is cut, its split is not


def test_more_than_two_classes_have_a_key_with_their_colours():
    names = ["ground", "a", "b\udce9"]
    sheet = contact_sheet(records(1), 1, names, side=60, columns=3)
    assert sheet.shape == (58 + 18, 126, 3)
    for number in (1, 2):
        assert (sheet[61:73] == tints(3)[number]).all(axis=-1).sum() == 144
