"""Quantised images against the standard's steps written out one block, one frequency at a time, and against a real
coder, at sizes that no block divides."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from segkd.frequency.filters import DctBandDrop, FrequencyDropout
from segkd.frequency.image import quantize_image
from segkd.frequency.jpeg import libjpeg
from segkd.frequency.rounding import straight_through
from tests.frequency.test_image import decoded, distance, natural, tables, to_tensor

TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]])


def cosines(n):
    """Row u: the u-th cosine over the n pixels of a block."""
    return np.array([[math.cos(math.pi * (2 * i + 1) * u / (2 * n)) * math.sqrt((1 if u == 0 else 2) / n)
                      for i in range(n)] for u in range(n)])  # fmt: skip


def quantised(plane, steps, n, centre):
    """Each coefficient of each block at its nearest multiple; `steps` is [n n]."""
    found, line = np.empty_like(plane), cosines(n)
    for top in range(0, plane.shape[0], n):
        for left in range(0, plane.shape[1], n):
            part, out = plane[top : top + n, left : left + n] - centre, np.zeros((n, n))
            for u, v in np.ndindex(n, n):
                wave = np.outer(line[u], line[v])
                out += wave * steps[u, v] * np.rint((wave * part).sum() / steps[u, v])
            found[top : top + n, left : left + n] = out + centre
    return found


def pixel(plane, y, x):
    """The nearest pixel that there is."""
    return plane[..., min(max(y, 0), plane.shape[-2] - 1), min(max(x, 0), plane.shape[-1] - 1)]


def slow(image, steps, color, n, faithful):
    """One image [3 h w] of 0..1 there and back; `steps` of luma and chroma, or of all planes."""
    h, w = image.shape[1:]
    unit = n * (2 if color == "ycbcr420" else 1)
    high, wide = -(-h // unit) * unit, -(-w // unit) * unit
    whole = np.array([[pixel(image, y, x) for x in range(wide)] for y in range(high)]).transpose(2, 0, 1)
    if color == "rgb":
        return np.stack([quantised(one, steps[0], n, 128 / 255) for one in whole])[:, :h, :w]
    r, g, b = whole
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    chroma = [(b - luma) / 1.772, (r - luma) / 1.402]
    if faithful:
        luma, *chroma = (np.rint(255 * one) / 255 for one in (luma, *chroma))
    if color == "ycbcr420":
        small = np.zeros((2, high // 2, wide // 2))
        for c, i, j in np.ndindex(*small.shape):
            four = chroma[c][2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum()
            # libjpeg's integers: a rest of a half goes down in even columns, up in odd ones
            small[c, i, j] = (round(255 * four) + 512 + 1 + j % 2) // 4 / 255 - 128 / 255 if faithful else four / 4
        if faithful:  # what is padded below is the last row of halves
            small[:, -(-h // 2) :] = small[:, [-(-h // 2) - 1]]
        chroma = small
    luma = quantised(luma, steps[0], n, 128 / 255)
    chroma = [quantised(one, steps[-1], n, 0) for one in chroma]
    out = np.zeros((3, h, w))
    for y, x in np.ndindex(h, w):
        seen = [one[y, x] if color == "ycbcr444" else enlarged(one, y, x, faithful) for one in chroma]
        out[:, y, x] = TO_RGB @ [luma[y, x], *seen]
    return out


def enlarged(plane, y, x, faithful):
    """A value of a plane of half the size: its own, or 9, 3, 3 and 1 sixteenths of the four around."""
    i, j = y // 2, x // 2
    if not faithful:
        return plane[i, j]
    di, dj = (1 if y % 2 else -1), (1 if x % 2 else -1)
    corner = pixel(plane, i + di, j + dj)
    return (9 * plane[i, j] + 3 * pixel(plane, i + di, j) + 3 * pixel(plane, i, j + dj) + corner) / 16


@pytest.mark.parametrize("faithful", [True, False])
@pytest.mark.parametrize(("color", "n", "size"), [
    ("rgb", 8, (9, 13)), ("ycbcr444", 8, (7, 17)), ("ycbcr420", 8, (17, 10)), ("ycbcr420", 4, (10, 21)),
    ("ycbcr444", 4, (5, 6)),
])  # fmt: skip
def test_an_image_there_and_back(color, n, size, faithful):
    draw = torch.Generator().manual_seed(n + size[0])
    image = torch.rand(2, 3, *size, dtype=torch.float64, generator=draw)
    steps = [
        torch.rand(n, n, dtype=torch.float64, generator=draw) * 0.3 + 0.03 for _ in range(2 if "420" in color else 1)
    ]
    laid = [one.view(1, 1, 1, n, 1, n) for one in steps]
    found = quantize_image(image, laid, straight_through, color=color, block=n, faithful=faithful)
    for one, given in zip(found.numpy(), image.numpy()):
        np.testing.assert_allclose(one, slow(given, [one.numpy() for one in steps], color, n, faithful), atol=2e-7)


@pytest.mark.parametrize("quality", [10.0, 50.0, 90.0])
@pytest.mark.parametrize("size", [(127, 125), (122, 114), (113, 121)])
def test_a_real_coder_at_sizes_that_no_block_divides(quality, size):
    below = []
    for seed in range(3):
        image = natural(128, seed)[: size[0], : size[1]].copy()
        theirs = decoded(image, quality, subsampling=2)
        ours = quantize_image(to_tensor(image), tables(quality), straight_through)
        assert distance(ours, theirs) >= 42
        below.append(distance(ours[..., -4:, :], theirs[..., -4:, :]))
        assert distance(libjpeg(to_tensor(image), [int(quality)]), theirs) >= 50
    assert np.mean(below) >= 42


def test_dropped_frequencies_and_coefficients_one_by_one(make_batch):
    """Of an image of odd sides: a frequency is dropped for all channels, with its mirror image, and never the mean."""
    image = 0.5 + 0.02 * torch.rand(2, 3, 9, 12, dtype=torch.float64)
    batch = replace(make_batch(b=2, size=(9, 12)), image=image, clean=image)
    torch.manual_seed(3)
    found = FrequencyDropout(0.4, 1.0)(batch).image.numpy()
    torch.manual_seed(3)
    kept = (torch.rand(2, 1, 9, 7) >= 0.4)[:, 0].numpy()
    y, x = np.arange(9)[:, None], np.arange(12)[None]
    for n, c in np.ndindex(2, 3):
        expected, full = np.zeros((9, 12)), np.fft.fft2(image[n, c].numpy())
        for k, m in np.ndindex(9, 12):
            at = (k, m) if m < 6 and m > 0 else ((-k % 9, -m % 12) if m > 6 else (min(k, -k % 9), m))
            if (k, m) == (0, 0) or kept[n][at]:
                expected += (full[k, m] * np.exp(2j * np.pi * (k * y / 9 + m * x / 12))).real / 108
        np.testing.assert_allclose(found[n, c], expected, atol=1e-9)
    torch.manual_seed(4)
    found = DctBandDrop((2, 5), 4, 1.0)(batch).image.numpy()
    torch.manual_seed(4)
    first, line = torch.randint(2, 6, (2,)).tolist(), cosines(4)
    for n, c in np.ndindex(2, 3):
        whole = np.array([[pixel(image[n, c].numpy(), i, j) for j in range(12)] for i in range(12)])
        expected = np.zeros((12, 12))
        for top, left, u, v in np.ndindex(3, 3, 4, 4):
            if u + v < first[n]:
                here = np.s_[4 * top : 4 * top + 4, 4 * left : 4 * left + 4]
                wave = np.outer(line[u], line[v])
                expected[here] += wave * (wave * whole[here]).sum()
        np.testing.assert_allclose(found[n, c], expected[:9], atol=1e-9)
