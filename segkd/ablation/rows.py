"""One row per cell and split, as CSV: what every table, test and plot of a comparison is made from."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkd.disk import dump_csv, read_text, write_whole
from segkd.metrics.meter import score_names
from segkd.types import InputError

SCORES = ("f_mean", "f_max", "f_adaptive", "miou_image", "miou_dataset", "iou_fg_image", "mae")
"""Scores that every file of cells has as columns; one that is not defined (f_mean of 11 classes) is NaN."""

EVERY = tuple(dict.fromkeys((*SCORES, *score_names(2), *score_names(3))))
"""All scores that an evaluation gives. Those beyond `SCORES` are columns where a row has them: older files have not."""

LENGTHS = frozenset({"hd95"})
"""Scores that are pixels; all others are shares, 0..1."""

SLACK = 1e-6
"""Rounding by which a score may lie beyond 0..1."""

BEYOND = frozenset({"e_max", "e_mean", "e_adaptive"})
"""Scores that `pysod` divides by N - 1 pixels, not by N: up to 2 of an image of two."""

COLUMNS = ("arm", "dataset", "seed", "split", *SCORES, "steps", "images", "seconds", "commit")


@dataclass(frozen=True)
class Row:
    """The scores of one training on one split, and what it cost.

    Attributes:
        arm: what is compared: a method, a network, a setting.
        dataset: name of the data set.
        seed: of weights, data order and augmentation.
        split: "train", "val" or "test"; "" where the labels are a folder of their own.
        scores: a value for each of `SCORES`, NaN where it is not defined, and others of `EVERY` that are known.
        steps: optimiser steps.
        images: images seen in training, repeats included.
        seconds: wall-clock time of the training.
        commit: of the code, with "+" when files differed from it; "" when unknown.
        by_image: the file with the scores of its images, where one is kept.
        record: the record of its training (`metrics.jsonl`), or a `curves.csv` with those of many, where one is kept.
    """

    arm: str
    dataset: str
    seed: int
    split: str
    scores: dict[str, float]
    steps: int
    images: int
    seconds: float
    commit: str
    by_image: Path | None = None
    record: Path | None = None

    @property
    def unit(self) -> tuple[str, int]:
        """What pairs rows of different arms: the data set and the seed."""
        return self.dataset, self.seed


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes a CSV file whole or not at all."""
    rows = list(rows)
    names = columns_of(row.scores for row in rows)
    lines: list[Sequence[Any]] = [("arm", "dataset", "seed", "split", *names, "steps", "images", "seconds", "commit")]
    for row in rows:
        cost = row.steps, row.images, f"{row.seconds:.1f}", row.commit
        values = (float(row.scores.get(name, math.nan)) for name in names)
        lines.append([row.arm, row.dataset, row.seed, row.split, *values, *cost])
    write_whole(path, dump_csv(lines))


def scores_of(given: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a row among what an evaluation wrote: `SCORES`, NaN where one is not defined, and others."""
    known = {name: float(given[name]) for name in EVERY if given.get(name) is not None}
    return dict.fromkeys(SCORES, math.nan) | {name: known[name] for name in EVERY if name in known}


def columns_of(scores: Iterable[Mapping[str, float]]) -> list[str]:
    """The scores that a file of such rows has as columns: `SCORES`, and others that any row has."""
    there = {name for one in scores for name, value in one.items() if not math.isnan(value)}
    return [name for name in EVERY if name in SCORES or name in there]


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file.

    Raises:
        InputError: it is missing, lacks a column, or holds something that is no number or no score; names the line.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, "a CSV file of cells"), newline=""))
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path}: expected the columns {','.join(COLUMNS)}; missing: {', '.join(missing)}.")
        return [_row(path, reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise InputError(f"{path}: expected a CSV file of cells, found: {error}.") from error


def refuse_wild(scores: Mapping[str, float], where: str) -> None:
    """Raises InputError for a score beyond 0..1 (0..2 of `BEYOND`), or a length below 0; NaN is one that is not
    defined."""
    for name, value in scores.items():
        if name in LENGTHS and (math.isnan(value) or 0 <= value < math.inf):
            continue
        if name in LENGTHS:
            raise InputError(f"{where}: {name}: expected pixels, 0 or more, found {value:.6g}.")
        most = 2 if name in BEYOND else 1
        if not (math.isnan(value) or -SLACK <= value <= most + SLACK):
            hint = " In per cent? Divide by 100." if 1 < value <= 100 else ""
            raise InputError(f"{where}: {name}: expected a share, 0..1, found {value:.6g}.{hint}")


def with_unit(score: str) -> str:
    """A score as an axis names it, with its unit where it has one."""
    return f"{score} (pixels)" if score in LENGTHS else score


def _row(path: Path, number: int, line: dict[str, str]) -> Row:
    if None in line:
        raise InputError(f"{path}, line {number}: expected as many cells as columns, found more (a decimal comma?).")
    try:
        scores = scores_of({name: value for name, value in line.items() if value})
        steps, images, seconds = int(line["steps"]), int(line["images"]), float(line["seconds"])
        refuse_wild(scores, f"{path}, line {number}")
        if not (steps >= 0 and images >= 0 and 0 <= seconds < math.inf):
            raise InputError(f"{path}, line {number}: expected steps, images and seconds of 0 or more.")
        return Row(
            line["arm"], line["dataset"], int(line["seed"]), line["split"], scores, steps, images, seconds,
            line["commit"],
        )  # fmt: skip
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}, line {number}: expected numbers after arm, dataset, seed, found: {error}."
        ) from error
