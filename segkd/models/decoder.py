"""The fusion decoder: every encoder level is fused top-down and bottom-up by learned gates."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def separable(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """3x3 depthwise, then 1x1, each followed by BatchNorm; one ReLU at the end."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def resize(x: Float[Tensor, "b c _h _w"], like: Float[Tensor, "b _c h w"]) -> Float[Tensor, "b c h w"]:
    """`x` at the height and width of `like`, bilinearly."""
    if not torch.compiler.is_compiling() and x.shape[-2:] == like.shape[-2:]:  # an exporter would take it for a promise
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def summed(levels: Sequence[Float[Tensor, "b c _h _w"]]) -> Float[Tensor, "b c h w"]:
    """The sum of all levels at the size of the first."""
    x = levels[0]
    for level in levels[1:]:
        x = x + resize(level, x)
    return x


class Head(nn.Conv2d):
    """1x1 convolution to logits, whose weights want a learning rate of their own under Adam.

    Adam moves every weight by about its learning rate, so a sum over few inputs grows slower than one over many, and
    the maps of a slim head stay unsure for long. `speed` is the multiple of the rate for its weights, a reparametrised
    multiplier (Yang et al., NeurIPS 2021, table 8) that leaves files, graphs and SGD as they are. Departure: its root,
    sqrt(128 / inputs). The whole multiplier holds if all inputs pull one way, and let one of nine trainings fall into
    predicting nothing before it learned the object; docs/results/decoder.md has the figures.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1)

    @property
    def speed(self) -> float:
        """Multiple of the learning rate for the weights, under Adam."""
        return math.sqrt(128 / self.in_channels)


def deep_head(channels: int, width: int, classes: int) -> nn.Sequential:
    """3x3 convolution with BatchNorm and ReLU, then the head."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        Head(width, classes),
    )


class GatedMerge(nn.Module):
    """g * a + (1 - g) * b, where the gate g in 0..1, one number per pixel and channel, reads both; then convolved."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * width, width, 1)
        self.mix = separable(width, width)

    def forward(self, a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The merged level."""
        gate = torch.sigmoid(self.gate(torch.cat([a, b], dim=1)))
        return self.mix(b + gate * (a - b))


class Context(nn.Module):
    """What the whole image says: pooled to 1, 2 and 4 cells a side, mixed back into the coarsest level."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.own = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.pooled = nn.ModuleList(nn.Conv2d(channels, width, 1) for _ in range(3))
        self.mix = separable(width, width)

    def forward(self, x: Float[Tensor, "b _c h w"]) -> Float[Tensor, "b c h w"]:
        """The coarsest level with its surroundings, at its own size."""
        own = self.own(x)
        for cells, convolution in zip((1, 2, 4), self.pooled):
            own = own + resize(convolution(F.adaptive_avg_pool2d(x, cells)), own)
        return self.mix(own)


class FusionDecoder(nn.Module):
    """Fuses all levels of a pyramid both ways; see `FusionNet` for the drawing.

    Args:
        channels: channels of the encoder's levels, finest first.
        width: channels of every fused level.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1, bias=False), nn.BatchNorm2d(width)) for c in channels[:-1]
        )
        self.context = Context(channels[-1], width)
        self.down = nn.ModuleList(GatedMerge(width) for _ in channels[:-1])
        self.shrink = nn.ModuleList(separable(width, width, stride=2) for _ in channels[:-1])
        self.up = nn.ModuleList(GatedMerge(width) for _ in channels[:-1])

    def forward(self, levels: list[Float[Tensor, "_b _c _h _w"]]) -> list[Float[Tensor, "_b _width _h _w"]]:
        """The fused pyramid, finest first."""
        fused = [self.context(levels[-1])]
        for i in reversed(range(len(self.down))):  # top-down: semantics travel to the fine levels
            lateral = self.lateral[i](levels[i])
            fused.insert(0, self.down[i](lateral, resize(fused[0], lateral)))
        for i in range(len(self.up)):  # bottom-up: detail travels back to the coarse ones
            detail = resize(self.shrink[i](fused[i]), fused[i + 1])
            fused[i + 1] = self.up[i](fused[i + 1], detail)
        return fused
