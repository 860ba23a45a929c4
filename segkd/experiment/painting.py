"""What a prediction becomes on the disk: a mask, probabilities, and an overlay to look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from segkd.datasets.palette import colour_table, overlay
from segkd.disk import write_whole
from segkd.models.enlarge import decided
from segkd.models.store import shares_of
from segkd.types import InputError

KINDS = {
    "mask": "class numbers, in colours (0 and 255 for two classes)",
    "probability": "of the foreground, 0..255 (two classes)",
    "probability16": "of the foreground, 0..65535 in a PNG of 16 bits (two classes)",
    "npy": "probabilities as a NumPy file of float32, [h w] of the foreground or [k h w] of more classes",
}
"""What a result may be."""

LONGEST = 65500
"""Pixels of a side, by JPEG."""


@dataclass(frozen=True)
class Painter:
    """Writes one prediction.

    Attributes:
        classes: their names.
        threshold: of two classes, foreground is p >= this.
        kind: one of `KINDS`.
    """

    classes: list[str]
    threshold: float
    kind: str

    def __post_init__(self) -> None:
        if len(self.classes) != 2 and self.kind.startswith("probability"):
            raise InputError(
                f"--kind {self.kind} is for two classes, and the network has {len(self.classes)}: write --kind npy for "
                "the probabilities of each."
            )

    @property
    def suffix(self) -> str:
        """The extension of the files."""
        return ".npy" if self.kind == "npy" else ".png"

    @property
    def said(self) -> str:
        """What the files hold, in words."""
        if len(self.classes) > 2 and self.kind == "npy":
            return f"probabilities of {len(self.classes)} classes, float32 [k h w]"
        if self.kind != "mask":
            end = {"probability": "0..255", "probability16": "0..65535", "npy": "float32"}[self.kind]
            return f"probabilities of the foreground, {end}"
        if len(self.classes) == 2:
            return f"0 and 255, foreground is p >= {self.threshold:.3f}"
        shown = ", ".join(f"{number} {name}" for number, name in enumerate(self.classes[:6]))
        return f"class numbers ({shown}{', ...' if len(self.classes) > 6 else ''}), each in a colour of its own"

    def write(self, rows: Iterable[Tensor], size: tuple[int, int], target: Path | None) -> UInt8[np.ndarray, "h w"]:
        """Writes the logits that come in `rows` (bands [k r w] of an image of `size`) unless there is no `target`, and
        gives the classes decided."""
        many = len(self.classes) > 2
        if many and self.kind == "npy" and target is not None:
            classes = np.empty(size, np.uint8)
            write_whole(target, partial(_write_planes, rows, classes))
            return classes
        found = decided(rows)
        label = found if many else (found >= self.threshold).astype(np.uint8)
        if target is None:
            return label
        if self.kind == "npy":
            write_whole(target, partial(np.save, arr=found))
            return label
        if many:
            picture = in_colours(label, len(self.classes))
        else:
            top, kind = (65535, np.uint16) if self.kind == "probability16" else (255, np.uint8)
            picture = Image.fromarray(((label if self.kind == "mask" else found) * top).round().astype(kind))
        write_whole(target, partial(picture.save, format="PNG"))
        return label


def write_overlay(
    image: UInt8[np.ndarray, "h w 3"], label: UInt8[np.ndarray, "h w"], classes: int, target: Path
) -> None:
    """The image with its classes tinted and outlined, as a JPEG; smaller where JPEG knows no such size."""
    picture = Image.fromarray(overlay(image, label, classes))
    picture.thumbnail((LONGEST, LONGEST))  # leaves what fits alone
    write_whole(target, partial(picture.save, format="JPEG", quality=90))


def in_colours(classes: np.ndarray, number: int) -> Image.Image:
    """A map of class numbers uint8 [h w] as a palette picture: the same numbers, visible in any viewer.

    Class 0 is black, the others have hues of their own, ignored pixels and numbers that are no class are grey.
    """
    picture = Image.fromarray(classes)
    picture.putpalette(colour_table(number).tobytes())
    return picture


def _write_planes(rows: Iterable[Tensor], classes: np.ndarray, file: IO[bytes]) -> None:
    """Probabilities [k h w] as they come, a band of all classes at a time; `classes` gets the most probable ones."""
    height, width = classes.shape
    top = start = 0
    for band in rows:
        shares = shares_of(band).astype("<f4")
        if top == 0:
            about = {"descr": "<f4", "fortran_order": False, "shape": (len(shares), height, width)}
            np.lib.format.write_array_header_1_0(file, about)
            start = file.tell()
        for number, plane in enumerate(shares):
            file.seek(start + 4 * width * (number * height + top))
            file.write(plane.tobytes())
        classes[top : top + shares.shape[1]] = shares.argmax(axis=0)
        top += shares.shape[1]
