"""Several looks at an image at test: mirrored, at other sizes, through a window that slides over the full image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from segkd.datasets.transforms import View
from segkd.models.member import seen_at
from segkd.models.network import Network
from segkd.models.windows import hill, starts
from segkd.types import InputError, Prediction


@dataclass(frozen=True)
class Looks:
    """How a network looks at test.

    Attributes:
        flip: mirrored left and right too.
        scales: at the data's size times each of these; a smaller image is the mean over each pixel's area.
        slide: the full image is seen through a window of the data's size, moved by `stride` of it and blended as in
            `models.windows.slide`; else the whole image is shrunk to that size.
        stride: share of the window by which it moves.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    slide: bool = False
    stride: float = 0.5

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise InputError(f"--scales: expected numbers above 0 and up to 8, found {list(self.scales)}.")
        if not 0 < self.stride <= 1:
            raise InputError(f"--stride: expected a share of the window, above 0 and up to 1, found {self.stride}.")

    @property
    def said(self) -> str:
        """The words of a fingerprint: "none" for one look at the whole image."""
        parts = ["flip"] if self.flip else []
        parts += ["scales " + " ".join(f"{scale:g}" for scale in self.scales)] if self.scales != (1.0,) else []
        parts += ["by area"] if min(self.scales) < 1 else []
        parts += [f"window stride {self.stride:g}, blended"] if self.slide else []
        return ", ".join(parts) or "none"


def untouched(image: np.ndarray, label: np.ndarray, draw: np.random.Generator) -> View:
    """The sample as it is, at its own size: for a window that slides."""
    return View(np.ascontiguousarray(image), np.ascontiguousarray(label), None, np.eye(3)[:2])


class Looking(Network):
    """A network that looks several times and averages its logits (means of logits, at the image's size)."""

    def __init__(self, network: Network, looks: Looks, window: tuple[int, int]) -> None:
        super().__init__()
        self.network, self.looks, self.window = network, looks, window

    def forward(self, image: Tensor) -> Prediction:
        """The mean of all looks, logits [b k h w] at the image's size."""
        size = image.shape[-2:]
        total: Tensor | None = None
        for scale in self.looks.scales:
            scaled = image if scale == 1 else _scaled(image, scale)
            for mirrored in (False, True)[: 1 + self.looks.flip]:
                seen = self._look(scaled.flip(-1) if mirrored else scaled)
                seen = _resized(seen.flip(-1) if mirrored else seen, size)
                total = seen if total is None else total + seen
        assert total is not None
        return Prediction(total / (len(self.looks.scales) * (1 + self.looks.flip)))

    def _look(self, image: Tensor) -> Tensor:
        if not self.looks.slide:
            return self.network(image).logits.float()
        height, width = image.shape[-2:]
        pad = (0, max(0, self.window[1] - width), 0, max(0, self.window[0] - height))
        padded = F.pad(image, pad, mode="replicate") if any(pad) else image
        rows, columns = (starts(s, w, self.looks.stride) for s, w in zip(padded.shape[-2:], self.window))
        weight = hill(self.window).to(padded.device)
        total: Tensor | None = None
        times = padded.new_zeros(padded.shape[-2:])
        for top in rows:
            for left in columns:
                part = (slice(top, top + self.window[0]), slice(left, left + self.window[1]))
                logits = self.network(padded[(..., *part)].contiguous()).logits.float()
                if total is None:
                    total = logits.new_zeros(*logits.shape[:2], *padded.shape[-2:])
                total[(..., *part)] += logits * weight
                times[part] += weight
        assert total is not None
        return (total / times)[..., :height, :width]


def _scaled(image: Tensor, scale: float) -> Tensor:
    height, width = (max(32, round(side * scale)) for side in image.shape[-2:])
    # smaller by area, as in training: bilinearly, pixels between those that are read would not be seen at all
    return seen_at(image, (height, width)) if scale < 1 else _resized(image, (height, width))


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
