from itertools import islice

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.datasets.data import Records
from segkd.datasets.loader import SegmentationDataset, train_loader
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Augment, Transform
from segkd.types import IGNORE, InputError

STILL = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip_horizontal": False, "colour": 0.0}
"""An augmentation that changes nothing of a square image."""
WARPS = Augment(flip_vertical=True, colour=0.0)


def draw(*seed):
    return np.random.default_rng(seed)


def blobs(size, classes, seed=0, ignored=0.0):
    """A label of smooth regions, some pixels ignored."""
    label = cv2.resize(draw(seed).random((5, 5, classes)), size[::-1]).argmax(axis=-1).astype(np.uint8)
    label[draw(seed, 1).random(size) < ignored] = IGNORE
    return label


def photo(size, seed=0):
    return draw(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def same(one, other):
    pairs = ((one.image, other.image), (one.label, other.label), (one.soft, other.soft))
    return all(np.array_equal(a, b) for a, b in pairs)


def test_two_workers_and_two_epochs_never_replay_one_stream():
    image, label = photo((24, 24)), blobs((24, 24), 2)
    records = Records("train", tuple("abcdefgh"), lambda i: (image, label))  # all alike: only the draws differ
    dataset = SegmentationDataset(records, Transform((16, 16), Augment(), 2, False), seed=0)
    for workers in (0, 2):
        batches = islice(train_loader(dataset, EpochBatches(8, 2, seed=0), workers), 8)  # two epochs
        views = [one.numpy().tobytes() for batch in batches for one in batch.image]
        assert len(set(views)) == 16


def test_horizontal_and_vertical_flip_fire_independently():
    image, label = photo((8, 8)), blobs((8, 8), 2)
    flip = Transform((8, 8), Augment(**{**STILL, "flip_horizontal": True, "flip_vertical": True}), 2, False)
    expected = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    views = [flip(image, label, draw(0, 0, i)).image for i in range(80)]
    times = [sum(np.array_equal(view, one) for view in views) for one in expected]
    assert sum(times) == 80 and min(times) >= 10  # 20 expected of each


@pytest.mark.parametrize("of", ["image", "output"])
@pytest.mark.parametrize("size", [(375, 1242), (1200, 300), (40, 30)])
def test_crops_of_an_elongated_image_lie_everywhere(size, of):
    rows, columns = np.indices(size)
    place = np.stack([rows // 8, columns // 8, 0 * rows], axis=-1).astype(np.uint8)
    crop = Transform((64, 64), Augment(ratio_of=of, flip_horizontal=False, colour=0.0), 2, False)
    corners = [crop(place, np.zeros(size, np.uint8), draw(0, 0, i)).warp for i in range(200)]
    assert len({warp.tobytes() for warp in corners}) > 100
    for axis in (0, 1):  # a view's middle lies at the last column of its warp, its half side in the first ones
        assert min(warp[axis, 2] - warp[axis, axis] for warp in corners) < -0.95
        assert max(warp[axis, 2] + warp[axis, axis] for warp in corners) > 0.95


@pytest.mark.parametrize("size", [(300, 400), (375, 1242), (1200, 300)])
def test_views_for_training_are_squeezed_about_as_whole_images_are(size):
    """A network is validated on whole images squeezed into its size; whatever their shape, that is the middle of what
    it is trained on, crops of any share among them."""
    crop = Transform((64, 64), Augment(colour=0.0), 2, False)
    views = [crop(photo(size), np.zeros(size, np.uint8), draw(0, 0, i)).warp for i in range(100)]
    squeezed = np.array([abs(warp[0, 0]) / warp[1, 1] for warp in views])  # 1 for the whole image
    assert 0.78 < squeezed.min() < 0.85 and 1.18 < squeezed.max() < 1.28
    assert abs(np.log(squeezed).mean()) < 0.05
    shares = np.array([abs(warp[0, 0]) * warp[1, 1] for warp in views])
    assert shares.min() < 0.45 and shares.max() > 0.9


def test_quarter_turns_give_all_four_views():
    image, label = photo((8, 8)), blobs((8, 8), 2)
    turn = Transform((8, 8), Augment(**{**STILL, "quarter_turns": True}), 2, False)
    views = [turn(image, label, draw(0, 0, i)) for i in range(60)]
    times = [sum(np.array_equal(view.image, np.rot90(image, n)) for view in views) for n in range(4)]
    assert sum(times) == 60 and min(times) >= 5
    assert all(np.array_equal(np.rot90(label, n), v.label) for v in views for n in range(4)
               if np.array_equal(v.image, np.rot90(image, n)))  # fmt: skip


def test_a_view_depends_on_its_generator_alone():
    image, label = photo((30, 20)), blobs((30, 20), 3)
    fresh, used = (Transform((16, 16), Augment(flip_vertical=True), 3, True) for _ in range(2))
    for i in range(7):
        used(photo((9, 50), i), blobs((9, 50), 3, i), draw(5, 5, i))
    np.random.default_rng().random()
    assert same(fresh(image, label, draw(1, 2, 3)), used(image, label, draw(1, 2, 3)))
    others = [used(image, label, draw(*key)) for key in ((1, 2, 4), (1, 3, 3), (2, 2, 3), (3, 2, 1))]
    assert not any(same(fresh(image, label, draw(1, 2, 3)), other) for other in others)


def test_an_augmentation_of_nothing_changes_nothing():
    image, label = photo((16, 16)), blobs((16, 16), 3, ignored=0.2)
    for augment in (None, Augment(**STILL)):
        view = Transform((16, 16), augment, 3, True)(image, label, draw(0))
        np.testing.assert_array_equal(view.image, image)
        np.testing.assert_array_equal(view.label, label)
        np.testing.assert_array_equal(view.soft, label[..., None] == np.arange(3))


def test_colour_changes_the_image_and_nothing_else():
    image, label = photo((16, 16)), blobs((16, 16), 2)
    colour = Transform((16, 16), Augment(**{**STILL, "colour": 0.5}), 2, True)
    views = [colour(image, label, draw(i)) for i in range(12)]
    assert sum(np.array_equal(view.image, image) for view in views) < 8
    assert all(np.array_equal(view.label, label) for view in views)


def test_colour_scales_brightness_by_its_strength_both_ways_and_leaves_a_fifth_alone():
    grey = np.full((4, 4, 3), 100, np.uint8)  # has neither contrast nor saturation nor hue
    colour = Transform((4, 4), Augment(**{**STILL, "colour": 0.3}), 2, False)
    values = np.array([colour(grey, grey[..., 0] * 0, draw(i)).image[0, 0, 0] for i in range(100)])
    assert 70 <= values.min() < 80 and 120 < values.max() <= 130
    assert 10 <= (values == 100).sum() <= 35


def test_contrast_saturation_and_hue_change_by_their_strength():
    row = [[60] * 3, [140] * 3, [130, 90, 90], [130, 90, 90]]  # two greys and a colour, whose hue is 0
    image = np.array([row] * 4, np.uint8)
    colour = Transform((4, 4), Augment(**{**STILL, "colour": 0.3}), 2, False)
    views = np.array([colour(image, image[..., 0] * 0, draw(i)).image[0].astype(float) for i in range(200)])
    contrast = (views[:, 1, 0] - views[:, 0, 0]) / 80  # times brightness, 0.7..1.3 by itself
    assert contrast.min() < 0.68 and contrast.max() > 1.32
    range_, tilt = np.ptp(views[:, 2], axis=1), views[:, 2, 1] - views[:, 2, 2]
    saturation, hue = range_ / 40 / contrast, np.abs(60 * tilt / range_)
    assert 0.65 < saturation.min() < 0.8 and 1.2 < saturation.max() < 1.38
    assert 6 < hue.max() < 15  # degrees: a tenth of 0.3 is 10.8 of 360


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"scale": (0.0, 1.0)}, "scale"), ({"scale": (0.5, 0.4)}, "scale"), ({"scale": (0.5, 1.5)}, "scale"),
     ({"ratio": (0.0, 1.0)}, "ratio"), ({"ratio": (1.2, 0.8)}, "ratio"),
     ({"colour": -0.1}, "colour"), ({"colour": 1.1}, "colour")],
)  # fmt: skip
def test_an_augmentation_that_there_is_not_is_refused(settings, said):
    with pytest.raises(InputError, match=rf"data\.augment\.{said} is"):
        Augment(**settings)
    assert Augment(scale=(1.0, 1.0), ratio=(1.0, 1.0), colour=1.0)


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(3, 60)] * 2), st.tuples(*[st.integers(4, 48)] * 2), st.booleans(), st.booleans())
def test_any_size_becomes_the_asked_size(old, new, augmented, soft):
    view = Transform(new, Augment() if augmented else None, 2, soft)(photo(old), blobs(old, 2), draw(0))
    assert view.image.shape == (*new, 3) and view.label.shape == new
    assert view.image.flags.c_contiguous and view.label.flags.c_contiguous
    assert view.soft.shape == (*new, 2) if soft else view.soft is None


