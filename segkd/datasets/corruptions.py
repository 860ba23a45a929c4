"""Images damaged at test, as files and cameras damage them: JPEG, blur, noise, low contrast, few pixels."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import cv2
import numpy as np
from jaxtyping import UInt8

from segkd.datasets.data import Records
from segkd.datasets.loader import Item, SegmentationDataset
from segkd.datasets.transforms import Viewing, seeded

if TYPE_CHECKING:
    import albumentations as A

JPEG = "jpeg"
"""Counted apart: a network that was trained on DCT quantisation has met it."""

SETTINGS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "blur": ("sigma {:g} px", (0.7, 1.3, 2.0)),
    "noise": ("sd {:g}", (0.03, 0.06, 0.12)),
    "contrast": ("times {:g}", (0.5, 0.3, 0.15)),
    "downscale": ("sides times {:g}", (0.5, 0.35, 0.25)),
    JPEG: ("quality {:g}", (50.0, 25.0, 10.0)),
}
"""Corruption -> how its settings are read, and those of severity 1, 2 and 3."""


@final
@dataclass(frozen=True)
class Corruption:
    """A damage of one severity.

    Attributes:
        name: of `SETTINGS`.
        severity: 1, 2 or 3, the strongest.
    """

    name: str
    severity: int

    @property
    def value(self) -> float:
        """The setting: a Gaussian's sigma in pixels, the noise's standard deviation as a share of white, the share of
        the contrast around the mean grey, the share of each side, libjpeg's quality."""
        return SETTINGS[self.name][1][self.severity - 1]

    @property
    def setting(self) -> str:
        """The same in words."""
        return SETTINGS[self.name][0].format(self.value)

    def change(self) -> "A.Compose | None":
        """What does it to an image uint8 [h w 3]; None for JPEG, which `jpeg` does."""
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A

        v = self.value
        how = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
        makers: dict[str, Callable[[], A.BasicTransform]] = {
            "blur": lambda: A.GaussianBlur(blur_limit=0, sigma_limit=(v, v), p=1),
            "noise": lambda: A.GaussNoise(std_range=(v, v), p=1),
            "contrast": lambda: A.ColorJitter((1, 1), (v, v), (1, 1), (0, 0), p=1),
            "downscale": lambda: A.Downscale((v, v), how, p=1),
        }
        return A.Compose([makers[self.name]()]) if self.name in makers else None


CORRUPTIONS = tuple(Corruption(name, severity) for name in SETTINGS for severity in (1, 2, 3))
"""All of them."""


@final
class Damaged(SegmentationDataset):
    """A data set whose views are damaged after they were made, at the size at which the network sees them. Draws follow
    the image's id and the corruption alone, so that every network meets the same images, on whichever worker."""

    def __init__(self, records: Records, transform: Viewing, corruption: Corruption) -> None:
        super().__init__(records, transform, 0)
        self.corruption, self.change = corruption, corruption.change()

    def __getitem__(self, key: tuple[int, ...]) -> Item:
        item = super().__getitem__(key)
        image: UInt8[np.ndarray, "h w 3"]
        if self.change is None:
            image = jpeg(item.view.image, int(self.corruption.value))
        else:
            draw = np.random.default_rng(_number(f"{self.corruption.name} {item.id}"))
            image = seeded(self.change, draw)(image=item.view.image)["image"]
        return replace(item, view=replace(item.view, image=np.ascontiguousarray(image)))


def jpeg(image: UInt8[np.ndarray, "h w 3"], quality: int) -> UInt8[np.ndarray, "h w 3"]:
    """An RGB image encoded and decoded by libjpeg, 4:2:0. (albumentations 2.0.8 takes red for blue, and so rounds the
    wrong colours; it leaves the sampling to the build.)"""
    how = [cv2.IMWRITE_JPEG_QUALITY, quality]
    how += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, file = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), how)
    return np.asarray(cv2.cvtColor(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB))


def _number(text: str) -> int:
    """A number for a text, the same on all machines."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")
