"""Decoded pairs in memory, no larger than what is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np

from segkd.datasets.audit import Reading
from segkd.datasets.labels import resize_label
from segkd.datasets.transforms import Augment

ROOM = 2.0
"""How many times the pixels that would be left an image must have to be made smaller: each step blurs a little."""

DETAIL = 9.0
"""How many times the pixels that its smallest crop needs an image keeps: views of it are shrunk once more, and at 1
are a tenth to a fifth less sharp than those that a network is judged on, which are shrunk once."""

BYTES = 2e9
"""What all images to train on may take with that; larger sets keep less detail, down to what the crops need. Not the
cache's own limit, so that what training sees does not depend on where images are kept."""


@dataclass(frozen=True)
class Fit:
    """Makes a pair no larger than what is looked at, averaging over areas.

    Args:
        size: height and width that the network sees.
        zoom: pixels that are left of the whole image, in those of `size`; at the least as many that the smallest crop
            still has all pixels of `size`. None where the whole image is looked at: then it gets `size`, and the label
            keeps its own.
        side: pixels that are left of each side at the least, in those of `size`: what the smallest crop of the image's
            own shape needs.
        shares: whether a label's class shares are looked at: then it keeps its own size, as a smaller one has lost
            what lies within its pixels.
    """

    size: tuple[int, int]
    zoom: float | None = None
    side: float = 1.0
    shares: bool = False

    def __call__(self, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image (uint8 [h w 3]) and label or raw mask ([h w]), smaller where that loses nothing that is seen."""
        height, width = image.shape[:2]
        whole = self.size[0] / height, self.size[1] / width
        if self.zoom is None:
            if max(whole) > 1:
                return image, label
            return cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA), label
        factor = max(sqrt(self.zoom * whole[0] * whole[1]), self.side * max(whole))
        if ROOM * factor**2 > 1:
            return image, label
        smaller = round(factor * height), round(factor * width)
        image = cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA)
        return image, label if self.shares else resize_label(label, smaller)


def fit_of(size: tuple[int, int], augment: Augment | None, shares: bool = False, images: int = 1) -> Fit:
    """What is looked at where `images` are trained on at `size` (h, w) with `augment`; see `Fit` for `shares`."""
    if augment is None:
        return Fit(size)
    # of A pixels, a crop of share s and aspect a r (`size` or the image has a) gets sqrt(s A / (a r)) x sqrt(s A a r)
    zoom = max(1 / augment.ratio[0], augment.ratio[1]) / augment.scale[0]
    least = 4 * zoom * size[0] * size[1]  # bytes of an image and its label
    detail = min(DETAIL, max(1.0, BYTES / (max(images, 1) * ROOM * least)))
    return Fit(size, zoom * detail, sqrt(zoom) if augment.ratio_of == "image" else 1.0, shares)


class Cache:
    """Decoded pairs by stem, each made to fit what `fits` says of its stem; empties itself for good once they exceed
    `limit` bytes."""

    def __init__(self, limit: float, fits: Mapping[str, Fit]) -> None:
        self.limit, self.fits, self.bytes = limit, fits, 0
        self.kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def keep(self, reading: Reading) -> None:
        """Takes one pair in, if all still fit."""
        if reading.image is None or reading.raw is None or self.bytes > self.limit:
            return
        fit = self.fits.get(reading.pair.stem)
        pair = (reading.image, reading.raw) if fit is None else fit(reading.image, reading.raw)
        self.bytes += sum(array.nbytes for array in pair)
        self.kept[reading.pair.stem] = pair
        if self.bytes > self.limit:
            self.kept.clear()
