"""Data that changes between a kill and resuming: refused or told; a copy of the same content is the same data."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.siege.crash import die_at
from benchmarks.siege.photos import folder as photos
from benchmarks.siege.photos import train
from benchmarks.siege.stand import run, scratch
from benchmarks.siege.table import HELD, Trial, broken
from benchmarks.siege.tiny import Unbroken


def _mask(d: Path, i: int) -> Path:
    return d / "masks" / f"photo{i}.png"


def _invert(d: Path, i: int) -> None:
    Image.fromarray(255 - np.asarray(Image.open(_mask(d, i)))).save(_mask(d, i))


def _replace(d: Path, i: int, part: str) -> None:
    shutil.copy(d / part / f"photo{(i + 1) % 8}.png", d / part / f"photo{i}.png")


def _rename(d: Path, i: int) -> None:
    for part in ("images", "masks"):
        (d / part / f"photo{i}.png").rename(d / part / f"another{i}.png")
    for path in d.glob("*.txt"):
        path.write_text(path.read_text().replace(f"photo{i}\n", f"another{i}\n"))


def _remove(d: Path, i: int) -> None:
    for path in (d / "images" / f"photo{i}.png", _mask(d, i)):
        path.unlink()
    for path in d.glob("*.txt"):
        path.write_text(path.read_text().replace(f"photo{i}\n", ""))


def _add(d: Path, i: int) -> None:
    for part in ("images", "masks"):
        shutil.copy(d / part / f"photo{i}.png", d / part / f"photo{i + 10}.png")
    (d / "train.txt").write_text((d / "train.txt").read_text() + f"photo{i + 10}\n")


def _move(d: Path, i: int) -> None:
    (d / "train.txt").write_text((d / "train.txt").read_text().replace("photo0\n", ""))
    (d / "val.txt").write_text((d / "val.txt").read_text() + "photo0\n")


def _touch(d: Path, i: int) -> None:
    content = _mask(d, i).read_bytes()
    _mask(d, i).unlink()
    _mask(d, i).write_bytes(content)


CHANGES: dict[str, Callable[[Path, int], None]] = {
    "a mask inverted": _invert,
    "an image replaced": partial(_replace, part="images"),
    "a mask replaced": partial(_replace, part="masks"),
    "a pair renamed": _rename,
    "a pair removed": _remove,
    "a pair added": _add,
    "a name moved from train.txt to val.txt": _move,
    "a mask written anew with the same content": _touch,
}


def changed(name: str, i: int, unbroken: Unbroken) -> list[Trial]:
    """A training on a folder is killed, photo `i` changes, the training is resumed."""
    with scratch() as folder:
        d = photos(folder / "d", 8)
        again = train("d", "run", engine__epochs=12)
        run(again, folder, before=partial(die_at, folder / "run", unbroken.operations // 3))
        if not (folder / "run" / "checkpoints" / "last.pt").exists():
            return [Trial("other", "the training was killed before its first checkpoint: the stand must be mended")]
        CHANGES[name](d, i)
        ended = run(["train", "--resume", "run"], folder)
        recipe = f"between kill and resume: {name} (photo {i})"
        fault = broken(ended, recipe)
        if fault:
            return [fault]
        told = ended.status == 2 or any("data" in line or "changed" in line for line in ended.warnings)
        if name.endswith("same content"):
            return [HELD if ended.status == 0 and not told else Trial("other", f"{recipe}: refused: {ended.words}")]
        return [HELD if told else Trial("silent", f"{recipe}: status {ended.status}; said: {ended.words}")]


def jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial: a photo of the training split and one of the validation split."""
    return [(changed, name, i, unbroken) for name in CHANGES for i in ((2, 7) if more >= 1 else (2,))]
