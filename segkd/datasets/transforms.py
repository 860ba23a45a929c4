"""The one door to albumentations: warps and colour changes whose draws depend on (seed, epoch, index) alone.

Two faults of albumentations 2.0.8 are cured here and held off by regression tests. An unseeded `Compose`
makes every forked worker and every epoch replay one stream; a seeded one gives all its children the same
draws, so that a horizontal and a vertical flip only ever fire together. Both go when each sample brings
a generator of its own (`set_random_state`).
"""

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from segkd.datasets.labels import area_of, class_shares, normalise_shares, resize_label, shares_under
from segkd.types import IGNORE, InputError

if TYPE_CHECKING:
    import albumentations as A


@dataclass
class Augment:
    """Random changes of the training images; geometry acts on image and label alike.

    Args:
        scale: smallest and largest share of the image's area that a crop keeps.
        ratio: narrowest and widest aspect ratio of a crop, relative to that of `ratio_of`.
        ratio_of: "image": crops have about the image's own shape, and are squeezed into `data.size` as whole images are
            when the network is validated and predicts; "output": they have about the shape of `data.size` and are
            squeezed by no more than `ratio`, as the parts that `--slide` and `--stride` look at.
        flip_horizontal: mirror left and right in half of the samples.
        flip_vertical: mirror top and bottom in half of the samples.
        quarter_turns: turn by 0, 90, 180 or 270 degrees (square sizes only).
        colour: strength of brightness, contrast and saturation changes, 0..1; hue moves by a tenth of it.
    """

    scale: tuple[float, float] = (0.4, 1.0)
    ratio: tuple[float, float] = (0.8, 1.25)
    ratio_of: Literal["image", "output"] = "image"
    flip_horizontal: bool = True
    flip_vertical: bool = False
    quarter_turns: bool = False
    colour: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"data.augment.scale is {list(self.scale)}: give [low, high], 0 < low <= high <= 1.")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise InputError(
                f"data.augment.ratio is {list(self.ratio)}: give [low, high], 0 < low <= high, both finite."
            )
        if not 0 <= self.colour <= 1:
            raise InputError(f"data.augment.colour is {self.colour}: give a strength from 0 to 1.")


@dataclass(frozen=True)
class View:
    """One transformed sample: image uint8 [h w 3], label uint8 [h w], class shares float32 [h w k] if asked for, and
    `warp` [2 3], which takes normalised coordinates (x, y) of the view to those of the file."""

    image: UInt8[np.ndarray, "h w 3"]
    label: UInt8[np.ndarray, "h w"]
    soft: Float32[np.ndarray, "h w k"] | None
    warp: Float64[np.ndarray, "2 3"]


Viewing = Callable[[np.ndarray, np.ndarray, np.random.Generator], View]
"""What makes a view of an image, its label and a generator to draw from."""


class Transform:
    """Maps a sample of any size to a `View` of `size` (h, w).

    `augment=None` only resizes. Images shrink by area (anti-aliased), labels by nearest-exact, both under one warp;
    class shares are those of the exact area that the warp gives a pixel in the label.
    """

    def __init__(self, size: tuple[int, int], augment: Augment | None, classes: int, soft: bool) -> None:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it looks for updates over the network on import
        import albumentations as A  # slow to import, and `--help` does not need it

        from segkd.datasets.warps import RandomResizedCrop, Resize

        self.size, self.classes, self.soft = size, classes, soft
        how = {"mask_interpolation": cv2.INTER_NEAREST_EXACT}
        if augment is None:
            warps = [Resize(*size, **how)]
        else:
            own = augment.ratio_of == "image"
            warps = [RandomResizedCrop(size, scale=augment.scale, ratio=augment.ratio, own=own, **how)]
            warps += [A.HorizontalFlip()] if augment.flip_horizontal else []
            warps += [A.VerticalFlip()] if augment.flip_vertical else []
            warps += [A.RandomRotate90()] if augment.quarter_turns else []
        self.warp = A.Compose(warps, save_applied_params=True)
        self.recolour = A.Compose(_colours(augment.colour) if augment else [])

    def __call__(self, image: np.ndarray, label: np.ndarray, draw: np.random.Generator) -> View:
        """The view of `image` (uint8 [h w 3]) and `label` (uint8 [h w], perhaps larger) that `draw` decides."""
        larger = label.shape != image.shape[:2]  # the image was made smaller when it was read
        mask = resize_label(label, image.shape[:2]) if larger else label
        warped = seeded(self.warp, draw)(image=image, mask=mask)
        recoloured = seeded(self.recolour, draw)(image=warped["image"])["image"]
        place, soft = placed(warped["applied_transforms"]), None
        if self.soft:
            soft = normalise_shares(shares_under(label, self.classes, place, self.size))
            # nearest-exact and area can disagree on whether a pixel has any valid area: the label decides
            bare = (area_of(soft) == 0) & (warped["mask"] != IGNORE)
            if bare.any():
                soft[bare] = class_shares(warped["mask"], self.classes)[bare]
        return View(np.ascontiguousarray(recoloured), np.ascontiguousarray(warped["mask"]), soft, place)


def placed(applied: Sequence[tuple[str, Mapping[str, Any]]]) -> Float64[np.ndarray, "2 3"]:
    """Where a view lies in its file, from albumentations' record of what it did: an affine map of normalised
    coordinates (x, y), -1..1 at the borders, from the view to the file.

    Raises:
        KeyError: a warp is not known here.
    """
    matrix = np.eye(3)
    for name, settings in applied:
        matrix = matrix @ WARPS[name](settings)
    return matrix[:2]


def _crop(settings: Mapping[str, Any]) -> np.ndarray:
    height, width = settings["shape"][:2]
    left, top, right, bottom = settings["crop_coords"]
    x, y = (right - left) / width, (bottom - top) / height
    return np.array([[x, 0, (left + right) / width - 1], [0, y, (top + bottom) / height - 1], [0, 0, 1]])


WARPS: dict[str, Callable[[Mapping[str, Any]], np.ndarray]] = {
    "Resize": lambda settings: np.eye(3),
    "RandomResizedCrop": _crop,
    "HorizontalFlip": lambda settings: np.diag([-1.0, 1.0, 1.0]),
    "VerticalFlip": lambda settings: np.diag([1.0, -1.0, 1.0]),
    # a quarter turn counter-clockwise: (x, y) of the view lies at (-y, x) before
    "RandomRotate90": lambda settings: np.linalg.matrix_power(
        np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), settings["factor"]
    ),
}
"""What each warp of `Transform` does to normalised coordinates, from after it to before it."""


def _colours(strength: float) -> "list[A.BasicTransform]":
    import albumentations as A

    if strength == 0:
        return []
    around = (1 - strength, 1 + strength)
    return [A.ColorJitter(around, around, around, hue=(-strength / 10, strength / 10), p=0.8)]


def seeded(compose: "A.Compose", draw: np.random.Generator) -> "A.Compose":
    """The same `compose`, whose next draws follow `draw` alone."""
    compose.set_random_state(draw, random.Random(int(draw.integers(2**63))))
    return compose
