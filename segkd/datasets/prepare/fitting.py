"""Drawings as masks of their pictures, which may have been resized or turned since they were annotated."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image

from segkd.datasets.deep import turn
from segkd.datasets.geometry import in_pixels
from segkd.datasets.pictures import BACK, How, open_picture, refuse_large, view_image
from segkd.datasets.prepare.drawing import Drawing, draw
from segkd.datasets.prepare.written import same_proportions
from segkd.types import InputError, some

STORED = How(exif=False)


def perhaps_stored(images: Mapping[Path, Drawing]) -> str:
    """The sentence on pictures that are turned by an EXIF orientation and whose drawings state no size, so that these
    may be of the picture as it is stored; ""  without any."""
    turned = [path.name for path, drawing in images.items() if drawing.size is None and _is_turned(path)]
    if not turned:
        return ""
    return (
        f"{len(turned)} pictures are turned by their EXIF orientation ({some(turned)}), and their annotations do not "
        "say how they were seen: if masks lie wrong on the sheet, take the orientation out of these files (exiftool "
        "-Orientation= FILE), and prepare once more"
    )


def perhaps_resized(images: Mapping[Path, Drawing]) -> str:
    """The sentence on pictures whose files are others than those that were annotated, and whose drawings state no size;
    "" without any."""
    sizes = ((path, drawing.bytes) for path, drawing in images.items() if drawing.size is None and drawing.bytes)
    others = [path.name for path, size in sizes if size != path.stat().st_size]
    if not others:
        return ""
    return (
        f"{len(others)} pictures have another size in bytes than their annotations say ({some(others)}): if they were "
        "made smaller or larger since then, masks lie wrong, as the sheet shows, and the pictures that were annotated "
        "are needed"
    )


def _is_turned(path: Path) -> bool:
    with Image.open(path) as picture:
        return picture.getexif().get(ExifTags.Base.Orientation, 1) in BACK


def mask_of(path: Path, drawing: Drawing, numbers: Mapping[str, int]) -> tuple[UInt8[np.ndarray, "h w"], bool]:
    """The mask of a drawing at the size of the picture at `path`, and whether it was scaled to it.

    Where the picture has an EXIF orientation, the size that the drawing states tells whether it was made on the turned
    picture, or on the picture as it is stored; then the mask is turned.

    Raises:
        InputError: the drawing states a size of other proportions, or has run lengths that do not fit.
    """
    width, height = open_picture(path).size
    size, stated = (height, width), drawing.size
    if stated is not None:
        refuse_large(path, stated[::-1])  # a few words of a file must not fill the memory
    try:
        if stated is None or stated == size:
            return draw(drawing, size, numbers), False
        pixels, seen = view_image(path, STORED)
        stored = pixels.shape[0], pixels.shape[1]
        if stated == stored or (same_proportions(stated, stored) and not same_proportions(stated, size)):
            return np.ascontiguousarray(turn(draw(drawing, stored, numbers), seen.tag)), stated != stored
        if same_proportions(stated, size):
            return draw(drawing, size, numbers), True
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    raise InputError(
        f"{path}: expected a picture of {in_pixels(stated)} pixels, as its annotations say, or of these proportions, "
        f"found {in_pixels(size)}: outlines would lie in the wrong place. Add the picture that was annotated, or "
        "annotate this one."
    )
