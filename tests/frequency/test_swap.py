from dataclasses import replace

import pytest
import torch

from segkd.frequency.swap import SwapPatches, same_class_cells
from segkd.types import IGNORE, InputError


def test_only_whole_cells_of_one_class_that_both_images_hold_can_change_places(make_batch):
    batch = make_batch(3, b=3, size=(16, 20), ignored=0.02)
    other = torch.tensor([1, 2, 0])
    found = same_class_cells(batch, other, 4)
    for i in range(3):
        for y in range(0, 16, 4):
            for x in range(0, 20, 4):
                here, there = (batch.label[j, y : y + 4, x : x + 4] for j in (i, int(other[i])))
                same = here.unique().tolist() == there.unique().tolist() and len(here.unique()) == 1
                assert (found[i, y : y + 4, x : x + 4] == (same and here[0, 0] != IGNORE)).all()
    assert found.any() and not found.all()


def test_what_is_swapped_comes_from_the_same_place_of_the_other_image_and_keeps_the_label(make_batch):
    batch = make_batch(2, b=4, size=(32, 32), ignored=0.0)
    out = SwapPatches(4, 1.0)(batch)
    moved = (out.image != batch.image).any(dim=1)
    assert moved.any()
    assert torch.equal(out.label, batch.label) and out.clean is batch.clean
    assert torch.equal(out.moved(batch.image), out.image) and torch.equal(out.moved(batch.soft), out.soft)
    image, place = out.source // (32 * 32), out.source % (32 * 32)
    assert torch.equal(place, torch.arange(32 * 32).view(32, 32).expand(4, -1, -1))
    assert torch.equal(image != torch.arange(4).view(-1, 1, 1), moved)


def test_the_share_says_how_many_of_the_cells_that_could_be_replaced_are(make_batch):
    batch = make_batch(2, b=8, size=(64, 64), soft=False)
    batch = replace(batch, label=torch.zeros_like(batch.label))
    moved = (SwapPatches(4, 0.3)(batch).image != batch.image).any(dim=1)[:, ::4, ::4]
    assert 0.25 < moved.float().mean() < 0.35 and (moved[0] != moved[1]).any()


def test_images_smaller_than_a_cell_are_left_as_they_are(make_batch):
    batch = make_batch(2, b=3, size=(7, 9))
    for size, cells in ((8, 0), (16, 0), (7, 1)):
        out = SwapPatches(size, 1.0)(replace(batch, label=torch.zeros_like(batch.label)))
        moved = (out.image != batch.image).any(dim=1)
        assert moved[:, :, 7:].sum() == 0 and moved.sum() == cells * 3 * 49


def test_impossible_settings_are_named():
    with pytest.raises(InputError, match="cell is a side in pixels"):
        SwapPatches(0)
    with pytest.raises(InputError, match="share"):
        SwapPatches(4, 1.5)
