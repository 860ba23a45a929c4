"""A contact sheet: what the data look like, labels overlaid."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from segkd.datasets.data import Records
from segkd.datasets.labels import resize_label
from segkd.types import IGNORE, printable

TINTS = np.array([(255, 60, 40), (60, 190, 255), (255, 200, 0), (120, 255, 90), (220, 90, 255), (255, 130, 180)])


def contact_sheet(records: Records, number: int, side: int = 160, columns: int = 6) -> UInt8[np.ndarray, "h w 3"]:
    """`number` records spread evenly over the split, each as image and overlay side by side, RGB."""
    chosen = np.unique(np.linspace(0, len(records) - 1, min(number, len(records))).round().astype(int))
    tiles = [_tile(*records.load(int(i)), records.ids[int(i)], side) for i in chosen]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % min(columns, len(tiles)))
    width = min(columns, len(tiles))
    return np.vstack([np.hstack(tiles[i : i + width]) for i in range(0, len(tiles), width)])


def overlay(image: np.ndarray, label: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """The image with each class but 0 tinted and outlined, and ignored pixels hatched in grey."""
    painted = image.astype(np.float32)
    for value in np.unique(label):
        if value in (0, IGNORE):
            continue
        inside = label == value
        tint = TINTS[(int(value) - 1) % len(TINTS)]
        painted[inside] = 0.6 * painted[inside] + 0.4 * tint
        outline = inside & (cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
        painted[outline] = tint
    rows, columns = np.indices(label.shape)
    painted[(label == IGNORE) & ((rows + columns) % 6 < 3)] = 128
    return painted.astype(np.uint8)


def _tile(image: np.ndarray, label: np.ndarray, id: str, side: int) -> np.ndarray:
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small_label = resize_label(label, size[::-1])
    tile = np.full((side + 18, 2 * side + 6, 3), 255, np.uint8)
    tile[: size[1], : size[0]] = small
    tile[: size[1], side + 2 : side + 2 + size[0]] = overlay(small, small_label)
    picture = Image.fromarray(tile)
    # not by OpenCV, whose letters are ASCII alone, and which a name that is no text brings down
    ImageDraw.Draw(picture).text((2, side + 2), printable(id)[-44:].replace("\n", " "), (40, 40, 40), _letters())
    return np.asarray(picture)


@cache
def _letters() -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path  # slow to import

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 11)
