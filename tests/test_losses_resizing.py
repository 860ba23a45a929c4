"""Labels and class shares at the sizes of a network's exits."""

import pytest
import torch
import torch.nn.functional as F

from segkd.losses import (
    resize_label,
    resize_shares,
)
from segkd.types import IGNORE


def centroid(label: torch.Tensor) -> torch.Tensor:
    """Of the pixels of class 1, in shares of the image, counted at pixel centres."""
    sizes = torch.tensor(label.shape[1:])
    return ((label[0] == 1).nonzero() + 0.5).mean(dim=0) / sizes


@pytest.mark.parametrize("size", [(32, 32), (16, 48), (128, 256)])
def test_a_resized_label_keeps_its_place_and_its_values(size):
    label = torch.zeros(1, 64, 64, dtype=torch.long)
    label[0, 16:48, 8:40] = 1
    label[0, 0, 0] = IGNORE
    kept = resize_label(label, size)
    torch.testing.assert_close(centroid(kept), centroid(label), atol=1e-6, rtol=0)
    assert kept.dtype == torch.long and set(kept.unique().tolist()) <= {0, 1, IGNORE}
    assert resize_label(label, (64, 64)) is label


def test_plain_nearest_does_shift_a_label_that_nearest_exact_keeps():
    """Every third column of three: the exact mode reads the middle one, the plain mode the first."""
    label = torch.arange(27).remainder(3).eq(1).long().view(1, 1, 27).expand(1, 27, 27).contiguous()
    plain = F.interpolate(label[:, None].float(), size=(9, 9), mode="nearest")
    assert (resize_label(label, (9, 9)) == 1).all() and (plain == 0).all()
    disc = ((torch.arange(60.0) - 29.5) ** 2)[:, None] + (torch.arange(60.0) - 29.5) ** 2 < 400
    disc = disc.long()[None]
    shifted = F.interpolate(disc[:, None].float(), size=(20, 20), mode="nearest")[:, 0].long()
    torch.testing.assert_close(centroid(resize_label(disc, (20, 20))), centroid(disc), atol=1e-6, rtol=0)
    assert (centroid(shifted) - centroid(disc)).abs().min() > 0.01


def test_shrunk_shares_are_block_means():
    shares = torch.rand(1, 2, 8, 12).softmax(dim=1)
    naive = torch.stack(
        [shares[:, :, y : y + 2, x : x + 3].mean(dim=(2, 3)) for y in (0, 2, 4, 6) for x in (0, 3, 6, 9)]
    )
    torch.testing.assert_close(resize_shares(shares, (4, 4)).flatten(2)[0].T, naive[:, 0])
    assert resize_shares(shares, (8, 12)) is shares
