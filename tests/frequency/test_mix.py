from dataclasses import replace

import numpy as np
import pytest
import torch

from segkd.frequency.amplitude import partners
from segkd.frequency.mix import CutMix, boxes, kindred
from segkd.frequency.swap import SwapPatches
from segkd.types import IGNORE, InputError


def test_pixels_and_their_labels_come_from_the_same_image(make_batch):
    batch = make_batch(b=4)
    out = CutMix(probability=1.0)(batch)
    moved = (out.image != batch.image).any(dim=1)
    assert moved.any(dim=(1, 2)).sum() >= 3  # an empty box is rare
    for i in range(4):
        for y, x in moved[i].nonzero()[::7].tolist():
            (source,) = [j for j in range(4) if torch.equal(batch.image[j, :, y, x], out.image[i, :, y, x])]
            assert out.label[i, y, x] == batch.label[source, y, x]
            assert torch.equal(out.soft[i, :, y, x], batch.soft[source, :, y, x])
    assert out.clean is batch.clean and out.ids == batch.ids
    assert torch.equal(out.moved(batch.clean), out.image) and torch.equal(out.moved(batch.soft), out.soft)
    assert torch.equal(out.label[~moved], batch.label[~moved])


def test_boxes_cover_a_share_of_beta_cut_at_the_border():
    found = boxes(4000, 20, 20, 1.0).float().mean(dim=(1, 2))
    assert found.min() >= 0 and found.max() <= 1
    assert float(found.mean()) == pytest.approx(0.30, abs=0.05)  # .5 before the border cuts


def test_a_box_has_the_share_of_the_area_that_was_drawn_unless_it_is_cut():
    """Beta(a, a) of a large a is one half: sides of .71 of the image's, a quarter of the box in it at least."""
    found = boxes(400, 40, 60, 5000.0).float().mean(dim=(1, 2))
    assert found.max() == pytest.approx(0.5, abs=0.03) and 0.11 < found.min() < 0.2


def test_the_probability_is_the_share_of_the_images_that_get_a_box(make_batch):
    batch = make_batch(b=200, size=(8, 8))
    moved = (CutMix(50.0, 0.3)(batch).image != batch.image).flatten(1).any(dim=1)
    assert 0.2 < moved.float().mean() < 0.4


def test_impossible_settings_are_named():
    for wrong in (0.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="alpha must be a finite number above 0"):
            CutMix(wrong)


def test_images_without_a_label_are_mixed_with_each_other(make_batch):
    batch = make_batch(b=7)
    label = batch.label.clone()
    label[4:] = IGNORE
    batch = replace(batch, label=label, unlabelled=3)
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        other = kindred(batch).tolist()
        assert sorted(other) == list(range(7)) and all(i != j and (i < 4) == (j < 4) for i, j in enumerate(other))
        seen.add(tuple(other))
        assert not CutMix(probability=1.0)(batch).valid[4:].any()
    assert len(seen) == 3 * 2, "each part is shifted by itself"
    torch.manual_seed(0)
    plain = partners(batch.image)
    torch.manual_seed(0)
    assert torch.equal(kindred(replace(batch, unlabelled=0)), plain), "the draws of before"
    assert kindred(replace(batch, unlabelled=1)).tolist()[-1] == 6  # alone of its kind


def test_boxes_pixel_by_pixel():
    """A pixel is in the box where its middle is: at an odd size, by the same draws."""
    torch.manual_seed(2)
    found = boxes(30, 7, 11, 0.6)
    torch.manual_seed(2)
    kept = torch.distributions.Beta(0.6, 0.6).sample((30, 1)).double().numpy()
    centre = torch.rand(2, 30, 1).double().numpy()
    for i, y, x in np.ndindex(30, 7, 11):
        height, width = 7 * (1 - kept[i, 0]) ** 0.5, 11 * (1 - kept[i, 0]) ** 0.5
        inside = abs(y + 0.5 - 7 * centre[0, i, 0]) <= height / 2 and abs(x + 0.5 - 11 * centre[1, i, 0]) <= width / 2
        assert bool(found[i, y, x]) == inside


def test_boxes_of_boxes_are_traced_back_to_the_loaded_pixels(make_batch):
    """Twice mixed, with images without a label: image, label and shares of each pixel are those that `source` names."""
    batch = make_batch(11, b=5, size=(9, 7))
    batch.label[3:] = IGNORE
    batch = replace(batch, unlabelled=2)
    torch.manual_seed(1)
    out = CutMix(probability=1.0)(SwapPatches(2, 0.9)(CutMix(probability=1.0)(batch)))
    images = set()
    for i, y, x in np.ndindex(5, 9, 7):
        j, (v, u) = int(out.source[i, y, x]) // 63, divmod(int(out.source[i, y, x]) % 63, 7)
        images.add((i, j))
        assert (v, u) == (y, x) and (i < 3) == (j < 3)
        assert (
            torch.equal(out.image[i, :, y, x], batch.clean[j, :, v, u]) and out.label[i, y, x] == batch.label[j, v, u]
        )
        assert torch.equal(out.soft[i, :, y, x], batch.soft[j, :, v, u])
        assert bool(out.unknown[i, y, x]) == (j >= 3)
    assert len(images) > 9
