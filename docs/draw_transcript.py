"""Writes own_data.md, a first hour on one's own folders, and commands.md, every command once: what they really print.

`python -m docs.draw_transcript`
"""

import contextlib
import io
import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segkd.cli import main

SMALL = "--model.encoder test_efficientnet --model.weights null --data.size 64 --data.workers 0 --data.batch_size 2"
"""Settings with which these pages are made quickly."""

STEPS = (
    ("Images and masks lie in two folders. `prepare` finds out the rest and writes it to `data.yaml`.",
     "segkd prepare my_data --out data.yaml"),
    (
        "Train. The settings from `--model.encoder` to `--evaluation.every` make this page quick to produce: leave "
        "them out.",
        f"segkd train --config data.yaml --config methods/virtual_teacher.yaml {SMALL} --engine.epochs 20 "
        "--evaluation.every 5 --out runs/first",
    ),
    ("Score the images that were held back; `scores/report.html` shows them.",
     "segkd evaluate --run runs/first --split val --out scores"),
    ("Predict masks of any photos, with overlays beside them.", "segkd predict runs/first my_data/photos"),
)  # fmt: skip

OTHERS = (
    ("Draw a contact sheet of a split.", "segkd sheet --data data.yaml --split val --out sheet.png", 20),
    ("List all recipes, and print the card of one.", "segkd methods", 8),
    ("", "segkd methods label_smoothing", 14),
    ("Say what a run is and costs. It takes an ONNX file, a network or a layer as well.",
     "segkd info runs/first --depth 1", 20),
    ("Export the student as one file.", "segkd export runs/first --format onnx", 20),
    ("", "segkd info runs/first/student.onnx", 20),
    ("Share a run through a folder, or with `owner/name` through the Hugging Face hub, and fetch it.",
     "segkd push runs/first ./shared", 20),
    ("", "segkd pull ./shared --out back", 20),
    ("Train a table of quantisation steps with the network, and see how it changed.",
     f"segkd train --config data.yaml --config methods/frequency.yaml {SMALL} --engine.epochs 4 --out runs/table", 8),
    ("", "segkd analyse tables runs/table --out tables.png", 12),
    ("Analyse which frequencies a network learned first, and which it relies on.",
     "segkd analyse spectra runs/first --out spectra", 30),
    ("Train arms x data sets x seeds at one budget (`grid.yaml` below). The same command again goes on.",
     "segkd ablate --config grid.yaml --out runs/grid", 32),
    ("Compare the cells of a grid, or any runs.", "segkd compare runs/grid --split val --scores '[miou_image, f_mean]'",
     30),
    ("Check the installation.", "segkd doctor", 6),
)  # fmt: skip
"""What is said, the command, and how many lines of what it prints are shown."""

GRID = """arms:
  baseline: {layers: [methods/baseline.yaml]}
  virtual_teacher: {layers: [methods/virtual_teacher.yaml]}
datasets:
  squares: {layers: [data.yaml], set: {engine.epochs: 8}}
base:
  set: {model.encoder: test_efficientnet, model.weights: null, data.size: 64, data.batch_size: 2, data.workers: 0}
seeds: [0, 1, 2]
splits: [val]
"""


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


def transcript(command: str, most: int = 1000) -> str:
    """What a command prints, times and long paths left out, in `most` lines."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(shlex.split(command)[1:])
    assert status == 0, said.getvalue()
    text = re.sub(r"in \d+ s\b", "in N s", said.getvalue().rstrip())
    text = re.sub(r"\b\d+ s  about \d+ min left", "N s  about N min left", text)
    text = re.sub(r" on Linux-\S+| \(commit \w+\+?\)", "", text)
    for place in {os.getcwd(), str(Path.cwd().resolve()), str(Path(__file__).parent.parent.resolve())}:
        text = text.replace(f"{place}/", "").replace(place, "...")
    text = re.sub(r"(?<![\w./])/(?:[\w.+-]+/)+", ".../", text)
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join([*lines[:most], *(["..."] if len(lines) > most else [])])


def block(about: str, command: str, most: int = 1000) -> str:
    """What a command is for, the command, and what it prints."""
    return f"{about}\n\n```text\n$ {command}\n{transcript(command, most)}\n```\n".lstrip()


def page() -> str:
    """The first hour."""
    parts = [
        "# Own data in five minutes\n",
        "Four commands lead from a folder of images and masks to masks of new photos.\n",
        "*Written by `python -m docs.draw_transcript`, which runs each command on 24 generated images.*\n",
        *(block(about, command) for about, command in STEPS),
        "Next: [what prepare finds](first_day.md), [data](data.md), [methods](methods.md) and "
        "[every command once](commands.md).",
    ]
    return "\n".join(parts) + "\n"


def commands(steps: Sequence[tuple[str, str, int]] = OTHERS) -> str:
    """The other commands, after those of `page`."""
    parts = [
        "# Every command once\n",
        "*Written by `python -m docs.draw_transcript`, which runs these after the four commands of "
        "[own data](own_data.md), on the same 24 generated images. The networks are small and hardly trained: their "
        "scores say nothing about a method, nor do their times about your machine. `...` stands for lines left out.*\n",
        *(block(*step) for step in steps),
        f"`grid.yaml`:\n\n```yaml\n{GRID}```\n",
        "`segkd COMMAND --help` lists every option.",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    here = Path(__file__).parent.resolve()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["COLUMNS"] = "110"
        make_data(Path("my_data"))
        Path("grid.yaml").write_text(GRID, encoding="utf-8")
        texts = {"own_data.md": page(), "commands.md": commands()}
    for name, text in texts.items():
        (here / name).write_text(text, encoding="utf-8")
