import cv2
import numpy as np
import pytest

from segkd.datasets.audit import read_pair
from segkd.datasets.cache import Cache, Fit, fit_of
from segkd.datasets.data import Data
from segkd.datasets.opening import open_data
from segkd.datasets.pairing import Pair
from segkd.datasets.transforms import Augment, Transform


def smooth_pair(height, width):
    """An image without fine detail, uint8 [h w 3], and a mask of its bright parts."""
    draw = np.random.default_rng(0)
    image = cv2.resize(
        draw.uniform(0, 255, (9, 12, 3)).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return image, (image[..., 0] > 128).astype(np.uint8)


@pytest.mark.parametrize("of", ["image", "output"])
@pytest.mark.parametrize("shape", [(900, 1200), (600, 4000), (3000, 400)])
def test_the_smallest_crop_of_a_kept_image_has_all_pixels_that_are_seen(shape, of):
    augment = Augment(scale=(0.4, 1.0), ratio=(0.8, 1.25), ratio_of=of)
    size = (64, 96)
    image, label = fit_of(size, augment, images=10**6)(*smooth_pair(*shape))
    assert image.shape[:2] == label.shape and label.size < shape[0] * shape[1]
    assert image.shape[0] / image.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.03)
    height, width = label.shape
    for ratio in np.array([0.8, 1.0, 1.25]) * (width / height if of == "image" else size[1] / size[0]):
        crop = np.sqrt(0.4 * label.size / ratio), np.sqrt(0.4 * label.size * ratio)
        # where such a crop does not fit in, the image's own side is what there is
        assert crop[0] >= size[0] - 1 or (of == "output" and height >= size[0] and crop[1] > width)
        assert crop[1] >= size[1] - 1 or (of == "output" and width >= size[1] and crop[0] > height)


def test_a_crop_looks_the_same_from_the_smaller_image():
    augment, size = Augment(colour=0.0), (64, 64)
    large = smooth_pair(900, 1200)
    small = fit_of(size, augment)(*large)
    transform = Transform(size, augment, 2, soft=True)
    for seed in range(4):
        a, b = (transform(*pair, np.random.default_rng(seed)) for pair in (large, small))
        assert np.abs(a.image.astype(int) - b.image).mean() < 8 and (a.label != b.label).mean() < 0.05
        np.testing.assert_allclose(a.warp, b.warp, atol=0.02)


