"""Class shares of a view."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segkd.datasets.labels import class_shares, normalise_shares, shares_under
from segkd.datasets.transforms import Augment, Transform, seeded
from segkd.types import IGNORE
from tests.datasets.test_transforms import STILL, WARPS, blobs, draw, photo


@pytest.mark.parametrize("classes, shrink, read", [(2, 2, 1), (3, 4, 2), (5, 4, 4), (11, 5, 1), (11, 6, 3)])
def test_shares_are_block_means_over_the_valid_pixels_of_a_whole_shrink(classes, shrink, read):
    label = blobs((6 * shrink, 4 * shrink), classes, ignored=0.3)
    label[: 2 * shrink, :shrink] = IGNORE  # two blocks without a valid pixel
    image = photo((label.shape[0] // read, label.shape[1] // read))  # made smaller when it was read
    soft = Transform((6, 4), None, classes, True)(image, label, draw(0)).soft
    for row in range(6):
        for column in range(4):
            block = label[row * shrink : (row + 1) * shrink, column * shrink : (column + 1) * shrink]
            block = block[block != IGNORE]
            expected = [(block == c).sum() / max(len(block), 1) for c in range(classes)]
            np.testing.assert_allclose(soft[row, column], expected, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([2, 3, 11]), st.sampled_from([0.15, 0.9]))
@example(6, 2, 0.9)  # one side shrinks, the other grows
def test_shares_are_a_distribution_on_valid_pixels_and_hold_the_label(seed, classes, ignored):
    label = blobs((37, 45), classes, seed, ignored)
    size = ((12, 12), (20, 31), (64, 48), (64, 9))[seed // 2 % 4]
    view = Transform(size, WARPS if seed % 2 else None, classes, True)(photo((37, 45)), label, draw(seed))
    valid = view.label != IGNORE
    assert view.soft.dtype == np.float32 and view.soft.min() >= 0
    np.testing.assert_allclose(view.soft.sum(axis=-1)[valid], 1, atol=1e-5)
    own = np.take_along_axis(view.soft, np.where(valid, view.label, 0)[..., None].astype(int), axis=-1)[..., 0]
    assert (own[valid] > 0).all()  # the class at a pixel's centre has area in it


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(12, 12), (20, 31), (64, 48)]))
def test_shares_follow_the_very_warp_of_the_image(seed, size):
    label = blobs((150, 180), 3, seed)  # every crop of it shrinks, by area as shares do
    image = (255 * (label[..., None] == np.arange(3))).astype(np.uint8)  # the classes as red, green and blue
    view = Transform(size, WARPS, 3, True)(image, label, draw(seed))
    assert np.abs(view.image / 255 - view.soft).max() < 0.02


@pytest.mark.parametrize("augment", [None, WARPS])
def test_shares_of_as_many_classes_as_a_mask_can_hold(augment):
    """More planes than OpenCV mirrors at once; of an image that grows, each pixel lies in one of the label or on its
    border."""
    label = draw(0).integers(0, 255, (9, 11)).astype(np.uint8)
    view = Transform((99, 99), augment, 255, True)(photo((9, 11)), label, draw(3))
    assert view.soft.shape == (99, 99, 255)
    np.testing.assert_allclose(view.soft.sum(axis=-1), 1, atol=1e-5)
    own = np.take_along_axis(view.soft, view.label[..., None].astype(int), axis=-1)
    assert (own > 0.999).mean() > 0.6 and own.min() > 0.2


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(7, 9), (9, 9)]))
def test_shares_are_those_of_planes_that_travel_as_images(seed, size):
    """Exact areas under the warp, against crop, area average, flips and turns of every plane."""
    label = blobs((61, 83), 3, seed, ignored=0.2)
    augment = replace(WARPS, quarter_turns=size[0] == size[1])
    transform = Transform(size, augment, 3, True)
    view = transform(photo((61, 83)), label, draw(seed))
    planes = seeded(transform.warp, draw(seed))(image=class_shares(label, 3), mask=label)["image"]
    valid = view.label != IGNORE
    np.testing.assert_allclose(view.soft[valid], normalise_shares(planes)[valid], atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_where_a_larger_label_has_no_area_in_a_valid_pixel_its_class_is_the_share(seed):
    """Nearest by way of the smaller image may take a pixel of the label from outside of the view's pixel."""
    label = np.where(draw(seed).random((30, 30)) < 0.8, IGNORE, draw(seed, 1).integers(0, 2, (30, 30))).astype(np.uint8)
    crop = Transform((16, 16), Augment(scale=(0.3, 0.5), colour=0.0), 2, True)
    view = crop(photo((10, 10)), label, draw(seed, 2))
    bare = (shares_under(label, 2, view.warp, (16, 16)).sum(axis=-1) == 0) & (view.label != IGNORE)
    assert bare.any()
    np.testing.assert_array_equal(view.soft[bare], view.label[bare][:, None] == np.arange(2))


