"""CVAT for images 1.1: one XML file for many images."""

from collections.abc import Sequence
from math import isfinite, nan, radians
from pathlib import Path
from xml.etree import ElementTree

from segkd.datasets.prepare.drawing import (
    Drawing,
    Part,
    Read,
    Runs,
    beside,
    ellipse,
    faults_of,
    no_area,
    polygon,
    rectangle,
    stated,
)
from segkd.disk import read_text
from segkd.types import InputError


def read_cvat(paths: Sequence[Path], root: Path) -> Read:
    """CVAT for images 1.1: polygons, boxes and ellipses, upright or turned, and masks; lines and points have no area.
    Objects of a higher `z_order` lie before others.

    Files of CVAT for video, which has tracks in place of images, are passed over.
    """
    drawings = []
    for path in paths:
        try:
            tree = ElementTree.fromstring(read_text(path, "a CVAT file"))
        except ElementTree.ParseError as error:
            raise InputError(f"{path}: expected XML as CVAT writes it, found: {error}. Export it once more.") from error
        for image in tree.iter("image"):
            size = stated(image.get("height"), image.get("width"))
            drawing = Drawing(beside(path, image.get("name", ""), root), size=size)
            for one in image:
                if one.tag != "tag":  # of the whole image
                    with faults_of(path, drawing.file):
                        drawing.take(one.get("label", ""), [_part(one)], _layer(one))
            drawings.append(drawing)
    return drawings, sorted({shape.name for drawing in drawings for shape in drawing.shapes})


def _layer(one: ElementTree.Element) -> float:
    """`z_order`, 0 where there is none; tools beside CVAT write 1.0, too."""
    said = one.get("z_order") or "0"
    try:
        layer = float(said)
    except ValueError:
        layer = nan
    if not isfinite(layer):
        raise InputError(f"z_order: expected a number, found {said!r}. Correct it, or leave it out.")
    return layer


def _part(one: ElementTree.Element) -> Part | str:
    if one.tag == "polygon":
        return polygon([float(number) for number in one.get("points", "").replace(";", ",").split(",")])
    if one.tag == "mask":
        top, left, height, width = map(int, _numbers(one, "top", "left", "height", "width"))
        counts = tuple(int(number) for number in one.get("rle", "").split(","))
        return Runs(counts, (top, left, height, width), by_columns=False)
    turned = radians(float(one.get("rotation", 0)))
    if one.tag == "box":
        return rectangle(_numbers(one, "xtl", "ytl", "xbr", "ybr"), turned)
    if one.tag == "ellipse":
        x, y, *radii = _numbers(one, "cx", "cy", "rx", "ry")
        return ellipse((x, y), radii, turned)
    return no_area(one.tag.removesuffix("s"))  # "points"


def _numbers(one: ElementTree.Element, *names: str) -> list[float]:
    return [float(one.attrib[name]) for name in names]
