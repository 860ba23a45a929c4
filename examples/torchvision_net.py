"""A network of torchvision trained by segkd, from a file of your own, with every method and score.

    cd examples
    segkd train --model torchvision_net.Lraspp --config methods/virtual_teacher.yaml --data.root FOLDER --out run
    segkd evaluate --run run --split val --trust

A network of transformers goes the same way: `SegformerForSemanticSegmentation.from_pretrained(...)` in `__init__`, and
`self.network(image).logits` in `forward`, enlarged to the image's size.
"""

from typing import Any

import torch
from torch import Tensor
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from segkd import Prediction
from segkd.models.network import Network


class Lraspp(Network):
    """LR-ASPP on MobileNetV3.

    Args:
        classes: number of planes; segkd fills it in from the data.
        pretrained: start from torchvision's ImageNet encoder (downloads it): `--model.pretrained true`.
    """

    def __init__(self, classes: int, pretrained: bool = False) -> None:
        super().__init__()
        encoder = "IMAGENET1K_V2" if pretrained else None
        self.network = lraspp_mobilenet_v3_large(num_classes=classes, weights_backbone=encoder)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with which a trained network is rebuilt: nothing is downloaded then."""
        return arguments | {"pretrained": False}

    def forward(self, image: Tensor) -> Prediction:
        """Logits [b k h w] at the size of the image, which is RGB in 0..1: normalise inside."""
        return Prediction(self.network((image - self.mean) / self.std)["out"])
