"""What a run leaves behind while it trains: `metrics.jsonl` and TensorBoard, rewound on resume."""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from segkd.disk import dump_json, flush_folder, open_to_append, parse_json, write_whole, writing
from segkd.engine.agreement import averaged
from segkd.engine.board import Board
from segkd.types import InputError, printable


@final
class Recorder:
    """Writes scalars and pictures of one run; a recorder of another process than the first writes nothing.

    Args:
        folder: the run folder.
        step: the step to go on from; what stands beyond it in the logs is removed. -1 begins anew: even what was
            written before the first step goes.
        writes: False makes every call return at once.
        owed: the validation of `step` comes again, so what it wrote goes, too.
        turns: so does the end of a round of the draw, which writes a line of kind "domains".
        promised: how many lines metrics.jsonl had when the checkpoint was saved; None when nobody knows.

    Attributes:
        found: sentences on what was wrong with the record that it goes on with.
        lines: how many lines metrics.jsonl holds.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        writes: bool,
        *,
        owed: bool = False,
        turns: bool = False,
        promised: int | None = None,
    ) -> None:
        self.writes = writes
        self.sums: dict[str, Tensor] = {}
        self.micros = self.images = self.lines = 0
        self.since = time.perf_counter()
        self.found: list[str] = []
        if not writes:
            return
        self.path = folder / "metrics.jsonl"
        kept, self.found = rewind(self.path, step, owed, promised, turns)
        self.lines = len(kept)
        self.board = Board(folder / "tensorboard", step if owed else step + 1)
        for line in kept if owed else ():  # TensorBoard forgets whole steps, the training's part of this one too
            if line["step"] == step and line.get("kind") == "train":
                self._show(line)

    def collect(self, terms: Mapping[str, Tensor], images: int) -> None:
        """Adds the terms of one micro-step; nothing waits for the device."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value.detach()
        self.micros, self.images = self.micros + 1, self.images + images

    def train(self, step: int, epoch: float, rates: list[float], processes: int) -> float:
        """Writes the means since the last call, over all processes, which all call this; returns the mean loss."""
        terms = {name: float(value) / self.micros for name, value in averaged(self.sums).items()}
        loss = sum(terms.values())
        speed = processes * self.images / max(time.perf_counter() - self.since, 1e-9)
        self.sums, self.micros, self.images, self.since = {}, 0, 0, time.perf_counter()
        line = {"kind": "train", "step": step, "epoch": epoch, "loss": loss, "terms": terms}
        line |= {"lr": max(rates), "images_per_second": round(speed, 1)}
        self._line(line)
        self._show(line)
        return loss

    def scores(
        self,
        step: int,
        epoch: int | float,
        scores: Mapping[str, float],
        per_class: Mapping[str, float],
        domains: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Writes the scores of one validation, those of each domain beside them."""
        each = {"domains": {name: dict(one) for name, one in domains.items()}} if domains else {}
        self._line({"kind": "val", "step": step, "epoch": epoch, **scores, "iou": dict(per_class), **each})
        self.scalars("val", scores, step)
        self.scalars("iou", per_class, step)
        self.since = time.perf_counter()  # validation does not slow down the images per second
        if self.writes:
            self.board.flush()

    def note(self, kind: str, step: int, content: Mapping[str, Any]) -> None:
        """Writes a line of another kind to metrics.jsonl."""
        self._line({"kind": kind, "step": step, **content})

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Writes scalars to TensorBoard."""
        for name, value in values.items() if self.writes else ():
            self.board.scalar(f"{group}/{name}", value, step)

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Writes a picture to TensorBoard."""
        if self.writes:
            self.board.picture(name, picture, step)

    def flush(self) -> None:
        """Puts metrics.jsonl on the disk, so that a checkpoint may promise what it holds."""
        if self.writes and self.path.is_file():
            with writing(self.path), open_to_append(self.path) as file:
                os.fsync(file.fileno())
            flush_folder(self.path.parent)

    def faults(self) -> list[str]:
        """What went wrong beside the training since the last call: sentences."""
        faults, self.found = self.found + (self.board.faults() if self.writes else []), []
        return faults

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        if self.writes:
            self.board.close()

    def _show(self, line: Mapping[str, Any]) -> None:
        names = ("loss", "lr", "images_per_second")
        self.scalars("train", {**line["terms"], **{name: line[name] for name in names}}, line["step"])

    def _line(self, line: Mapping[str, Any]) -> None:
        if self.writes:
            with writing(self.path), open_to_append(self.path) as file:
                file.write(dump_json(jsonable(line), indent=None) + "\n")
            self.lines += 1


def jsonable(value: Any) -> Any:
    """`value` as JSON can hold it: NumPy's arrays and numbers as lists and numbers, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass
class _Line:
    """What a line of metrics.jsonl may hold beside scores, for pydantic; every kind has a step."""

    step: int
    kind: str = ""
    epoch: float | None = None
    loss: float | None = None
    terms: dict[str, float] | None = None
    lr: float | None = None
    images_per_second: float | None = None
    iou: dict[str, float | None] | None = None
    domains: dict[str, dict[str, float | None]] | None = None
    edges: list[float] | None = None
    errors: list[float | None] | None = None
    split: str | None = None
    bits: list[float] | None = None
    log2_steps: list[Any] | None = None
    log2_step_rings: list[Any] | None = None


NEEDED = {"train": ("loss", "terms"), "spectrum": ("epoch", "errors")}
"""What the readers of a kind of line rely on."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The good lines of a metrics file: each has a `step` (int, 0 or more), and what it holds is of the right types.

    Damaged lines, and a last one that a kill cut short, are left out; `read_record` tells of them.
    """
    return [line for line in read_record(path) if line.get("kind") != "damaged"]


def read_record(path: Path) -> list[dict[str, Any]]:
    """As `read_lines`, in the place of each damaged line one of kind "damaged": the step of the line before it, the
    `line` number, the `text` it had, `why` it is none of ours, and `new` until `rewind` has written it so."""
    try:
        pieces = path.read_bytes().split(b"\n") if path.is_file() else []
    except OSError as error:
        raise InputError(f"{path}: expected the record of a run, found: {error.strerror or error}.") from error
    lines: list[dict[str, Any]] = []
    for place, piece in enumerate(pieces, start=1):
        if not piece.strip():
            continue
        line = _read_line(piece)
        if isinstance(line, dict):
            lines.append(line)
        elif place < len(pieces):  # else a kill cut it short: its step comes again
            text = printable(piece[:2000].decode("utf-8", "replace"))
            step = lines[-1]["step"] if lines else 0
            lines.append({"kind": "damaged", "step": step, "line": place, "text": text, "why": line, "new": True})
    return lines


def _read_line(piece: bytes) -> dict[str, Any] | str:
    """The line, or why it is none."""
    try:
        text = piece.decode("utf-8")
        parse_json(text, _Line, "expected a line of metrics.jsonl")
    except UnicodeDecodeError:
        return "it is no UTF-8"
    except InputError as error:
        return str(error)
    line = json.loads(text)
    known = {field.name for field in fields(_Line)}
    wrong = [key for key in NEEDED.get(line.get("kind", ""), ()) if line.get(key) is None]
    if line.get("kind") == "val":
        wrong += [key for key in line.keys() - known if not isinstance(line[key], float | int | None)]
    if line["step"] < 0 or wrong:
        return f"expected {', '.join(wrong) or 'step'} to be there and to be a number"
    return line


def rewind(
    path: Path, step: int, owed: bool = False, promised: int | None = None, turns: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Removes the lines beyond `step`, whole or not at all; with `owed`, what a validation wrote at `step` as well.

    A damaged line costs itself alone: its text stays as a line of kind "damaged".

    Args:
        path: the metrics file.
        step: the last step that stays.
        owed: the validation of `step` comes again.
        promised: how many lines there were up to there; None when nobody knows.
        turns: a round of the draw ends at `step` once more.

    Returns:
        the lines that stay, and sentences on what was damaged or is missing.
    """
    record = read_record(path)
    kept = [line for line in record if line["step"] < step or (line["step"] == step and not _again(line, owed, turns))]
    said = [
        f"{path}: line {line['line']} is damaged ({line['why']}). The lines before and after it are kept, its text in "
        "a line of kind damaged."
        for line in kept
        if line.pop("new", False)
    ]
    if promised is not None and len(kept) < promised:
        last = f"the last one there is of step {kept[-1]['step']}" if kept else "none is there"
        said.append(
            f"{path}: the checkpoint of step {step} promises {promised} lines, {promised - len(kept)} of them are "
            f"missing ({last}). The weights are whole; curves and tables drawn from the record have a gap."
        )
    whole = sum(line.get("kind") != "damaged" for line in kept)
    if promised is not None and whole > promised:
        said.append(
            f"{path}: the checkpoint of step {step} promises {promised} lines, but {whole} are there: some stand twice "
            "or are another's. The weights are whole; look at the record before you draw curves from it."
        )
    if path.is_file():
        write_whole(path, "".join(dump_json(jsonable(line), indent=None) + "\n" for line in kept))
    return kept, said


def _again(line: Mapping[str, Any], owed: bool, turns: bool) -> bool:
    return turns if line.get("kind") == "domains" else owed and line.get("kind") not in ("train", "damaged", "")
