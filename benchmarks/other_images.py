"""Does a network that learned from images without a label know them better than its teacher does? Where an experiment
hid their labels that can be asked: finished cells with `data.only_fold` are scored on the rest of the training split.

    python -m benchmarks.other_images --grids GRID [GRID ...] --out FILE.csv [--data-root DIR] [--baseline ARM]
    python -m benchmarks.other_images --scores FILE.csv [--baseline ARM]

Prints, by arm, scores and gains over the baseline paired by data set and seed (as `segkd compare FILE.csv --split
train` does), and what it would say as a teacher, in per cent of the pixels: how many it is sure of (p of a class at
least .9, as `distiller.sure` has it), how many of these are right, and how many of the others. FILE.csv holds a row
for each cell; those that it has are not scored again. Of two classes, and with masks that are there for every image.
"""

import argparse
import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from benchmarks.corruptions import finished
from segkd.ablation.comparison import report
from segkd.ablation.rows import Row, read_rows, scores_of, write_rows
from segkd.disk import write_whole
from segkd.experiment.processes import make_accelerator
from segkd.experiment.scoring import Sight, open_split, opened, score_network
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.metrics.meter import Meter
from segkd.types import InputError

SURE = ("sure", "right_where_sure", "right_elsewhere")
"""Further columns of the file, shares of pixels."""


@dataclass(frozen=True)
class Reading:
    """What a cell's network says of the images that had no label."""

    row: Row
    sure: tuple[float, float, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores what is not scored yet, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--grids", type=Path, nargs="+")
    source.add_argument("--scores", type=Path, help="a file that an earlier call wrote: nothing is scored")
    parser.add_argument("--out", type=Path, help="where the rows go; with --grids")
    parser.add_argument("--data-root", type=Path, default=None, help="DIR/NAME holds each data set, if it has moved")
    parser.add_argument("--baseline", default="baseline", help="the arm that others are compared with: the teacher")
    parser.add_argument("--only", nargs="+", help="these arms alone")
    options = parser.parse_args(arguments)
    if options.grids and options.out is None:
        raise SystemExit("--grids: expected --out FILE.csv beside it, where the scores go.")
    file = options.scores or options.out
    readings = read(file) if file.is_file() else []
    console = Console(width=max(120, Console().width))
    done = {(one.row.arm, *one.row.unit) for one in readings}
    for *cell, folder in (one for grid in options.grids or () for one in finished(grid)):
        arm, dataset, seed = cell
        if tuple(cell) not in done and (options.only is None or arm in options.only):
            console.print(f"{dataset}/{arm}/seed-{seed}", markup=False)
            readings.append(scored(folder, (arm, dataset, seed), options.data_root))
            write(file, readings)
    if not readings:
        raise SystemExit(
            f"{options.grids or file}: expected finished cells with data.only_fold, or a file of scores; found none."
        )
    show(readings, options.baseline, console)


def scored(folder: Path, cell: tuple[str, str, int], root: Path | None) -> Reading:
    """The reading of one cell.

    Raises:
        InputError: it was trained on all images of its split.
    """
    parser, said = training_parser(), ["--config", str(folder / "config.yaml")]
    said += [] if root is None else ["--data.root", str(root / cell[1])]
    fold = parse(parser, said).data.only_fold
    if fold is None:
        raise InputError(f"{folder}: expected data.only_fold, which leaves images without a label, found none.")
    config = parse(
        parser, [*said, "--data.only_fold", "null", "--data.fold", str(list(fold)), "--data.unlabelled", "null"]
    )
    data = instantiate(parser, Namespace(data=config.data)).data
    accelerator, quiet = make_accelerator(config.engine), Console(file=io.StringIO())
    model = opened(folder / "run", str(accelerator.device), False, quiet)
    records = open_split(data, "train", quiet, model.card.classes)
    meter = score_network(model.network, records, accelerator, Sight(data, model.card, 0.5))
    row = Row(*cell, "train", scores_of(meter.scores()), 0, 0, 0.0, "")
    return Reading(row, sure_of(meter))


def sure_of(meter: Meter) -> tuple[float, float, float]:
    """Share of pixels with a class of p >= .9, share of these that are right, and of the others.

    Levels are floor(255 p) of the foreground: 230 and more are surely foreground, 24 and less surely background.
    """
    counts = meter.histogram.astype(float)
    low, high = counts[:, :25].sum(axis=1), counts[:, 230:].sum(axis=1)
    middle = counts[:, 25:230]
    right = middle[0, : 128 - 25].sum() + middle[1, 128 - 25 :].sum()
    sure = low.sum() + high.sum()
    return float(sure / counts.sum()), float((low[0] + high[1]) / max(sure, 1)), float(right / max(middle.sum(), 1))


def show(readings: Sequence[Reading], baseline: str, console: Console) -> None:
    """The comparison, and what each arm is sure of beside the baseline on the same cells."""
    report([one.row for one in readings], Namespace(split="train", scores=None, baseline=baseline), None, console)
    table = Table(
        title=f"images without a label, per cent of pixels ({baseline} on the same cells)",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for name in ("arm", "cells", "sure", "right where sure", "right elsewhere"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    base = {one.row.unit: one.sure for one in readings if one.row.arm == baseline}
    for arm in dict.fromkeys(one.row.arm for one in readings):
        own = {one.row.unit: one.sure for one in readings if one.row.arm == arm and one.row.unit in base}
        both = [np.mean([these[unit] for unit in own], axis=0) for these in (own, base)] if own else []
        beside = [f"{100 * ours:.2f} ({100 * theirs:.2f})" for ours, theirs in zip(*both)]
        table.add_row(arm, str(len(own)), *beside)
    console.print(table)


def read(file: Path) -> list[Reading]:
    """What was scored before."""
    with file.open(encoding="utf-8", newline="") as text:
        sure = [tuple(float(line[name]) for name in SURE) for line in csv.DictReader(text)]
    return [Reading(row, one) for row, one in zip(read_rows(file), sure, strict=True)]


def write(file: Path, readings: Sequence[Reading]) -> None:
    """All that is scored, whole or not at all: rows as `segkd compare` reads them, and three columns more."""
    write_rows(file, [one.row for one in readings])
    lines = file.read_text(encoding="utf-8").splitlines()
    more = [",".join(SURE), *(",".join(map(repr, one.sure)) for one in readings)]
    write_whole(file, "".join(f"{line},{end}\n" for line, end in zip(lines, more, strict=True)))


if __name__ == "__main__":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        main()
    except InputError as error:
        raise SystemExit(f"other_images: {error}") from error
