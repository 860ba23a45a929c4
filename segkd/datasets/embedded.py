"""The embedded data set: generated images whose spectral content is known, deterministic in the seed.

A natural-looking 1/f background carries objects of four shapes (compact, thin, several, with holes). What
tells an object from the background is one cue of known kind: energy in one frequency band, the orientation
of a texture, or colour. Analyses of what a network relies on are tested against this truth.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from segkd.types import InputError

Cue = Literal["band", "orientation", "colour", "any"]
SHAPES = ("compact", "thin", "several", "holes")
CUES = ("band", "orientation", "colour")
PATCH_RMS = 0.16  # root mean square of the object's texture at contrast 1, in image units 0..1


MOST = 1_000_000
"""Images of a split beyond which a number is a slip of the hand: all of them are drawn before training begins."""


@dataclass
class Embedded:
    """Settings of the generated data set.

    With more than two classes, class c = 1..k-1 is told by its band: `band` is split into k-1 equal parts.

    Args:
        train: number of training images.
        val: number of validation images.
        test: number of test images.
        side: height and width of an image in pixels.
        cue: what tells an object from the background; "any" draws one of the three per image.
        band: the object's frequency band in cycles per pixel, 0 < low < high <= 0.5.
        contrast: strength of the cue, 0 (invisible) to 1.
        seed: of the whole set, independent of the training seed.
    """

    train: int = 320
    val: int = 48
    test: int = 80
    side: int = 128
    cue: Cue = "any"
    band: tuple[float, float] = (0.15, 0.3)
    contrast: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.band
        if not 0 < low < high <= 0.5:
            raise InputError(f"data.embedded.band is {list(self.band)}: give [low, high] with 0 < low < high <= 0.5.")
        if not 0 <= self.contrast <= 1:
            raise InputError(f"data.embedded.contrast is {self.contrast}: give a number from 0 to 1.")
        if self.side < 32 or min(self.train, self.val, self.test) < 1:
            raise InputError("data.embedded needs side >= 32 and at least one image in each of train, val and test.")
        if self.side > 4096 or max(self.train, self.val, self.test) > MOST:
            raise InputError(f"data.embedded makes images of up to 4096 pixels a side, up to {MOST} in a split.")
        if self.seed < 0:
            raise InputError(f"data.embedded.seed must be 0 or more, found {self.seed}.")


def draw_sample(settings: Embedded, index: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 [h w 3] and label uint8 [h w] (0 background, 1..k-1 objects) number `index` of the set."""
    draw = np.random.default_rng([settings.seed, index])
    side = settings.side
    image = _background(draw, side)
    label = np.zeros((side, side), np.uint8)
    shape = SHAPES[index % len(SHAPES)]
    cue = CUES[int(draw.integers(len(CUES)))] if settings.cue == "any" else settings.cue
    cue = "band" if classes > 2 else cue
    for target in _classes_present(draw, classes):
        mask = _shape(draw, side, shape) & (label == 0)
        alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)[..., None]
        band = _band_of(settings.band, target, classes)
        image = _apply_cue(draw, image, alpha, cue, band, settings.contrast)
        label[mask] = target
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), label


def band_noise(
    draw: np.random.Generator, side: int, band: tuple[float, float], angle: float | None = None
) -> Float[np.ndarray, "h w"]:
    """Gaussian noise of mean 0 and variance 1 with all its energy at radial frequencies `band` (cycles per pixel).

    With `angle` (radians), only waves whose direction lies within 15 degrees of it.
    """
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    radius = np.hypot(fy, fx)
    keep = (radius >= band[0]) & (radius <= band[1])
    if angle is not None:
        off = np.abs((np.arctan2(fy, fx) - angle + np.pi / 2) % np.pi - np.pi / 2)
        keep &= off <= np.deg2rad(15)
    return _unit(np.fft.irfft2(np.fft.rfft2(draw.standard_normal((side, side))) * keep, s=(side, side)))


def _power_noise(draw: np.random.Generator, side: int, slope: float) -> np.ndarray:
    """Noise whose amplitude falls as 1/f^slope, mean 0 and variance 1."""
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    radius[0, 0] = np.inf
    return _unit(np.fft.irfft2(np.fft.rfft2(draw.standard_normal((side, side))) / radius**slope, s=(side, side)))


def _unit(field: np.ndarray) -> np.ndarray:
    return (field - field.mean()) / max(float(field.std()), 1e-12)


