"""What logits predict at the size of a picture, a few planes at a time: memory does not grow with the classes."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

VALUES = 1 << 24
"""Values of enlarged logits that are held at once, but for one plane at least: 64 MB."""


def enlarge(logits: Float[Tensor, "k h w"], size: tuple[int, int]) -> np.ndarray:
    """What logits predict at another size (h, w): the foreground's probability float32 (k = 2), else classes uint8.

    Logits are enlarged bilinearly; of equal ones the first class is taken.
    """
    if len(logits) == 2:  # the difference decides: one plane to enlarge instead of two, and the same probability
        return _planes(logits[1:] - logits[:1], size)[0].sigmoid_().cpu().numpy()
    step = max(1, VALUES // (size[0] * size[1]))
    best, classes = _largest(logits[:step], size)
    for start in range(step, len(logits), step):
        other, index = _largest(logits[start : start + step], size)
        classes = torch.where(other > best, index + start, classes)
        best = torch.maximum(other, best)
    return classes.cpu().numpy()


def _planes(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]


def _largest(logits: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The largest enlarged logit [h w] and which one it is, uint8 [h w]."""
    planes = _planes(logits, size)
    if len(planes) == 1:
        return planes[0], torch.zeros(size, dtype=torch.uint8, device=planes.device)
    index = planes.argmax(dim=0)
    return planes.gather(0, index[None])[0], index.to(torch.uint8)
