from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy import ndimage

from segkd.datasets.embedded import CUES, SHAPES, Embedded, band_noise, draw_sample
from segkd.types import InputError

SMALL = Embedded(side=96, seed=3)


def sample(index, classes=2, **changes):
    return draw_sample(replace(SMALL, **changes), index, classes)


def cue_alone(index, cue, classes=2, **changes):
    """What the cue adds to the image, in 0..1 [h w 3], and the label: the difference to the same image without it."""
    with_cue, label = sample(index, classes, cue=cue, **changes)
    without, _ = sample(index, classes, cue=cue, **{**changes, "contrast": 0.0})
    return (with_cue.astype(float) - without) / 255, label


def radii(side):
    frequency = np.fft.fftfreq(side)
    return np.hypot(frequency[:, None], frequency[None])


def band_power(plane, low, high):
    """Power per pixel of the part of `plane` whose radial frequency lies in low..high."""
    keep = (radii(len(plane)) >= low) & (radii(len(plane)) < high)
    return np.fft.ifft2(np.fft.fft2(plane) * keep).real ** 2


def inside_and_outside(label):
    """Pixels well inside the object, and well outside."""
    mask = (label > 0).astype(np.uint8)
    return cv2.erode(mask, np.ones((3, 3))) > 0, cv2.dilate(mask, np.ones((9, 9))) == 0


def test_the_set_is_a_function_of_its_seed_and_index():
    for index in range(4):
        for again in (sample(index), sample(index)):
            np.testing.assert_array_equal(again[0], sample(index)[0])
            np.testing.assert_array_equal(again[1], sample(index)[1])
    images = [sample(index, seed=seed)[0].tobytes() for index in range(4) for seed in range(3)]
    assert len(set(images)) == 12


@pytest.mark.parametrize("side", [32, 97])
def test_every_sample_has_object_and_background(side):
    for index in range(24):
        image, label = sample(index, side=side)
        assert image.shape == (side, side, 3) and image.dtype == np.uint8 and label.dtype == np.uint8
        assert set(np.unique(label)) == {0, 1} and 0.005 < label.mean() < 0.6


def test_four_shapes_occur():
    found = {name: [] for name in SHAPES}
    for index in range(48):
        mask = sample(index, side=64)[1] > 0
        depth = ndimage.distance_transform_edt(mask).max()
        holes = (ndimage.binary_fill_holes(mask) & ~mask).any()
        found[SHAPES[index % 4]].append((ndimage.label(mask)[1], holes, mask.sum() / depth**2))
    parts, holes, slimness = ({name: np.array(rows)[:, i] for name, rows in found.items()} for i in range(3))
    assert (parts["compact"] == 1).all() and not holes["compact"].any()
    assert np.mean(parts["several"] > 1) > 0.6
    assert np.mean(holes["holes"]) > 0.6
    assert np.median(slimness["thin"]) > 3 * np.median(slimness["compact"])


@pytest.mark.parametrize("band", [(0.05, 0.12), (0.15, 0.3), (0.32, 0.48)])
def test_object_minus_background_has_its_energy_in_the_chosen_band(band):
    bands = [(0.05, 0.12), (0.15, 0.3), (0.32, 0.48)]
    ratios = {other: [] for other in bands}
    for index in range(12):
        image, label = sample(index, cue="band", band=band)
        inside, outside = inside_and_outside(label)
        for other in bands:
            power = band_power(image.mean(axis=-1) / 255, *other)
            ratios[other].append(power[inside].mean() / power[outside].mean())
    for other in bands:
        median = np.median(ratios[other])
        assert median > 4 if other == band else 0.6 < median < 1.6


@pytest.mark.parametrize("index", range(4))
def test_what_the_band_cue_adds_lies_in_the_band_and_on_the_object(index):
    added, label = cue_alone(index, "band", contrast=0.4)
    plane = added.mean(axis=-1)
    spectrum = np.abs(np.fft.fft2(plane)) ** 2
    near = (radii(96) > 0.12) & (radii(96) < 0.33)  # the object's outline smears the band a little
    assert spectrum[near].sum() > 0.85 * spectrum.sum()
    far = ndimage.binary_dilation(label > 0, iterations=5)
    assert np.abs(added[~far]).max() == 0


def test_contrast_is_the_strength_of_the_cue():
    strengths = [np.sqrt((cue_alone(0, "band", contrast=c)[0] ** 2).mean()) for c in (0.2, 0.4)]
    assert strengths[1] / strengths[0] == pytest.approx(2, rel=0.05)