def _background(draw: np.random.Generator, side: int) -> Float[np.ndarray, "h w 3"]:
    """Two natural colours mixed by one 1/f field, lit by another, with a little grain."""
    palette = draw.uniform(0.2, 0.75, (2, 3))
    palette += 0.6 * (palette.mean(axis=1, keepdims=True) - palette)  # nature is seldom saturated
    mix = 1 / (1 + np.exp(-1.5 * _power_noise(draw, side, 1.3)))[..., None]
    light = 0.09 * _power_noise(draw, side, 1.0)[..., None]
    return palette[0] * mix + palette[1] * (1 - mix) + light


def _classes_present(draw: np.random.Generator, classes: int) -> list[int]:
    if classes == 2:
        return [1]
    count = int(draw.integers(1, min(3, classes - 1) + 1))
    return [int(c) for c in 1 + draw.choice(classes - 1, size=count, replace=False)]


def _band_of(band: tuple[float, float], target: int, classes: int) -> tuple[float, float]:
    edges = np.linspace(band[0], band[1], classes)
    return float(edges[target - 1]), float(edges[target])


def _apply_cue(
    draw: np.random.Generator,
    image: np.ndarray,
    alpha: np.ndarray,
    cue: str,
    band: tuple[float, float],
    contrast: float,
) -> np.ndarray:
    side = image.shape[0]
    if cue == "band":
        return image + alpha * contrast * PATCH_RMS * band_noise(draw, side, band)[..., None]
    if cue == "orientation":
        angle = draw.uniform(0, np.pi)
        inside, outside = band_noise(draw, side, band, angle), band_noise(draw, side, band, angle + np.pi / 2)
        return image + contrast * PATCH_RMS * (alpha[..., 0] * inside + (1 - alpha[..., 0]) * outside)[..., None]
    tint = draw.standard_normal(3)
    tint -= tint.mean()  # a change of colour, not of lightness
    return image + alpha * contrast * 2 * PATCH_RMS * tint / np.linalg.norm(tint)


def _shape(draw: np.random.Generator, side: int, kind: str) -> Bool[np.ndarray, "h w"]:
    if kind == "thin":
        return _curve(draw, side)
    if kind == "several":
        blobs = [_blob(draw, side, draw.uniform(0.07, 0.13)) for _ in range(int(draw.integers(2, 6)))]
        return np.logical_or.reduce(blobs)
    body = _blob(draw, side, draw.uniform(0.17, 0.3))
    if kind == "compact":
        return body
    depth = cv2.distanceTransform(body.astype(np.uint8), cv2.DIST_L2, 3)
    centre = np.unravel_index(int(depth.argmax()), depth.shape)
    radius = max(3.0, depth.max() * draw.uniform(0.4, 0.65))
    rows, columns = np.mgrid[:side, :side]
    return body & (np.hypot(rows - centre[0], columns - centre[1]) > radius)


def _blob(draw: np.random.Generator, side: int, size: float) -> np.ndarray:
    """A smooth closed outline: radius r(angle) with a few random harmonics; `size` is its share of the side."""
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    radius = np.ones_like(angles)
    for harmonic in range(2, 7):
        radius += draw.normal(0, 0.45 / harmonic) * np.cos(harmonic * angles + draw.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.35, 1.8) * size * side
    margin = min(0.45, size * 1.1)
    centre = draw.uniform(margin * side, (1 - margin) * side, 2)
    stretch = np.array([draw.uniform(0.7, 1.3), 1.0])
    points = centre + stretch * radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _filled(points, side)


def _curve(draw: np.random.Generator, side: int) -> np.ndarray:
    """A winding line some pixels wide."""
    steps = 60
    turn = cv2.GaussianBlur(draw.standard_normal((1, steps)), (0, 0), 8)[0] * 1.2
    heading = draw.uniform(0, 2 * np.pi) + np.cumsum(turn)
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    path = (path - path.min(axis=0)) / max(float(np.ptp(path, axis=0).max()), 1e-9)
    points = (0.12 + 0.76 * path + draw.uniform(-0.05, 0.05, 2)) * side
    canvas: UInt8[np.ndarray, "h w"] = np.zeros((side, side), np.uint8)
    width = max(2, round(side * draw.uniform(0.03, 0.06)))
    cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, 1, thickness=width)
    return canvas > 0


def _filled(points: np.ndarray, side: int) -> np.ndarray:
    canvas = np.zeros((side, side), np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1)
    return canvas > 0
