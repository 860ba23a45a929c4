"""Random maps, and slow means over their valid pixels, for witness formulas."""

from collections.abc import Callable

import numpy as np
import torch

from segkd.types import IGNORE


def maps(classes: int, size: tuple[int, int] = (6, 5), ignored: float = 0.3, seed: int = 0):
    """Student's and teacher's logits [2 k h w], label [2 h w] with ignored pixels, valid [2 h w]."""
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(2, classes, *size, generator=draw) for _ in range(2))
    label = torch.randint(0, classes, (2, *size), generator=draw)
    label[torch.rand(label.shape, generator=draw) < ignored] = IGNORE
    return student, teacher, label, label != IGNORE


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def over_pixels(one: Callable, student, teacher, label, valid) -> float:
    """The mean of one(s [k], t [k], y) over the valid pixels, one by one, in double precision."""
    s, t, y, v = (
        x.numpy().astype(np.float64) if x.is_floating_point() else x.numpy() for x in (student, teacher, label, valid)
    )
    return float(np.mean([one(s[b, :, i, j], t[b, :, i, j], y[b, i, j]) for b, i, j in np.argwhere(v)]))
