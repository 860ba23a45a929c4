"""`Network`, the face that every student shows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segkd.types import InputError, Prediction


class Network(nn.Module, ABC):
    """A segmentation network: RGB in 0..1 of any size in, a `Prediction` at the same size out.

    A subclass takes the number of classes as its first argument `classes`, normalises inside itself, and
    may be named in a configuration by its import path.
    """

    encoder_path: str | None = None
    """Layer path of the pretrained part, which learns at a rate of its own; None if there is none."""

    head_path: str | None = None
    """Layer path of what makes logits of the last features; None where it is not known."""

    frozen: Sequence[nn.Module] = ()
    """Layers that do not learn; a plain list, so that nothing is registered twice."""

    resting: Sequence[nn.Module] = ()
    """Layers that do not learn for now (`rest`)."""

    asleep: Sequence[nn.Parameter] = ()
    """What of them would learn otherwise."""

    said: str = ""
    """How it is fed and read, in words, where that was found out; "" for a network of one's own."""

    read_as: str = ""
    """What its numbers were read as, where that was found out."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """The prediction for images in 0..1."""

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The constructor arguments that build the same network without fetching pretrained weights."""
        return arguments

    def rebuilt_by(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The constructor arguments that build this very network again, from `arguments` that built it: written into
        its card when it is saved, so that loading it fetches nothing and reads no other run."""
        return self.without_weights(arguments)

    def doubts(self) -> list[str]:
        """What looks wrong after it has been used, a sentence each; nothing unless it says so."""
        return []

    def freeze(self, paths: Sequence[str]) -> None:
        """Makes the layers `paths` learn no more: they keep their BatchNorm statistics, in training mode too.

        Raises:
            InputError: there is no such layer.
        """
        self.frozen = self.layers(paths)
        for module in self.frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def rest(self, paths: Sequence[str]) -> None:
        """Makes the layers `paths`, and no others, learn no more until the next call; they too keep their statistics.

        They may have learned before and may again: an optimiser holds them, and passes over what has no gradient.
        Among several processes, which wait for the gradient of each parameter, it is computed all the same, and the
        engine drops it.

        Raises:
            InputError: there is no such layer.
        """
        self.resting = self.layers(paths)
        for parameter in self.asleep:
            parameter.requires_grad_(True)
        alone = not (dist.is_available() and dist.is_initialized())
        # what is frozen for good is not ours to wake
        self.asleep = [p for one in self.resting for p in one.parameters() if p.requires_grad] if alone else []
        for parameter in self.asleep:
            parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Network":
        """As torch's, but what is frozen or rests stays in evaluation mode."""
        super().train(mode)
        for module in (*self.frozen, *self.resting):
            module.eval()
        return self

    def layers(self, paths: Sequence[str]) -> list[nn.Module]:
        """The modules at layer paths; `~PATH` stands for all layers but that one.

        Raises:
            InputError: there is no such layer.
        """
        found: list[nn.Module] = []
        for path in paths:
            apart = self.layer(path.removeprefix("~"))
            found += self._beside(self.whole(path[1:])) if path.startswith("~") else [apart]
        return found

    def _beside(self, path: str) -> list[nn.Module]:
        """All that is not on the way to `path`, nor below it: layers, and parameters that those on the way hold."""
        module: nn.Module = self
        apart = list(self.get_submodule(path).parameters())
        found: list[nn.Module] = []
        for name in path.split("."):
            down = dict(module.named_children())[name]
            found += [one for one in module.children() if one is not down]
            own = [p for p in module.parameters(recurse=False) if not any(p is one for one in apart)]
            found.append(nn.ParameterList(own))  # such as a class token; not what is tied to one of `path`
            module = down
        return found

    def whole(self, path: str) -> str:
        """A layer path from the network's root, `encoder` and `head` taken for where they lie."""
        first, dot, rest = path.partition(".")
        known = {"encoder": self.encoder_path, "head": self.head_path}.get(first)
        return f"{known}{dot}{rest}" if known and first not in dict(self.named_children()) else path

    def layer(self, path: str) -> nn.Module:
        """The module at a dotted layer path, such as `encoder.body.blocks.0`.

        A network without a layer of that name takes `encoder` for its `encoder_path` and `head` for its `head_path`.

        Raises:
            InputError: there is none; names the choices at the place where the path goes wrong.
        """
        module: nn.Module = self
        path = self.whole(path)
        for depth, name in enumerate(path.split(".")):
            children = dict(module.named_children())
            if name not in children:
                place = ".".join(path.split(".")[:depth]) or type(self).__name__
                raise InputError(f"no layer {path!r}: {place} has no {name!r}, it has: {', '.join(children) or '-'}.")
            module = children[name]
        return module


def device_of(network: nn.Module) -> torch.device:
    """Where a network is; one without parameters, such as an ONNX file, is on the CPU."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def padding(image: Float[Tensor, "b 3 _h _w"], divisor: int) -> Float[Tensor, "b 3 h w"]:
    """`image` padded on the right and below, by repeating its last pixels, to a multiple of `divisor`."""
    pad = (0, -image.shape[-1] % divisor, 0, -image.shape[-2] % divisor)
    return F.pad(image, pad, mode="replicate") if any(pad) else image


def refuse_few_classes(classes: int) -> None:
    """Raises InputError unless there are at least 2."""
    if classes < 2:
        raise InputError(f"classes: expected at least 2 (background counts), found {classes}.")


def __getattr__(name: str) -> type[Network]:
    """Ours by the names that runs, cards and layers say, where their classes once stood: `segkd.models.network.*`."""
    places = {"FusionNet": "segkd.models.fusion", "WrappedNet": "segkd.models.wrapped"}
    if name not in places:
        raise AttributeError(f"module 'segkd.models.network' has no attribute {name!r}")
    return getattr(import_module(places[name]), name)
