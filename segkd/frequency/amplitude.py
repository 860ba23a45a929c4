"""Rivals that change Fourier amplitudes and keep phases: FDA, APR-P, APR-S, AmpMix.

F is the two-dimensional Fourier transform of each channel by itself, A = |F|, P = angle of F. With the phase kept,
A' e^(iP) = F A' / A: one complex product instead of angle, cosine and sine. All are half-plane transforms, whose
inverse is real by construction (full-plane code with a lopsided window throws away an imaginary part of up to 3 %).
Results leave 0..1 by up to .14 and are cut.
"""

import math
from typing import final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segkd.frequency.dct import work_type
from segkd.frequency.image import changed, refuse_range, refuse_share
from segkd.types import Batch, Disturbance, InputError

FAINT = 1e-12
"""Below this an amplitude has no phase to speak of."""


def with_amplitude(image: Float[Tensor, "b c h w"], amplitude: Float[Tensor, "b c h k"]) -> Float[Tensor, "b c h w"]:
    """The image with the phases of `image` and these amplitudes on the half plane, k = w // 2 + 1."""
    spectrum = half_plane(image)
    scaled = spectrum * (amplitude / spectrum.abs().clamp_min(FAINT))
    return torch.fft.irfft2(scaled, s=image.shape[-2:]).to(image.dtype)


def half_plane(image: Float[Tensor, "b c h w"]) -> Tensor:
    """F on the half plane kx >= 0, complex [b c h w//2+1], of every channel by itself."""
    with torch.autocast(image.device.type, enabled=False):
        return torch.fft.rfft2(image.to(work_type(image)))


def low_window(h: int, w: int, share: float, device: torch.device) -> Bool[Tensor, "h k"]:
    """True where |ky|, |kx| <= floor(share min(h, w)): FDA's square, symmetric in ky."""
    reach = math.floor(share * min(h, w))
    ky = (torch.fft.fftfreq(h, device=device) * h).abs().round()
    return (ky.unsqueeze(1) <= reach) & (torch.arange(w // 2 + 1, device=device) <= reach)


def partners(image: Float[Tensor, "b c h w"]) -> Int64[Tensor, " b"]:
    """For every image the number of another one: a shift by 1..b-1, as a permutation may leave an image to itself."""
    b = len(image)
    if b < 2:
        raise InputError("images of a batch are mixed with each other: data.batch_size must be at least 2, found 1.")
    shift = int(torch.randint(1, b, ()))
    return (torch.arange(b, device=image.device) + shift) % b


def fda(image: Float[Tensor, "b 3 h w"], other: Float[Tensor, "b 3 h w"], share: float) -> Float[Tensor, "b 3 h w"]:
    """x' = F^-1((A_other M + A (1 - M)) e^(iP)), M the low frequencies (Yang & Soatto, CVPR 2020).

    Departure: M includes both its edges -reach and +reach; the official [-b, b - 1] is not Hermitian.
    """
    own, theirs = half_plane(image).abs(), half_plane(other).abs()
    window = low_window(image.shape[-2], image.shape[-1], share, image.device)
    return with_amplitude(image, torch.where(window, theirs, own))


def amplitude_mix(
    image: Float[Tensor, "b 3 h w"], other: Float[Tensor, "b 3 h w"], share: Float[Tensor, "b 1 1 1"]
) -> Float[Tensor, "b 3 h w"]:
    """x' = F^-1(((1 - l) A + l A_other) e^(iP)) (FACT, Xu et al., CVPR 2021); l = 1 is APR-P."""
    own, theirs = half_plane(image).abs(), half_plane(other).abs()
    return with_amplitude(image, torch.lerp(own, theirs, share.to(own)))


def recoloured(image: Float[Tensor, "b 3 h w"], strength: float) -> Float[Tensor, "b 3 h w"]:
    """a x^g + s per image and channel: gain a and gamma g in 2^(-strength..strength), shift s in -strength/4..+."""
    draw = strength * (2 * torch.rand(3, len(image), 3, 1, 1, device=image.device) - 1)
    return (image.clamp(1e-4, 1) ** torch.exp2(draw[0]) * torch.exp2(draw[1]) + draw[2] / 4).clamp(0, 1)


def mirrored(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Half of the images left to right, half of them (drawn apart) top to bottom."""
    sides = torch.rand(2, len(image), 1, 1, 1, device=image.device) < 0.5
    image = torch.where(sides[0], image.flip(-1), image)
    return torch.where(sides[1], image.flip(-2), image)


@final
class FDA(Disturbance):
    """Low-frequency amplitudes of another image of the batch (see `fda`).

    Args:
        share: the window's reach as a share of the shorter side; the paper's beta, .01 to .09.
        probability: share of the images that are changed.
    """

    def __init__(self, share: float = 0.05, probability: float = 0.5) -> None:
        super().__init__()
        refuse_range("FDA", "share", (share, share), 0.0, 0.5)
        refuse_share("FDA", "probability", probability)
        self.share, self.probability = share, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with swapped amplitudes."""
        other = batch.image[partners(batch.image)]
        return changed(batch, self.probability, lambda image, rows: fda(image, other[rows], self.share))


@final
class APRP(Disturbance):
    """All amplitudes of another image of the batch, own phases, own label (APR-P, Chen et al., ICCV 2021).

    Departure: each channel by itself; the official code transforms over the colour axis too.

    Args:
        probability: share of the images that are changed; .6 in the official code.
    """

    def __init__(self, probability: float = 0.6) -> None:
        super().__init__()
        refuse_share("APRP", "probability", probability)
        self.probability = probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with exchanged amplitudes."""
        other = batch.image[partners(batch.image)]
        return changed(
            batch, self.probability, lambda image, rows: with_amplitude(image, half_plane(other[rows]).abs())
        )


@final
class APRS(Disturbance):
    """Phases of one view of the image, amplitudes of another view of it (APR-S, Chen et al., ICCV 2021).

    Departure: in segmentation the phase carries the geometry of the label, so the view that gives it is only
    recoloured; the other one is recoloured and mirrored. The official code turns a complex array into bytes, which
    wraps around; here the result is real and cut to 0..1.

    Args:
        strength: of the recolouring, in octaves of gain and gamma.
        probability: share of the images that are changed.
    """

    def __init__(self, strength: float = 0.5, probability: float = 0.5) -> None:
        super().__init__()
        refuse_range("APRS", "strength", (strength, strength), 0.0, 3.0)
        refuse_share("APRS", "probability", probability)
        self.strength, self.probability = strength, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with phases and amplitudes of two views."""

        def change(image: Tensor, rows: Tensor) -> Tensor:
            other = mirrored(recoloured(image, self.strength))
            return with_amplitude(recoloured(image, self.strength), half_plane(other).abs())

        return changed(batch, self.probability, change)


@final
class AmpMix(Disturbance):
    """Amplitudes mixed with another image's, in a share drawn per image (see `amplitude_mix`).

    Args:
        most: the share is uniform in 0..most; 1 in the paper.
        probability: share of the images that are changed.
    """

    def __init__(self, most: float = 1.0, probability: float = 0.5) -> None:
        super().__init__()
        refuse_share("AmpMix", "most", most)
        refuse_share("AmpMix", "probability", probability)
        self.most, self.probability = most, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with mixed amplitudes."""
        other = batch.image[partners(batch.image)]
        share = self.most * torch.rand(len(other), 1, 1, 1, device=other.device)
        return changed(batch, self.probability, lambda image, rows: amplitude_mix(image, other[rows], share[rows]))
