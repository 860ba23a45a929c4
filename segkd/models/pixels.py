"""A picture as anyone may have it: a path, a PIL image or an array, as RGB pixels."""

import os

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

from segkd.disk import is_deep
from segkd.types import InputError, reason_of

Picture = str | os.PathLike[str] | Image.Image | np.ndarray
"""A file of a picture, a PIL image, or an array uint8 [h w 3], grey [h w], or [h w 4] without transparency."""


def as_rgb(picture: Picture, span: tuple[float, float] | None = None, exif: bool = True) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a picture.

    Args:
        picture: a file, a PIL image, or an array, which is taken as it is.
        span: values of a file or image that become 0 and 255; one of more than 8 bits is not meant for 8 bits.
        exif: a file or image is turned as its EXIF says.

    Raises:
        InputError: no such file, not a picture, more than 8 bits (which range is meant?), or another array.
    """
    if isinstance(picture, np.ndarray):
        return _of_array(picture)
    name = "predict" if isinstance(picture, Image.Image) else os.fspath(picture)
    try:
        if isinstance(picture, Image.Image):
            return _of_image(picture, name, span, exif)
        with Image.open(picture) as image:
            return _of_image(image, name, span, exif)
    except InputError:
        raise
    except Exception as error:  # damaged bytes can raise anything
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise InputError(f"{name}: expected a picture, found: {reason}.") from error


def shrunk(image: UInt8[np.ndarray, "_h _w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """An image at the `size` (h, w) of a network, as in training: bilinear where a side grows, then by area where one
    shrinks."""
    (height, width), (h, w) = size, image.shape[:2]
    grown = cv2.resize(image, (max(width, w), max(height, h)), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(grown, (width, height), interpolation=cv2.INTER_AREA)


def _of_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"predict: expected an RGB image uint8 [h w 3], found {array.dtype} {array.shape}. Bring the values to "
            "0..255 as whole numbers and the channels to the end; several images go in a list."
        )
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array[..., :3]


def _of_image(image: Image.Image, name: str, span: tuple[float, float] | None, exif: bool) -> np.ndarray:
    deep = is_deep(image)
    if not exif and image.format == "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        raise InputError(  # Pillow turns it while it decodes it
            f"{name}: expected a TIFF without an orientation, as the training did not follow any. Use segkd predict, "
            "or give the array as it is stored."
        )
    _decode(image)
    turned = ImageOps.exif_transpose(image) if exif else image
    if deep or turned.mode[0] in "IF":
        raise InputError(
            f"{name}: expected 8 bits per channel, found {'colours of 16' if deep else f'the mode {turned.mode}'}. "
            "Bring the values to 0..255 as training did and give the array, or use segkd predict, which reads images "
            "as the run did."
        )
    if turned.mode == "P" and "transparency" in turned.info:
        turned = turned.convert("RGBA")  # Pillow warns of one step
    pixels = np.asarray(turned.convert("RGB"))
    if span is None or span[1] > 255:
        return pixels
    shares = (np.clip(np.arange(256), *span) - span[0]) / (span[1] - span[0])
    return np.rint(255 * shares).astype(np.uint8)[pixels]


def _decode(image: Image.Image) -> None:
    """Decodes a TIFF as if it had no name: by names Pillow 13 maps plain ones into memory, and misreads those with an
    orientation of 5 to 8."""
    name = getattr(image, "filename", "")
    if image.format == "TIFF" and name:
        image.filename = ""  # type: ignore[attr-defined]
        try:
            image.load()
        finally:
            image.filename = name  # type: ignore[attr-defined]
