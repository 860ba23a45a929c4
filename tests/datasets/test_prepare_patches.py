"""Objects are drawn within their own rectangles, and masks are those that whole pictures of each object give."""

import tracemalloc

import cv2
import numpy as np
import pytest

from segkd.datasets.prepare.drawing import Drawing, Runs, Shape, Starts, draw, patch_of, polygon

SIZES = [(30, 40), (30, 40), (15, 20), (31, 53), (90, 120)]
"""Of a picture, where its annotations are of the first."""


def by_runs(counts, size, by_columns):
    """A picture of run lengths, zeros first, pixel by pixel."""
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    return flat.reshape(size[::-1]).T if by_columns else flat.reshape(size)


def of_part(part, size, of_size):
    """A whole picture of one part of an object."""
    if isinstance(part, Runs):
        top, left, height, width = part.window
        whole = np.zeros(of_size, np.uint8)
        whole[top : top + height, left : left + width] = by_runs(part.counts, (height, width), part.by_columns)
        return cv2.resize(whole, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
    if isinstance(part, Starts):
        flat = np.zeros(of_size[0] * of_size[1], np.uint8)
        for start, length in part.runs:
            flat[start - 1 : start - 1 + length] = 1
        whole = flat.reshape(of_size[::-1]).T if part.by_columns else flat.reshape(of_size)
        return cv2.resize(np.ascontiguousarray(whole), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
    corners = part * [size[1] / of_size[1], size[0] / of_size[0]] - 0.5
    y, x = np.mgrid[: size[0], : size[1]]
    inside = np.zeros(size, bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0)):
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= ((y1 <= y) != (y2 <= y)) & (x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x)
    return inside


def of_shape(shape, size, of_size):
    return np.logical_or.reduce([of_part(part, size, of_size) for part in shape.parts])


def drawn(shapes, size, of_size, numbers):
    """Whole pictures of all objects, over each other, large ones first."""
    mask = np.zeros(size, np.uint8)
    masks = [(of_shape(shape, size, of_size), numbers[shape.name]) for shape in shapes]
    for inside, number in sorted(masks, key=lambda one: -int(one[0].sum())):
        mask[inside] = number
    return mask


def some_part(draws, of_size):
    kind = draws.integers(4)
    if kind == 0:
        ends = np.sort(draws.integers(0, of_size[0] * of_size[1], 2 * draws.integers(1, 4)))
        runs = [(int(a) + 1, int(b - a)) for a, b in ends.reshape(-1, 2)]
        return Starts(tuple(runs), bool(draws.integers(2)))
    if kind == 1:
        top, left = draws.integers(0, of_size[0]), draws.integers(0, of_size[1])
        height, width = draws.integers(1, of_size[0] - top + 1), draws.integers(1, of_size[1] - left + 1)
        cuts = np.sort(draws.integers(0, height * width + 1, draws.integers(0, 6)))
        counts = np.diff([0, *cuts, height * width])
        return Runs(tuple(counts.tolist()), tuple(map(int, (top, left, height, width))), bool(draws.integers(2)))
    middle, reach = draws.uniform(-5, 45, 2), draws.choice([1.0, 8.0, 40.0])
    corners = middle + draws.uniform(-reach, reach, (draws.integers(3, 8), 2))
    return corners if kind == 2 else np.rint(2 * corners) / 2


@pytest.mark.parametrize("seed", range(40))
def test_masks_are_those_of_whole_pictures(seed):
    draws = np.random.default_rng(seed)
    size, of_size, numbers = SIZES[seed % 5], SIZES[0], {"a": 1, "b": 2, "c": 3}
    shapes = [
        Shape("abc"[k % 3], tuple(some_part(draws, of_size) for _ in range(draws.integers(1, 4)))) for k in range(12)
    ]
    expected = [of_shape(shape, size, of_size) for shape in shapes]
    for shape, whole in zip(shapes, expected):
        patch = patch_of(shape, size, of_size)
        np.testing.assert_array_equal(patch.whole(size), whole)
        assert patch.edges(size) == sum(int((np.diff(whole, axis=axis) != 0).sum()) for axis in (0, 1))
    drawing = Drawing("x", shapes, size=of_size)
    np.testing.assert_array_equal(draw(drawing, size, numbers), drawn(shapes, size, of_size, numbers))
    assert len(drawing.left_out) == sum(not whole.any() for whole in expected)


def test_a_corner_a_rounding_error_beside_the_middle_of_a_row_fills_no_row():
    corners = np.array([[9.275, 44], [70.8875, -15.5], [12.5875, -12], [54.9875, -1.55], [41.7375, 15.500000000000002]])
    inside = patch_of(Shape("a", (corners,)), (31, 53)).whole((31, 53))
    np.testing.assert_array_equal(inside, of_part(corners, (31, 53), (31, 53)))


def test_many_small_objects_on_a_large_picture_take_little_memory():
    squares = [polygon([x, y, x + 9, y, x + 9, y + 9, x, y + 9]) for x in range(0, 1000, 50) for y in (0, 500, 990)]
    runs = Runs((0, 1, 10**6 - 1), (0, 0, 1000, 1000), by_columns=True)
    shapes = [Shape("a", (part,)) for part in [*squares, *[runs] * 20]]
    tracemalloc.start()
    try:
        mask = draw(Drawing("x", shapes), (1000, 1000), {"a": 1})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mask.sum() == 60 * 81 and peak < 8e6  # a picture of each object is 1e6 bytes
