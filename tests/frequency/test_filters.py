from dataclasses import replace

import pytest
import torch

from segkd.frequency.dct import block_dct
from segkd.frequency.filters import BandStop, DctBandDrop, FrequencyDropout, filtered, radius, symmetric, without_high
from segkd.types import Batch, InputError


@pytest.mark.parametrize("size", [(16, 16), (15, 17), (16, 15)])
def test_what_a_ring_takes_out_is_gone_and_the_rest_stays(size):
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    rho = radius(*size, image.device)
    kept = ((rho < 0.2) | (rho > 0.3)).double()[None, None]
    before, after = torch.fft.rfft2(image), torch.fft.rfft2(filtered(image, kept))
    torch.testing.assert_close(after, before * kept, rtol=0, atol=1e-10)
    nothing = filtered(image, torch.zeros_like(kept))
    torch.testing.assert_close(nothing, image.mean(dim=(2, 3), keepdim=True).expand_as(image), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [(16, 16), (15, 17), (16, 15)])
def test_a_dropped_frequency_is_dropped_wholly(size):
    """Without symmetry on the columns that mirror themselves, the inverse would average a kept and a dropped one."""
    h, w = size
    image = torch.rand(1, 1, *size, dtype=torch.float64)
    kept = symmetric((torch.rand(1, 1, h, w // 2 + 1) < 0.5).double(), w)
    kept[..., 0, 0] = 1
    before, after = torch.fft.rfft2(image), torch.fft.rfft2(filtered(image, kept))
    torch.testing.assert_close(after, before * kept, rtol=0, atol=1e-10)


def test_without_high_coefficients_the_low_ones_stay():
    image, first = torch.rand(2, 3, 16, 24, dtype=torch.float64), torch.tensor([3.0, 14.0])
    before = block_dct(image).view(2, 3, 2, 8, 3, 8)
    after = block_dct(without_high(image, first, 8)).view(2, 3, 2, 8, 3, 8)
    for i in range(2):
        for u in range(8):
            for v in range(8):
                expected = before[i, :, :, u, :, v] * (u + v < first[i])
                torch.testing.assert_close(after[i, :, :, u, :, v], expected, rtol=0, atol=1e-10)


@pytest.fixture
def faint(make_batch):
    """Images of so little contrast that no result is cut at 0 or 1."""
    image = 0.5 + 0.02 * torch.rand(24, 3, 16, 16, dtype=torch.float64)
    return replace(make_batch(b=24, size=(16, 16)), image=image, clean=image)


def left_out(batch: Batch, out: torch.Tensor) -> torch.Tensor:
    """Which frequencies of the half plane are gone, [b h k]; the others are as they were, in all channels."""
    before, after = torch.fft.rfft2(batch.image), torch.fft.rfft2(out)
    gone = after.abs().amax(dim=1) < 1e-9
    torch.testing.assert_close(after, before * ~gone.unsqueeze(1), rtol=0, atol=1e-9)
    return gone


def test_of_each_image_one_ring_of_the_width_is_left_out_where_it_may_begin(faint):
    gone = left_out(faint, BandStop(0.1, (0.1, 0.3), 1.0)(faint).image)
    rho, edges = radius(16, 16, faint.image.device), []
    for one in gone:
        low, high = rho[one].min(), rho[one].max()
        assert low >= 0.1 and high < 0.4 and high - low < 0.1 and one[(rho >= low) & (rho <= high)].all()
        edges.append(low.item())
    assert min(edges) < 0.15 and max(edges) > 0.25


def test_the_rate_is_the_share_of_frequencies_that_are_dropped(faint):
    gone = left_out(faint, FrequencyDropout(0.3, 1.0)(faint).image)
    assert 0.25 < gone.float().mean() < 0.35 and not gone[:, 0, 0].any()
    assert (gone[0] != gone[1]).any()  # each image draws its own


def test_of_each_image_s_blocks_coefficients_are_left_out_from_a_drawn_one_on(faint):
    out = block_dct(DctBandDrop((2, 4), 8, 1.0)(faint).image).view(24, 3, 2, 8, 2, 8)
    k, first = torch.arange(8), []
    order = (k.unsqueeze(1) + k).view(1, 1, 1, 8, 1, 8).expand_as(out)
    for one, at in zip(out, order):
        first.append(int(at[one.abs() > 1e-9].max()) + 1)
    assert set(first) == {2, 3, 4}
    expected = without_high(faint.image, torch.tensor(first, dtype=torch.float32), 8)
    torch.testing.assert_close(block_dct(expected).view_as(out), out)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BandStop(0.0), "width"),
        (lambda: BandStop(0.1, (0.5, 0.1)), r"start is \[low, high\]"),
        (lambda: FrequencyDropout(1.0), "rate is a share between 0 and 1, found 1.0"),
        (lambda: DctBandDrop((0, 3)), "first"),
        (lambda: DctBandDrop((1, 3), block=5), "found 5"),
    ],
)
def test_impossible_settings_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
