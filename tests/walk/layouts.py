"""Seven data sets as they are downloaded, rebuilt small: their folders, names, formats and what their masks hold."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

SIZE = (64, 64)


def human(root: Path, n: int = 6) -> None:
    """Two folders with long names; some masks smaller than their images."""
    for i, image, mask in _shapes(n):
        _save(image, root / "Training_Images" / f"{i}.jpg", quality=95)
        small = Image.fromarray(mask * 255).resize((32, 32), Image.Resampling.NEAREST)
        _save(small if i % 2 else Image.fromarray(mask * 255), root / "Ground_Truth" / f"{i}.png")


def pedestrians(root: Path, n: int = 6) -> None:
    """Masks with another name than their images, whose values number the people; notes beside them."""
    for i, image, _ in _shapes(n):
        people = np.zeros(SIZE, np.uint8)
        for person in range(1 + i % 4):
            people[20:50, 4 + 15 * person : 14 + 15 * person] = person + 1
        image[people > 0] = 230
        _save(image, root / "PNGImages" / f"FudanPed{i:05d}.png")
        _save(people, root / "PedMasks" / f"FudanPed{i:05d}_mask.png")
        (root / "Annotation").mkdir(exist_ok=True)
        (root / "Annotation" / f"FudanPed{i:05d}.txt").write_text("# Compatible with PASCAL Annotation Version 1.00\n")
    (root / "readme.txt").write_text("people\n")


def blood(root: Path, n: int = 6) -> None:
    """Images and masks in one folder, told apart by their extension; three classes as 0, 128 and 255."""
    for i, image, mask in _shapes(n):
        levels = mask * np.uint8(128)
        levels[28:36, 28:36] = 255
        image[28:36, 28:36] = (90, 0, 140)
        _save(image, root / f"{i:03d}.bmp")
        _save(levels, root / f"{i:03d}.png")


def leaves(root: Path, n: int = 6) -> None:
    """Masks in colours, larger than a network sees."""
    for i, image, mask in _shapes(n):
        colours = np.zeros((*SIZE, 3), np.uint8)
        colours[mask > 0] = (0, 255, 0)
        colours[30:40, 30:40] = (255, 0, 0)
        image[30:40, 30:40] = (120, 60, 0)
        large = Image.fromarray(image).resize((256, 128))
        _save(large, root / "images" / f"{i}.jpg", quality=95)
        mask_large = Image.fromarray(colours).resize((256, 128), Image.Resampling.NEAREST)
        _save(mask_large, root / "masks" / f"{i}_mask.png")


def nuclei(root: Path, n: int = 6) -> None:
    """A folder per image, with a mask per object; images have an alpha channel."""
    for i, image, _ in _shapes(n):
        home = root / "stage1_train" / f"{i:02d}ab{i * 7919:06x}"
        for number in range(1 + i % 3):
            one = np.zeros(SIZE, np.uint8)
            cv2.circle(one, (14 + 18 * number, 20 + 6 * i), 8, 255, -1)
            image[one > 0] = 240
            _save(one, home / "masks" / f"{number:03x}{i:03x}.png")
        alpha = np.dstack([image, np.full(SIZE, 255, np.uint8)])
        _save(alpha, home / "images" / f"{home.name}.png")


def tiles(root: Path, n: int = 6) -> None:
    """A folder per kind of defect, photos and masks of one name in it; masks with soft edges."""
    for i, image, mask in _shapes(n):
        home = root / ("MT_Blowhole", "MT_Crack", "MT_Free")[i % 3] / "Imgs"
        soft = cv2.GaussianBlur((mask if i % 3 < 2 else mask * 0) * np.uint8(255), (5, 5), 0)
        _save(image[..., 0], home / f"exp{i}_num_{1000 + i}.jpg", quality=95)
        _save(soft, home / f"exp{i}_num_{1000 + i}.png")


def cracks(root: Path, n: int = 6) -> None:
    """Folders for each split, named beside each other."""
    for i, image, mask in _shapes(n + 2):
        split = "train" if i < n else "test"
        _save(image, root / f"{split}_img" / f"11{i:03d}.jpg", quality=95)
        _save(mask * 255, root / f"{split}_lab" / f"11{i:03d}.png")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    one.__name__: one for one in (human, pedestrians, blood, leaves, nuclei, tiles, cracks)
}


def _shapes(n: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number, image uint8 [h w 3] and mask 0/1 of a bright shape on a noisy ground."""
    draw = np.random.default_rng(0)
    for i in range(n):
        picture = Image.new("L", SIZE[::-1])
        left, top = draw.integers(4, 24, 2).tolist()
        ImageDraw.Draw(picture).ellipse((left, top, left + 30, top + 26), fill=1)
        mask = np.asarray(picture).copy()
        image = (draw.uniform(0, 110, (*SIZE, 3)) + 120 * mask[..., None]).astype(np.uint8)
        yield i, image, mask


def _save(picture: np.ndarray | Image.Image, path: Path, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
