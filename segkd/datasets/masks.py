"""What the values of a decoded mask are: grey levels, the indices of a palette, or classes by colour."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from segkd.datasets.colours import Colour, Colours, by_colour, count_colours, listed_colours, map_to_start_from, pack
from segkd.datasets.packed import File
from segkd.datasets.unfit import Unfit

IN_COLOURS = "expected one class value per pixel, found a colour image"
"""The fault of a mask in colours that nobody named."""

IN_ALPHA = "expected the mask in its values, found one colour everywhere and a transparency that varies"
"""The fault of a mask that lives in its alpha channel."""


CUT_OUT = "expected a mask, found a picture of many colours whose transparency varies"
"""The fault of a cut-out: the photo with the mask as its alpha channel."""

SAVE_ALPHA = "Save its alpha channel as a grey picture (in Pillow: mask.getchannel('A'))"
"""What to do with both."""

MOST_COLOURS = 255
"""Colours beyond which they are no classes."""

MIXED = (
    "Save the masks as indexed or grey PNGs whose values are the classes: smoothing or JPEG has mixed their "
    "colours, so none can be named"
)
"""What to do with masks of more colours than that."""

NEARLY_GREY = 8
"""How far the bands of a grey picture lie apart at most after a compression with loss."""


def mask_values(
    path: File, picture: Image.Image, values: np.ndarray | None, colours: Colours | None, lossy: bool = False
) -> tuple[np.ndarray, dict[int, Colour] | None, bool]:
    """The raw values [h w] of a mask, the colours of its indices, and whether a varying alpha was left out.

    A palette gives its indices with their colours, or where all of it is grey, its greys; then None stands for the
    colours where these are not its indices.

    Args:
        path: the file, to name it.
        picture: decoded.
        values: its values [h w c] where the picture has only their high bytes.
        colours: the class of each colour; None for masks whose values are numbers.
        lossy: the file is compressed with loss, which moves the bands of a grey picture apart.

    Raises:
        InputError: the mask is in colours that are not named, or in its alpha channel.
    """
    if picture.mode in ("P", "PA"):
        return _indexed(path, picture, colours)
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        picture = picture.convert("RGB")
    raw = np.asarray(picture) if values is None else values
    alpha = False
    if picture.mode in ("LA", "RGBA"):
        _refuse_alpha(path, raw[..., :-1], raw[..., -1])
        alpha = bool(raw[..., -1].min() != raw[..., -1].max())
        raw = raw[..., 0] if raw.shape[2] == 2 else raw[..., :-1]
    if colours is not None:
        return by_colour(path, _as_rgb(raw), colours), {}, alpha
    return one_plane(path, _without_tint(raw) if lossy else raw, alpha), {}, alpha


def array_values(path: File, array: np.ndarray, colours: Colours | None, grey_values: bool = False) -> np.ndarray:
    """The raw values [h w] of a mask that NumPy wrote: its class numbers where its colours [h w 3] are named.

    Values [h w] are class numbers beside colours, and levels where all of these are grey; with `grey_values` not.

    Raises:
        InputError: there are several planes: one for each class, or colours that are not named.
    """
    planes = array.ndim == 3 and array.shape[2] in (3, 4)
    if planes and (array[..., :3].astype(bool).sum(axis=2) == 1).all() and array.max() == 1:
        raise Unfit(path, "expected one class per pixel [h w]", "Save the classes (argmax)", "a plane for each class")
    if colours is not None and planes and array.dtype == np.uint8:
        return by_colour(path, array[..., :3], colours)
    values = one_plane(path, array)
    if colours is None or grey_values or any(min(colour) < max(colour) for colour, _ in colours):
        return values
    return by_colour(path, _as_rgb(values if values.dtype == bool else whole_numbers(path, values)), colours)


def whole_numbers(path: File, raw: np.ndarray) -> np.ndarray:
    """A mask's values as uint8 or uint16, whatever their type, when they are whole and lie in 0..65535.

    Raises:
        InputError: they are not; names the file and the conversion.
    """
    if raw.dtype == bool:
        return raw.astype(np.uint8)
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)  # a TIFF may hold the other byte order
    if raw.dtype in (np.uint8, np.uint16):
        return raw
    low, high = raw.min(), raw.max()
    holes = int(np.isnan(raw).sum()) if raw.dtype.kind == "f" else 0
    if holes:
        raise Unfit(
            path,
            "expected a number per pixel, found pixels without one (NaN), as nodata is",
            "Save these as 255, and all as whole numbers of 8 bits, and write data.ignore: [255]",
            f"{holes} of {raw.size} pixels",
        )
    if raw.dtype.kind == "f" and (raw != np.rint(raw)).any():  # infinity lies beyond the range
        raise Unfit(
            path,
            "expected class numbers, found real numbers",
            "Round them to classes, or probabilities to (p > 0.5), and save these as 8-bit PNG",
            f"{low:.4g}..{high:.4g}",
        )
    if low < 0 or high > 65535:
        raise Unfit(
            path,
            "expected whole numbers 0..65535 per pixel",
            "Save other numbers as one of these (-1, for pixels to leave out, as 255, with data.ignore: [255])",
            f"found {low:.0f}..{high:.0f}",
        )
    return raw.astype(np.uint8 if high < 256 else np.uint16)


def one_plane(path: File, raw: np.ndarray, alpha: bool = False) -> np.ndarray:
    """Values [h w] of an array [h w], or with one or several equal planes; `alpha`: its transparency varies.

    Raises:
        InputError: there are several planes, or colours; names the file.
    """
    sides = [n for n in raw.shape if n != 1]
    if raw.ndim > 2 and len(sides) == 2:
        return raw.reshape(sides)
    if raw.ndim == 2:
        return raw
    if raw.ndim != 3 or raw.shape[2] not in (3, 4):
        raise Unfit(path, "expected one class per pixel [h w]", "Save the classes (argmax)", f"found {list(raw.shape)}")
    if (raw[..., :3] == raw[..., :1]).all():
        return raw[..., 0]
    found = count_colours(pack(_eight_bits(raw[..., :3])))
    if alpha and len(found) > MOST_COLOURS:
        raise Unfit(path, CUT_OUT, SAVE_ALPHA)
    raise Unfit(path, IN_COLOURS, _cure_of_colours(found), listed_colours(found, 8), found)


def _cure_of_colours(found: Mapping[int, int]) -> str:
    """What to do with a mask in colours, 0xRRGGBB -> pixels, that nobody named."""
    if len(found) > MOST_COLOURS:
        return MIXED
    return (
        f"Name its colours, for example data.colours: {{{map_to_start_from(found, ())}}}, with these names in "
        "data.classes, or save it as an indexed or grey image whose values are the classes"
    )


def _indexed(
    path: File, picture: Image.Image, colours: Colours | None
) -> tuple[np.ndarray, dict[int, Colour] | None, bool]:
    raw = np.asarray(picture)
    index = raw if raw.ndim == 2 else raw[..., 0]
    table = _palette(picture)
    used = np.flatnonzero(np.bincount(index.ravel()))
    alpha = table[used, 3] if raw.ndim == 2 else raw[..., 1]
    _refuse_alpha(path, table[used, :3], alpha)
    varies = bool(alpha.min() != alpha.max())
    if colours is not None:
        return by_colour(path, table[index, :3], colours), {}, varies
    entries = table[: max(int(used[-1]) + 1, len(picture.getpalette() or []) // 3), :3]
    if (entries == entries[:, :1]).all():
        return table[index, 0], {} if (table[used, 0] == used).all() else None, varies
    named = {int(i): (int(table[i, 0]), int(table[i, 1]), int(table[i, 2])) for i in used}
    return index, named, varies


def _palette(picture: Image.Image) -> np.ndarray:
    """The colours of all 256 indices with their alpha, uint8 [256 4]."""
    ramp = Image.frombytes("P", (256, 1), bytes(range(256)))
    ramp.putpalette(picture.getpalette("RGB") or [])
    if "transparency" in picture.info:
        ramp.info["transparency"] = picture.info["transparency"]
    return np.asarray(ramp.convert("RGBA"))[0]


def _refuse_alpha(path: File, colours: np.ndarray, alpha: np.ndarray) -> None:
    """Raises where all colours [... c] are the same and alpha is not."""
    flat = colours.reshape(-1, colours.shape[-1])
    if alpha.min() != alpha.max() and (flat.min(axis=0) == flat.max(axis=0)).all():
        raise Unfit(path, IN_ALPHA, SAVE_ALPHA)


def _without_tint(raw: np.ndarray) -> np.ndarray:
    """One plane of a picture [h w c] whose bands lie close together; else all of it."""
    if raw.ndim < 3 or np.ptp(raw, axis=-1).max() > NEARLY_GREY:
        return raw
    return np.median(raw, axis=-1).astype(raw.dtype)


def _as_rgb(raw: np.ndarray) -> np.ndarray:
    planes = _eight_bits(raw).reshape(*raw.shape[:2], -1)
    return planes[..., :3] if planes.shape[2] >= 3 else np.repeat(planes[..., :1], 3, axis=-1)


def _eight_bits(raw: np.ndarray) -> np.ndarray:
    if raw.dtype == bool:
        return raw.astype(np.uint8) * np.uint8(255)
    return raw if raw.dtype == np.uint8 else (raw // 257 if raw.max() > 255 else raw).astype(np.uint8)
