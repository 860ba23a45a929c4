"""Crops and changes of size that keep image and label in one place; slow to import, as albumentations is."""

from typing import Any

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.crops import functional as crops
from albumentations.augmentations.geometric import functional as geometric


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` [h w c] at `size` (h, w): bilinear where a side grows, then by area (anti-aliased) where one shrinks.

    OpenCV's INTER_AREA is an area average only where no side grows: where one does, it shifts the other.
    """
    larger = (max(image.shape[0], size[0]), max(image.shape[1], size[1]))
    return geometric.resize(geometric.resize(image, larger, cv2.INTER_LINEAR), size, cv2.INTER_AREA)


class Resize(A.Resize):
    """As albumentations', with nothing shifted."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """The whole image at the asked size."""
        return resized(img, (self.height, self.width))


class RandomResizedCrop(A.RandomResizedCrop):
    """As albumentations', draw for draw, with nothing shifted; anywhere in an image that holds no crop of the ratio.

    Where ten draws do not fit (an elongated image), albumentations takes the largest crop in the middle, always that.

    Args:
        ratio: of a crop's aspect ratio to the image's (`own`) or to that of `size`.
    """

    def __init__(self, size: tuple[int, int], ratio: tuple[float, float], own: bool, **how: Any) -> None:
        super().__init__(size, ratio=ratio, **how)
        self.relative, self.own = ratio, own

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The place of the crop: left, top, right, bottom."""
        height, width = params["shape"][:2]
        like = width / height if self.own else self.size[1] / self.size[0]
        self.ratio = self.relative[0] * like, self.relative[1] * like
        found = super().get_params_dependent_on_data(params, data)
        left, top, right, bottom = found["crop_coords"]
        size, aspect = (bottom - top, right - left), width / height
        largest = (
            (round(width / self.ratio[0]), width) if aspect < self.ratio[0] else (height, round(height * self.ratio[1]))
        )
        middle = found["crop_coords"] == crops.get_center_crop_coords((height, width), size)
        if middle and size == largest and size != (height, width):
            at = self.py_random.random()
            found["crop_coords"] = crops.get_crop_coords((height, width), size, at, at)
        return found

    def apply(self, img: np.ndarray, crop_coords: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """The crop at the asked size."""
        return resized(crops.crop(img, *crop_coords), self.size)
