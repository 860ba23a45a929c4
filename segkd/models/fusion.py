"""`FusionNet`, our own network: every level of an encoder fused both ways."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.models.decoder import FusionDecoder, Head, resize, separable, summed
from segkd.models.encoders import build_encoder
from segkd.models.network import Network, refuse_few_classes
from segkd.types import InputError, LayerPath, Prediction


class FusionNet(Network):
    """A light segmentation network that fuses every level of any encoder, both ways::

        image -> encoder   level 1 (/2)   level 2 (/4)   level 3 (/8)   level 4 (/16)  level 5 (/32)
                               |              |              |               |          context
                               |              |              |               |         (1, 2, 4 cells)
        top-down,              |              v              v               v              |
        semantics:             |            gate  <------- gate  <-------- gate  <----------+
                               |              |              |               |              |
        bottom-up,             |              |              v               v              v
        detail:                |              +-----------> gate  --------> gate  -------> gate
                               |              |              |               |              |
                               |          features[0]    features[1]     features[2]    features[3]
                               v              +------ all enlarged to /4 and summed --------+
                             gate <---------- 1x1 mix
                               |
                            logits, enlarged to the image's size

    "gate" is `GatedMerge`: g * a + (1 - g) * b with g read from both, then a separable convolution. The level
    finer than stride 4, if the encoder has one, joins at the very end: it sharpens edges and costs little.

    Args:
        classes: number of classes, >= 2, background included.
        encoder: a timm or smp encoder name with features at several strides.
        weights: "packaged" (the ImageNet weights that come with pip), "hub", a file, or None for random ones.
        width: channels of every fused level.
        depth: how often all levels are fused both ways, one after the other.
    """

    __module__ = "segkd.models.network"  # the name of it in runs, cards and layers, wherever it stands
    encoder_path = "encoder"
    head_path = "head"

    def __init__(
        self,
        classes: int,
        encoder: str = "tf_efficientnet_lite0",
        weights: Literal["packaged", "hub"] | LayerPath | str | None = "packaged",
        width: int = 64,
        depth: int = 1,
    ) -> None:
        super().__init__()
        refuse_few_classes(classes)
        if width < 1 or depth < 1:
            raise InputError(f"FusionNet: width and depth must be at least 1, found {width} and {depth}.")
        self.encoder = build_encoder(encoder, weights)
        fine = sum(stride < 4 for stride in self.encoder.strides[:-2])
        self.decoder = FusionDecoder(self.encoder.channels[fine:], width)
        levels = len(self.encoder.channels) - fine
        self.deeper = nn.ModuleList(FusionDecoder([width] * levels, width) for _ in range(depth - 1))
        self.mix = separable(width, width)
        slim = max(16, width // 4)
        self.detail = nn.Conv2d(self.encoder.channels[fine - 1], slim, 1) if fine else None
        self.slim = nn.Conv2d(width, slim, 1) if fine else None
        self.sharpen = separable(2 * slim, slim) if fine else None
        self.head = Head(slim if fine else width, classes)
        self.fine = fine

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with random weights; runs of 0.1 said `exits` here too."""
        return {key: value for key, value in arguments.items() if key != "exits" or value} | {"weights": None}

    def fused(self, levels: list[Float[Tensor, "_b _c _h _w"]]) -> list[Float[Tensor, "_b _width _h _w"]]:
        """The fused pyramid of the encoder's levels, finest first."""
        features = self.decoder(levels)
        for decoder in self.deeper:
            features = decoder(features)
        return features

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """Logits at the image's size and the fused pyramid."""
        levels = self.encoder(image)
        features = self.fused(levels[self.fine :])
        x = self.mix(summed(features))
        if self.detail is not None and self.slim is not None and self.sharpen is not None:
            detail = self.detail(levels[self.fine - 1])
            x = self.sharpen(torch.cat([resize(self.slim(x), detail), detail], dim=1))
        # the losses read whole planes: contiguous logits make every softmax over classes faster
        return Prediction(resize(self.head(x).contiguous(), image), tuple(features))
