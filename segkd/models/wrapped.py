"""`WrappedNet`: any network of any package as a student."""

import math
import os
import sysconfig
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.models.decoder import resize
from segkd.models.encoders import IMAGENET_MEAN, IMAGENET_STD
from segkd.models.network import Network, padding, refuse_few_classes
from segkd.models.trust import SMP, TORCHVISION, imported
from segkd.types import InputError, Prediction, reason_of


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
        head_layer: layer path of what makes logits of its last features; smp's `segmentation_head` is known.
    """

    __module__ = "segkd.models.network"  # the name of it in runs, cards and layers, wherever it stands
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
        head_layer: str | None = None,
    ) -> None:
        super().__init__()
        refuse_few_classes(classes)
        if divisor < 1 or not all(map(math.isfinite, mean)) or not all(0 < one < math.inf for one in std):
            raise InputError(
                "WrappedNet: divisor must be at least 1, mean finite, and std above 0, found "
                f"{divisor}, {list(mean)} and {list(std)}."
            )
        self.network = _constructed(network, arguments or {}, classes)
        self.encoder_path = f"network.{encoder_layer}" if encoder_layer else None
        head_layer = head_layer or ("segmentation_head" if network.startswith(SMP) else None)
        self.head_path = f"network.{head_layer}" if head_layer else None
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


def _place(error: BaseException) -> str:
    """The last file and line that are no library's, where something can be mended; without any those that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if one.filename != __file__ and not _of_a_library(one.filename)]
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"


def _of_a_library(file: str) -> bool:
    installed = {"site-packages", "dist-packages"}.intersection(Path(file).parts)
    return bool(installed) or file.startswith(("<", sysconfig.get_path("stdlib") + os.sep))


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
        deep = error.__traceback__ is not None and error.__traceback__.tb_next is not None
        said = f"{reason_of(error).rstrip('.')} ({_place(error)})" if deep else error  # from within, or of the call
        raise InputError(f"{path}: its arguments {dict(arguments)} do not fit: {said}") from error
    except (OSError, RuntimeError) as error:
        fetches = isinstance(error, OSError) or path.startswith((SMP, TORCHVISION))
        cure = (
            " If it cannot fetch weights, switch them off in model.arguments: encoder_weights: null (smp); "
            "weights: null, weights_backbone: null (torchvision)."
        )
        said = f"{reason_of(error).rstrip('.')} ({_place(error)})"
        raise InputError(f"{path} cannot be built: {said}.{cure if fetches else ''}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"model.network: expected {path} to give a torch.nn.Module, found {type(network).__name__}.")
    return network
