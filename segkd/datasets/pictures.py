"""One picture file read: an image as RGB, a mask as raw whole numbers, and what else the file tells."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BufferedIOBase
from typing import IO

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from segkd.datasets.arrays import read_array
from segkd.datasets.colours import Colour, Colours
from segkd.datasets.deep import UNREAD, describe_tiff, read_deep
from segkd.datasets.heads import PAGES, no_picture, pages_in
from segkd.datasets.masks import array_values, mask_values, whole_numbers
from segkd.datasets.packed import File
from segkd.datasets.unfit import Unfit, no_room
from segkd.datasets.walk import ARRAYS
from segkd.disk import is_deep
from segkd.types import InputError

# Pillow's own limit is a Python warning first and an error without a remedy later: `How.max_megapixels` stands for it
Image.MAX_IMAGE_PIXELS = None
# nor are its warnings of damaged files for the console: what cannot be read is said in a sentence
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class How:
    """How picture files are read.

    Args:
        exif: pictures are turned as their EXIF orientation says; else they stay as they are stored.
        range: the values of an image that become 0 and 255; null for the whole range of its number type.
        colours: the colours of a mask and the class number of each; null for masks whose values are numbers.
        max_megapixels: larger pictures are refused before they are decoded.
        grey_values: of masks that are grey pictures the values are read, whatever `colours` names.
    """

    exif: bool = True
    range: tuple[float, float] | None = None
    colours: Colours | None = None
    max_megapixels: float = 150.0
    grey_values: bool = False


PLAIN = How()

GREY = frozenset({"L", "LA", "I", "I;16", "I;16B", "I;16L"})
"""How Pillow calls pictures without colours."""

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

DEEP = (0.0, 65535.0)
"""The values that become 0 and 255 in images of more than 8 bits, unless `How.range` says others."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a file tells besides its pixels.

    Attributes:
        tag: its EXIF orientation, 1 to 8.
        lossy: it is compressed with loss, as JPEG is.
        values: smallest and largest value of an image that is not read as plain 8 bits.
        scale: the values that became 0 and 255 there.
        left_out: what was not read, in a few words each.
        palette: the colours of the numbers in use, of a mask whose palette is no scale of greys.
        greys: the mask's palette is one of greys, which are not its numbers: the greys were read.
    """

    tag: int = 1
    lossy: bool = False
    values: tuple[float, float] | None = None
    scale: tuple[float, float] = (0.0, 255.0)
    left_out: tuple[str, ...] = ()
    palette: Mapping[int, Colour] = field(default_factory=dict)
    greys: bool = False


def read_image(path: File, how: How = PLAIN) -> UInt8[np.ndarray, "h w 3"]:
    """An image as RGB uint8 [h w 3]. Raises InputError naming the file."""
    return view_image(path, how)[0]


def read_mask(path: File, how: How = PLAIN) -> np.ndarray:
    """A mask as raw integers uint8 or uint16 [h w]: its class numbers where `how` names colours, else its values.

    A palette gives its indices, but one that holds nothing but greys gives its greys. NumPy's files are read, too.

    Raises:
        InputError: names the file that is not such a mask.
    """
    return view_mask(path, how)[0]


def open_picture(path: File, how: How = PLAIN) -> Image.Image:
    """The decoded picture of a file, turned as `how` says.

    Raises:
        InputError: names the file that is none, is damaged, or is larger than `how.max_megapixels`.
    """
    return _open(path, how).picture


def view_image(path: File, how: How = PLAIN) -> tuple[UInt8[np.ndarray, "h w 3"], Seen]:
    """As `read_image`, with what else the file tells."""
    opened = _open(path, how)
    picture, left_out = opened.picture, list(opened.left_out)
    if picture.mode in ("LA", "PA", "RGBA", "RGBX") and _varies(picture.getchannel(len(picture.getbands()) - 1)):
        left_out.append("bands after the third" if opened.format == "TIFF" else "transparency")
    raw = opened.values
    if raw is None and picture.mode[0] not in "IF":
        if "transparency" in picture.info and picture.mode == "P":
            picture = picture.convert("RGBA")  # Pillow warns of one step
        raw = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    raw = np.asarray(picture) if raw is None else raw[..., :3]
    if how.range is not None and raw.dtype.kind in "iu" and how.range[1] - how.range[0] <= 1:
        how = replace(how, range=None)  # it is of real numbers: whole ones would be black and white alone
    if raw.dtype == np.uint8 and (how.range is None or how.range[1] > 255):  # a range of more than 8 bits is not theirs
        return raw, Seen(opened.tag, opened.lossy, left_out=tuple(left_out))
    levels, values, scale = _levels(path, raw, how)
    if how.range is None and values[0] < scale[0]:
        left_out.append(f"values below {scale[0]:g}")
    if how.range is None and values[1] > scale[1]:
        left_out.append(f"values above {scale[1]:g}")
    rgb = levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=-1)
    return rgb, Seen(opened.tag, opened.lossy, values, scale, tuple(left_out))


def view_mask(path: File, how: How = PLAIN) -> tuple[np.ndarray, Seen]:
    """As `read_mask`, with what else the file tells."""
    if path.suffix.lower() in ARRAYS:
        array = read_array(path, how.max_megapixels * 1e6)
        return whole_numbers(path, array_values(path, array, how.colours, how.grey_values)), Seen()
    opened = _open(path, how)
    colours = None if how.grey_values and opened.picture.mode in GREY else how.colours
    raw, palette, alpha = mask_values(path, opened.picture, opened.values, colours, opened.lossy)
    left_out = (*opened.left_out, *(("transparency",) if alpha else ()))
    seen = Seen(opened.tag, opened.lossy, left_out=left_out, palette=palette or {}, greys=palette is None)
    return whole_numbers(path, raw), seen


def refuse_large(path: File, size: tuple[int, int], how: How = PLAIN) -> None:
    """Raises InputError where a picture of `size` (width, height) is larger than `how.max_megapixels`."""
    megapixels = size[0] * size[1] / 1e6
    if megapixels > how.max_megapixels:
        more = int(megapixels) + 1
        raise Unfit(
            path,
            f"larger than the {how.max_megapixels:g} megapixels that are read, lest small files fill the memory",
            f"If the file is sound, write data.max_megapixels: {more} (or --max-megapixels {more})",
            f"{size[0]}x{size[1]} pixels, {megapixels:.0f} megapixels",
        )


@dataclass(frozen=True)
class _Opened:
    picture: Image.Image
    format: str
    tag: int
    lossy: bool
    left_out: tuple[str, ...]
    values: np.ndarray | None
    """uint16 [h w c], where the picture has no more than their high bytes."""


def _open(path: File, how: How) -> _Opened:
    if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
        raise Unfit(path, "expected a picture file, found no regular file", "Take it out of the folder")
    try:
        # not by its name: Pillow 13 maps plain TIFFs into memory then, and misreads those with an orientation of 5 to 8
        with path.open("rb") as file, Image.open(file) as picture:
            refuse_large(path, picture.size, how)
            deep, kind, lossy = is_deep(picture), picture.format or "", _is_lossy(picture, file)
            pages = pages_in(picture)
            loaded, tag = _turned(picture, how.exif)
    except InputError:
        raise
    except Exception as error:  # damaged bytes can raise anything
        raise _unreadable(path, error) from error
    left_out = (PAGES,) if pages > 1 else ()
    values = read_deep(path, tag, how.exif, kind == "TIFF") if deep else None
    return _Opened(loaded, kind, tag, lossy, left_out, values)


def _is_lossy(picture: Image.Image, file: IO[bytes] | BufferedIOBase) -> bool:
    if picture.format == "TIFF":
        return picture.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    if picture.format not in ("WEBP", "JPEG2000"):
        return picture.format in ("JPEG", "MPO", "AVIF")
    place = file.tell()
    try:
        return not (_is_lossless_webp if picture.format == "WEBP" else _is_reversible)(file)
    finally:
        file.seek(place)


def _is_lossless_webp(file: IO[bytes] | BufferedIOBase) -> bool:
    """Whether a WebP file has a chunk of lossless pixels (VP8L); others, such as a profile, may come before it."""
    at = 12
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[:4] in (b"VP8 ", b"VP8L"):
            return head[:4] == b"VP8L"
        size = int.from_bytes(head[4:], "little")
        # a frame of an animation begins with 16 bytes of its own; a chunk ends at an even place
        at += 24 if head[:4] == b"ANMF" else 8 + size + size % 2


def _is_reversible(file: IO[bytes] | BufferedIOBase) -> bool:
    """Whether JPEG 2000 has the wavelet of whole numbers, which loses nothing, by the last byte of its marker COD."""
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(b"\xff\x52", max(0, head.find(b"\xff\x4f\xff\x51")))
    return head[at + 13 : at + 14] == b"\x01" if at >= 0 else False


def _turned(picture: Image.Image, exif: bool) -> tuple[Image.Image, int]:
    """The picture, loaded, as its orientation tag says, or as it is stored; and the tag."""
    if picture.format != "TIFF":
        picture.load()  # a PNG may tell its orientation behind its pixels
    tag = picture.getexif().get(ExifTags.Base.Orientation, 1)
    picture.load()  # turns a TIFF and drops its tag
    if tag not in BACK or (picture.format == "TIFF") == exif:
        return picture, tag if tag in BACK else 1
    return ImageOps.exif_transpose(picture) if exif else picture.transpose(BACK[tag]), tag


def _unreadable(path: File, error: Exception) -> Unfit:
    if isinstance(error, MemoryError):
        return no_room(path)
    if isinstance(error, UnidentifiedImageError):
        tiff = describe_tiff(path)
        if tiff is not None:
            return Unfit(path, *UNREAD, tiff)
        if (other := no_picture(path)) is not None:
            return other
        error = OSError("nothing that is known as a picture")
    return Unfit(path, "expected a readable image, found", "Replace or remove the file", str(error))


def _levels(path: File, raw: np.ndarray, how: How) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
    """Values as 8-bit levels; smallest and largest of them; and those that become 0 and 255."""
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    low, high = float(raw.min()), float(raw.max())
    if not np.isfinite([low, high]).all():
        raise Unfit(path, "expected numbers", "Replace NaN and infinity in it by numbers", f"found {low}..{high}")
    if how.range is None and raw.dtype.kind == "f":
        shares = 0 <= low <= high <= 1
        raise Unfit(
            path,
            "images of real numbers, whose black and white nobody has named",
            f"Write data.range: {'[0, 1]' if shares else '[black, white]'}, the values that become 0 and 255",
            f"{low:.4g}..{high:.4g}",
        )
    if how.range is None:
        return (np.clip(raw, 0, 65535) // 257).astype(np.uint8), (low, high), DEEP
    black, white = how.range
    levels = _stretched(np.arange(256), black, white)[raw] if raw.dtype == np.uint8 else _stretched(raw, black, white)
    return levels, (low, high), how.range


def _stretched(raw: np.ndarray, black: float, white: float) -> np.ndarray:
    shares = (np.clip(raw, black, white).astype(np.float64) - black) / (white - black)
    return np.rint(255 * shares).astype(np.uint8)


def _varies(band: Image.Image) -> bool:
    low, high = band.getextrema()
    return low != high
