"""Rivals that leave frequencies out: band-stop, frequency dropout, DCT band-drop."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.frequency.amplitude import half_plane
from segkd.frequency.dct import block_dct, block_idct, cropped, padded, refuse_block
from segkd.frequency.image import changed, refuse_range, refuse_share
from segkd.types import Batch, Disturbance, InputError

HIGHEST = 0.7072
"""Cycles per pixel of the corner of the spectrum, sqrt(1/2)."""


def filtered(image: Float[Tensor, "b c h w"], kept: Float[Tensor, " _b #c h k"]) -> Float[Tensor, "b c h w"]:
    """F^-1(F kept), `kept` on the half plane, the mean of the image always kept."""
    kept = kept.clone()
    kept[..., 0, 0] = 1
    return torch.fft.irfft2(half_plane(image) * kept, s=image.shape[-2:]).to(image.dtype)


def radius(h: int, w: int, device: torch.device) -> Float[Tensor, "h k"]:
    """Frequency in cycles per pixel on the half plane."""
    fy, fx = torch.fft.fftfreq(h, device=device), torch.fft.rfftfreq(w, device=device)
    return torch.hypot(fy.unsqueeze(1), fx)


def symmetric(mask: Float[Tensor, "b c h k"], w: int) -> Float[Tensor, "b c h k"]:
    """The mask with ky and -ky alike on kx = 0 and kx = w / 2, which are their own mirror images: otherwise the
    inverse is not real and silently averages the two."""
    mirror = -torch.arange(mask.shape[-2], device=mask.device) % mask.shape[-2]
    mask = mask.clone()
    upper = (torch.arange(mask.shape[-2], device=mask.device) <= mirror).unsqueeze(-1)
    for column in (0, w // 2) if w % 2 == 0 else (0,):
        own = mask[..., column : column + 1]
        mask[..., column : column + 1] = torch.where(upper, own, own[..., mirror, :])
    return mask


def without_high(image: Float[Tensor, "b c h w"], first: Float[Tensor, " b"], n: int) -> Float[Tensor, "b c h w"]:
    """Without the coefficients u + v >= first of every n x n block (first >= 1: the mean stays)."""
    size = (image.shape[-2], image.shape[-1])
    coefficients = block_dct(padded(image, n), n)
    b, c, h, w = coefficients.shape
    k = torch.arange(n, device=image.device)
    kept = (k.unsqueeze(1) + k < first.view(-1, 1, 1)).to(coefficients.dtype)
    six = coefficients.view(b, c, h // n, n, w // n, n) * kept[:, None, None, :, None, :]
    return cropped(block_idct(six.view(b, c, h, w), n), size).to(image.dtype)


@final
class BandStop(Disturbance):
    """x' = F^-1(F 1[rho not in (f, f + width)]), the mean kept: one ring of frequencies is left out per image.

    After the radial masks of Wang et al. (CVPR 2020) and Yin et al. (NeurIPS 2019).

    Args:
        width: of the ring, in cycles per pixel.
        start: where the ring may begin, [lowest, highest] in cycles per pixel, drawn evenly.
        probability: share of the images that are changed.
    """

    def __init__(self, width: float = 0.1, start: tuple[float, float] = (0.02, 0.5), probability: float = 0.5) -> None:
        super().__init__()
        refuse_share("BandStop", "width", width)
        refuse_range("BandStop", "start", start, 0.0, HIGHEST)
        refuse_share("BandStop", "probability", probability)
        self.width, self.start, self.probability = width, start, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with a ring left out of each image."""
        low, high = self.start
        edge = low + (high - low) * torch.rand(len(batch.image), 1, 1, 1, device=batch.image.device)

        def change(image: Tensor, rows: Tensor) -> Tensor:
            rho = radius(image.shape[-2], image.shape[-1], image.device)
            return filtered(image, ((rho <= edge[rows]) | (rho >= edge[rows] + self.width)).float())

        return changed(batch, self.probability, change)


@final
class FrequencyDropout(Disturbance):
    """x' = F^-1(F Bernoulli(1 - rate)), the mean kept, nothing scaled up: frequencies are dropped one by one.

    On the image; the method of that name by Islam & Glocker (2022) filters feature maps at random instead. The mask
    is drawn on the half plane, for all channels together, and mirrored where it is its own mirror image.

    Args:
        rate: share of the frequencies that are dropped.
        probability: share of the images that are changed.
    """

    def __init__(self, rate: float = 0.1, probability: float = 0.5) -> None:
        super().__init__()
        if not 0 < rate < 1:
            raise InputError(f"FrequencyDropout: rate is a share between 0 and 1, found {rate}.")
        refuse_share("FrequencyDropout", "probability", probability)
        self.rate, self.probability = rate, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with frequencies dropped."""

        def change(image: Tensor, rows: Tensor) -> Tensor:
            b, _, h, w = image.shape
            kept = torch.rand(b, 1, h, w // 2 + 1, device=image.device) >= self.rate
            return filtered(image, symmetric(kept.float(), w))

        return changed(batch, self.probability, change)


@final
class DctBandDrop(Disturbance):
    """Without the coefficients u + v >= k of every block, k drawn per image: a low pass in blocks.

    Args:
        first: k is drawn evenly from first[0]..first[1], whole numbers, 1 .. 2 block - 2.
        block: side of a block: 4, 8, 16 or 32.
        probability: share of the images that are changed.
    """

    def __init__(self, first: tuple[int, int] = (2, 10), block: int = 8, probability: float = 0.5) -> None:
        super().__init__()
        refuse_block(block)
        refuse_range("DctBandDrop", "first", (float(first[0]), float(first[1])), 1.0, 2.0 * block - 2)
        refuse_share("DctBandDrop", "probability", probability)
        self.first, self.block, self.probability = first, block, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch without high coefficients."""
        low, high = self.first
        first = torch.randint(low, high + 1, (len(batch.image),), device=batch.image.device).float()
        return changed(batch, self.probability, lambda image, rows: without_high(image, first[rows], self.block))
