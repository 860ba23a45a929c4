"""`Network`, the face every student shows; `FusionNet`, ours; `WrappedNet`, anyone's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segkd.models.decoder import FusionDecoder, resize, separable
from segkd.models.encoders import IMAGENET_MEAN, IMAGENET_STD, build_encoder
from segkd.models.trust import SMP, TORCHVISION, imported
from segkd.types import InputError, LayerPath, Prediction


class Network(nn.Module, ABC):
    """A segmentation network: RGB in 0..1 of any size in, a `Prediction` at the same size out.

    A subclass takes the number of classes as its first argument `classes`, normalises inside itself, and
    may be named in a configuration by its import path.
    """

    encoder_path: str | None = None
    """Layer path of the pretrained part, which learns at a rate of its own; None if there is none."""

    frozen: Sequence[nn.Module] = ()
    """Layers that do not learn; a plain list, so that nothing is registered twice."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """The prediction for images in 0..1."""

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The constructor arguments that build the same network without fetching pretrained weights."""
        return arguments

    said: str = ""
    """How it is fed and read, in words, where that was found out; "" for a network of one's own."""

    def doubts(self) -> list[str]:
        """What looks wrong after it has been used, a sentence each; nothing unless it says so."""
        return []

    def freeze(self, paths: Sequence[str]) -> None:
        """Makes the layers `paths` learn no more: they keep their BatchNorm statistics, in training mode too.

        Raises:
            InputError: there is no such layer.
        """
        self.frozen = [self.layer(path) for path in paths]
        for module in self.frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Network":
        """As torch's, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def layer(self, path: str) -> nn.Module:
        """The module at a dotted layer path, such as `encoder.body.blocks.0`.

        Raises:
            InputError: there is none; names the choices at the place where the path goes wrong.
        """
        module: nn.Module = self
        for depth, name in enumerate(path.split(".")):
            children = dict(module.named_children())
            if name not in children:
                place = ".".join(path.split(".")[:depth]) or type(self).__name__
                raise InputError(f"no layer {path!r}: {place} has no {name!r}, it has: {', '.join(children) or '-'}.")
            module = children[name]
        return module


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
    """

    encoder_path = "encoder"

    def __init__(
        self,
        classes: int,
        encoder: str = "tf_efficientnet_lite0",
        weights: Literal["packaged", "hub"] | LayerPath | str | None = "packaged",
        width: int = 64,
    ) -> None:
        super().__init__()
        refuse_few_classes(classes)
        self.encoder = build_encoder(encoder, weights)
        fine = sum(stride < 4 for stride in self.encoder.strides[:-2])
        self.decoder = FusionDecoder(self.encoder.channels[fine:], width)
        self.mix = separable(width, width)
        slim = max(16, width // 4)
        self.detail = nn.Conv2d(self.encoder.channels[fine - 1], slim, 1) if fine else None
        self.slim = nn.Conv2d(width, slim, 1) if fine else None
        self.sharpen = separable(2 * slim, slim) if fine else None
        self.head = nn.Conv2d(slim if fine else width, classes, 1)
        self.fine = fine

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with random weights; runs of 0.1 said `exits` here too."""
        return {key: value for key, value in arguments.items() if key != "exits" or value} | {"weights": None}

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """Logits at the image's size and the fused pyramid."""
        levels = self.encoder(image)
        features = self.decoder(levels[self.fine :])
        x = features[0]
        for feature in features[1:]:
            x = x + resize(feature, x)
        x = self.mix(x)
        if self.detail is not None and self.slim is not None and self.sharpen is not None:
            detail = self.detail(levels[self.fine - 1])
            x = self.sharpen(torch.cat([resize(self.slim(x), detail), detail], dim=1))
        # the losses read whole planes: contiguous logits make every softmax over classes faster
        return Prediction(resize(self.head(x).contiguous(), image), tuple(features))


class WrappedNet(Network):
    """Any network that maps normalised images [b 3 h w] to logits [b k h' w'], as a student.

    Args:
        classes: number of classes, >= 2, background included.
        network: import path of its class or factory, e.g. `segmentation_models_pytorch.Unet`.
        arguments: its arguments; the value "$classes" becomes the number of classes.
        encoder_layer: layer path of its pretrained part, which learns at a rate of its own; None if there is none.
        mean: subtracted from RGB in 0..1 before the network; ImageNet's by default.
        std: divides after `mean`; ImageNet's by default.
        divisor: images are padded on the right and below to a multiple of it, and the logits cropped.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: int,
        network: str,
        arguments: dict[str, Any] | None = None,
        encoder_layer: str | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        divisor: int = 32,
    ) -> None:
        super().__init__()
        refuse_few_classes(classes)
        self.network = _constructed(network, arguments or {}, classes)
        self.encoder_path = f"network.{encoder_layer}" if encoder_layer else None
        self.classes, self.divisor = classes, divisor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The same arguments, with what fetches weights off: smp's and torchvision's by default, others' if given; runs
        of 0.1 said `features` here too, which hold no weights."""
        inner, network = dict(arguments.get("arguments") or {}), str(arguments.get("network"))
        off = {"encoder_weights": None, "pretrained": False}
        inner |= {key: off[key] for key in off if key in inner}
        if network.startswith(SMP):
            inner["encoder_weights"] = None
        if network.startswith(TORCHVISION):
            if inner.get("weights") and "lraspp" not in network:
                inner.setdefault("aux_loss", True)  # torchvision's default where weights are given
            inner |= {"weights": None, "weights_backbone": None}
        return {key: value for key, value in arguments.items() if key != "features"} | {"arguments": inner}

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """Logits enlarged to the image's size; features are layers named at the distiller."""
        height, width = image.shape[-2:]
        padded = padding(image, self.divisor)
        logits = logits_of(self.network((padded - self.mean) / self.std))
        if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != self.classes:
            cure = "Subclass segkd.models.network.Network, and let its `forward` choose what the logits are"
            if isinstance(logits, Tensor):
                cure = (
                    "Give it the number of classes ($classes in model.arguments), or subclass "
                    "segkd.models.network.Network"
                )
            raise InputError(
                f"{type(self.network).__name__}: expected logits [b, {self.classes}, h, w], alone, under 'out' "
                f"(torchvision), 'logits' or as .logits (transformers), found {_shown(logits)}. {cure}."
            )
        return Prediction(resize(logits, padded)[..., :height, :width])


def logits_of(output: Any) -> Any:
    """The logits in what a network returns: itself, its "out" (torchvision), "logits" or `.logits` (transformers)."""
    if isinstance(output, Mapping):
        return next((output[key] for key in ("out", "logits") if key in output), output)
    return getattr(output, "logits", output)


def _shown(output: Any) -> str:
    """What a network returned, for a message."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    if isinstance(output, Mapping):
        return "a dictionary of " + ", ".join(f"{key!r}: {_shown(value)}" for key, value in output.items())
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {', '.join(map(_shown, output)) or 'nothing'}"
    return type(output).__name__


def padding(image: Float[Tensor, "b 3 _h _w"], divisor: int) -> Float[Tensor, "b 3 h w"]:
    """`image` padded on the right and below, by repeating its last pixels, to a multiple of `divisor`."""
    pad = (0, -image.shape[-1] % divisor, 0, -image.shape[-2] % divisor)
    return F.pad(image, pad, mode="replicate") if any(pad) else image


def refuse_few_classes(classes: int) -> None:
    """Raises InputError unless there are at least 2."""
    if classes < 2:
        raise InputError(f"classes: expected at least 2 (background counts), found {classes}.")


def _constructed(path: str, arguments: Mapping[str, Any], classes: int) -> nn.Module:
    try:
        factory = imported(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"model.network: expected an import path such as package.Class, found {path!r}: {error}"
        ) from error
    try:
        network = factory(**{key: classes if value == "$classes" else value for key, value in arguments.items()})
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: its arguments {dict(arguments)} do not fit: {error}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"model.network: expected {path} to give a torch.nn.Module, found {type(network).__name__}.")
    return network
