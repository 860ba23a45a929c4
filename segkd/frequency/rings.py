"""Energy by radial frequency: the rings that all spectral analyses share.

A ring holds the frequencies hypot(fy, fx) between two edges in cycles per pixel; what lies beyond the last edge, the
corners of the spectrum, belongs to the last ring. The mean (frequency 0) belongs to no ring. The rings are narrow where
the energy of masks and photographs lies and wide beyond: of equal rings, the first would hold nearly all of a mask.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

EDGES = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2)
"""Of the eight rings, in cycles per pixel."""


def ring_of(h: int, w: int, edges: Sequence[float] = EDGES) -> Int64[Tensor, "h k"]:
    """The ring, from 0, of each coefficient of `torch.fft.rfft2` of an image h x w, k = w // 2 + 1; -1 for the mean."""
    # k / h and not k (1 / h), which at some sizes (196, 392, 644) falls short of an edge that it lies on
    fy, fx = (torch.fft.fftfreq(h) * h).round().double() / h, torch.arange(w // 2 + 1).double() / w
    return ring_at(torch.hypot(fy.unsqueeze(1), fx), edges)


def ring_at(frequency: Float[Tensor, "u v"], edges: Sequence[float] = EDGES) -> Int64[Tensor, "u v"]:
    """The ring of each frequency, float64 in cycles per pixel, -1 at [0, 0]; on an edge, the ring above it."""
    ring = torch.bucketize(frequency, torch.tensor(edges[1:-1], dtype=torch.float64), right=True)
    ring[0, 0] = -1
    return ring


def ring_matrix(h: int, w: int, edges: Sequence[float] = EDGES) -> Float[Tensor, "hk rings"]:
    """What sums |rfft2|^2 over rings: 1 or 2 where the coefficient is of the ring, 2 where it stands for its mirror
    image too, so that the sums are those of the full spectrum."""
    one_hot = ring_of(h, w, edges).unsqueeze(-1) == torch.arange(len(edges) - 1)
    return (one_hot * half_plane_weights(w).view(1, -1, 1)).flatten(0, 1)


def half_plane_weights(w: int) -> Float[Tensor, " k"]:
    """How many coefficients of the full spectrum each column of the half plane stands for: 2, but 1 of frequency 0 and,
    for an even width, of the highest, which are their own mirror images."""
    twice = torch.full((w // 2 + 1,), 2.0)
    twice[0] = 1
    if w % 2 == 0:
        twice[-1] = 1
    return twice


def power(field: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h k"]:
    """|F|^2 on the half plane, F unitary: with the mirrored half, the sum is that of the squares (Parseval)."""
    found = torch.fft.rfft2(field.float() if field.dtype != torch.float64 else field, norm="ortho")
    return found.real.square() + found.imag.square()  # without the root that a modulus takes


def ring_energy(field: Float[Tensor, "*n h w"], matrix: Float[Tensor, "hk rings"]) -> Float[Tensor, "*n rings"]:
    """The energy of a field in each ring; with h w mean^2 they sum to the sum of its squares.

    Args:
        field: anything real; half types are widened.
        matrix: `ring_matrix` for the field's size.
    """
    return power(field).flatten(-2) @ matrix.to(field.device, torch.promote_types(field.dtype, torch.float32))


def centred(field: Float[Tensor, "*n h w"], valid: Bool[Tensor, "*#n h w"]) -> Float[Tensor, "*n h w"]:
    """The field without its mean over the valid pixels, 0 on the others.

    So a constant has no energy in any ring, whatever is ignored; 0 in place of it would draw the shape of that.
    """
    inside = field * valid
    mean = inside.sum(dim=(-2, -1), keepdim=True) / valid.sum(dim=(-2, -1), keepdim=True).clamp_min(1)
    return (inside - mean) * valid


def ring_names(edges: Sequence[float] = EDGES) -> list[str]:
    """Each ring's edges as text, e.g. ".125-.1875"."""
    short = [f"{edge:.4g}".removeprefix("0") or "0" for edge in edges]
    return [f"{low}-{high}" for low, high in pairwise(short)]
