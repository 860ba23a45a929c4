"""RGB <-> YCbCr (JFIF) with chroma around 0, and the 4:2:0 grid of chroma."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from segkd.device import constant

Color = Literal["rgb", "ycbcr444", "ycbcr420"]

TO_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
"""ITU-R BT.601 as in JFIF 1.02; rows Y, Cb, Cr of RGB in 0..1."""

CHROMA_TO_RGB = ((0.0, 1.402), (-0.344136286, -0.714136286), (1.772, 0.0))
"""Rows R, G, B of Cb and Cr; Y counts once in each."""


def rgb_to_ycbcr(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Y in 0..1, Cb and Cr in -.5..+.5 (JFIF adds .5 to them: the DCT would only take it away again)."""
    return _mixed(image, TO_YCBCR)


def ycbcr_to_rgb(luma: Float[Tensor, "b 1 h w"], chroma: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The inverse of `rgb_to_ycbcr`, to 1e-6."""
    return _mixed(chroma, CHROMA_TO_RGB) + luma


def halved(chroma: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h/2 w/2"]:
    """Means of 2 x 2 pixels, as libjpeg shrinks chroma (kornia's blurred resize is slower and farther from it)."""
    return _Means.apply(chroma)


def doubled(chroma: Float[Tensor, "b c h w"], bilinear: bool) -> Float[Tensor, "b c 2*h 2*w"]:
    """Chroma at twice its size: `bilinear` (weights 3/4 and 1/4, libjpeg's default) or every value four times."""
    if bilinear:
        return F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    return _Copies.apply(chroma)


def doubled_back(grad: Float[Tensor, "b c h w"], bilinear: bool) -> Float[Tensor, "b c h/2 w/2"]:
    """The transpose of `doubled`: the gradient of chroma, from that of chroma at twice its size."""
    if not bilinear:
        return halved(grad).mul_(4)
    b, c, h, w = grad.shape
    return torch.ops.aten.upsample_bilinear2d_backward(grad, [h, w], [b, c, h // 2, w // 2], False, 2.0, 2.0)


def halved_back(grad: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """The transpose of `halved`: a quarter to each of four."""
    return doubled(grad * 0.25, bilinear=False)


def ycbcr_to_rgb_back(grad: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The transpose of `ycbcr_to_rgb`: gradients of Y, Cb and Cr from those of R, G and B."""
    return _mixed(grad, ((1.0, 1.0, 1.0), *zip(*CHROMA_TO_RGB)))


def rgb_to_ycbcr_back(grad: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """The transpose of `rgb_to_ycbcr`."""
    return _mixed(grad, tuple(zip(*TO_YCBCR)))


def luma_and_small_chroma(
    image: Float[Tensor, "b 3 h w"], faithful: bool, rows: int | None = None
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 2 h/2 w/2"]]:
    """Y, and Cb and Cr at half their size, of an image of even sides; `faithful` ones are bytes as libjpeg's.

    A mean of four bytes is a half in one case of four. libjpeg takes these down in even columns and up in odd ones
    (jcsample.c, h2v2_downsample); left alone, the rounding noise of the sums would decide. Below the `rows` that are
    not padding it repeats the last row of halves (jcprepct.c), not what that of the last row alone would be.
    """
    ycbcr = eight_bit(rgb_to_ycbcr(image)) if faithful else rgb_to_ycbcr(image)
    luma, chroma = ycbcr.split((1, 2), dim=1)  # its gradient is one tensor; two slices would be two, and a sum
    small = halved(chroma)
    if faithful:
        lean = constant(((-1 / 2040, 1 / 2040),), small.dtype, small.device)  # an eighth of a byte
        small = held_below(eight_bit(small + lean.repeat(1, small.shape[-1] // 2)), rows)
    return luma.contiguous(), small


def held_below(small: Float[Tensor, "b c h w"], rows: int | None) -> Float[Tensor, "b c h w"]:
    """Halves of an image of which only the first `rows` are no padding (None: all), with their last row in the rest."""
    kept = small.shape[-2] if rows is None else -(-rows // 2)
    if kept == small.shape[-2]:
        return small
    last = small[..., kept - 1 : kept, :].expand(-1, -1, small.shape[-2] - kept, -1)
    return torch.cat([small[..., :kept, :], last], dim=-2)


def held_below_back(grad: Float[Tensor, "b c h w"], rows: int | None) -> Float[Tensor, "b c h w"]:
    """The transpose of `held_below`, in place."""
    kept = grad.shape[-2] if rows is None else -(-rows // 2)
    if kept < grad.shape[-2]:
        grad[..., kept - 1, :] += grad[..., kept:, :].sum(dim=-2)
        grad[..., kept:, :] = 0
    return grad


def eight_bit(planes: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The nearest multiples of 1/255, with the gradient of `planes`: a JPEG encoder's planes are bytes, and what that
    rounding flips in the coefficients is most of what would still tell us from libjpeg (2 to 4 dB)."""
    return _Bytes.apply(planes)


class _Bytes(torch.autograd.Function):
    """round(255 x) / 255, straight through, keeping nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Two passes, the second in place."""
        return torch.round(x * 255).mul_(1 / 255)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """As if it had not been rounded."""
        return grads[0]


class _Means(torch.autograd.Function):
    """Means of 2 x 2: four times faster than avg_pool2d and, unlike slices, without a whole plane of zeros per slice
    on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """x [b c h w] at [b c h/2 w/2]."""
        rows = x[..., ::2, :] + x[..., 1::2, :]
        return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """A quarter to each of four."""
        return halved_back(grads[0])


class _Copies(torch.autograd.Function):
    """Every value four times, the transpose of `_Means` but for a factor; twice as fast as F.interpolate's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """x [b c h w] at [b c 2h 2w]."""
        return F.interpolate(x, scale_factor=2, mode="nearest")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Sums of 2 x 2."""
        return doubled_back(grads[0], bilinear=False)


def _mixed(image: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    matrix = constant(rows, image.dtype, image.device)
    with torch.autocast(image.device.type, enabled=False):
        return (matrix @ image.flatten(2)).unflatten(2, image.shape[2:])