def test_ignored_pixels_stay_ignored_and_without_shares():
    label = np.zeros((32, 32), np.uint8)
    label[:, 16:] = IGNORE
    for augment in (None, Augment(**{**STILL, "flip_horizontal": True})):
        view = Transform((8, 8), augment, 2, True)(photo((32, 32)), label, draw(3))
        assert (view.label == IGNORE).sum() == 32 and set(np.unique(view.label)) == {0, IGNORE}
        assert (view.soft[view.label == IGNORE] == 0).all() and (view.soft[view.label == 0] == [1, 0]).all()


def test_an_image_that_shrinks_one_way_and_grows_the_other_does_not_shift():
    """OpenCV's INTER_AREA alone moves it by most of a pixel; ours keeps the centre of mass."""
    image = np.zeros((61, 83, 3), np.uint8)
    image[20:41, 30:60] = 255
    label = (image[..., 0] > 0).astype(np.uint8)
    for size in ((20, 100), (200, 30), (50, 100), (20, 30), (200, 100)):
        view = Transform(size, None, 2, True)(image, label, draw(0))
        for mass in (view.image[..., 0] / 255.0, view.soft[..., 1]):
            rows, columns = np.indices(size)
            centre = (
                ((mass * rows).sum() / mass.sum() + 0.5) / size[0] * 61,
                ((mass * columns).sum() / mass.sum() + 0.5) / size[1] * 83,
            )
            assert np.abs(np.array(centre) - (30.5, 45.0)).max() < 0.05


@pytest.mark.parametrize("size", [(20, 100), (100, 20), (45, 60)])
def test_a_crop_that_shrinks_one_side_and_grows_the_other_does_not_shift_its_label(size):
    """OpenCV's INTER_AREA alone moves it by up to 1.3 source pixels; where it lies in the file is `warp`'s to say."""
    image = np.zeros((61, 83, 3), np.uint8)
    image[25:36, 36:52] = 255
    crop = Transform(size, Augment(scale=(0.4, 1.0), ratio=(0.3, 3.0), colour=0.0), 2, True)
    shifts = []
    for i in range(60):
        view = crop(image, (image[..., 0] > 0).astype(np.uint8), draw(i))
        borders = view.warp @ [[-1, 1], [-1, 1], [1, 1]] * [[83 / 2], [61 / 2]] + [[83 / 2], [61 / 2]]
        (left, right), (top, bottom) = np.sort(borders)
        sides = np.array([bottom - top, right - left])
        if top > 22 or bottom < 39 or left > 33 or right < 55 or not np.ptp(np.sign(sides - size)):
            continue  # cut off, or all sides shrink or grow
        for mass in (view.image[..., 0] / 255.0, view.soft[..., 1], view.label.astype(float)):
            rows, columns = np.indices(size)
            centre = [((mass * columns).sum() / mass.sum() + 0.5) / size[1] * 2 - 1]
            centre += [((mass * rows).sum() / mass.sum() + 0.5) / size[0] * 2 - 1, 1.0]
            shifts.append((view.warp @ centre + 1) / 2 * (83, 61) - (44.0, 30.5))
    images, shares, labels = np.array(shifts).reshape(-1, 3, 2).transpose(1, 0, 2)
    assert len(images) >= 10
    # shares may be cut off at the borders of the crop; a single label is rounded to whole pixels
    assert np.abs(images).max() < 0.1 and np.abs(shares).max() < 0.1
    assert np.abs((labels - images).mean(axis=0)).max() < 0.3