@pytest.mark.parametrize(("of", "aspect"), [("image", 80 / 64), ("output", 2)])
def test_crops_keep_the_share_and_the_aspect_they_were_given(of, aspect):
    rows, columns = np.mgrid[:64, :80].astype(np.uint8) * 3
    image = np.dstack([rows, columns, rows])
    augment = Augment(scale=(0.3, 0.5), ratio=(0.9, 1.1), ratio_of=of, flip_horizontal=False, colour=0.0)
    crop = Transform((32, 64), augment, 2, False)
    for i in range(25):
        view = crop(image, np.zeros((64, 80), np.uint8), draw(i)).image.astype(float)
        steps = [(view[-1, :, 0].mean() - view[0, :, 0].mean()) / 31, (view[:, -1, 1] - view[:, 0, 1]).mean() / 63]
        height, width = 32 * steps[0] / 3, 64 * steps[1] / 3
        assert 0.27 < height * width / (64 * 80) < 0.55
        assert 0.8 < width / height / aspect < 1.2


def mean_shift(view):
    """Mean shift of the centroid of discs, in pixels of the image they are drawn in."""
    shifts = []
    rows, columns = np.mgrid[:61, :83] + 0.5
    for i in range(30):
        y, x, radius = draw(i).uniform((20, 20, 8), (40, 60, 18))
        mask = (np.hypot(rows - y, columns - x) < radius).astype(np.uint8)
        small = view(mask)
        after = [(c.mean() + 0.5) * o / n for c, o, n in zip(np.nonzero(small), mask.shape, small.shape)]
        shifts.append([a - c.mean() - 0.5 for a, c in zip(after, np.nonzero(mask))])
    return np.abs(np.mean(shifts, axis=0))


@pytest.mark.parametrize("augment", [None, Augment(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_horizontal=False)])
def test_the_centroid_of_a_mask_stays_and_plain_nearest_would_move_it(augment):
    size = (22, 30)  # the image's aspect, so that a crop of share 1 keeps all of it but a row or column
    resize = Transform(size, augment, 2, False)
    pitch = np.divide((61, 83), size)
    image = photo((61, 83))
    assert (mean_shift(lambda mask: resize(image, mask, draw(0)).label) < 0.15 * pitch).all()
    assert (mean_shift(lambda mask: cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)) > 0.4 * pitch).all()
