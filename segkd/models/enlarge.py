"""What logits predict at the size of a picture, a few rows at a time: memory does not grow with the picture."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from segkd.types import InputError

VALUES = 1 << 24
"""Values of enlarged logits that are held at once, but for one row at least: 64 MB."""


class NotNumbers(InputError):
    """A network gave NaN for an image, of which no class can be decided."""


def refuse_nan(logits: Float[Tensor, "*b k h w"]) -> None:
    """Raises NotNumbers where logits are NaN: of such, `argmax` gives any class, and every threshold the background."""
    if wrong := int(logits.isnan().any(dim=-3).sum()):
        raise NotNumbers(
            f"the network gives NaN for {wrong} of {logits[..., 0, :, :].numel()} places, expected numbers. Look at "
            "the image: one of a single colour has no deviation, and what divides by it needs a small number added; if "
            "all images are so, the weights are no numbers."
        )


def enlarge(logits: Float[Tensor, "k h w"], size: tuple[int, int]) -> np.ndarray:
    """What logits predict at another size (h, w): the foreground's probability float32 (k = 2), else classes uint8.

    Logits are enlarged bilinearly; of equal ones the first class is taken.
    """
    if len(logits) == 2:  # the difference decides: one plane to enlarge instead of two, and the same probability
        return np.concatenate([band[0].sigmoid_().cpu().numpy() for band in bands(logits[1:] - logits[:1], size)])
    return decided(bands(logits, size))


def bands(logits: Float[Tensor, "k h w"], size: tuple[int, int]) -> Iterator[Tensor]:
    """Logits enlarged bilinearly to `size` (h, w), from top to bottom, a few rows [k r w] at a time."""
    refuse_nan(logits)
    (height, width), below = size, logits.shape[1]
    rows = max(1, VALUES // (len(logits) * width))
    # pixel centres, as `F.interpolate` has them; columns are its work
    at = ((torch.arange(height, device=logits.device) + 0.5) * (below / height) - 0.5).clamp(min=0, max=below - 1)
    for some in at.split(rows):
        first = some.long()
        part = (some - first)[:, None].to(logits.dtype)
        found = torch.lerp(logits[:, first], logits[:, (first + 1).clamp(max=below - 1)], part)
        yield F.interpolate(found[None], size=(len(some), width), mode="bilinear", align_corners=False)[0]


def decided(found: Iterable[Float[Tensor, "k _r w"]]) -> np.ndarray:
    """Bands of logits as one map [h w]: the foreground's probability float32 (k = 2), else classes uint8."""
    return np.concatenate([_decision(band).cpu().numpy() for band in found])


def _decision(band: Tensor) -> Tensor:
    return (band[1] - band[0]).sigmoid_() if len(band) == 2 else band.argmax(dim=0).to(torch.uint8)
