"""Energy by radial frequency: the rings that all spectral analyses share.

A ring holds the frequencies hypot(fy, fx) of equal width between 0 and .5 cycles per pixel; what lies beyond .5, the
corners of the spectrum, belongs to the last ring. The mean (frequency 0) belongs to no ring.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from segkd.frequency.spectrum import BANDS


def ring_of(h: int, w: int, rings: int = BANDS) -> Int64[Tensor, "h k"]:
    """The ring 0..rings-1 of each coefficient of `torch.fft.rfft2` of h x w, k = w // 2 + 1; -1 for the mean."""
    fy, fx = torch.fft.fftfreq(h, dtype=torch.float64), torch.fft.rfftfreq(w, dtype=torch.float64)
    ring = (torch.hypot(fy.unsqueeze(1), fx) * 2 * rings).floor().clamp(max=rings - 1).long()
    ring[0, 0] = -1
    return ring


def ring_matrix(h: int, w: int, rings: int = BANDS) -> Float[Tensor, "hk rings"]:
    """What sums |rfft2|^2 over rings: 1 or 2 where the coefficient is of the ring, 2 where it stands for its mirror
    image too, so that the sums are those of the full spectrum."""
    ring = ring_of(h, w, rings)
    twice = torch.full((w // 2 + 1,), 2.0)
    twice[0] = 1
    if w % 2 == 0:
        twice[-1] = 1
    one_hot = ring.unsqueeze(-1) == torch.arange(rings)
    return (one_hot * twice.view(1, -1, 1)).flatten(0, 1)


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


def ring_edges(rings: int = BANDS) -> list[float]:
    """The rings+1 edges in cycles per pixel; the last ring goes on to the corners, sqrt(1/2)."""
    return [number / (2 * rings) for number in range(rings + 1)]
