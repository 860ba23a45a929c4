"""A look at any network: through its own output or its layers, in evaluation mode without leaving a trace."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

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
    levels = [level for path in paths for level in _maps(network, path, seen.get(path), prediction.logits)]
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


def channels_last(network: Network, path: str) -> bool:
    """Whether the maps of a layer are [b h w c]: within parts of timm that say so (swin, mambaout), all but those of a
    convolution."""
    names = network.whole(path).split(".")
    parts = [network.get_submodule(".".join(names[: i + 1])) for i in range(len(names))]
    said = any(getattr(part, "output_fmt", None) == "NHWC" for part in parts)
    return said and not isinstance(parts[-1], nn.Conv2d)


def _maps(network: Network, path: str, output: Any, like: Tensor) -> list[Tensor]:
    maps = list(output) if isinstance(output, list | tuple) else [output]
    if channels_last(network, path.removesuffix(READS)):
        maps = [one.movedim(-1, 1) if isinstance(one, Tensor) and one.ndim == 4 else one for one in maps]
    if len(maps) > 1 and all(isinstance(one, Tensor) and one.ndim == 4 for one in maps):
        full = like.shape[-2:]
        maps = [one for one in maps if one.shape[1] and not (one.shape[1] == 3 and _covers(one, full))]
    if not maps or not all(isinstance(one, Tensor) and one.ndim == 4 for one in maps):
        found = [tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for one in maps]
        raise InputError(f"distiller.features: expected layer {path!r} to give maps [b c h w], found {found}.")
    return maps


def _covers(level: Tensor, size: Sequence[int]) -> bool:
    """Whether a map is as large as the image, or larger, as a padded one is."""
    return level.shape[-2] >= size[0] and level.shape[-1] >= size[1]
