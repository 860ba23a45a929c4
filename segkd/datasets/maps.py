"""One prediction read: what a file of any model holds, as one raw number per pixel or as scores of the classes."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from segkd.datasets.arrays import read_array
from segkd.datasets.colours import Colours
from segkd.datasets.deep import SWAPPED
from segkd.datasets.heads import by_head
from segkd.datasets.palette import colour_table
from segkd.datasets.pictures import GREY, PLAIN, How, Seen, open_picture, view_mask
from segkd.datasets.unfit import Unfit
from segkd.datasets.walk import ARRAYS
from segkd.types import IGNORE, InputError

TOLERANCE = 1e-3
"""How far beyond 0..1 a probability may lie: one step of float16 above 1. It is clipped; more is no rounding error."""

SUM = 5e-3
"""How far from 1 the two planes of a softmax may sum, in float16."""


def view_raw(path: Path, how: How = PLAIN, planes: int = 1) -> tuple[np.ndarray, Seen]:
    """What a file holds, before anyone says what it means: [h w], or an array of 3 or 4 axes, of any number type.

    Pictures of whole numbers are read as masks are (one way to read palettes, alpha and EXIF tags for both). Where
    `how` names colours, coloured pictures give the classes of their colours; grey ones, and those that `segkd predict`
    wrote, their values all the same.

    Args:
        path: a picture, `.npy` or `.npz`.
        how: how pictures are read.
        planes: numbers per pixel that an array may hold, for its limit in size.

    Raises:
        InputError: names the file that is no such thing.
    """
    if path.suffix.lower() in ARRAYS:
        return read_array(path, how.max_megapixels * 1e6 * planes), Seen()
    mode, plain = mode_of(path), replace(how, colours=None)
    if mode in ("F", "1"):  # real numbers; yes and no
        with open_picture(path, how) as picture:
            return np.asarray(picture), Seen()
    if mode == "I":  # a file's own values must not choose its type, as a dark one's would be 8 bits
        raw, seen = view_mask(path, plain)
        return raw.astype(np.uint16), seen
    if how.colours is None or mode in GREY or _is_ours(path, how.colours):
        return view_mask(path, plain)
    try:
        return view_mask(path, how)
    except Unfit as unnamed:
        if mode != "P":  # a grey picture in three equal planes, perhaps
            with suppress(Unfit):
                return view_mask(path, plain)
        raise unnamed


def view_prediction(path: Path, classes: int, size: Sequence[int], how: How = PLAIN) -> tuple[np.ndarray, Seen]:
    """A prediction as raw numbers [h w], or for more than two classes also as scores [k h w]; and what else is told.

    The softmax of two classes gives its plane 1. `size` (height, width) of the label decides between axes where the
    shape alone does not.

    Raises:
        InputError: names the file that is no such prediction.
    """
    raw, seen = view_raw(path, how, max(classes, 2))
    raw = arranged(path, raw, classes, size)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        bad = int((~np.isfinite(raw)).sum())
        raise InputError(f"{path}: expected finite numbers, found {bad} that are NaN or infinite.")
    if raw.ndim == 3 and classes == 2:
        return foreground_plane(path, raw), seen
    if raw.ndim == 3 and raw.dtype.kind != "f" and np.ptp(raw.sum(axis=0, dtype=np.int64)) > classes:
        raise InputError(
            f"{path}: expected shares of {classes} classes that sum to one number, found whole numbers that do not. "
            "Save scores as real numbers, or the classes alone (argmax)."
        )
    return raw, seen


def read_prediction(path: Path, classes: int, size: Sequence[int], how: How = PLAIN) -> np.ndarray:
    """As `view_prediction`, without what else the file tells."""
    return view_prediction(path, classes, size, how)[0]


def arranged(path: Path, raw: np.ndarray, classes: int, size: Sequence[int]) -> np.ndarray:
    """An array as [h w] or [k h w], whatever the order of its axes: [1 h w], [h w 1], [h w k], [1 k h w] and so on, or
    [k 1 h w], as nnU-Net writes a picture of one slice.

    Raises:
        InputError: it is none of these, or could be two of them; names the file.
    """
    shape = list(raw.shape)
    if raw.ndim == 2:
        return raw
    flat = raw
    if raw.ndim == 4 and 1 in shape[:2]:
        flat = raw[0] if shape[0] == 1 else raw[:, 0]
    if raw.dtype == np.uint8 and flat.ndim == 3 and flat.shape[2] in (3, 4) and (flat[..., :3] == flat[..., :1]).all():
        return flat[..., 0]  # a grey picture in three planes
    axes = [axis for axis in (0, 2) if flat.shape[axis] in (1, classes)] if flat.ndim == 3 else []
    if len(axes) == 2:  # as for [2 40 2]: the label's size knows
        axes = [axis for axis in axes if _without(flat.shape, axis) == tuple(size)]
    if len(axes) != 1:
        named = "names two classes" if classes == 2 else f"names {classes}"
        raise InputError(
            f"{path}: expected [h w], or a plane for each class [{classes} h w] (data.classes {named}), found an array "
            f"of shape {shape}, which cannot be read in one way. Save one number per pixel: the probability of the "
            "foreground (plane 1 of a softmax), or the class."
        )
    planes = np.moveaxis(flat, axes[0], 0)
    return planes[0] if len(planes) == 1 else planes


def foreground_plane(path: Path, planes: np.ndarray) -> np.ndarray:
    """Plane 1 of two [2 h w] that are shares of one whole: they sum to 1, or to 255 in 8 bits.

    Raises:
        InputError: names the file whose planes do not, as logits do.
    """
    total = planes[0].astype(np.float64) + planes[1]
    whole = 255.0 if planes.dtype == np.uint8 and total.max() > 1 else 1.0
    within = planes.min() >= -TOLERANCE and planes.max() <= whole + TOLERANCE
    if not within or np.abs(total - whole).max() > SUM * whole:
        raise InputError(
            f"{path}: expected two planes of probabilities that sum to 1, found {_range(planes)} with sums "
            f"{total.min():.4g}..{total.max():.4g}. Apply softmax before you save (logits do not sum to 1), or save "
            "the foreground's probability alone as [h w]."
        )
    return planes[1]


def is_whole(raw: np.ndarray) -> bool:
    """Whether all numbers are whole, whatever their type."""
    if raw.dtype.kind != "f":
        return True
    few = raw.ravel()[:: max(1, raw.size // 1000)]  # nearly always enough to say no
    return bool((few == np.rint(few)).all() and (raw == np.rint(raw)).all())


def stored_size(path: Path, how: How) -> tuple[int, int] | None:
    """Height and width of a picture by its head, as `how` will turn it; None for arrays and what cannot be opened."""

    def turned(picture: Image.Image) -> tuple[int, int]:
        swapped = how.exif and picture.getexif().get(ExifTags.Base.Orientation, 1) in SWAPPED
        return picture.size if swapped else picture.size[::-1]

    return by_head(path, turned)


def mode_of(path: Path) -> str | None:
    """How Pillow holds the picture, by its head; None for what it cannot open."""
    return by_head(path, lambda picture: picture.mode)


def _is_ours(path: Path, colours: Colours) -> bool:
    """Whether a picture has the palette of `segkd predict`, whose numbers are classes: no mask is painted in it."""
    held = by_head(path, lambda picture: picture.palette and bytes(picture.palette.palette))
    return held == colour_table(1 + max(number for _, number in colours if number != IGNORE)).tobytes()


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return tuple(n for i, n in enumerate(shape) if i != axis)


def _range(raw: np.ndarray) -> str:
    return f"{raw.min():.7g}..{raw.max():.7g}"
