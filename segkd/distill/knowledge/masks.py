"""Soft masks compared as images are: by structural similarity and by their Gram matrices (OMGD)."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.losses import global_mean, hushed, pixel_sums, refuse_weights
from segkd.types import Batch, Prediction

WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window, in pixels (Wang et al., IEEE TIP 2004)."""

C1, C2 = 0.01**2, 0.03**2
"""What keeps quotients of small numbers in check, for values in 0..1 (as there)."""


def similarity(
    a: Float[Tensor, "b k h w"], b: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, "b k h w"]:
    """SSIM of planes in 0..1 at every pixel, -1..1: (2 m_a m_b + C1)(2 cov + C2) / ((m_a^2 + m_b^2 + C1)(v_a + v_b +
    C2)), moments in a Gaussian window of 11 pixels (Wang et al., IEEE TIP 2004, eq. 13).

    Departure: each window is weighted over its valid pixels inside the image, so that neither border nor ignored pixels
    count.
    """
    with torch.autocast(a.device.type, enabled=False):  # a variance is a small difference of large numbers
        a, b, inside = a.float(), b.float(), valid.unsqueeze(1).float()
        share = _blurred(inside).clamp_min(1e-6)
        m_a, m_b = _blurred(a * inside) / share, _blurred(b * inside) / share
        v_a = _blurred(a.square() * inside) / share - m_a.square()
        v_b = _blurred(b.square() * inside) / share - m_b.square()
        cov = _blurred(a * b * inside) / share - m_a * m_b
        upper = (2 * m_a * m_b + C1) * (2 * cov + C2)
        return upper / ((m_a.square() + m_b.square() + C1) * (v_a.clamp_min(0) + v_b.clamp_min(0) + C2))


def _blurred(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The Gaussian window's weighted sum, 0 beyond the border: rows, then columns."""
    at = torch.arange(WINDOW, device=x.device, dtype=x.dtype) - WINDOW // 2
    line = torch.exp(-at.square() / (2 * SIGMA**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, WINDOW)
    x = F.conv2d(x, line, padding=(0, WINDOW // 2), groups=x.shape[1])
    return F.conv2d(x, line.transpose(2, 3), padding=(WINDOW // 2, 0), groups=x.shape[1])


def gram(shares: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b k k"]:
    """mean_V p_i p_j: how often two classes are thought of at one pixel; all entries sum to 1."""
    inside = shares.float().masked_fill(~valid.unsqueeze(1), 0.0).flatten(2)
    count = valid.flatten(1).sum(dim=1).clamp_min(1).view(-1, 1, 1)
    return pixel_sums("bin,bjn->bij", inside, inside) / count


@final
class SoftMasks(Knowledge):
    """The teacher's soft masks as images: ssim mean_V mean_k (1 - SSIM) + gram mean_b mean_ij |G_s - G_t|, of class
    probabilities, with `similarity` and `gram` (OMGD, Ren et al., ICCV 2021, eq. 3 to 6, in its words structure and
    style).

    Departures: masks in place of generated images, so that the Gram matrix is that of the masks and not of VGG's
    features; its terms on those features and on total variation are left out.

    Args:
        ssim: weight of the first part; 10 in OMGD.
        gram: weight of the second part; OMGD's 1e4 is for Gram matrices divided by the number of entries.
    """

    reads = needs = frozenset({"logits"})

    def __init__(self, ssim: float = 10.0, gram: float = 10.0) -> None:
        super().__init__()
        refuse_weights("SoftMasks: ssim and gram", (ssim, gram))
        self.ssim, self.gram = ssim, gram

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Means over the valid pixels, and over the images, of all processes."""
        valid = batch.valid
        ours, theirs = (hushed(one.logits, valid).float().softmax(dim=1) for one in (student, target))
        apart = 1 - similarity(ours, theirs, valid).mean(dim=1)
        gap = (gram(ours, valid) - gram(theirs, valid)).abs().mean(dim=(1, 2))
        return self.ssim * global_mean(apart, valid) + self.gram * global_mean(gap, valid.flatten(1).any(dim=1))
