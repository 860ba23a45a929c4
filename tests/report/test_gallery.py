import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from segkd.report.gallery import ALARM, MISSED, chosen, paint_error, piece, pieces
from segkd.report.judging import Exhibit
from segkd.types import IGNORE, InputError


def rows(*values):
    return {f"i{n}": {"iou": value} for n, value in enumerate(values)}


def test_groups_are_apart_and_in_order():
    groups = chosen(rows(*[n / 10 for n in range(10)], math.nan), "iou", 3)
    assert groups == {"worst": ["i0", "i1", "i2"], "median": ["i3", "i4", "i5"], "best": ["i9", "i8", "i7"]}
    few = chosen(rows(0.3, 0.1), "iou", 4)
    assert [id for ids in few.values() for id in ids] == ["i1", "i0"]
    assert chosen(rows(math.nan), "iou", 4) == {} and chosen({}, "iou", 4) == {}


def test_errors_are_blue_where_missed_and_orange_where_wrong():
    label = np.array([[1, 0, 1, 0, IGNORE]], np.uint8)
    painted = paint_error(Exhibit(None, label, np.array([[0, 1, 1, 0, 1]], np.float32)))
    np.testing.assert_array_equal(painted[0], [MISSED, ALARM, [0] * 3, [0] * 3, [110] * 3])
    painted = paint_error(Exhibit(None, np.array([[2, 1]], np.uint8), np.array([[1, 1]], np.uint8)))
    np.testing.assert_array_equal(painted[0], [ALARM, [0] * 3])


def test_layers_are_pictures_of_one_size():
    image = np.zeros((900, 600, 3), np.uint8)
    found = piece("a", 0.5, Exhibit(image, image[..., 0], np.zeros((900, 600), np.float32)), 2)
    assert [caption for caption, _ in found.layers] == ["image", "label", "prediction", "error"]
    for _, url in found.layers:
        picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        assert picture.size == (found.width, found.height) == (267, 400)
    assert len(piece("a", 0.5, Exhibit(None, image[..., 0], image[..., 0]), 3).layers) == 3


@pytest.mark.parametrize("error", [InputError("gone"), MemoryError(), RuntimeError("can't allocate memory")])
def test_an_image_that_is_gone_or_does_not_fit_is_left_out(error):
    def show(id):
        raise error

    assert pieces(["a"], {"a": 1.0}, show, 2) == []
