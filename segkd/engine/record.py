"""What a run leaves behind while it trains: `metrics.jsonl` and TensorBoard, rewound on resume."""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor


@final
class Recorder:
    """Writes scalars and pictures of one run; a recorder of another process than the first writes nothing.

    Args:
        folder: the run folder.
        step: the step to go on from; what stands beyond it in the logs is removed. -1 begins anew: even what was
            written before the first step goes.
        writes: False makes every call return at once.
    """

    def __init__(self, folder: Path, step: int, writes: bool) -> None:
        self.writes = writes
        self.sums: dict[str, Tensor] = {}
        self.micros = self.images = 0
        self.since = time.perf_counter()
        if not writes:
            return
        from torch.utils.tensorboard import SummaryWriter  # slow to import; only training needs it

        self.path = folder / "metrics.jsonl"
        rewind(self.path, step)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def collect(self, terms: Mapping[str, Tensor], images: int) -> None:
        """Adds the terms of one micro-step; nothing waits for the device."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value.detach()
        self.micros, self.images = self.micros + 1, self.images + images

    def train(self, step: int, epoch: float, rates: list[float], processes: int) -> float:
        """Writes the means since the last call; returns the mean loss."""
        terms = {name: float(value) / self.micros for name, value in self.sums.items()}
        loss = sum(terms.values())
        speed = processes * self.images / max(time.perf_counter() - self.since, 1e-9)
        self.sums, self.micros, self.images, self.since = {}, 0, 0, time.perf_counter()
        line = {"kind": "train", "step": step, "epoch": epoch, "loss": loss, "terms": terms}
        self._line(line | {"lr": max(rates), "images_per_second": round(speed, 1)})
        self.scalars("train", {"loss": loss, **terms, "lr": max(rates), "images_per_second": speed}, step)
        return loss

    def scores(
        self, step: int, epoch: int | float, scores: Mapping[str, float], per_class: Mapping[str, float]
    ) -> None:
        """Writes the scores of one validation."""
        clean = {name: number(value) for name, value in scores.items()}
        classes = {name: number(value) for name, value in per_class.items()}
        self._line({"kind": "val", "step": step, "epoch": epoch, **clean, "iou": classes})
        self.scalars("val", scores, step)
        self.since = time.perf_counter()  # validation does not slow down the images per second
        if self.writes:
            self.board.flush()

    def note(self, kind: str, step: int, content: Mapping[str, Any]) -> None:
        """Writes a line of another kind to metrics.jsonl."""
        self._line({"kind": kind, "step": step, **content})

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Writes scalars to TensorBoard."""
        for name, value in values.items() if self.writes else ():
            self.board.add_scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Writes a picture to TensorBoard."""
        if self.writes:
            self.board.add_image(name, picture, step, dataformats="HWC")

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        if self.writes:
            self.board.close()

    def _line(self, line: Mapping[str, Any]) -> None:
        if self.writes:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def number(value: float) -> float | None:
    """JSON has no NaN: what is not defined becomes null."""
    return None if math.isnan(value) else value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; a last line that a kill cut short is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def rewind(path: Path, step: int) -> None:
    """Removes the lines beyond `step`, atomically."""
    if not path.is_file():
        return
    kept = [line for line in read_lines(path) if line["step"] <= step]
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(part, path)