def test_without_contrast_nothing_tells_the_object():
    for index in range(4):
        images = {cue: sample(index, cue=cue, contrast=0.0)[0] for cue in CUES}
        for cue in ("orientation", "colour"):
            np.testing.assert_array_equal(images["band"], images[cue])
    ratios = []
    for index in range(12):
        image, label = sample(index, cue="band", contrast=0.0)
        inside, outside = inside_and_outside(label)
        power = band_power(image.mean(axis=-1) / 255, 0.15, 0.3)
        ratios.append(power[inside].mean() / power[outside].mean())
    assert min(ratios) > 0.8 and max(ratios) < 1.25


def test_the_orientation_cue_turns_the_texture_and_keeps_its_power():
    for index in (0, 3, 4, 7):  # objects large enough to measure
        added, label = cue_alone(index, "orientation", contrast=0.6)
        plane, parts = added.mean(axis=-1), inside_and_outside(label)
        power = [np.mean(plane[part] ** 2) for part in parts]
        assert 0.65 < power[0] / power[1] < 1.5
        gy, gx = np.gradient(plane)
        angles = [np.arctan2(2 * (gx * gy)[p].sum(), (gx**2 - gy**2)[p].sum()) / 2 for p in parts]
        assert abs((np.rad2deg(angles[0] - angles[1]) % 180) - 90) < 12


def test_the_colour_cue_changes_colour_and_not_lightness():
    for index in range(4):
        added, label = cue_alone(index, "colour", contrast=0.3)
        inside, outside = inside_and_outside(label)
        if inside.any():
            assert np.abs(np.median(added[inside], axis=0)).max() > 0.03
            assert abs(np.median(added[inside].mean(axis=-1))) < 0.01
        assert np.abs(added[outside]).max() == 0


def test_any_draws_all_three_cues():
    alike = {cue: 0 for cue in CUES}
    for index in range(24):
        drawn = sample(index, cue="any", side=48)[0]
        added = drawn.astype(float) - sample(index, cue="any", side=48, contrast=0.0)[0]
        far = cv2.dilate(sample(index, cue="any", side=48)[1], np.ones((11, 11))) == 0
        tinted = np.abs(added - added.mean(axis=-1, keepdims=True)).max() > 8
        alike["orientation" if np.abs(added[far]).max() > 4 else "colour" if tinted else "band"] += 1
    assert min(alike.values()) >= 3


@pytest.mark.parametrize("classes", [4, 11])
def test_many_classes_stay_in_range_and_all_occur(classes):
    seen = [set(np.unique(sample(index, classes, side=48)[1])) for index in range(60)]
    assert set.union(*seen) == set(range(classes)) and all(0 in one and len(one) <= 4 for one in seen)


def test_each_of_many_classes_has_its_own_part_of_the_band():
    edges = np.linspace(0.12, 0.48, 4)
    power = np.zeros((3, 3))
    for index in range(16):
        added, label = cue_alone(index, "band", classes=4, band=(0.12, 0.48))
        planes = [band_power(added.mean(axis=-1), edges[i], edges[i + 1]) for i in range(3)]
        for target in range(1, 4):
            inside = cv2.erode((label == target).astype(np.uint8), np.ones((3, 3))) > 0
            power[target - 1] += [plane[inside].sum() for plane in planes]
    share = power / power.sum(axis=1, keepdims=True)
    assert np.diag(share).min() > 0.7


def test_backgrounds_fall_off_like_nature():
    mean = np.mean([np.abs(np.fft.fft2(sample(i, contrast=0.0)[0].mean(axis=-1))) for i in range(16)], axis=0)
    radius = radii(96)
    rings = np.array([(low, low * 1.3) for low in 0.03 * 1.3 ** np.arange(8)])
    amplitude = [mean[(radius >= low) & (radius < high)].mean() for low, high in rings]
    slope = np.polyfit(np.log(rings.mean(axis=1)), np.log(amplitude), 1)[0]
    assert -1.6 < slope < -0.8


def test_band_noise_is_normal_and_holds_no_other_frequency():
    noise = band_noise(np.random.default_rng(0), 64, (0.1, 0.2))
    assert noise.mean() == pytest.approx(0, abs=1e-9) and noise.std() == pytest.approx(1)
    spectrum = np.abs(np.fft.fft2(noise)) ** 2
    assert spectrum[(radii(64) < 0.1 - 1e-9) | (radii(64) > 0.2 + 1e-9)].sum() < 1e-18 * spectrum.sum()


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"band": (0.3, 0.2)}, r"band is \[0.3, 0.2\]"),
        ({"band": (0.0, 0.2)}, "0 < low < high <= 0.5"),
        ({"band": (0.1, 0.6)}, "0 < low < high <= 0.5"),
        ({"contrast": 1.5}, "contrast is 1.5"),
        ({"side": 16}, "side >= 32"),
        ({"val": 0}, "at least one image in each"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Embedded(**settings)
