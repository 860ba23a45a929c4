"""A small data set, and commands on it."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

QUICK = {
    "data.size": 32,
    "data.batch_size": 2,
    "data.workers": 0,
    "model.encoder": "test_efficientnet",
    "model.weights": "null",
    "model.width": 8,
    "engine.epochs": 1,
    "engine.threads": 1,
    "engine.device": "cpu",
    "evaluation.band_errors": "false",
}


def sample(number: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 [40 56 3] and class numbers uint8 [40 56] of photo `number`; every class occurs in it."""
    draw = np.random.default_rng(number)
    label = np.zeros((40, 56), np.uint8)
    top, left = draw.integers(2, 12, 2)
    for one in range(1, classes):
        label[top : top + 9, left + 12 * one - 10 : left + 12 * one] = one
    image = draw.integers(0, 60, (40, 56, 3)) + 160 * (label[..., None] > 0) * draw.uniform(0.5, 1, 3)
    return image.astype(np.uint8), label


def folder(root: Path, n: int = 8, classes: int = 2) -> Path:
    """`root/images` and `root/masks` with n pairs photo0, photo1, ...; the last two are for validation."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(n):
        image, label = sample(number, classes)
        Image.fromarray(image).save(root / "images" / f"photo{number}.png")
        Image.fromarray(label * np.uint8(255 if classes == 2 else 1)).save(root / "masks" / f"photo{number}.png")
    (root / "train.txt").write_text("".join(f"photo{number}\n" for number in range(n - 2)))
    (root / "val.txt").write_text("".join(f"photo{number}\n" for number in range(n - 2, n)))
    return root


def train(root: Path | str | bytes, out: Path | str, **other: object) -> list[object]:
    """The arguments of a quick training on a folder; `other` settings have "__" for each dot."""
    settings = QUICK | {key.replace("__", "."): value for key, value in other.items()}
    return ["train", "--data.root", root, *(part for k, v in settings.items() for part in (f"--{k}", v)), "--out", out]


def write_whole_name(folder: Path, name: bytes, content: bytes) -> None:
    """Writes a file whose name need not be text."""
    with open(os.path.join(os.fsencode(folder), name), "wb") as file:
        file.write(content)
