import math

import numpy as np
import pytest
import torch

from segkd.frequency.quantize import per_coefficient, per_pixel
from segkd.frequency.spectrum import BANDS, band_of, bits_per_band, entropy, heat_maps, mean_table, psnr


def test_bands_grow_with_frequency_and_the_mean_is_in_the_first():
    for n in (4, 8, 16):
        bands = band_of(n)
        assert bands[0, 0] == 0 and bands[-1, -1] == BANDS - 1
        assert (bands.diff(dim=0) >= 0).all() and torch.equal(bands, bands.T)


def test_psnr_and_entropy():
    image = torch.zeros(2, 3, 4, 4)
    assert psnr(image + 0.1, image).tolist() == pytest.approx([20.0, 20.0])
    assert math.isinf(psnr(image, image)[0])
    assert entropy(torch.tensor([1.0, 1.0, 2.0, 2.0])) == 1 and entropy(torch.zeros(9)) == 0
    assert entropy(torch.arange(8.0)) == 3


def test_a_finer_table_costs_more_bits_and_bits_are_those_of_the_band():
    planes = [torch.rand(4, 1, 64, 64)]
    fine, coarse = (bits_per_band(planes, [per_coefficient(torch.full((1, 8, 8), s))], 8) for s in (0.02, 0.5))
    assert all(a > b for a, b in zip(fine, coarse))
    steps = torch.full((1, 8, 8), 0.02)
    steps[:, band_of(8) == 3] = 10.0
    bits = bits_per_band(planes, [per_coefficient(steps)], 8)
    assert bits[3] == 0 and bits[2] == pytest.approx(fine[2])


def test_heat_maps():
    tables = [per_coefficient(torch.full((1, 8, 8), 0.1)), per_coefficient(torch.full((2, 8, 8), 0.2))]
    mean = mean_table(tables, 8)
    assert mean.shape == (3, 8, 8) and float(mean[1, 2, 3]) == pytest.approx(math.log2(0.2))
    pictures = heat_maps(tables, mean, (0.004, 1.0))
    assert list(pictures) == ["table"] and pictures["table"].dtype == np.uint8
    assert pictures["table"].shape == (8 * 24, 3 * 8 * 24, 3)
    spatial = torch.rand(3, 16, 24) + 0.1
    tables = [per_pixel(spatial, 8)]
    assert set(heat_maps(tables, mean_table(tables, 8), (0.004, 1.0))) == {"table", "places"}
