"""Raw mask values to classes, and label maps that change size without a shift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Integer, UInt8

from segkd.types import IGNORE, InputError


@dataclass(frozen=True)
class LabelCode:
    """How raw mask values are read: a table of 65536 entries, raw value -> class or `IGNORE`; `known` is False where
    nobody said what a value is, and the table holds `IGNORE` there, too.

    `rule` is the sentence the user is told; `told` says that the user wrote a label_map or a threshold.
    """

    table: UInt8[np.ndarray, "65536"]
    known: Bool[np.ndarray, "65536"]
    rule: str
    told: bool = False

    def __call__(self, raw: Integer[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """Classes 0..k-1 and `IGNORE` for a raw mask whose values are all known."""
        return self.table[raw]

    def unknown(self, counts: Int[np.ndarray, "65536"]) -> list[int]:
        """The raw values that occur in `counts` and that the code does not know."""
        return np.flatnonzero((counts > 0) & ~self.known).tolist()


def code_from_map(label_map: Mapping[int, int], ignore: Sequence[int], classes: int) -> LabelCode:
    """The code that a `label_map {raw: class}` and a list of ignored raw values declare."""
    table = np.full(65536, IGNORE, np.uint8)
    known = np.zeros(65536, bool)
    for raw in [*label_map, *ignore]:
        if not 0 <= raw < len(table):
            raise InputError(
                f"raw value {raw} in data.label_map or data.ignore: expected 0..65535, what a mask file can hold. "
                "Correct it."
            )
    for raw, target in label_map.items():
        if not 0 <= target < classes:
            raise InputError(
                f"data.label_map sends raw value {raw} to class {target}, but data.classes names {classes} classes, "
                f"so classes are 0..{classes - 1}. Correct the map, or put the value into data.ignore."
            )
        table[raw], known[raw] = target, True
    for raw in ignore:
        if raw in label_map:
            raise InputError(
                f"raw value {raw} is in data.label_map (class {label_map[raw]}) and in data.ignore: take it out of one."
            )
        known[raw] = True
    skipped = f"; ignored {sorted(ignore)}" if ignore else ""
    if len(label_map) == classes and all(raw == target for raw, target in label_map.items()):
        return LabelCode(table, known, f"raw values 0..{classes - 1} are the classes{skipped}")
    words = ", ".join(f"{raw} -> {target}" for raw, target in sorted(label_map.items()))
    return LabelCode(table, known, f"label_map {words}{skipped}")


def code_from_colours(classes: int) -> LabelCode:
    """The code of masks whose colours were read as class numbers and `IGNORE` already."""
    code = code_from_map({number: number for number in range(classes)}, [IGNORE], classes)
    return LabelCode(code.table, code.known, "colours are the classes")


def code_from_threshold(threshold: int, ignore: Sequence[int] = ()) -> LabelCode:
    """Two classes: raw values above `threshold` are class 1 (the saliency convention is 128), but for `ignore`."""
    table = (np.arange(65536) > threshold).astype(np.uint8)
    table[code_from_map({}, ignore, 2).known] = IGNORE
    rule = f"values above {threshold} are class 1"
    return LabelCode(table, np.ones(65536, bool), rule + (f"; ignored {sorted(ignore)}" if ignore else ""))


def guess_code(values: Sequence[int], ignore: Sequence[int], classes: int) -> LabelCode:
    """The code for masks without a declared map: 0 and white (255, or 65535 in 16 bits) or 0/1 for two classes, else
    the raw value is the class."""
    seen = set(values) - set(ignore)
    for white in (255, 65535):
        if classes == 2 and white in seen and seen <= {0, white}:
            return code_from_map({0: 0, white: 1}, ignore, 2)
    return code_from_map({raw: raw for raw in range(classes) if raw not in ignore}, ignore, classes)


def resize_label(label: Integer[np.ndarray, "h w"], size: tuple[int, int]) -> Integer[np.ndarray, "h2 w2"]:
    """`label` (uint8 or uint16) at `size` (h, w) by nearest-exact: centres map to centres, so nothing shifts."""
    return cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def class_shares(label: UInt8[np.ndarray, "h w"], classes: int) -> Float32[np.ndarray, "h w k"]:
    """One plane per class, 1 where the label is that class and 0 elsewhere (ignored pixels: all 0)."""
    shares = np.empty((*label.shape, classes), np.float32)
    for number in range(classes):  # a tenth of the time that one comparison over all planes takes for two classes
        np.equal(label, number, out=shares[..., number], casting="unsafe")
    return shares


def shares_under(
    label: UInt8[np.ndarray, "_h _w"], classes: int, warp: Float64[np.ndarray, "2 3"], size: tuple[int, int]
) -> Float32[np.ndarray, "h w k"]:
    """The class shares of each pixel of a view of `size` (height, width), by its exact area in the label, from sums
    over all that lies above and left of a corner (Crow, SIGGRAPH 1984).

    Args:
        warp: from normalised coordinates (x, y) of the view to those of the label; crops, flips and quarter turns.
    """
    xs, ys = (np.linspace(-1, 1, number + 1) for number in size[::-1])
    turned = warp[0, 0] == 0  # then x in the label follows y in the view
    across = warp[0, 1] * ys if turned else warp[0, 0] * xs
    down = warp[1, 0] * xs if turned else warp[1, 1] * ys
    columns = (across + warp[0, 2] + 1) / 2 * label.shape[1]
    rows = (down + warp[1, 2] + 1) / 2 * label.shape[0]
    areas = np.outer(np.diff(rows), np.diff(columns))
    shares = np.zeros((*size, classes), np.float32)
    there = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel()[:classes]
    for number in np.flatnonzero(there).tolist():
        sums = cv2.integral((label == number).view(np.uint8))
        bands = np.diff(_between(sums, rows, 0), axis=0)
        means = np.diff(_between(bands, columns, 1), axis=1) / areas
        shares[..., number] = (means.T if turned else means).clip(0.0, 1.0)  # differences of sums round
    return shares


def _between(table: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """A table's rows (axis 0) or columns (1) at positions between them, linearly: exact for sums, as a pixel is of one
    value."""
    low = np.floor(at).astype(int).clip(0, table.shape[axis] - 2)
    part = (at - low)[:, None] if axis == 0 else at - low
    first = table.take(low, axis)
    return first + (table.take(low + 1, axis) - first) * part


def normalise_shares(shares: Float32[np.ndarray, "h w k"]) -> Float32[np.ndarray, "h w k"]:
    """Shares that sum to 1 wherever any class has area; all 0 where none has (nothing but ignored pixels)."""
    total = area_of(shares)[..., None]
    return np.divide(shares, total, out=np.zeros_like(shares), where=total > 1e-6)


def area_of(shares: Float32[np.ndarray, "h w k"]) -> Float32[np.ndarray, "h w"]:
    """The sum over all classes; as a product with ones, for numpy adds short rows slowly."""
    return shares @ np.ones(shares.shape[-1], shares.dtype)
