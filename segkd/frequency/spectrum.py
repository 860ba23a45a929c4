"""What a table does, measured and drawn: bits per band, signal-to-noise, heat maps."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from segkd.frequency.dct import block_dct
from segkd.frequency.rings import EDGES, ring_at

BANDS = 8
CELL = 24  # pixels of a heat map per entry


def band_of(n: int) -> Int64[Tensor, "n n"]:
    """The band 0..7 of each coefficient of a block: equal parts of the frequency hypot(u, v) / 2n in cycles per
    pixel, from 0 to .5; beyond lie only the corners, which the last band takes."""
    k = torch.arange(n, dtype=torch.float64)
    radius = torch.hypot(k.unsqueeze(1), k) / n
    return (radius * BANDS).floor().clamp(max=BANDS - 1).long()


def psnr(image: Float[Tensor, "b c h w"], clean: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """10 log10(1 / mean squared error) of each image, in dB; infinite where they are equal."""
    return -10 * (image - clean).square().mean(dim=(1, 2, 3)).log10()


def entropy(indices: Float[Tensor, "*s"]) -> float:
    """Bits per symbol of whole numbers, -sum p log2 p over the values that occur."""
    _, counts = indices.unique(return_counts=True)
    p = counts.double() / counts.sum()
    return float(-(p * p.log2()).sum())


def bits_per_band(planes: Sequence[Tensor], tables: Sequence[Tensor], n: int) -> list[float]:
    """Entropy in bits per coefficient of the quantised coefficients, mean over the coefficients of each band and
    weighted by how many there are in the image: what an ideal coder of independent coefficients would need.
    (Without JPEG's level shift, which moves the indices of the mean nearly by a constant.)"""
    bands, bits, weight = band_of(n), torch.zeros(BANDS), torch.zeros(BANDS)
    for x, table in zip(planes, tables):
        b, c, h, w = x.shape
        blocks = block_dct(x, n).view(b, c, h // n, n, w // n, n)
        indices = (blocks / table).round()
        for channel in range(c):
            for u in range(n):
                for v in range(n):
                    found = indices[:, channel, :, u, :, v]
                    bits[bands[u, v]] += entropy(found) * found.numel()
                    weight[bands[u, v]] += found.numel()
    return [float(value) for value in bits / weight.clamp_min(1)]


def mean_table(tables: Sequence[Tensor], n: int) -> Float[Tensor, "c n n"]:
    """Mean log2(step) of every coefficient over images and blocks, the groups' channels in a row."""
    means = [table.log2().mean(dim=(0, 2, 4)).expand(-1, n, n) for table in tables]
    return torch.cat(means).cpu()


def ring_means(table: Float[Tensor, "n n"]) -> list[float]:
    """The mean of a table's entries in each ring of the spectral analyses (`rings`), by the frequency hypot(u, v) / 2n;
    NaN where a block has no coefficient of the ring: the mean (0, 0) is in none, and a small block has no low ones."""
    n = len(table)
    k = torch.arange(n, dtype=torch.float64)
    ring = ring_at(torch.hypot(k.unsqueeze(1), k) / (2 * n))
    return [float(table[ring == number].mean()) for number in range(len(EDGES) - 1)]


def heat_maps(
    tables: Sequence[Tensor], mean: Float[Tensor, "c n n"], bounds: tuple[float, float]
) -> dict[str, UInt8[np.ndarray, "_h _w 3"]]:
    """ "table": mean log2(step) per coefficient, a square per channel, dark (fine) to bright (coarse) within bounds;
    "places": mean log2(step) of every block, for tables that differ from block to block."""
    pictures = {"table": painted(torch.cat(list(mean), dim=1), bounds, CELL)}
    first = tables[0]
    if first.shape[2] > 1:
        places = first.log2().mean(dim=(0, 1, 3, 5))
        pictures["places"] = painted(places, (float(places.min().exp2()), float(places.max().exp2())), 8)
    return pictures


def painted(log2_steps: Float[Tensor, "h w"], bounds: tuple[float, float], cell: int) -> UInt8[np.ndarray, "_h _w 3"]:
    """log2(step) as colours (viridis) between log2 of the bounds, `cell` pixels per entry."""
    from matplotlib import colormaps  # slow to import

    low, high = np.log2(bounds)
    shares = ((log2_steps.cpu().numpy() - low) / max(high - low, 1e-6)).clip(0, 1)
    colours = (colormaps["viridis"](shares)[..., :3] * 255).round().astype(np.uint8)
    return colours.repeat(cell, axis=0).repeat(cell, axis=1)
