"""What of the input a network relies on: the gradient's spectrum, and images changed in one band.

The gradient is that of the logit margin, not of the loss: where a network is sure of itself the loss has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from segkd.analysis.evidence import Condition
from segkd.frequency.dct import block_dct
from segkd.frequency.filters import filtered
from segkd.frequency.rings import EDGES, power, ring_matrix, ring_of
from segkd.models.network import Network
from segkd.types import IGNORE

BLOCK = 8
RINGS = len(EDGES) - 1


@dataclass(frozen=True)
class Sensitivity:
    """Of each image of a batch: by frequency, summed over the colour channels; by coefficient of a block; and the mean
    square of the logit margin, its scale."""

    power: Float[Tensor, "b h k"]
    dct: Float[Tensor, "b 8 8"]
    logits: Float[Tensor, "b classes h w"]
    margin: Float[Tensor, " b"]


def conditions() -> list[Condition]:
    """Every change of the images: each band left out, each low and high pass between the bands, noise in each band."""
    inner = range(RINGS - 1)
    return [
        Condition("clean"),
        *(Condition("stop", band) for band in range(RINGS)),
        *(Condition("low", band) for band in inner),
        *(Condition("high", band + 1) for band in inner),
        *(Condition("noise", band) for band in range(RINGS)),
    ]


def changed(
    image: Float[Tensor, "b 3 h w"], condition: Condition, noise: float, seeds: Sequence[int]
) -> Float[Tensor, "b 3 h w"]:
    """The images under a condition, not clipped to 0..1: clipping would put energy into other bands.

    Args:
        image: RGB in 0..1.
        condition: the change.
        noise: root mean square of the added noise, in image units.
        seeds: one for each image: its noise is the same for every network that is asked.
    """
    if condition.kind == "clean":
        return image
    ring = ring_of(image.shape[-2], image.shape[-1]).to(image.device)
    if condition.kind == "noise":
        inside = (ring == condition.band).float()
        return image + noise * torch.stack([_band_noise(image[0], inside, seed) for seed in seeds])
    kept = {"stop": ring != condition.band, "low": ring <= condition.band, "high": ring >= condition.band}
    return filtered(image, kept[condition.kind].float()[None, None])


def _band_noise(like: Float[Tensor, "c h w"], inside: Float[Tensor, "h k"], seed: int) -> Float[Tensor, "c h w"]:
    """Gaussian noise with all its energy in a band, root mean square 1 over the channels; 0 where the band is empty."""
    white = torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like.device)
    field = torch.fft.irfft2(torch.fft.rfft2(white) * inside, s=like.shape[-2:])
    return field / field.square().mean().sqrt().clamp_min(1e-12)


def flat_noise(h: int, w: int, seed: int) -> Float[Tensor, "h w"]:
    """Real noise of random phase whose unitary spectrum has modulus 1 at every frequency: white exactly, not on
    average."""
    white = torch.fft.rfft2(torch.randn(h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    return torch.fft.irfft2(white / white.abs().clamp_min(1e-12), s=(h, w), norm="ortho").float()


def contrasts(label: Int64[Tensor, "b h w"], classes: int, seeds: Sequence[int]) -> Float[Tensor, "b k"]:
    """Of each image the pair of classes whose logits are compared, +1 and -1: one of those in its label drawn at
    random; for two classes always foreground - background."""
    signs = torch.zeros(len(label), classes)
    for row, (one, seed) in enumerate(zip(label, seeds)):
        there = one[one != IGNORE].unique().cpu()
        there = there if len(there) >= 2 and classes > 2 else torch.arange(classes)
        order = torch.randperm(len(there), generator=torch.Generator().manual_seed(seed))[:2]
        low, high = sorted(there[order].tolist())
        signs[row, high], signs[row, low] = 1.0, -1.0
    return signs.to(label.device)


def sensitivity(
    network: Network, image: Float[Tensor, "b 3 h w"], label: Int64[Tensor, "b h w"], seeds: Sequence[int]
) -> Sensitivity:
    """How much the logit margin moves with each frequency of the input: one forward and one backward for all.

    J is the derivative of the margin map by the image. For a probe v with covariance 1, E |F J^T v|^2 at frequency f
    is |J u_f|^2, what a wave u_f of unit energy does to the whole map: the heat map of Yin et al. (NeurIPS 2019) to
    first order, by the basis trick of Krishnamachari et al. (2023), whose gradient is that of the loss instead. The
    probe is `flat_noise`: for a shift-invariant linear filter the result is its squared response exactly, for any seed.
    """
    image = image.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = network(image).logits.float()
        signs = contrasts(label, logits.shape[1], seeds)
        margin = torch.einsum("bkhw,bk->bhw", logits, signs)
        h, w = margin.shape[-2:]
        probe = torch.stack([flat_noise(h, w, seed) for seed in seeds]).to(margin.device)
        (gradient,) = torch.autograd.grad((margin * probe).sum(), image)
    return Sensitivity(power(gradient).sum(dim=1), block_sensitivity(gradient), logits.detach(), _mean_square(margin))


def _mean_square(margin: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    return margin.detach().square().mean(dim=(1, 2))


def block_sensitivity(gradient: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 8 8"]:
    """Mean square of each coefficient of the gradient's block DCT over blocks, summed over channels.

    What does not fill a block at the right and below is left out; NaN for images smaller than a block.
    """
    b, c, h, w = gradient.shape
    if min(h, w) < BLOCK:
        return gradient.new_full((b, BLOCK, BLOCK), float("nan"))
    whole = gradient[..., : h - h % BLOCK, : w - w % BLOCK].contiguous()
    blocks = block_dct(whole, BLOCK).view(b, c, h // BLOCK, BLOCK, w // BLOCK, BLOCK)
    return blocks.square().sum(dim=1).mean(dim=(1, 3))


def by_ring(powers: Float[Tensor, "b h k"], width: int) -> Float[Tensor, "b rings"]:
    """Mean of a power on the half plane over the coefficients of each band of images `width` pixels wide."""
    matrix = ring_matrix(powers.shape[-2], width).to(powers.device)
    return powers.flatten(-2) @ matrix / matrix.sum(dim=0).clamp_min(1)
