"""Projects of VIA 3, as files of the versions before hold their regions."""

from collections.abc import Iterator, Mapping
from typing import Any

Region = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Its shape's and its own attributes."""

SHAPES: dict[int, tuple[str, ...]] = {
    1: ("point",),
    2: ("rect", "x", "y", "width", "height"),
    3: ("circle", "cx", "cy", "r"),
    4: ("ellipse", "cx", "cy", "rx", "ry"),
    5: ("line",),
    6: ("polyline",),
    7: ("polygon",),
}
"""The number before the coordinates in `xy` -> the shape's name, and what each of them is."""

IMAGE = 2
"""`type` of a file that is an image; others are videos and sounds."""

TICKED = 2
"""`type` of an attribute whose value names several options."""


def is_version3(content: Mapping[str, Any]) -> bool:
    """Whether a JSON file is a project of VIA 3."""
    return {"metadata", "view", "file"} <= content.keys()


def regions_of_version3(
    content: Mapping[str, Any],
) -> Iterator[tuple[str, list[Region]]]:
    """Names of images and their regions, each as its shape's and its own attributes.

    What is said of a whole image is none; of a view of several images, regions lie in the first.
    """
    files = content["file"]
    views = {number: files[str(view["fid_list"][0])] for number, view in content["view"].items() if view["fid_list"]}
    found: dict[str, list[Region]] = {number: [] for number, file in views.items() if file.get("type", IMAGE) == IMAGE}
    for one in content["metadata"].values():
        if one["xy"] and str(one["vid"]) in found:
            attributes = _attributes(one.get("av") or {}, content.get("attribute") or {})
            found[str(one["vid"])].append((_shape(one["xy"]), attributes))
    for number, regions in found.items():
        yield str(views[number]["fname"]), regions


def _shape(xy: list[float]) -> dict[str, Any]:
    name, *sides = SHAPES.get(int(xy[0]), (str(xy[0]),))
    return {"name": name, "all_points_x": xy[1::2], "all_points_y": xy[2::2], **dict(zip(sides, xy[1:]))}


def _attributes(values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes by their names, with the words of options in place of their numbers."""
    told: dict[str, Any] = {}
    for number, value in values.items():
        attribute = known.get(number, {})
        options = attribute.get("options") or {}
        words = [options.get(one, one) for one in str(value).split(",")]
        told[attribute.get("aname", number)] = (
            dict.fromkeys(words, True) if attribute.get("type") == TICKED else (options.get(str(value), value))
        )
    return told
