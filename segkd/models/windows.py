"""A large image seen at its own resolution, through windows that overlap and are blended, in bounded memory."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segkd.models.enlarge import refuse_nan
from segkd.models.network import Network, device_of
from segkd.types import InputError

AT_ONCE = 4
"""Windows that go through the network together."""


def slide(
    network: Network, image: UInt8[np.ndarray, "h w 3"], window: tuple[int, int], stride: float = 0.5
) -> Iterator[Tensor]:
    """Logits of an image, float32, from top to bottom, the rows [k r w] that no further window touches at a time.

    Windows of `window` (h, w) pixels move by at most `stride` (above 0, up to 1) of it. Where they overlap, logits are
    averaged with weights that fall towards a window's border (`hill`), so that no seam is seen. What is held beside
    the image are the logits of one row of windows.
    """
    if not 0 < stride <= 1:
        raise InputError(f"stride: expected a share of the window, above 0 and up to 1, found {stride}.")
    height, width = image.shape[:2]
    missing = [max(0, inner - outer) for inner, outer in zip(window, (height, width))]
    padded = np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="edge") if any(missing) else image
    tops, lefts = (starts(outer, inner, stride) for outer, inner in zip(padded.shape, window))
    device = device_of(network)
    weight = hill(window).to(device)
    total = times = weight.new_zeros(0)
    for top, following in zip(tops, [*tops[1:], padded.shape[0]]):
        strip = padded[top : top + window[0]]
        queue = iter(lefts)
        while some := list(islice(queue, AT_ONCE)):
            pixels = torch.from_numpy(np.stack([strip[:, left : left + window[1]] for left in some]))
            with torch.inference_mode():
                logits = network(pixels.to(device).permute(0, 3, 1, 2).float() / 255).logits.float()
            refuse_nan(logits)
            if not len(total):
                total = logits.new_zeros(logits.shape[1], window[0], padded.shape[1])
                times = logits.new_zeros(window[0], padded.shape[1])
            for left, one in zip(some, logits):
                total[..., left : left + window[1]] += one * weight
                times[:, left : left + window[1]] += weight
        done = following - top
        yield (total[:, :done] / times[:done])[:, : height - top, :width]
        total, times = (
            torch.cat([x[..., done:, :], torch.zeros_like(x[..., :done, :])], dim=-2) for x in (total, times)
        )


def starts(side: int, window: int, stride: float) -> list[int]:
    """Where the windows begin: evenly, at most `stride` windows apart, the last one at the end."""
    steps = int(np.ceil((side - window) / max(1, round(window * stride)))) + 1
    return np.linspace(0, side - window, steps).round().astype(int).tolist()


def hill(window: tuple[int, int]) -> Float[Tensor, "h w"]:
    """How much each pixel of a window (h, w) counts: a Gaussian around its middle with a deviation of an eighth of each
    side, as nnU-Net has it, but .001 at least."""
    sides = [torch.exp(-0.5 * ((torch.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in window]
    return torch.outer(*sides).clamp(min=1e-3)
