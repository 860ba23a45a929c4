"""The frequencies of what a network puts out, and of what its decoder could put out at best."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from segkd.models.network import Network
from segkd.types import IGNORE


def planes(
    shares: Float[Tensor, "b k h w"], label: Int64[Tensor, "b h w"]
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """Prediction and label as planes to compare, 0 on ignored pixels: of two classes the foreground alone, because
    the background is 1 minus it and has the same error in every band; of more, all."""
    k = shares.shape[1]
    first = 1 if k == 2 else 0
    valid = (label != IGNORE).unsqueeze(1)
    truth = F.one_hot(label.masked_fill(label == IGNORE, 0), k).permute(0, 3, 1, 2).float()
    return (shares * valid)[:, first:], (truth * valid)[:, first:]


def through_stride(label: Float[Tensor, "b c h w"], stride: int) -> Float[Tensor, "b c h w"]:
    """The label as a decoder of this stride could give it at best: averaged over cells of stride x stride pixels and
    enlarged bilinearly, as networks enlarge their logits. The same at stride 1."""
    if stride == 1:
        return label
    height, width = label.shape[-2:]
    small = F.adaptive_avg_pool2d(label, (max(1, round(height / stride)), max(1, round(width / stride))))
    return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)


@torch.no_grad()
def output_stride(network: Network, classes: int, size: tuple[int, int]) -> int:
    """Pixels of the image per pixel of the last convolution that gives one channel per class.

    That is where a network decides; what comes after only enlarges. 1 where there is none.
    """
    found: list[int] = []

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] == classes:
            found.append(max(1, round(size[0] / output.shape[2])))

    hooks = [
        module.register_forward_hook(note)
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    try:
        network(torch.zeros(1, 3, *size, device=next(network.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else 1
