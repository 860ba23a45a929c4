"""Sizes of pictures: whether a prediction of another one shows the same as its label, or was turned or cut."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from segkd.datasets.walk import ARRAYS
from segkd.types import InputError

Size = tuple[int, int]
"""Height and width in pixels."""

LARGER = 32
"""How many times the label's side a prediction may measure: beyond, it belongs to another picture, or is a bomb."""

SMALLEST = 4
"""Pixels a side below which a smaller prediction shows nothing."""


def in_pixels(size: Size) -> str:
    """A size as people write it: "640x480", the width first."""
    return f"{size[1]}x{size[0]}"


def same_shape(a: Size, b: Size) -> bool:
    """Whether one size is the other, enlarged or reduced, but for rounding to whole pixels."""
    return any(abs(a[1] - b[1] * scale) <= 1 and abs(a[0] - b[0] * scale) <= 1 for scale in (a[0] / b[0], a[1] / b[1]))


def own_size(sizes: Mapping[str, tuple[Size, Size]]) -> Size | None:
    """The one size that a network gave to every picture, whatever the label's: `sizes` holds prediction, label by id.

    None where predictions follow their labels, or where the size is the labels' own, turned.
    """
    odd = [(found, label) for found, label in sizes.values() if not same_shape(found, label)]
    if not odd:
        return None
    size, number = Counter(found for found, _ in sizes.values()).most_common(1)[0]
    turned = all(same_shape((found[1], found[0]), label) for found, label in odd)
    # networks see squares, or sides that halve several times; what else all files have in common was cut out
    strange = min(size) < 8 or max(size) > 8 * min(size) or (size[0] != size[1] and (size[0] % 8 or size[1] % 8))
    usual = 2 * number > len(sizes) and any(found == size for found, _ in odd)
    return size if usual and not turned and not strange else None


def misfit(path: Path, found: Size, label: Size, own: Size | None) -> str | None:
    """What is wrong with a prediction of size `found` for a label of size `label`, in a sentence; None if nothing is.

    `own` is the size that the network gave to every picture.
    """
    sizes = f"{path}: {in_pixels(found)} pixels for a label of {in_pixels(label)}"
    if found == label:
        return None
    if max(found[0] / label[0], found[1] / label[1]) > LARGER:
        return f"{sizes}: more than {LARGER} times as many a side. Save predictions near the label's size."
    if min(found) < SMALLEST and min(found) < min(label):
        return f"{sizes}: too few to show anything. Save predictions near the label's size."
    if same_shape(found, label) or found == own:
        return None
    if same_shape((found[1], found[0]), label) and path.suffix.lower() in ARRAYS:
        return f"{sizes}: it lies on its side. Save it as [h w], rows first as in its label (np.swapaxes(map, -2, -1))."
    if same_shape((found[1], found[0]), label):
        return (
            f"{sizes}: it lies on its side. Save it as the image is displayed (its EXIF orientation applied); if "
            "the file itself took over that orientation, data.exif: false leaves it out."
        )
    return f"{sizes}: another shape. Save the prediction of the whole image, at the label's size or all at one size."


def refuse_misfits(faults: Mapping[str, str], sizes: Mapping[str, tuple[Size, Size]]) -> None:
    """Raises InputError where every prediction of a folder is a misfit: that is no accident of one file.

    Where most of the predictions lie on their side and the others are squares, these fit by accident: they are turned
    as well. `sizes` as `own_size`.
    """
    turned = {id for id, (found, label) in sizes.items() if same_shape((found[1], found[0]), label)}
    alike = faults.keys() <= turned and 2 * len(faults) >= len(sizes)
    squares = turned - faults.keys() if alike else set()
    if faults and len(faults) + len(squares) == len(sizes):
        first = next(iter(faults.values()))
        raise InputError(
            f"no prediction has the shape of its label{', but for squares' * bool(squares)}. First: {first}"
        )
