"""One picture file read: an image as RGB, a mask as raw whole numbers."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from segkd.types import InputError


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """An image as RGB uint8 [h w 3], turned as its EXIF tag says. Raises InputError naming the file."""
    with open_picture(path) as picture:
        upright = ImageOps.exif_transpose(picture)
    if upright.mode == "F":
        raise InputError(f"{path}: expected whole numbers per pixel, found real numbers. Save it with 8 or 16 bits.")
    if upright.mode.startswith("I"):  # 16-bit grey: Pillow's conversion would clip all above 255 to white
        grey = (np.clip(np.asarray(upright), 0, 65535) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    return np.asarray(upright.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """A mask as raw integers uint8 or uint16 [h w]; palette masks give their indices.

    Raises:
        InputError: names the file that is not such a mask.
    """
    with open_picture(path) as picture:
        raw = np.asarray(picture)
    if raw.dtype == bool:
        raw = raw.astype(np.uint8)
    if raw.ndim == 3 and raw.shape[2] == 2:  # grey with alpha
        raw = raw[..., 0]
    if raw.ndim == 3:
        if (raw[..., :3] != raw[..., :1]).any():
            raise InputError(
                f"{path}: expected one class value per pixel, found a colour image ({picture.mode}). "
                "Save the mask as an indexed or grey image whose values are the classes."
            )
        raw = raw[..., 0]
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)  # a TIFF may hold the other byte order
    if raw.dtype == np.int32 and raw.min() >= 0 and raw.max() < 65536:
        raw = raw.astype(np.uint16)
    if raw.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: expected whole numbers 0..65535 per pixel, found {picture.mode} ({raw.dtype}).")
    return raw


def open_picture(path: Path) -> Image.Image:
    """The decoded picture of a file. Raises InputError naming the file."""
    picture = None
    try:
        picture = Image.open(path)
        picture.load()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if picture is not None:
            picture.close()
        raise InputError(f"{path}: expected a readable image, found: {error}. Replace or remove the file.") from error
    return picture
