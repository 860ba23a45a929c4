"""Files beyond Pillow: colours of 16 bits, which it cuts to their high bytes, and TIFFs that it cannot read at all."""

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from segkd.datasets.packed import File

SWAPPED = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""

NUMBERS = {1: "whole numbers", 2: "signed whole numbers", 3: "real numbers"}
"""The sample formats of a TIFF."""

UNREAD = (
    "a TIFF of a kind that is not read",
    "Export one band as grey or three as RGB, with 8 or 16 bits (gdal_translate -b 1 -b 2 -b 3 IN OUT)",
)
"""What is said of a TIFF that Pillow cannot read, and what to do."""

# What is damaged is told by name. The level is the process's, so that threads which set it and set it back got in each
# other's way; nothing that `segkd` offers to others' programs imports this module.
LOG = getattr(cv2.utils, "logging", cv2)  # early releases of OpenCV 4 keep these functions in cv2 itself, 5 does not
SILENT = 0
LOG.setLogLevel(SILENT)


def read_deep(path: File, tag: int, exif: bool, tiff: bool) -> np.ndarray | None:
    """The values uint16 [h w c] of a PNG or TIFF in colours of 16 bits, c = 3 or 4 (with alpha); None if it fails.

    Turned as the EXIF orientation `tag` says, or with `exif` false as it is stored; OpenCV turns what is a `tiff` (by
    its content: names may say otherwise).
    """
    try:
        found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if found is None or found.dtype != np.uint16 or found.ndim != 3:
        return None
    order = [2, 1, 0] if found.shape[2] == 3 else [2, 1, 0, 3]  # OpenCV begins with blue
    found = found[..., order]
    if exif == tiff:
        return found
    return np.ascontiguousarray(turn(found, tag if exif else {6: 8, 8: 6}.get(tag, tag)))


def turn(array: np.ndarray, tag: int) -> np.ndarray:
    """An array [h w ...] as an EXIF orientation says it is to be seen."""
    seen = array.swapaxes(0, 1) if tag in SWAPPED else array
    seen = seen[:, ::-1] if tag in (2, 3, 6, 7) else seen
    return seen[::-1] if tag in (3, 4, 7, 8) else seen


def describe_tiff(path: File) -> str | None:
    """What a TIFF holds by its tags ("80x60 pixels of 6 bands, 16 bits, whole numbers"); None if it is none."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            head += file.read(8) if head[2:3] == b"\x2b" or head[3:4] == b"\x2b" else b""  # BigTIFF
            tags = ImageFileDirectory_v2(head)
            file.seek(tags.next)
            tags.load(file)
            width, height, bands = int(tags[256]), int(tags[257]), int(tags.get(277, 1))
            bits = max(tags.get(258, (1,)))
            numbers = NUMBERS.get(max(tags.get(339, (1,))), "numbers of another kind")
    except Exception:  # the tags of a damaged file can be anything
        return None
    return f"{width}x{height} pixels of {bands} band{'s' * (bands > 1)}, {bits} bits, {numbers}"
