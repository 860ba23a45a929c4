"""Rounding with a derivative: what a quantiser does to u = coefficient / step, and the slope R'(u) it is given.

All are written (value R(u), slope R'(u)); a slope of None is 1 everywhere. With y = T R(c / T), the step T gets
dy/dT = R(u) - u R'(u), the coefficient dy/dc = R'(u). The truth they are measured against is the derivative of the
*expected loss of the hard quantiser* over many coefficients (tests/frequency/test_rounding.py).
"""

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.types import InputError, Schedule, schedule_values, scheduled

Rounded = tuple[Float[Tensor, "*s"], Float[Tensor, "*s"] | None]


def straight_through(u: Float[Tensor, "*s"]) -> Rounded:
    """R = round(u), R' := 1 (Bengio et al. 2013; the true derivative is 0 almost everywhere).

    For smooth losses its dT is right within a factor 1.5 while T is at most half the coefficients' scale, and it
    is the estimate with the least variance (50 blocks against 800 and more for a signal-to-noise ratio of 1): the
    one to use where few coefficients share an entry. It fails for a loss that is linear in y with a weight that
    follows c (a fifth of the truth), and at T = twice the scale its sign can be wrong.
    """
    return u.round(), None


def tanh(u: Float[Tensor, "*s"], sharpness: float) -> Rounded:
    """R = floor(u) + 1/2 + tanh(k (u - floor(u) - 1/2)) / (2 tanh(k / 2)), continuous; R' is its derivative.

    DSQ (Gong et al., ICCV 2019: phi(x) = s tanh(k (x - m)), s = 1 / tanh(k / 2) for intervals of length 1) and AdvDrop
    (Duan et al., ICCV 2021), whose alpha is k = ln(2 / alpha - 1).
    R' = k (1 - tanh^2) / (2 tanh(k / 2)) has mean 1. Right-signed at every T once k is 5..10, but of high variance:
    for tables shared by thousands of blocks.
    """
    low = u.floor()
    scale = 0.5 / math.tanh(sharpness / 2)
    phi = torch.tanh((u - low - 0.5) * sharpness)
    return low + 0.5 + scale * phi, scale * sharpness * (1 - phi.square())


def fourier(u: Float[Tensor, "*s"], terms: int) -> Rounded:
    """R = u + sum_k (-1)^k sin(2 pi k u) / (k pi), k = 1..terms: the Fourier series of round; R' is its derivative.

    R' = 1 + 2 sum_k (-1)^k cos(2 pi k u), mean 1, between about -terms / 2 and 2 terms + 1. Least bias of all
    (within a fifth of the truth at every T), highest variance.
    """
    value, slope = u.clone(), torch.ones_like(u)
    for k in range(1, terms + 1):
        sign = -1.0 if k % 2 else 1.0
        value += sign / (k * math.pi) * torch.sin(2 * math.pi * k * u)
        slope += 2 * sign * torch.cos(2 * math.pi * k * u)
    return value, slope


def noise(u: Float[Tensor, "*s"]) -> Rounded:
    """R = u + n, n uniform in -1/2..1/2, R' = 1: exact for the noise it adds (Balle et al., ICLR 2017).

    The truth of quantisation only where steps are small beside the coefficients: it adds T^2 / 12 even to a
    coefficient that a quantiser would set to zero for less.
    """
    return u + torch.rand_like(u).sub_(0.5), None


def cubic(u: Float[Tensor, "*s"]) -> Rounded:
    """R = round(u) + (u - round(u))^3, R' = 3 (u - round(u))^2 (Shin & Song 2017; kornia, DiffJPEG, Diff-JPEG).

    Only to compare with: R' has mean 1/4 because the rest of the rise is in jumps that the derivative does not
    see, so the gradient of a step is 15 to 150 times too large for smooth losses and of the wrong sign for linear
    ones; and an integer u, where tables love to sit, has slope 0.
    """
    nearest = u.round()
    rest = u - nearest
    return nearest + rest**3, 3 * rest.square()


class Rounding(ABC):
    """How a quantiser rounds, and which derivative it is given."""

    @abstractmethod
    def __call__(self, u: Float[Tensor, "*s"], progress: float) -> Rounded:
        """(R(u), R'(u)) at `progress` 0..1 of the training; a slope of None is 1 everywhere."""


@final
class StraightThrough(Rounding):
    """Rounds to the nearest integer, with slope 1 (see `straight_through`)."""

    def __call__(self, u: Tensor, progress: float) -> Rounded:
        """(round(u), None)."""
        return straight_through(u)


@final
class Tanh(Rounding):
    """Steps whose sharpness follows a schedule (see `tanh`).

    Args:
        sharpness: k, above 0: 2 is nearly a straight line, 10 nearly a step; {progress: k} or one number.
    """

    def __init__(self, sharpness: Schedule = 8.0) -> None:
        least = min(schedule_values("Tanh: sharpness", sharpness))
        if least <= 0:
            raise InputError(f"Tanh: sharpness must be above 0 (2 is smooth, 10 is sharp), found {least}.")
        self.sharpness = sharpness

    def __call__(self, u: Tensor, progress: float) -> Rounded:
        """The steps at the sharpness of `progress`."""
        return tanh(u, scheduled(self.sharpness, progress))


@final
class Fourier(Rounding):
    """The Fourier series of rounding (see `fourier`).

    Args:
        terms: of the series, 1 or more.
    """

    def __init__(self, terms: int = 10) -> None:
        if terms < 1:
            raise InputError(f"Fourier: terms must be at least 1, found {terms}.")
        self.terms = terms

    def __call__(self, u: Tensor, progress: float) -> Rounded:
        """The first `terms` terms of the series."""
        return fourier(u, self.terms)


@final
class Noise(Rounding):
    """Uniform noise in place of rounding (see `noise`)."""

    def __call__(self, u: Tensor, progress: float) -> Rounded:
        """(u + noise, None)."""
        return noise(u)


@final
class Cubic(Rounding):
    """The cubic surrogate of kornia and DiffJPEG, to compare with (see `cubic`, which says why)."""

    def __call__(self, u: Tensor, progress: float) -> Rounded:
        """(round(u) + rest^3, 3 rest^2)."""
        return cubic(u)
