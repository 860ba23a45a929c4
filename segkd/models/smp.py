"""`SmpNet`: a head of segmentation-models-pytorch on an encoder with weights from where ours come from."""

from typing import Any, Literal, final

from jaxtyping import Float
from torch import Tensor

from segkd.models.decoder import resize
from segkd.models.encoders import build_encoder
from segkd.models.network import Network, padding, refuse_few_classes
from segkd.types import InputError, LayerPath, Prediction


@final
class SmpNet(Network):
    """An smp architecture (`FPN`, `Unet`, `UnetPlusPlus`, `DeepLabV3Plus`, `Segformer`, ...) with its own defaults.

    The encoder is smp's, so that each head reads the levels it was written for, and gets the weights that
    `FusionNet` would get: two networks with the same `encoder` and `weights` start from the same tensors.

    Args:
        classes: number of classes, >= 2, background included.
        architecture: name of an architecture of segmentation-models-pytorch.
        encoder: a timm encoder name with features at several strides.
        weights: "packaged" (the ImageNet weights that come with pip), "hub", a file, or None for random ones.
        arguments: more arguments of the architecture, such as decoder_channels.
    """

    encoder_path = "network.encoder"
    head_path = "network.segmentation_head"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: int,
        architecture: str,
        encoder: str = "tf_efficientnet_lite0",
        weights: Literal["packaged", "hub"] | LayerPath | str | None = "packaged",
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        refuse_few_classes(classes)
        ours = build_encoder(encoder, weights)
        self.network: Any = _architecture(architecture, encoder, classes, arguments or {})
        try:
            self.network.encoder.model.load_state_dict(ours.body.state_dict())
        except (RuntimeError, AttributeError) as error:
            raise InputError(
                f"SmpNet: {architecture} makes another encoder of {encoder} than the one whose weights it is to have. "
                f"Wrap it: --model WrappedNet --model.network segmentation_models_pytorch.{architecture}"
            ) from error
        for twin, parameter in zip(self.network.encoder.model.parameters(), ours.body.parameters()):
            twin.requires_grad_(parameter.requires_grad)
        self.register_buffer("mean", ours.mean.clone(), persistent=False)
        self.register_buffer("std", ours.std.clone(), persistent=False)

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with random weights."""
        return {**arguments, "weights": None}

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """Logits at the image's size; the one feature is what the decoder gives to the head."""
        height, width = image.shape[-2:]
        padded = padding(image, 32)
        levels = self.network.encoder((padded - self.mean) / self.std)
        feature = self.network.decoder(levels)
        logits = self.network.segmentation_head(feature).contiguous()
        return Prediction(resize(logits, padded)[..., :height, :width], (feature,))


def _architecture(name: str, encoder: str, classes: int, arguments: dict[str, Any]) -> Any:
    import segmentation_models_pytorch as smp

    try:
        return smp.create_model(name, encoder_name=f"tu-{encoder}", encoder_weights=None, classes=classes, **arguments)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"SmpNet: {name} with encoder {encoder} and {arguments} cannot be built: {error}") from error
