"""Witnesses of the knowledges: their formulas position by position in double precision, with resizing of their own."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from segkd.types import IGNORE, Batch, Prediction

Array = np.ndarray[Any, np.dtype[Any]]


def cell(i: int, old: int, new: int) -> range:
    """The positions of a side of `old` that lie in part `i` of `new`, those on its borders too."""
    return range(i * old // new, -(-(i + 1) * old // new))


def middle(i: int, old: int, new: int) -> int:
    """The position in whose middle part `i` has its own."""
    return math.floor((i + 0.5) * old / new)


def shrunk_label(label: Array, size: Sequence[int]) -> Array:
    """The label [b h w] that the middle of each cell has."""
    (b, high, wide), (h, w) = label.shape, size
    found = np.empty((b, h, w), np.int64)
    for n, i, j in np.ndindex(b, h, w):
        found[n, i, j] = label[n, middle(i, high, h), middle(j, wide, w)]
    return found


def cell_mean(maps: Array, counts: Array, size: Sequence[int], n: int, i: int, j: int) -> Array | None:
    """The mean [c] of the positions of cell (i, j) of image n that count; None where none does."""
    high, wide = counts.shape[1:]
    inside = [(y, x) for y in cell(i, high, size[0]) for x in cell(j, wide, size[1]) if counts[n, y, x]]
    return np.mean([maps[n, :, y, x] for y, x in inside], axis=0) if inside else None


def bilinear(maps: Array, size: Sequence[int]) -> Array:
    """Maps [b c h w] at another size, each position from the four around it."""
    (b, c, high, wide), (h, w) = maps.shape, size
    found = np.zeros((b, c, h, w))
    for i, j in np.ndindex(h, w):
        for y, a in around(i, high, h):
            for x, d in around(j, wide, w):
                found[:, :, i, j] += a * d * maps[:, :, y, x]
    return found


def around(i: int, old: int, new: int) -> Iterator[tuple[int, float]]:
    """The two positions beside the middle of part `i`, and how much each counts."""
    at = max((i + 0.5) * old / new - 0.5, 0.0)
    low = math.floor(at)
    yield low, 1 - (at - low)
    yield min(low + 1, old - 1), at - low


def unit(x: Array) -> Array:
    return x / max(np.linalg.norm(x), 1e-12)


def log_softmax(x: Array) -> Array:
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def softmax(x: Array) -> Array:
    return np.exp(log_softmax(x))


def double(one: torch.Tensor) -> Array:
    return one.detach().double().numpy()


def mean(values: Sequence[float]) -> float:
    """0 where there are none."""
    return float(np.mean(values)) if len(values) else 0.0


def divergence(student: Array, teacher: Array, temperature: float) -> float:
    """T^2 KL(softmax(t / T) || softmax(s / T)) of one position."""
    log_s, log_t = log_softmax(student / temperature), log_softmax(teacher / temperature)
    return temperature**2 * float((np.exp(log_t) * (log_t - log_s)).sum())


@dataclass
class Case:
    """Predictions and a batch of odd sizes: classes, images, the image's size, those of levels and exits."""

    classes: int
    b: int
    size: tuple[int, int]
    levels: tuple[tuple[int, int], ...]
    others: tuple[tuple[int, int], ...]
    empty: tuple[int, ...] = ()
    missing: int | None = None
    holes: float = 0.6
    draw: torch.Generator = field(default_factory=torch.Generator, repr=False)

    def __str__(self) -> str:
        return f"{self.classes}-classes-{self.b}-images-{self.size[0]}x{self.size[1]}"

    def batch(self) -> Batch:
        """Labels with many holes; images of `empty` have none, and class `missing` is nowhere. Draws begin anew."""
        self.draw.manual_seed(6)
        label = torch.randint(0, self.classes, (self.b, *self.size), generator=self.draw)
        label[label == self.missing] = 0
        label[torch.rand(label.shape, generator=self.draw) < self.holes] = IGNORE
        label[list(self.empty)] = IGNORE
        image = torch.zeros(self.b, 3, *self.size)
        return Batch(image, image, label, None, tuple(map(str, range(self.b))))

    def seen(self, channels: Sequence[int], theirs: bool = False) -> Prediction:
        """Logits, features of so many channels, and exits, all asking for gradients."""

        def made(c: int, size: tuple[int, int]) -> torch.Tensor:
            return (1.5 * torch.randn(self.b, c, *size, generator=self.draw)).requires_grad_()

        sizes = self.others if theirs else self.levels
        features = tuple(made(c, size) for c, size in zip(channels, sizes))
        return Prediction(made(self.classes, self.size), features, tuple(made(self.classes, one) for one in sizes))


CASES = [
    Case(2, 1, (7, 9), ((4, 5), (2, 3)), ((7, 9), (2, 3))),
    Case(11, 2, (12, 10), ((6, 5), (4, 3)), ((5, 7), (3, 2))),
    Case(3, 3, (9, 4), ((5, 2), (3, 2), (2, 1)), ((9, 4), (3, 1), (2, 1)), empty=(1,), missing=2),
]


def agrees(
    found: Callable[..., torch.Tensor],
    witness: Callable[..., float],
    tensors: Sequence[torch.Tensor],
    rel: float = 1e-4,
) -> None:
    """Value, and slope along a random direction of each tensor, of `found(*tensors)` and of `witness(*arrays)`."""
    arrays = [one.detach().double().numpy() for one in tensors]
    value = found(*tensors)
    assert abs(value.item() - witness(*arrays)) <= rel * max(abs(value.item()), 1e-3), (value.item(), witness(*arrays))
    grads = torch.autograd.grad(value, tensors, allow_unused=True)
    for at, grad in enumerate(grads):
        step = np.random.default_rng(at).standard_normal(arrays[at].shape)
        sides = [[one + sign * 1e-5 * step if i == at else one for i, one in enumerate(arrays)] for sign in (1, -1)]
        slope = (witness(*sides[0]) - witness(*sides[1])) / 2e-5
        ours = 0.0 if grad is None else float((grad.double().numpy() * step).sum())
        assert abs(ours - slope) <= 20 * rel * max(abs(slope), 1e-2), (at, ours, slope)
