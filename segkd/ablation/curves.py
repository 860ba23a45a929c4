"""How scores on val grew while the arms of a comparison trained: read from the records of their runs, written as CSV.

The score of a curve is that of the student at that step, as training looked at it; the student that is kept, and that
tables compare, is the best of them.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from segkd.ablation.rows import EVERY, LENGTHS, SCORES, Row, columns_of, refuse_wild
from segkd.ablation.statistics import Comparison
from segkd.disk import dump_csv, read_text, write_whole
from segkd.engine.record import read_lines
from segkd.types import InputError

RISE = 0.005
"""What a score must have gained between its last two looks, in the mean, to be called unfinished: half a point."""

COLUMNS = ("arm", "dataset", "seed", "step", *SCORES)
"""What every `curves.csv` begins with; other scores follow."""

Points = dict[int, float]
"""A score by optimiser step."""


@dataclass(frozen=True)
class Record:
    """The validations of one training: by optimiser step, what was scored."""

    arm: str
    dataset: str
    seed: int
    looks: dict[int, dict[str, float]]

    def points(self, score: str) -> Points:
        """One score by step, where it was taken."""
        return {step: look[score] for step, look in self.looks.items() if score in look}


def records_of(rows: Sequence[Row]) -> list[Record]:
    """The validations of all trainings of which the record is kept, in the order of their rows.

    Raises:
        InputError: a `curves.csv` lacks a column, or holds something that is no number; names the line.
    """
    there = {(row.arm, *row.unit): row.record for row in rows if row.record is not None}
    tables = {path: _table(path) for path in set(there.values()) if path.suffix == ".csv"}
    found = [Record(*key, tables[path].get(key, {}) if path in tables else _looks(path)) for key, path in there.items()]
    return [record for record in found if record.looks]


def kept_curves(folder: Path) -> Path | None:
    """The `curves.csv` in a folder that `write_curves` wrote; None for another of that name, or none."""
    path = folder / "curves.csv"
    ours = path.is_file() and read_text(path, "a CSV file of validations").startswith(",".join(COLUMNS))
    return path if ours else None


def write_curves(path: Path, records: Sequence[Record]) -> None:
    """One line for each validation: arm, data set, seed, optimiser step, scores; empty where one is not defined."""
    names = columns_of(look for one in records for look in one.looks.values())
    lines: list[Sequence[object]] = [(*COLUMNS[:4], *names)]
    for one in records:
        for step, look in one.looks.items():
            lines.append((one.arm, one.dataset, one.seed, step, *(look.get(name, "") for name in names)))
    write_whole(path, dump_csv(lines))


def unfinished(records: Sequence[Record], comparison: Comparison) -> list[str]:
    """A sentence for each data set where the score on val still rose when trainings ended: the arms whose mean rose by
    `RISE` or more between their last two looks, most trainings having their best at the last."""
    score, sign, sentences = comparison.score, comparison.sign, list[str]()
    if score in LENGTHS:  # pixels: half a point says nothing of them
        return sentences
    for dataset in dict.fromkeys(one.dataset for one in records):
        parts = []
        for arm in (arm.name for arm in comparison.arms):
            curves = [[sign * value for value in one.points(score).values()] for one in records
                      if (one.arm, one.dataset) == (arm, dataset)]  # fmt: skip
            curves = [values for values in curves if len(values) > 1]
            best = sum(values[-1] == max(values) for values in curves)
            if 2 * best > len(curves) and (rise := fmean(values[-1] - values[-2] for values in curves)) >= RISE:
                parts.append(f"{arm} by {rise:.4f} ({best} of {len(curves)} trainings were best at their last look)")
        if parts:
            sentences.append(
                f"{score} on val of {dataset} was still getting better when training ended, since the look before the "
                f"last: {', '.join(parts)}. The budget is short: with more steps arms may come in another order."
            )
    return sentences


def _table(path: Path) -> dict[tuple[str, str, int], dict[int, dict[str, float]]]:
    """What `write_curves` wrote, by arm, data set and seed."""
    reader = csv.DictReader(io.StringIO(read_text(path, "a CSV file of validations"), newline=""))
    found: dict[tuple[str, str, int], dict[int, dict[str, float]]] = {}
    try:
        later = [name for name in reader.fieldnames or () if name in EVERY and name not in SCORES]
        for line in reader:
            scores = {name: float(line[name]) for name in (*SCORES, *later) if line[name]}
            refuse_wild(scores, f"{path}, line {reader.line_num}")
            found.setdefault((line["arm"], line["dataset"], int(line["seed"])), {})[int(line["step"])] = scores
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}, line {reader.line_num}: expected the columns {','.join(COLUMNS)} as segkd compare writes them, "
            f"found: {error!r}. Compare the runs again, or move the file away."
        ) from error
    return found


def _looks(path: Path) -> dict[int, dict[str, float]]:
    """Of a step that was looked at twice, as a resumed run does, the last look counts."""
    lines = [line for line in read_lines(path) if line.get("kind") == "val"]
    found = {line["step"]: {s: float(line[s]) for s in EVERY if line.get(s) is not None} for line in lines}
    return {step: found[step] for step in sorted(found)}