def test_a_view_of_a_kept_image_is_nearly_as_sharp_as_one_of_the_file():
    """Both averages over areas blur; the file has the spectrum of photographs, amplitudes of one over the frequency."""
    draw, augment, size = np.random.default_rng(0), Augment(flip_horizontal=False, colour=0.0), (64, 64)
    down, across = np.fft.fftfreq(720, 1 / 720), np.fft.rfftfreq(960, 1 / 960)
    waves = np.fft.rfft2(draw.standard_normal((720, 960))) / np.maximum(np.hypot(down[:, None], across), 1.0)
    plane = cv2.normalize(np.fft.irfft2(waves), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    file, label = np.repeat(plane[..., None], 3, axis=2), np.zeros((720, 960), np.uint8)
    transform = Transform(size, augment, 2, soft=False)

    def sharpness(fit):
        views = [transform(*fit(file, label), np.random.default_rng(seed)).image for seed in range(12)]
        return np.mean([np.abs(np.diff(view.astype(float), axis=1)).mean() for view in views])

    whole = sharpness(lambda *pair: pair)
    many = fit_of(size, augment, images=10**6)
    assert sharpness(fit_of(size, augment)) > 0.95 * whole > 1.1 * sharpness(many)


def test_the_more_images_there_are_the_less_detail_each_keeps_down_to_what_crops_need():
    augment, size, (image, label) = Augment(), (64, 64), smooth_pair(900, 1200)
    pixels = [fit_of(size, augment, images=n)(image, label)[1].size for n in (1, 7_000, 14_000, 10**7)]
    assert pixels[0] == pytest.approx(9 * pixels[3] * 3 / 4, rel=0.02) and pixels[0] > pixels[1] > pixels[2] > pixels[3]
    assert 7_000 * pixels[1] * 4 < 2e9
    # the shorter side of crops has what it needs, the other as many pixels more as it is longer
    assert pixels[3] == pytest.approx(64 * 64 * 1.25 / 0.4 * 4 / 3, rel=0.02)


def test_class_shares_are_those_of_the_label_as_it_is_however_large():
    """Of a label that was made smaller by nearest, thin stripes are there or not; shares know how wide they are."""
    augment, size = Augment(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_horizontal=False, colour=0.0), (32, 32)
    draw = np.random.default_rng(0)
    label = np.repeat(draw.integers(0, 3, (320, 1)), 320, axis=1).astype(np.uint8)
    large = np.zeros((320, 320, 3), np.uint8)
    image, kept = fit_of(size, augment, shares=True)(large, label)
    assert image.shape[0] < 320 and kept is label
    assert fit_of(size, augment)(large, label)[1].shape == image.shape[:2]
    view = Transform(size, augment, 3, soft=True)(image, kept, draw)
    exact = np.eye(3)[label[:, 0]].reshape(32, 10, 3).mean(axis=1)
    np.testing.assert_allclose(view.soft[:, 5], exact, atol=1e-5)


def test_small_images_and_the_labels_of_whole_ones_stay_as_they_are():
    image, label = smooth_pair(120, 100)
    kept = fit_of((64, 64), Augment())(image, label)
    assert kept[0] is image and kept[1] is label
    for side, left in ((150, 150), (188, 113)):  # made smaller where that saves half of the pixels
        assert fit_of((64, 64), Augment(), images=10**7)(*smooth_pair(side, side))[1].shape == (left, left)
    image, label = smooth_pair(50, 900)  # one side is enlarged: that is not done twice
    assert Fit((64, 64))(image, label)[0] is image


@pytest.mark.parametrize("soft", [False, True])
def test_a_whole_image_is_seen_as_it_was_to_the_last_bit(soft):
    image, label = smooth_pair(300, 400)
    small, same = Fit((64, 96))(image, label)
    assert small.shape == (64, 96, 3) and same is label
    transform = Transform((64, 96), None, 2, soft)
    a, b = (transform(one, label, np.random.default_rng(0)) for one in (image, small))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.label, b.label)
    if soft:
        np.testing.assert_allclose(a.soft, b.soft, atol=1e-6)


def test_what_is_read_from_disk_each_time_is_what_is_kept(make_folder):
    root = make_folder(4, size=(400, 300))
    kept, read = (
        open_data(Data(root=str(root), size=32, cache_gb=gigabytes), ["train", "val"], lambda _: None, training=True)
        for gigabytes in (1.0, 0.0)
    )
    assert "cached" in kept[1].about and "each time" in read[1].about
    for split in ("train", "val"):
        for ours, theirs in zip(kept[0][split].load(0), read[0][split].load(0)):
            np.testing.assert_array_equal(ours, theirs)
    assert kept[0]["val"].load(0)[1].shape == (400, 300) and kept[0]["val"].load(0)[0].shape == (32, 32, 3)
    whole = open_data(Data(root=str(root), size=32), ["val"], lambda _: None)[0]
    assert whole["val"].load(0)[0].shape == (400, 300, 3), "what is scored may be looked at in other sizes"


def test_a_full_cache_keeps_nothing(make_folder):
    root = make_folder(2)
    readings = [read_pair(Pair(f"{i}", root / f"images/photo{i}.jpg", root / f"masks/photo{i}.png")) for i in range(2)]
    cache = Cache(1.5 * (readings[0].image.nbytes + readings[0].raw.nbytes), {})
    cache.keep(readings[0])
    assert list(cache.kept) == ["0"]
    cache.keep(readings[1])
    cache.keep(readings[0])
    assert not cache.kept
