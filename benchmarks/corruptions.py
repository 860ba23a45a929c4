"""How the arms of a grid fare under damaged images: every finished cell scored as `segkd evaluate --corruptions` does.

    python benchmarks/corruptions.py --grid GRID [--data-root DIR] [--split val] [--baseline ARM] [--trust]
    python benchmarks/corruptions.py --scores FILE.csv --baseline ARM

Means of miou_image by arm and corruption (three severities each), JPEG apart, and each arm's gain over the baseline
paired by data set and seed, with a 95 % interval and its p, after Holm over the arms of a column. What is scored goes
to GRID/corruptions_SPLIT.csv, a row per cell, corruption and severity; cells that are there are not scored again.
"""

import argparse
import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from segkd.ablation.cell import read_state
from segkd.ablation.rows import SCORES, Row
from segkd.ablation.statistics import Gain, compare
from segkd.datasets.corruptions import JPEG, SETTINGS
from segkd.disk import write_whole
from segkd.experiment.processes import make_accelerator
from segkd.experiment.robustness import SCORE, score_corrupted
from segkd.experiment.scoring import Sight, open_split, opened, score_network
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.types import InputError

COLUMNS = ("arm", "dataset", "seed", "corruption", "severity", "score")
CORRUPTED = tuple(name for name in SETTINGS if name != JPEG)
GROUPS = {"clean": ("clean",), **{name: (name,) for name in CORRUPTED}, "mean": CORRUPTED, JPEG: (JPEG,)}
"""Column of the table -> the corruptions that it is a mean of."""


@dataclass(frozen=True)
class Reading:
    """One score; severity 0 is the clean one."""

    arm: str
    dataset: str
    seed: int
    corruption: str
    severity: int
    score: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores what is not scored yet, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--grid", type=Path)
    source.add_argument("--scores", type=Path, help="a file that an earlier call wrote: nothing is scored")
    parser.add_argument("--data-root", type=Path, default=None, help="DIR/NAME holds each data set, if it has moved")
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--baseline", default=None, help="the first arm of the grid's cells.csv by default")
    parser.add_argument("--trust", action="store_true", help="open runs that name code of their own")
    options = parser.parse_args(arguments)
    console = Console(width=max(140, Console().width))
    if options.scores is not None:
        readings = read(options.scores)
        if not readings or options.baseline is None:
            raise SystemExit(
                f"{options.scores}: expected a file of scores, and --baseline with the name of an arm in it."
            )
        show(readings, options.baseline, console)
        return
    file = options.grid / f"corruptions_{options.split}.csv"
    readings = read(file)
    done = {(one.arm, one.dataset, one.seed) for one in readings}
    cells = list(finished(options.grid))
    if not cells:
        raise SystemExit(f"{options.grid}: expected a grid with finished cells (cells/SET/ARM/seed-N), found none.")
    for number, (arm, dataset, seed, folder) in enumerate(cells, 1):
        if (arm, dataset, seed) not in done:
            console.print(f"{number}/{len(cells)}  {dataset}/{arm}/seed-{seed}", markup=False)
            readings += scored(folder, (arm, dataset, seed), options)
            write(file, readings)
    show(readings, options.baseline or first_arm(options.grid), console)


def finished(grid: Path) -> Iterator[tuple[str, str, int, Path]]:
    """Arm, data set, seed and folder of every cell that is done."""
    for state in sorted((grid / "cells").glob("*/*/seed-*/cell.json")):
        folder = state.parent
        known = read_state(folder)
        if known is not None and known.status == "done":
            yield folder.parent.name, folder.parent.parent.name, int(folder.name.removeprefix("seed-")), folder


def first_arm(grid: Path) -> str:
    """The arm that a grid compares with, its first."""
    with (grid / "cells.csv").open(encoding="utf-8", newline="") as file:
        return next(csv.DictReader(file))["arm"]


def scored(folder: Path, cell: tuple[str, str, int], options: argparse.Namespace) -> list[Reading]:
    """The readings of one cell."""
    parser = training_parser()
    said = ["--config", str(folder / "config.yaml")]
    said += [] if options.data_root is None else ["--data.root", str(options.data_root / cell[1])]
    config = parse(parser, said)
    data = instantiate(parser, Namespace(data=config.data)).data
    accelerator, quiet = make_accelerator(config.engine), Console(file=io.StringIO())
    model = opened(folder / "run", str(accelerator.device), options.trust, quiet)
    records = open_split(data, options.split, quiet, model.card.classes)
    sight = Sight(data, model.card, config.evaluation.threshold)
    clean = score_network(model.network, records, accelerator, sight)
    found = score_corrupted(model.network, records, accelerator, sight, clean)
    readings = [Reading(*cell, one.name, one.severity, score) for one, score in found.readings.items()]
    return [Reading(*cell, "clean", 0, found.clean), *readings]


def rows_of(readings: Sequence[Reading]) -> list[Row]:
    """A row for every cell and column of the table, whose name stands where a split's would."""
    by_cell: dict[tuple[str, str, int], list[Reading]] = {}
    for one in readings:
        by_cell.setdefault((one.arm, one.dataset, one.seed), []).append(one)
    rows = []
    for cell, own in by_cell.items():
        for column, names in GROUPS.items():
            values = [one.score for one in own if one.corruption in names]
            scores = dict.fromkeys(SCORES, math.nan) | {SCORE: sum(values) / len(values)}
            rows.append(Row(*cell, column, scores, 0, 0, 0.0, ""))
    return rows


def show(readings: Sequence[Reading], baseline: str, console: Console) -> None:
    """Two tables: means, and gains over the baseline."""
    rows = rows_of(readings)
    found = {column: compare(rows, column, SCORE, baseline) for column in GROUPS}
    tables = []
    for title in (f"mean {SCORE}, by corruption", f"gain over {baseline}, in points, with its 95 % interval and p"):
        table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
        table.add_column("arm")
        for column in GROUPS:
            table.add_column(column, justify="right")
        tables.append(table)
    tables[1].add_column("pairs", justify="right")
    for number, arm in enumerate(found["clean"].arms):
        tables[0].add_row(arm.name, *(f"{100 * found[column].arms[number].mean:.2f}" for column in GROUPS))
        if arm.name != baseline:
            gains = [found[column].arms[number].gain for column in GROUPS]
            tables[1].add_row(arm.name, *map(_gain, gains), str(len(gains[0].units)) if gains[0] else "0")
    for table in tables:
        console.print(table, "")


def _gain(gain: Gain | None) -> str:
    if gain is None:
        return "-"
    interval = "" if gain.interval is None else f"\n{100 * gain.interval[0]:+.2f}..{100 * gain.interval[1]:+.2f}"
    return f"{100 * gain.mean:+.2f}{interval}\np {gain.p_holm:.4f}"


def read(file: Path) -> list[Reading]:
    """What was scored before."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as text:
        return [
            Reading(r["arm"], r["dataset"], int(r["seed"]), r["corruption"], int(r["severity"]), float(r["score"]))
            for r in csv.DictReader(text)
        ]


def write(file: Path, readings: Sequence[Reading]) -> None:
    """All that is scored, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [one.arm, one.dataset, one.seed, one.corruption, one.severity, repr(one.score)] for one in readings
    )
    write_whole(file, text.getvalue())


if __name__ == "__main__":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        main()
    except InputError as error:
        raise SystemExit(f"corruptions: {error}") from error
