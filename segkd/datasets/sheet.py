"""A contact sheet: what the data look like, labels overlaid."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from segkd.datasets.data import Records
from segkd.datasets.labels import resize_label
from segkd.datasets.palette import overlay, tints
from segkd.types import printable

LINE = 18
"""Height of a line of letters."""


def contact_sheet(
    records: Records,
    number: int,
    classes: Sequence[str],
    side: int = 160,
    columns: int = 6,
    splits: Mapping[str, str] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """`number` records spread evenly over the split, each as image and overlay side by side, RGB; below them the
    colours of the classes. Where records are of several `splits`, by id, those not to train on have theirs before their
    name."""
    marks = {id: f"{split}: " for id, split in (splits or {}).items() if split != "train"}
    shown = [(i, records.ids[i]) for i in records.spread(number)]
    tiles = [_tile(*records.load(i), id, len(classes), side, marks.get(id, "")) for i, id in shown]
    width = min(columns, len(tiles))
    rows = [_row(tiles[i : i + width], width) for i in range(0, len(tiles), width)]
    return np.vstack([*rows, *_key(classes, rows[0].shape[1])])


def _row(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles side by side, as high as the highest of them."""
    height = max(tile.shape[0] for tile in tiles)
    row = np.full((height, columns * tiles[0].shape[1], 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        row[: tile.shape[0], number * tile.shape[1] : (number + 1) * tile.shape[1]] = tile
    return row


def _tile(image: np.ndarray, label: np.ndarray, id: str, classes: int, side: int, mark: str) -> np.ndarray:
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    tile = np.full((size[1] + LINE, 2 * side + 6, 3), 255, np.uint8)
    tile[: size[1], : size[0]] = small
    tile[: size[1], side + 2 : side + 2 + size[0]] = overlay(small, resize_label(label, size[::-1]), classes)
    return _written(tile, [(2, size[1] + 2, mark + printable(id)[len(mark) - 44 :].replace("\n", " "))])


def _key(classes: Sequence[str], width: int) -> list[np.ndarray]:
    """Lines with the colour and the name of each class but the first; none for two classes."""
    if len(classes) == 2:
        return []
    colours, lines, x = tints(len(classes)), [np.full((LINE, width, 3), 255, np.uint8)], 2
    words: list[list[tuple[int, int, str]]] = [[]]
    for number, name in enumerate(classes[1:], 1):
        text = printable(name)[:44].replace("\n", " ")
        needed = 28 + round(_letters().getlength(text))
        if x > 2 and x + needed > width:
            lines.append(np.full_like(lines[0], 255))
            words.append([])
            x = 2
        lines[-1][3:15, x : x + 12] = colours[number]
        words[-1].append((x + 16, 2, text))
        x += needed
    return [_written(line, texts) for line, texts in zip(lines, words)]


def _written(picture: np.ndarray, texts: Sequence[tuple[int, int, str]]) -> np.ndarray:
    """Letters at (x, y) of a picture; not by OpenCV, whose letters are ASCII alone, and which a name that is no text
    brings down."""
    drawn = Image.fromarray(picture)
    for x, y, text in texts:
        ImageDraw.Draw(drawn).text((x, y), text, (40, 40, 40), _letters())
    return np.asarray(drawn)


@cache
def _letters() -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path  # slow to import

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 11)
