"""One picture file read: an image as RGB, a mask as raw whole numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from segkd.types import InputError

# Pillow's own limit is a Python warning first and an error without a remedy later: `How.max_megapixels` stands for it
Image.MAX_IMAGE_PIXELS = None

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""


@dataclass(frozen=True)
class How:
    """How picture files are read.

    Args:
        exif: pictures are turned as their EXIF orientation says; else they stay as they are stored.
        range: the values of an image that become 0 and 255; null for the whole range of its number type.
        colours: the colours of a mask and the class number of each; null for masks whose values are numbers.
        max_megapixels: larger pictures are refused before they are decoded.
    """

    exif: bool = True
    range: tuple[float, float] | None = None
    colours: tuple[tuple[Colour, int], ...] | None = None
    max_megapixels: float = 150.0


PLAIN = How()

BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What brings a picture that was turned as an EXIF orientation says back to how it is stored."""


def read_image(path: Path, how: How = PLAIN) -> UInt8[np.ndarray, "h w 3"]:
    """An image as RGB uint8 [h w 3], turned as its EXIF tag says. Raises InputError naming the file."""
    with open_picture(path, how) as upright:
        if upright.mode == "F":
            raise InputError(
                f"{path}: expected whole numbers per pixel, found real numbers. Save it with 8 or 16 bits."
            )
        if upright.mode.startswith("I"):  # 16-bit grey: Pillow's conversion would clip all above 255 to white
            grey = (np.clip(np.asarray(upright), 0, 65535) // 257).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=-1)
        return np.asarray(upright.convert("RGB"))


def read_mask(path: Path, how: How = PLAIN) -> np.ndarray:
    """A mask as raw integers uint8 or uint16 [h w], turned as its EXIF tag says; palette masks give their indices.

    Raises:
        InputError: names the file that is not such a mask.
    """
    with open_picture(path, how) as picture:
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


@contextmanager
def open_picture(path: Path, how: How = PLAIN) -> Iterator[Image.Image]:
    """The decoded picture of a file, turned as `how` says.

    Raises:
        InputError: names the file that is none, is damaged, or is larger than `how.max_megapixels`.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
        raise InputError(f"{path}: expected a picture file, found no regular file. Take it out of the folder.")
    try:
        # not by its name: Pillow 13 maps plain TIFFs into memory then, and misreads those with an orientation of 5 to 8
        with path.open("rb") as file, Image.open(file) as picture:
            refuse_large(path, picture.size, how)
            loaded = _turned(picture, how.exif)
    except InputError:
        raise
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: expected a readable image, found: {error}. Replace or remove the file.") from error
    with loaded:
        yield loaded


def _turned(picture: Image.Image, exif: bool) -> Image.Image:
    """The picture, loaded, as its orientation tag says, or as it is stored."""
    if picture.format != "TIFF":
        picture.load()
        return ImageOps.exif_transpose(picture) if exif else picture
    tag = picture.getexif().get(ExifTags.Base.Orientation, 1)
    picture.load()  # turns a TIFF and drops its tag
    return picture.transpose(BACK[tag]) if tag in BACK and not exif else picture


def refuse_large(path: Path, size: tuple[int, int], how: How = PLAIN) -> None:
    """Raises InputError where a picture of `size` (width, height) is larger than `how.max_megapixels`."""
    megapixels = size[0] * size[1] / 1e6
    if megapixels > how.max_megapixels:
        raise InputError(
            f"{path}: {size[0]}x{size[1]} pixels are {megapixels:.0f} megapixels, and at most {how.max_megapixels:g} "
            f"are read, so that no small file can fill the memory. If the file is sound, write data.max_megapixels: "
            f"{int(megapixels) + 1} (or --max-megapixels {int(megapixels) + 1}, where the command has it)."
        )
