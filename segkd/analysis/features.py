"""Aliasing of an encoder: how much of each level's energy the next, coarser level cannot hold."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.frequency.rings import half_plane_weights, power
from segkd.models.network import Network


@contextmanager
def encoder_levels(network: Network) -> Iterator[list[Tensor]]:
    """A list that holds the levels of the encoder, finest first, after each pass of `network` within the block.

    It stays empty where the network names no encoder, or where its encoder does not give a list of maps.
    """
    levels: list[Tensor] = []
    if network.encoder_path is None:
        yield levels
        return

    def note(_: nn.Module, inputs: tuple, output: object) -> None:
        given = list(output.values()) if isinstance(output, dict) else output
        many = given if isinstance(given, (list, tuple)) else []
        maps = [one for one in many if isinstance(one, Tensor) and one.ndim == 4]
        # smp's encoders give the image itself as their first level; of levels of one size the last is the level
        maps = [one for one in maps if one.shape[1] > 0 and not (inputs and one is inputs[0])]
        by_size = {one.shape[-2:]: one.detach() for one in maps}
        levels[:] = sorted(by_size.values(), key=lambda one: -one.shape[-1] * one.shape[-2])

    hook = network.layer(network.encoder_path).register_forward_hook(note)
    try:
        yield levels
    finally:
        hook.remove()


def aliasing(levels: Sequence[Tensor], size: tuple[int, int]) -> list[tuple[int, Tensor]]:
    """Of each level but the coarsest: its stride, and of each image the share of its energy above the Nyquist frequency
    of the next."""
    found = []
    for level, coarser in pairwise(levels):
        factor = level.shape[-1] / coarser.shape[-1]
        found.append((max(1, round(size[1] / level.shape[-1])), above_nyquist(level, factor)))
    return found


def above_nyquist(feature: Float[Tensor, "b c h w"], factor: float) -> Float[Tensor, " b"]:
    """Share of a feature map's energy at frequencies that a level `factor` times coarser cannot hold:
    max(|fy|, |fx|) > 1 / (2 factor) cycles per sample; 0 for a constant map.

    After the aliasing score of Chen et al. (arXiv 2403.09065). The mean is left out of the whole, because it
    says how far an activation lies from 0, not at which frequencies it lives.
    """
    h, w = feature.shape[-2:]
    spectrum = power(feature.float()).sum(dim=1)
    spectrum = spectrum * half_plane_weights(w).to(feature.device)
    spectrum[:, 0, 0] = 0
    fy, fx = torch.fft.fftfreq(h, device=feature.device), torch.fft.rfftfreq(w, device=feature.device)
    high = (fy.abs().unsqueeze(1) > 1 / (2 * factor)) | (fx > 1 / (2 * factor))
    return (spectrum * high).sum(dim=(1, 2)) / spectrum.sum(dim=(1, 2)).clamp_min(1e-20)
