"""The frequencies of what a network puts out, and of what its decoder could put out at best."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from segkd.losses import one_hot
from segkd.models.network import Network, device_of
from segkd.types import IGNORE

SURE = 10.0
"""Logit of a class in a cell that lies whole inside it; 0 in one that lies outside."""


def planes(
    shares: Float[Tensor, "b k h w"], label: Int64[Tensor, "b h w"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """Prediction and label as planes to compare, 0 on ignored pixels: of two classes the foreground alone, because
    the background is 1 minus it and has the same error in every band; of more, all."""
    k = shares.shape[1]
    first = 1 if k == 2 else 0
    valid = (label != IGNORE).unsqueeze(1)
    return (shares * valid)[:, first:], one_hot(label, k)[:, first:]


def through_stride(label: Float[Tensor, "b c h w"], stride: int) -> Float[Tensor, "b c h w"]:
    """The label drawn as a decoder of this stride draws: cells of stride x stride pixels hold logits, `SURE` times the
    class's share of the cell, which are enlarged bilinearly and then made probabilities. The label itself at stride 1.

    Enlarged logits give sharper edges than enlarged probabilities would. It is what such a decoder can do, not a bound:
    logits that place the outline within a cell do better still.
    """
    if stride == 1:
        return label
    height, width = label.shape[-2:]
    small = F.adaptive_avg_pool2d(label, (max(1, round(height / stride)), max(1, round(width / stride))))
    large = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    return (SURE * (2 * large - 1)).sigmoid() if label.shape[1] == 1 else (SURE * large).softmax(dim=1)


@torch.no_grad()
def output_stride(network: Network, classes: int, size: tuple[int, int]) -> int:
    """Pixels of the image per pixel of the last convolution that gives one channel per class.

    That is where a network decides; what comes after only enlarges. 1 where there is none.
    """
    # a network that pads inside works on the padded size
    divisor = getattr(network, "divisor", 1)
    height, width = (-(-side // divisor) * divisor for side in size)
    found: list[int] = []

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] == classes:
            found.append(max(1, round(height / output.shape[2])))

    hooks = [
        module.register_forward_hook(note)
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    try:
        network(torch.zeros(1, 3, height, width, device=device_of(network)))
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else 1
