"""Tables to start from: the step of each coefficient of a block, in image units (0..1), above 0.

A step is the same for a plane in any block size: the orthonormal DCT gives a stationary image coefficients whose
size depends on u / n, v / n alone. So tables are functions of frequency, and an 8 x 8 one serves other blocks.
"""

import math
from abc import ABC, abstractmethod
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segkd.types import InputError

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""ITU-T T.81, Annex K, table K.1: row u (down), column v (across), in 1/255 of the image unit."""

CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
"""Table K.2."""


def annex_k(quality: float, chroma: bool) -> Float[Tensor, "8 8"]:
    """Annex K at a quality of 1..100, as libjpeg scales it: floor((K s + 50) / 100) in 1..255, then / 255,
    s = floor(5000 / quality) below 50 and 200 - 2 quality from there."""
    if not 1 <= quality <= 100:
        raise InputError(f"a JPEG quality lies in 1..100, found {quality}.")
    scale = math.floor(5000 / quality) if quality < 50 else 200 - 2 * quality
    base = torch.tensor(CHROMA if chroma else LUMA, dtype=torch.float64)
    return (((base * scale + 50) / 100).floor().clamp(1, 255) / 255).float()


def at_block(table: Float[Tensor, "8 8"], n: int) -> Float[Tensor, "n n"]:
    """A table of 8 x 8 at the frequencies of blocks of n: linear between its entries, the last one held beyond."""
    if n == 8:
        return table
    at = np.minimum(np.arange(n) * 8 / n, 7)
    rows = np.stack([np.interp(at, range(8), row) for row in table.numpy()])
    both = np.stack([np.interp(at, range(8), column) for column in rows.T]).T
    return torch.from_numpy(both).float()


class Table(ABC):
    """Makes the table that a quantisation starts from."""

    @abstractmethod
    def steps(self, n: int, chroma: bool) -> Float[Tensor, "n n"]:
        """Steps in 0..1 units for blocks of n, of a chroma plane or of any other."""


@final
class AnnexK(Table):
    """The tables of the JPEG standard (see `annex_k`); R, G and B take luma's.

    Args:
        quality: 1 (coarse) to 100 (fine).
    """

    def __init__(self, quality: float = 50.0) -> None:
        annex_k(quality, chroma=False)
        self.quality = quality

    def steps(self, n: int, chroma: bool) -> Tensor:
        """Annex K at this quality."""
        return at_block(annex_k(self.quality, chroma), n)


@final
class Flat(Table):
    """One step for all coefficients.

    Args:
        step: in image units 0..1.
    """

    def __init__(self, step: float = 0.1) -> None:
        _refuse_step("Flat: step", step)
        self.step = step

    def steps(self, n: int, chroma: bool) -> Tensor:
        """`step` everywhere."""
        return torch.full((n, n), self.step)


@final
class Ramp(Table):
    """Steps that grow in a straight line with u + v, from `low` at the mean of a block to `high` at its finest.

    Args:
        low: step of the coefficient (0, 0), in image units 0..1.
        high: step of the coefficient (n - 1, n - 1).
    """

    def __init__(self, low: float = 0.02, high: float = 0.3) -> None:
        _refuse_step("Ramp: low", low)
        _refuse_step("Ramp: high", high)
        self.low, self.high = low, high

    def steps(self, n: int, chroma: bool) -> Tensor:
        """low + (high - low) (u + v) / (2 n - 2)."""
        k = torch.arange(n, dtype=torch.float32)
        return self.low + (self.high - self.low) * (k + k.unsqueeze(1)) / (2 * n - 2)


def _refuse_step(name: str, step: float) -> None:
    if not 0 < step < math.inf:
        raise InputError(f"{name} is in image units 0..1 and above 0, found {step}.")
