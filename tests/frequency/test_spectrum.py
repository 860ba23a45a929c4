import math

import numpy as np
import pytest
import torch

from segkd.frequency.quantize import per_coefficient, per_pixel
from segkd.frequency.spectrum import BANDS, band_of, bits_per_band, entropy, heat_maps, mean_table, painted, psnr


def test_bands_are_equal_parts_of_the_frequency_and_the_last_one_takes_the_corners():
    for n in (4, 8, 16):
        for u in range(n):
            for v in range(n):
                assert band_of(n)[u, v] == sum(math.hypot(u, v) / (2 * n) >= edge / 16 for edge in range(1, BANDS))


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
    flat = torch.zeros(4, 2, 32, 32)  # a third of the coefficients of both, and no bits
    steps = per_coefficient(torch.full((1, 8, 8), 0.02))
    assert bits_per_band([*planes, flat], [steps, steps], 8) == pytest.approx([2 / 3 * one for one in fine])


def test_bits_of_planes_of_two_sizes_symbol_by_symbol():
    planes = [torch.rand(3, 1, 16, 24), 0.3 * torch.rand(3, 2, 8, 12)]
    steps = [0.05 + 0.2 * torch.rand(c, 4, 4) for c in (1, 2)]
    found = bits_per_band(planes, [per_coefficient(one) for one in steps], 4)
    line = [[math.cos(math.pi * (2 * i + 1) * u / 8) * math.sqrt((1 if u == 0 else 2) / 4) for i in range(4)]
            for u in range(4)]  # fmt: skip
    bits, coefficients = [0.0] * BANDS, [0] * BANDS
    for plane, table in zip(planes, steps):
        for c, u, v in np.ndindex(plane.shape[1], 4, 4):
            symbols = []
            for n, top, left in np.ndindex(3, plane.shape[2] // 4, plane.shape[3] // 4):
                block = plane[n, c, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4].double().numpy()
                symbols.append(round((np.outer(line[u], line[v]) * block).sum() / float(table[c, u, v])))
            shares = [symbols.count(one) / len(symbols) for one in set(symbols)]
            band = min(int(math.hypot(u, v) / 4 * BANDS), BANDS - 1)
            bits[band] -= len(symbols) * sum(p * math.log2(p) for p in shares)
            coefficients[band] += len(symbols)
    expected = [one / max(number, 1) for one, number in zip(bits, coefficients)]
    assert found == pytest.approx(expected, rel=1e-4) and len({round(one, 3) for one in expected}) >= 4


def test_heat_maps():
    tables = [per_coefficient(torch.full((1, 8, 8), 0.1)), per_coefficient(torch.full((2, 8, 8), 0.2))]
    mean = mean_table(tables, 8)
    assert mean.shape == (3, 8, 8) and float(mean[1, 2, 3]) == pytest.approx(math.log2(0.2))
    pictures = heat_maps(tables, mean, (0.004, 1.0))
    assert list(pictures) == ["table"] and pictures["table"].dtype == np.uint8
    assert pictures["table"].shape == (8 * 24, 3 * 8 * 24, 3)
    spatial = torch.rand(3, 16, 24) + 0.1
    tables = [per_pixel(spatial, 8)]
    mean = mean_table(tables, 8)
    torch.testing.assert_close(mean, spatial.view(3, 2, 8, 3, 8).log2().mean(dim=(1, 3)))
    pictures = heat_maps(tables, mean, (0.004, 1.0))
    assert set(pictures) == {"table", "places"} and pictures["places"].shape == (2 * 8, 3 * 8, 3)
    ends = painted(torch.tensor([[0.004, 1.0, 2.0]]).log2(), (0.004, 1.0), 1)
    assert ends[0].tolist() == [[68, 1, 84], [253, 231, 37], [253, 231, 37]]  # of viridis
