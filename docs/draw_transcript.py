"""Writes own_data.md: the commands of a first hour on folders of one's own, with what they really print.

`python -m docs.draw_transcript`
"""

import contextlib
import io
import os
import re
import shlex
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from segkd.cli import main

STEPS = (
    ("Images and masks lie in two folders; nothing else is known.", "segkd prepare my_data --out data.yaml"),
    (
        "A small encoder and few steps, so that this page is made quickly; leave these settings out.",
        "segkd train --config data.yaml --config methods/virtual_teacher.yaml --model.encoder test_efficientnet "
        "--model.weights null --data.size 64 --data.workers 0 --data.batch_size 2 --engine.epochs 20 "
        "--evaluation.every 5 --out runs/first",
    ),
    ("Scores on the images that were held back, and `scores/report.html`.",
     "segkd evaluate --run runs/first --split val --out scores"),
    ("Masks, and overlays beside them, of any photos.", "segkd predict runs/first my_data/photos"),
)  # fmt: skip


def make_data(root: Path, number: int = 24) -> None:
    """Noisy photos with a bright square, and masks with a suffix."""
    draw = np.random.default_rng(0)
    for part in ("photos", "labels"):
        (root / part).mkdir(parents=True)
    for i in range(number):
        mask = np.zeros((72, 96), np.uint8)
        top, left = draw.integers(4, 40, 2)
        mask[top : top + 28, left : left + 32] = 1
        image = (draw.uniform(0, 90, (72, 96, 3)) + 150 * mask[..., None]).astype(np.uint8)
        Image.fromarray(image).save(root / "photos" / f"{i:03d}.jpg", quality=95)
        Image.fromarray(mask * np.uint8(255)).save(root / "labels" / f"{i:03d}_mask.png")


def transcript(command: str) -> str:
    """What a command prints, times and long paths left out."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(shlex.split(command)[1:])
    assert status == 0, said.getvalue()
    return re.sub(r"in \d+ s", "in N s", said.getvalue().rstrip())


def page() -> str:
    """The page."""
    parts = [
        "# Own data in five minutes\n",
        "*Written by `python -m docs.draw_transcript`, which runs each command on 24 made images.*\n",
    ]
    for about, command in STEPS:
        parts.append(f"{about}\n\n```text\n$ {command}\n{transcript(command)}\n```\n")
    parts.append("Continue with [what prepare finds](first_day.md), [data](data.md) and [methods](methods.md).")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    here = Path(__file__).parent.resolve()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["COLUMNS"] = "110"
        make_data(Path("my_data"))
        text = page()
    (here / "own_data.md").write_text(text, encoding="utf-8")
