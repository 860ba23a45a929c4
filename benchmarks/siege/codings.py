"""The codings and layouts that folders have: each keeps the truth of the plain one."""

import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

GREYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
COLOURS = np.array([[0, 0, 0], [200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


def raw(path: Path) -> np.ndarray:
    """The values of a mask file."""
    return np.asarray(Image.open(path))


def number(path: Path, classes: int) -> np.ndarray:
    """The class numbers of a plain mask."""
    return raw(path) // 255 if classes == 2 else raw(path)


def _png(target: Path, picture: Image.Image, kind: str = "png", **options: object) -> None:
    picture.save(target.with_name(f"{target.name}.{kind}"), **options)


def _palette(values: np.ndarray, colours: np.ndarray) -> Image.Image:
    picture = Image.fromarray(values.astype(np.uint8), "L")
    picture.putpalette(colours.tobytes())
    return picture


def _white_first(values: np.ndarray, classes: int) -> Image.Image:
    """What quantising a grey picture gives: every viewer shows the object white, its index is 0."""
    return _palette(1 - values if classes == 2 else values, GREYS[[255, 0, 128, 64]])


def _alpha(path: Path, classes: int, i: int) -> Image.Image:
    shape = Image.fromarray(raw(path) if classes == 2 else raw(path) * np.uint8(60))
    return Image.merge("LA", (Image.new("L", shape.size, 255), shape))


def _array(target: Path, values: np.ndarray) -> None:
    np.save(target.with_name(f"{target.name}.npy"), values)


def _onehot(path: Path, classes: int) -> np.ndarray:
    return (0.97 * np.eye(classes, dtype=np.float32)[number(path, classes)] + 0.03 / classes).transpose(2, 0, 1)


def _mixed(target: Path, path: Path, classes: int, i: int) -> None:
    values = number(path, classes) if i % 2 else raw(path)
    _png(target, Image.fromarray(values.astype(np.uint8)))


def _turned(target: Path, path: Path, classes: int, i: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _png(target, Image.open(path).transpose(Image.Transpose.ROTATE_90), exif=exif)


def _cv(target: Path, values: np.ndarray, kind: str) -> None:
    cv2.imwrite(str(target.with_name(f"{target.name}.{kind}")), values)


Coding = Callable[[Path, Path, int, int], None]

CODINGS: dict[str, Coding] = {
    "class numbers": lambda t, p, k, i: _png(t, Image.fromarray(number(p, k))),
    "TIFF": lambda t, p, k, i: _png(t, Image.open(p), "tif"),
    "BMP": lambda t, p, k, i: _png(t, Image.open(p), "bmp"),
    "GIF": lambda t, p, k, i: _png(t, Image.open(p), "gif"),
    "PNG in capitals": lambda t, p, k, i: _png(t, Image.open(p), "PNG"),
    "one bit": lambda t, p, k, i: _png(t, Image.fromarray(number(p, k) > 0) if k == 2 else Image.open(p)),
    "three equal channels": lambda t, p, k, i: _png(t, Image.open(p).convert("RGB")),
    "opaque RGBA": lambda t, p, k, i: _png(t, Image.open(p).convert("RGBA")),
    "alpha alone": lambda t, p, k, i: _png(t, _alpha(p, k, i)),
    "palette, colours": lambda t, p, k, i: _png(t, _palette(number(p, k), COLOURS)),
    "palette, black and white": lambda t, p, k, i: _png(t, _palette(number(p, k), GREYS[[0, 255, 128, 64]])),
    "palette, white first": lambda t, p, k, i: _png(t, _white_first(number(p, k), k)),
    "palettes that differ": lambda t, p, k, i: _png(t, _palette(number(p, k), COLOURS[[0, *np.roll([1, 2, 3], i)]])),
    "RGB colours": lambda t, p, k, i: _png(t, Image.fromarray(COLOURS[number(p, k)])),
    "16 bit, the same values": lambda t, p, k, i: _cv(t, raw(p).astype(np.uint16), "png"),
    "16 bit, class numbers": lambda t, p, k, i: _cv(t, number(p, k).astype(np.uint16), "png"),
    "16 bit, full scale": lambda t, p, k, i: _cv(t, raw(p).astype(np.uint16) * (257 if k == 2 else 1), "png"),
    "16 bit, 0 and 1000": lambda t, p, k, i: _cv(t, number(p, k).astype(np.uint16) * 1000, "png"),
    "0 and 128": lambda t, p, k, i: _png(t, Image.fromarray(number(p, k) * np.uint8(128 if k == 2 else 40))),
    "0 and 254": lambda t, p, k, i: _png(t, Image.fromarray(number(p, k) * np.uint8(254 if k == 2 else 80))),
    "1 and 2": lambda t, p, k, i: _png(t, Image.fromarray(number(p, k) + np.uint8(1))),
    "mixed 0/1 and 0/255": _mixed,
    "JPEG": lambda t, p, k, i: _png(t, Image.open(p), "jpg", quality=90),
    "float TIFF": lambda t, p, k, i: _png(t, Image.fromarray(number(p, k).astype(np.float32)), "tif"),
    "turned with its EXIF tag": _turned,
    "NPY uint8": lambda t, p, k, i: _array(t, number(p, k)),
    "NPY uint8, 0 and 255": lambda t, p, k, i: _array(t, raw(p)),
    "NPY bool": lambda t, p, k, i: _array(t, number(p, k).astype(bool) if k == 2 else number(p, k)),
    "NPY int64": lambda t, p, k, i: _array(t, number(p, k).astype(np.int64)),
    "NPY uint16": lambda t, p, k, i: _array(t, number(p, k).astype(np.uint16)),
    "NPY int32, big end first": lambda t, p, k, i: _array(t, number(p, k).astype(">i4")),
    "NPY float16": lambda t, p, k, i: _array(t, number(p, k).astype(np.float16)),
    "NPY float64": lambda t, p, k, i: _array(t, number(p, k).astype(np.float64)),
    "NPY float, a hair above 1": lambda t, p, k, i: _array(t, number(p, k) * np.float32(1.000001)),
    "NPY float, 0 to 255": lambda t, p, k, i: _array(t, raw(p).astype(np.float32)),
    "NPY [1 h w]": lambda t, p, k, i: _array(t, number(p, k)[None]),
    "NPY [h w 1]": lambda t, p, k, i: _array(t, number(p, k)[..., None]),
    "NPY in Fortran's order": lambda t, p, k, i: _array(t, np.asfortranarray(number(p, k))),
    "NPY softmax [k h w]": lambda t, p, k, i: _array(t, _onehot(p, k)),
    "NPY softmax [1 k h w]": lambda t, p, k, i: _array(t, _onehot(p, k)[None]),
    "NPY softmax [h w k]": lambda t, p, k, i: _array(t, _onehot(p, k).transpose(1, 2, 0)),
    "NPZ": lambda t, p, k, i: np.savez(t.with_name(f"{t.name}.npz"), number(p, k)),
    "names with _pred": lambda t, p, k, i: _png(t.with_name(f"{t.name}_pred"), Image.open(p)),
}
"""Name -> what writes (target without suffix, plain mask, classes, its place in the folder)."""

PROMISED = {"TIFF", "BMP", "three equal channels"}
"""Codings that may not be refused on either side."""


@dataclass(frozen=True)
class Layout:
    """What makes of a plain folder another one, the settings that it needs, and whether it may not be refused."""

    make: Callable[[Path], None]
    settings: tuple[str, ...] = ()
    must: bool = False
    classes: int = 2


def _recoded(name: str, classes: int = 2) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for i, path in enumerate(sorted((root / "masks").iterdir())):
            aside = path.rename(root / path.name)
            CODINGS[name](root / "masks" / path.stem, aside, classes, i)
            aside.unlink()

    return make


def _renamed(root: Path, part: str, to: str) -> None:
    for path in sorted((root / part).iterdir()):
        target = root / to.format(path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    (root / part).rmdir() if not any((root / part).iterdir()) else None


def _together(root: Path) -> None:
    _renamed(root, "masks", "images/{}_mask.png")


def _split_folders(pattern: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for split in ("train", "val"):
            for stem in (root / f"{split}.txt").read_text().split():
                for part in ("images", "masks"):
                    target = root / pattern.format(part=part, split=split) / f"{stem}.png"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (root / part / f"{stem}.png").rename(target)
            (root / f"{split}.txt").unlink()
        for part in ("images", "masks"):
            if not any((root / part).iterdir()):
                (root / part).rmdir()

    return make


def _linked(root: Path) -> None:
    store = root.parent / "store"
    for part in ("images", "masks"):
        (store / part).mkdir(parents=True)
        for path in sorted((root / part).iterdir()):
            path.rename(store / part / path.name)
            path.symlink_to(store / part / path.name)


def _linked_folders(root: Path) -> None:
    for part in ("images", "masks"):
        (root / part).rename(root.parent / part)
        (root / part).symlink_to(root.parent / part)


def _littered(root: Path) -> None:
    for part in ("images", "masks"):
        (root / part / ".DS_Store").write_bytes(b"x")
        (root / part / "Thumbs.db").write_bytes(b"x")
        (root / part / ".ipynb_checkpoints").mkdir()
        shutil.copy(root / part / "photo0.png", root / part / ".ipynb_checkpoints" / "photo9.png")
        shutil.copy(root / part / "photo0.png", root / part / "._photo0.png")


def _listed(encode: Callable[[str], bytes], each: str = "{}") -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for split in ("train", "val"):
            stems = (root / f"{split}.txt").read_text().split()
            lines = "".join(each.format(stem, root=root.resolve()) + "\n" for stem in stems)
            (root / f"{split}.txt").write_bytes(encode(lines))

    return make


def _named(images: Callable[[str], bytes], masks: Callable[[str], bytes]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for part, name in (("images", images), ("masks", masks)):
            for path in sorted((root / part).iterdir()):
                os.rename(path, os.path.join(os.fsencode(path.parent), name(path.stem) + b".png"))
        for split in ("train", "val"):
            stems = (root / f"{split}.txt").read_text().split()
            (root / f"{split}.txt").write_bytes(b"".join(images(stem) + b"\n" for stem in stems))

    return make


def _images(change: Callable[[Path], None]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for path in sorted((root / "images").iterdir()):
            change(path)

    return make


def _as(kind: str, mode: str = "RGB") -> Callable[[Path], None]:
    def change(path: Path) -> None:
        picture = Image.open(path).convert(mode)
        path.unlink()
        picture.save(path.with_suffix(f".{kind}"), **({"lossless": True} if kind == "webp" else {}))

    return change


def _turn(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def _turn_all(root: Path) -> None:
    for part in ("images", "masks"):
        for path in sorted((root / part).iterdir()):
            _turn(path)


SUFFIXED = ("--data.masks", "masks/{}_mask.png")
RED = "{background: [0, 0, 0], foreground: [200, 30, 30]}"
FOUR = "{a: [0, 0, 0], b: [200, 30, 30], c: [30, 200, 30], d: [30, 30, 200]}"
LAYOUTS: dict[str, Layout] = {
    **{f"masks as {name}": Layout(_recoded(name)) for name in CODINGS},
    **{f"masks as {name}, 4 classes": Layout(_recoded(name, 4), classes=4) for name in CODINGS},
    "RGB masks with colours": Layout(_recoded("RGB colours"), ("--data.colours", RED), must=True),
    "RGB masks with colours, 4 classes": Layout(_recoded("RGB colours", 4), ("--data.colours", FOUR), True, 4),
    "JPEG masks with a threshold": Layout(_recoded("JPEG"), ("--data.threshold", "128"), must=True),
    "masks 0 and 128 with a map": Layout(_recoded("0 and 128"), ("--data.label_map", "{0: 0, 128: 1}"), must=True),
    "masks named _mask, said": Layout(lambda r: _renamed(r, "masks", "masks/{}_mask.png"), SUFFIXED, must=True),
    "masks named _mask, not said": Layout(lambda r: _renamed(r, "masks", "masks/{}_mask.png")),
    "masks in the images' folder, said": Layout(_together, ("--data.masks", "images/{}_mask.png"), must=True),
    "masks in the images' folder, not said": Layout(_together),
    "images as masks": Layout(lambda r: shutil.rmtree(r / "masks"), ("--data.masks", "images")),
    "images/train, masks/train": Layout(_split_folders("{part}/{split}"), must=True),
    "train/images, train/masks": Layout(_split_folders("{split}/{part}"), must=True),
    "linked files": Layout(_linked, must=True),
    "linked folders": Layout(_linked_folders, must=True),
    "hidden files beside": Layout(_littered, must=True),
    "lists in UTF-16": Layout(_listed(lambda s: s.encode("utf-16")), must=True),
    "lists with a mark and CRLF": Layout(_listed(lambda s: s.replace("\n", "\r\n").encode("utf-8-sig")), must=True),
    "lists with suffixes": Layout(_listed(str.encode, "{}.png"), must=True),
    "lists with folders": Layout(_listed(str.encode, "images/{}.png"), must=True),
    "lists with backslashes": Layout(_listed(str.encode, "images\\{}.png"), must=True),
    "lists of absolute paths": Layout(_listed(str.encode, "{root}/images/{}.png"), must=True),
    "lists of pairs": Layout(_listed(str.encode, "images/{0}.png masks/{0}.png")),
    "lists of VOC's classes": Layout(_listed(str.encode, "{}  1")),
    "names that are no text": Layout(_named(*[lambda s: b"caf\xe9" + s.encode()] * 2)),
    "names with spaces and brackets": Layout(_named(*[lambda s: f"{s} [1] (a)".encode()] * 2), must=True),
    "names composed and decomposed": Layout(
        _named(
            lambda s: unicodedata.normalize("NFC", f"é{s}").encode(),
            lambda s: unicodedata.normalize("NFD", f"é{s}").encode(),
        )
    ),
    "images as TIFF": Layout(_images(_as("tif")), must=True),
    "images as BMP": Layout(_images(_as("bmp")), must=True),
    "images as lossless WebP": Layout(_images(_as("webp")), must=True),
    "images with an opaque alpha": Layout(_images(_as("png", "RGBA")), must=True),
    "images turned by their EXIF tag": Layout(_images(_turn), must=True),
    "images and masks turned by their EXIF tags": Layout(_turn_all, must=True),
}  # fmt: skip
"""Layouts of folders to train on."""
