import pytest
import torch

from segkd.frequency.dct import block_dct
from segkd.frequency.filters import BandStop, DctBandDrop, FrequencyDropout, filtered, radius, symmetric, without_high
from segkd.types import InputError


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
