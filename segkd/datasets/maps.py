"""Predictions on disk: any model's probability maps or class maps, read one at a time."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from segkd.datasets.labels import LabelCode, code_from_map, code_from_threshold, guess_code
from segkd.datasets.pictures import open_picture, read_mask
from segkd.datasets.walk import ARRAYS
from segkd.types import InputError


def read_map(path: Path, ones: bool = False) -> np.ndarray:
    """A foreground map as 8-bit levels uint8 [h w] or probabilities float32 [h w] in 0..1.

    8 bits are levels / 255 (with `ones`, 0 and 1 are 0 and 255), 16 bits are value / 65535, wider whole numbers must be
    0 and 1, real numbers are probabilities. Palettes give their colours, alpha is left out, and a coloured picture is
    refused.

    Raises:
        InputError: names the file that is no such map.
    """
    raw = _raw(path)
    if raw.ndim == 3:
        raise InputError(f"{path}: expected one number per pixel [h w], found an array of shape {raw.shape}.")
    if raw.dtype == bool or (ones and raw.dtype == np.uint8):
        return raw.astype(np.uint8) * np.uint8(255)
    if raw.dtype == np.uint8:
        return raw
    if raw.dtype.kind == "f":
        return _checked(path, raw)
    if raw.dtype == np.uint16:
        return (raw / 65535).astype(np.float32)
    if raw.min() < 0 or raw.max() > 1:  # an argmax is 0 and 1; the scale of anything else would be a guess
        raise InputError(
            f"{path}: expected {raw.dtype} of 0 and 1, found {raw.min()}..{raw.max()}. Save levels as uint8 or uint16, "
            "or probabilities as real numbers."
        )
    return raw.astype(np.uint8) * np.uint8(255)


def read_class_map(path: Path, classes: int) -> np.ndarray:
    """Predicted classes uint8 [h w] (palettes give their indices), or scores of the classes float32 [k h w].

    Raises:
        InputError: names the file that is no such map.
    """
    if path.suffix.lower() not in ARRAYS:
        raw = read_mask(path)
    else:
        raw = _raw(path)
        if raw.ndim == 3:
            if len(raw) != classes:
                raise InputError(f"{path}: expected scores [{classes} h w], found an array of shape {raw.shape}.")
            if not np.isfinite(raw).all():
                raise InputError(f"{path}: expected finite scores, found {_unfinite(raw)} that are not.")
            return raw.astype(np.float32)
    if raw.dtype.kind not in "ui" or raw.min() < 0 or raw.max() >= classes:
        raise InputError(f"{path}: expected classes 0..{classes - 1}, found {raw.dtype} {raw.min()}..{raw.max()}.")
    return raw.astype(np.uint8)


def probe(paths: Iterable[Path], read: Callable[[Path], np.ndarray], ignore: Iterable[int] = ()) -> int:
    """The largest value up to the first file that holds more than 1; files that cannot be read are passed over.

    It tells masks and maps of 0 and 1 from those of 0 to 255, mostly after one file. Pictures are looked at first:
    arrays of real numbers beside them say nothing about how the pictures are to be read.
    """
    largest, skipped = 0, list(ignore)
    for path in sorted(paths, key=lambda path: path.suffix.lower() in ARRAYS):
        try:
            values = np.unique(read(path))
        except InputError:
            continue
        if values.dtype.kind == "f":
            return largest if largest else 255
        kept = values[~np.isin(values, skipped)]
        largest = max([largest, *kept[-1:].tolist()])
        if largest > 1:
            break
    return largest


def label_code(
    largest: int, classes: int, label_map: dict[int, int] | None, ignore: list[int], threshold: int | None
) -> LabelCode:
    """How the masks of a folder are read: as told, else 0/1, else above 128 is foreground (two classes)."""
    if threshold is not None:
        return code_from_threshold(threshold, ignore)
    if label_map is not None:
        return code_from_map(label_map, ignore, classes)
    if classes == 2 and largest > 1:
        return code_from_threshold(128, ignore)
    return guess_code([0, 1], ignore, classes)


def _raw(path: Path) -> np.ndarray:
    if path.suffix.lower() in ARRAYS:
        return _array(path)
    with open_picture(path) as picture:
        flat = picture.convert("RGBA") if picture.mode in ("P", "PA") else picture
        raw = np.asarray(flat)
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    if raw.ndim == 3 and raw.shape[2] in (3, 4):
        if (raw[..., :3] != raw[..., :1]).any():
            raise InputError(f"{path}: expected a grey map, found a colour picture. Save one number per pixel.")
        if raw.shape[2] == 4 and raw[..., 0].min() == raw[..., 0].max() and raw[..., 3].min() != raw[..., 3].max():
            raise InputError(f"{path}: the colour is constant and alpha is not: save alpha as a grey picture.")
    return raw[..., 0] if raw.ndim == 3 else raw


def _array(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            raw = np.load(file, allow_pickle=False)
    except Exception as error:  # a damaged header can raise anything: it is parsed as Python, or as a zip file
        raise InputError(f"{path}: expected a NumPy array, found: {error}. Replace or remove the file.") from error
    if not isinstance(raw, np.ndarray):
        raise InputError(f"{path}: expected one NumPy array, found an archive (.npz). Save with np.save.")
    raw = raw[0] if raw.ndim == 3 and len(raw) == 1 else raw
    if raw.ndim not in (2, 3) or raw.size == 0 or raw.dtype.kind not in "fuib":
        raise InputError(f"{path}: expected numbers [h w] or [k h w], found {raw.dtype} of shape {raw.shape}.")
    return raw


def _checked(path: Path, raw: np.ndarray) -> np.ndarray:
    if not np.isfinite(raw).all():
        raise InputError(f"{path}: expected probabilities, found {_unfinite(raw)} pixels that are NaN or infinite.")
    if raw.min() < 0 or raw.max() > 1:
        raise InputError(
            f"{path}: expected probabilities in 0..1, found {raw.min():.4g}..{raw.max():.4g}. Save probabilities, "
            "not logits, or 8-bit levels."
        )
    return raw.astype(np.float32)


def _unfinite(raw: np.ndarray) -> int:
    return int((~np.isfinite(raw)).sum())
