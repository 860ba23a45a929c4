import base64
import io
import math
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.palette import tints
from segkd.metrics.counts import count_binary, foreground
from segkd.metrics.protocol import PLAIN, PYSOD
from segkd.report.gallery import ALARM, MISSED, chosen, paint_answer, paint_error, piece, pieces
from segkd.report.judging import Exhibit
from segkd.types import IGNORE, InputError


def rows(*values):
    return {f"i{n}": {"iou": value} for n, value in enumerate(values)}


def test_groups_are_apart_and_in_order():
    groups = chosen(rows(*[n / 10 for n in range(10)], math.nan), "iou", 3)
    assert groups == {"worst": ["i0", "i1", "i2"], "median": ["i3", "i4", "i5"], "best": ["i9", "i8", "i7"]}
    few = chosen(rows(0.3, 0.1), "iou", 4)
    assert [id for ids in few.values() for id in ids] == ["i1", "i0"]
    empty = chosen(rows(*[n / 10 for n in range(7)], 1.0, 1.0, 1.0), "iou", 2, {"i0", "i7", "i8", "i9"})
    assert empty == {"worst": ["i0", "i1"], "median": ["i3", "i4"], "best": ["i6", "i5"]}
    assert chosen(rows(math.nan), "iou", 4) == {} and chosen({}, "iou", 4) == {}


def test_errors_are_blue_where_missed_and_orange_where_wrong():
    label = np.array([[1, 0, 1, 0, IGNORE]], np.uint8)
    found = np.array([[0, 1, 1, 0, 1]], np.uint8)
    painted = paint_error(Exhibit(None, label, found), found, 2)
    np.testing.assert_array_equal(painted[0], [MISSED, ALARM, [0] * 3, [0] * 3, [110] * 3])
    label, found = np.array([[2, 1]], np.uint8), np.array([[1, 1]], np.uint8)
    np.testing.assert_array_equal(paint_error(Exhibit(None, label, found), found, 3)[0], [ALARM, [0] * 3])


@pytest.mark.parametrize(
    ("protocol", "threshold", "found"),
    [(PLAIN, 0.5, [1, 0, 0, 1]), (PLAIN, 0.25, [1, 1, 1, 1]), (PYSOD, 0.5, [1, 0, 0, 0])],
)  # fmt: skip
def test_an_error_is_what_the_scores_count_as_one(protocol, threshold, found):
    """An object that is hit with .9 is no half of an error, and background at .3 none, unless it is cut below."""
    label = np.array([[1, 1, 0, 0]], np.uint8).repeat(8, axis=0)
    p = np.array([[0.9, 0.4, 0.3, 0.5]], np.float32).repeat(8, axis=0)
    (layer,) = (url for name, url in piece("a", 0.5, Exhibit(None, label, p), 2, threshold, protocol).layers
                if name == "error")  # fmt: skip
    painted = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer.partition(",")[2]))))
    expected = [[0] * 3 if a == b else MISSED if a else ALARM for a, b in zip(label[0], found)]
    np.testing.assert_array_equal(painted[3], expected)
    matrix = count_binary(p, label, threshold, protocol).confusion
    assert [matrix[1, 0], matrix[0, 1]] == [8 * [*map(tuple, expected)].count(tuple(one)) for one in (MISSED, ALARM)]


def test_an_error_lies_on_the_faint_image():
    image = np.full((1, 2, 3), 200, np.uint8)
    found = np.zeros((1, 2), np.uint8)
    painted = paint_error(Exhibit(image, np.array([[1, 0]], np.uint8), found), found, 2)
    np.testing.assert_array_equal(painted[0], [MISSED, [70] * 3])


def test_errors_of_a_large_picture_are_those_of_its_pixels_and_need_little_memory():
    draw = np.random.default_rng(0)
    size = (900, 700)
    image, label = draw.integers(0, 256, (*size, 3), np.uint8), draw.choice(np.array([0, 1, IGNORE], np.uint8), size)
    prediction = draw.random(size, np.float32)
    tracemalloc.start()
    found = foreground(prediction, 0.5)
    painted = paint_error(Exhibit(image, label, prediction), found, 2)
    peak = tracemalloc.get_traced_memory()[1] / label.size
    tracemalloc.stop()
    wrong = ((prediction >= 0.5) != (label == 1))[..., None]
    colour = np.where((label == 1)[..., None], MISSED, ALARM)
    ground = 0.35 * image.mean(axis=2, keepdims=True)
    expected = np.where((label == IGNORE)[..., None], 110, (1 - wrong) * ground + wrong * colour)
    assert np.abs(painted - expected).max() < 0.51 and peak < 25, "bytes per pixel"


def test_the_answer_is_the_image_with_both_outlines():
    image = np.full((60, 60, 3), 50, np.uint8)
    label, prediction = np.zeros((2, 60, 60), np.uint8)
    label[10:30, 10:30], prediction[10:30, 35:50] = 1, 1
    painted = paint_answer(Exhibit(image, label, prediction), prediction, (60, 60), 2)
    assert (painted[20, 20] == 50).all() and (painted[50, 50] == 50).all()
    assert (painted[10, 15] == MISSED).all() and (painted[10, 40] == ALARM).all()
    assert (paint_answer(Exhibit(None, label, prediction), prediction, (60, 60), 2)[20, 20] == 110).all()


def test_the_answer_of_more_classes_is_tinted_with_what_was_predicted():
    label, prediction = np.zeros((2, 60, 60), np.uint8)
    label[10:30, 10:30], prediction[10:30, 35:50] = 1, 2
    painted = paint_answer(Exhibit(None, label, prediction), prediction, (60, 60), 3)
    np.testing.assert_allclose(painted[20, 40], 55 + 0.5 * tints(3)[2], atol=1)
    assert (painted[10, 15] == 255).all() and (painted[20, 20] == 55).all()


def test_layers_are_pictures_of_one_size():
    image = np.zeros((900, 600, 3), np.uint8)
    found = piece("a", 0.5, Exhibit(image, image[..., 0], np.zeros((900, 600), np.float32)), 2)
    assert [caption for caption, _ in found.layers] == ["answer", "image", "label", "prediction", "error"]
    for _, url in found.layers:
        picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        assert picture.size == (found.width, found.height) == (267, 400)
    assert len(piece("a", 0.5, Exhibit(None, image[..., 0], image[..., 0]), 3).layers) == 4


@pytest.mark.parametrize("error", [InputError("gone"), MemoryError(), RuntimeError("can't allocate memory")])
def test_an_image_that_is_gone_or_does_not_fit_is_left_out(error):
    def show(id):
        raise error

    assert pieces(["a"], {"a": 1.0}, show, 2) == []
