"""A look at any network: through its own output or its layers, in evaluation mode without leaving a trace."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.models.network import Network
from segkd.types import InputError, Prediction

READS = ":in"
"""Ends the path of a layer of which not the output is meant, but what it reads."""


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and then every part back in its own mode: what was frozen stays so."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def tapped(network: Network, image: Float[Tensor, "b 3 h w"], paths: Sequence[str] | None) -> Prediction:
    """The prediction of a network with the outputs of the layers `paths` as its features; its own where None.

    `PATH:in` is what a layer reads. A layer that gives a list of maps, such as an encoder, gives all of them, but for
    the image itself and maps without channels, which smp's encoders hand on.

    Raises:
        InputError: there is no such layer, or its output is no map [b c h w].
    """
    if paths is None:
        return network(image)
    with _watched(network, paths, None) as seen:
        prediction = network(image)
    levels = [level for path in paths for level in _maps(network, path, seen.get(path), image)]
    return replace(prediction, features=tuple(levels))


def layers_alone(
    network: Network, image: Float[Tensor, "b 3 h w"], paths: Sequence[str]
) -> tuple[Float[Tensor, "b _c _h _w"], ...]:
    """The features of `tapped`, without the rest of the network: it goes no further than to the last of the layers. Of
    a layer that runs several times it is the first time, there the last."""
    with suppress(_Enough), _watched(network, paths, _Enough) as seen:
        network(image)
    return tuple(level for path in paths for level in _maps(network, path, seen.get(path), image))


class _Enough(Exception):
    """All layers that are asked for have been seen."""


@contextmanager
def _watched(network: Network, paths: Sequence[str], enough: type[Exception] | None) -> Iterator[dict[str, Any]]:
    """What the layers give inside, by path; raises `enough` as soon as all have."""
    seen: dict[str, Any] = {}

    def see(path: str, given: Sequence[Any], output: Any) -> None:
        seen[path] = next(iter(given), None) if path.endswith(READS) else output
        if enough is not None and len(seen) == len(set(paths)):
            raise enough

    try:
        layers = [network.layer(path.removesuffix(READS)) for path in paths]
    except InputError as error:
        raise InputError(f"distiller.features: [{', '.join(paths)}]: {error}") from error
    # hooks live for one call: a copy of the network would otherwise report to the original
    hooks = [
        layer.register_forward_hook(
            lambda _m, args, named, output, path=path: see(path, (*args, *named.values()), output), with_kwargs=True
        )
        for layer, path in zip(layers, paths)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def channels_last(network: Network, path: str, at: int, shape: Sequence[int], image: Float[Tensor, "b 3 h w"]) -> bool:
    """Whether map number `at` of a layer, of `shape`, is [b h w c]: which sides have the aspect of the image says so.

    A network of convolutions alone gives [b c h w]. Any other is shown an image twice side by side, once, where both
    readings have its aspect (96 channels at 96 x 96).

    Raises:
        InputError: it is no map of each image, or cannot be told.
    """
    first, last = _readings(network, shape, image)
    whole = shape[0] == len(image)
    # most maps in every step end here; the layers of a network, which may change, are looked at for the others alone
    if (whole and first and not last) or not any(
        isinstance(part, nn.Linear | nn.LayerNorm) for part in network.modules()
    ):
        return False
    if whole and last and not first:
        return True
    told = _told_apart(network, path, at, image) if whole and first else None
    if told is None:
        why = "reads as both. Choose another data.size, or name" if first and last else "is neither. Name"
        raise InputError(
            f"distiller.features: expected layer {path!r} to give maps [b c h w] or [b h w c] of {len(image)} images "
            f"of {image.shape[2]}x{image.shape[3]}, found {tuple(shape)}, which {why} another layer."
        )
    return told


def _kinds(network: Network) -> tuple[type[nn.Module], ...]:
    """Which layers a network has, in order."""
    return tuple(map(type, network.modules()))


def _readings(network: Network, shape: Sequence[int], image: Tensor) -> tuple[bool, bool]:
    """Whether a shape can be [b c h w], and whether it can be [b h w c], of the image, the image padded, or squeezed
    into a square."""
    h, w = image.shape[-2:]
    divisor = getattr(network, "divisor", 32)
    sizes = (h, w), (h + -h % divisor, w + -w % divisor)
    first, last = (any(_resized(sides, size) for size in sizes) for sides in (shape[2:], shape[1:3]))
    return (first, last) if first or last else (shape[2] == shape[3], shape[1] == shape[2])


def _resized(sides: Sequence[int], size: Sequence[int]) -> bool:
    """Whether both sides are those of `size` divided by one stride, up to a pixel."""
    least = max(whole / (side + 1) for side, whole in zip(sides, size))
    most = min(whole / (side - 1) if side > 1 else math.inf for side, whole in zip(sides, size))
    return least <= most and 0 not in sides


def _told_apart(network: Network, path: str, at: int, image: Tensor) -> bool | None:
    """`channels_last` of an image of another aspect, which is kept while the network has these layers; None where that
    tells nothing."""
    known, key = _TOLD.setdefault(network, {}), (path, at, _kinds(network))
    if key not in known:
        wide = torch.cat([image[:1], image[:1]], dim=3)
        try:
            with torch.no_grad(), evaluating(network), suppress(_Enough), _watched(network, [path], _Enough) as seen:
                network(wide)
            maps = _listed(seen.get(path))
            first, last = _readings(network, maps[at].shape, wide)
            known[key] = last if first != last else None
        except (RuntimeError, AssertionError, ValueError):  # a network of one size
            known[key] = True if _says_last(network, path) else None
    return known[key]


_TOLD: WeakKeyDictionary[Network, dict[tuple[str, int, tuple[type[nn.Module], ...]], bool | None]] = WeakKeyDictionary()


def _says_last(network: Network, path: str) -> bool:
    """Whether a layer lies within parts of timm that say that they give [b h w c] (swin), and is no convolution."""
    names = network.whole(path.removesuffix(READS)).split(".")
    parts = [network.get_submodule(".".join(names[: i + 1])) for i in range(len(names))]
    said = any(getattr(part, "output_fmt", None) == "NHWC" for part in parts)
    return said and not isinstance(parts[-1], nn.Conv2d)


def _listed(output: Any) -> list[Any]:
    return list(output) if isinstance(output, list | tuple) else [output]


def _maps(network: Network, path: str, output: Any, image: Tensor) -> list[Tensor]:
    maps = _listed(output)
    if not maps or not all(isinstance(one, Tensor) and one.ndim == 4 for one in maps):
        found = [tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for one in maps]
        raise InputError(f"distiller.features: expected layer {path!r} to give maps [b c h w], found {found}.")
    turned = [
        one.movedim(-1, 1) if channels_last(network, path, at, one.shape, image) else one for at, one in enumerate(maps)
    ]
    if len(maps) == 1:
        return turned
    return [one for one in turned if one.shape[1] and not (one.shape[1] == 3 and _covers(one, image.shape[-2:]))]


def _covers(level: Tensor, size: Sequence[int]) -> bool:
    """Whether a map is as large as the image, or larger, as a padded one is."""
    return level.shape[-2] >= size[0] and level.shape[-1] >= size[1]
