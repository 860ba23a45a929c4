"""`AdaptedNet`: our own network with a small adapter after each stage of its decoder."""

from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.models.fusion import FusionNet
from segkd.types import InputError, LayerPath


class Adapter(nn.Module):
    """x + U relu(D x): 1x1 convolutions to `hidden` channels and back (bottleneck adapters, Houlsby et al., ICML 2019).

    U begins as 0, so that x passes unchanged. Departure: no normalisation before D, for a decoder's levels come from
    BatchNorm.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The adapted level."""
        return x + self.up(torch.relu(self.down(x)))


@final
class AdaptedNet(FusionNet):
    """`FusionNet` with an `Adapter` after each level that its decoder has fused, in use at inference too.

    It begins as the `FusionNet` of the same seed, to the last bit; the weights of one fit (`--init RUN`). What learns
    when is said by `optim.freeze`, e.g. {0.0: [adapters], 0.5: [~adapters]}.

    Args:
        classes: number of classes, >= 2, background included.
        encoder: a timm or smp encoder name with features at several strides.
        weights: "packaged" (the ImageNet weights that come with pip), "hub", a file, or None for random ones.
        width: channels of every fused level.
        hidden: channels inside an adapter.
    """

    def __init__(
        self,
        classes: int,
        encoder: str = "tf_efficientnet_lite0",
        weights: Literal["packaged", "hub"] | LayerPath | str | None = "packaged",
        width: int = 64,
        hidden: int = 16,
    ) -> None:
        super().__init__(classes, encoder, weights, width)
        if hidden < 1:
            raise InputError(f"AdaptedNet: hidden is a number of channels, at least 1, found {hidden}.")
        # drawn last: the weights before them are those of the plain network
        self.adapters = nn.ModuleList(Adapter(width, hidden) for _ in self.encoder.channels[self.fine :])

    def fused(self, levels: list[Float[Tensor, "_b _c _h _w"]]) -> list[Float[Tensor, "_b _width _h _w"]]:
        """The fused pyramid, each level adapted."""
        return [adapter(level) for adapter, level in zip(self.adapters, super().fused(levels))]
