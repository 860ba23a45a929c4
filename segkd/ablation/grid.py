"""A grid from its plan to its cells: said, run, tuned, collected."""

import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from segkd.ablation.cell import State, read_state
from segkd.ablation.engines import Engine, LocalEngine, RayEngine
from segkd.ablation.plan import Grid
from segkd.ablation.progress import Watcher
from segkd.ablation.resolve import Cell
from segkd.ablation.rows import Row, scores_of, write_rows
from segkd.ablation.runner import Run, Task, run_tasks, take_stock
from segkd.ablation.statistics import ALPHA, holm, smallest_p
from segkd.ablation.tables import counted
from segkd.disk import dump_csv, write_whole
from segkd.experiment.console import warn
from segkd.experiment.planning import FEW, STEPS
from segkd.metrics.meter import deciding_score
from segkd.types import InputError

COSTS = ("arm", "dataset", "seed", "status", "steps", "seconds", "cpu_seconds", "peak_memory_gb", "parameters", "macs",
         "why")  # fmt: skip
"""Columns of costs.csv, one line per cell."""


def run_grid(grid: Grid, cells: list[Cell], run: Run, console: Console) -> int:
    """Runs what is not done yet; returns 0, 1 when a cell failed, or 128 + the number of the signal that stopped it.

    Raises:
        InputError: the folder is not a grid's, or another process is at work in it.
    """
    claim(run.out)
    try:
        with FileLock(run.out / "lock", timeout=0):
            engine = start_engine(run)
            if grid.tune:
                trials = [cell for cell in cells if cell.seed == grid.seeds[0]]
                stopped = _run(take_stock(trials, run, ["val"]), ["val"], engine, run, console, trials=True)
                if stopped:
                    return 128 + signal.Signals[stopped].value
            final = chosen(grid, cells, run.out, console)
            tasks = take_stock(final, run, list(grid.splits))
            stopped = _run(tasks, list(grid.splits), engine, run, console)
    except Timeout as error:
        raise InputError(
            f"--out {run.out}: another `segkd ablate` is at work there. Wait for it, or stop it."
        ) from error
    if stopped:
        return 128 + signal.Signals[stopped].value
    # an arm that was chosen among fewer trials than the others is no fair part of the comparison
    tried = trial_scores(grid, cells, run.out) if grid.tune else {}
    unfair = any(isinstance(score, str) for trials in tried.values() for score in trials.values())
    ended = [read_state(task.folder) for task in tasks]
    return int(unfair or any(state is None or state.status != "done" for state in ended))


def claim(out: Path) -> None:
    """Makes the folder of a grid; refuses one that holds something else."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "cells").is_dir())):
        raise InputError(f"--out {out}: expected a new folder or one of an earlier grid, found something else there.")
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there: {error}.") from error


def start_engine(run: Run) -> Engine:
    """The engine named by `--engine`."""
    return RayEngine(run.threads, run.processes) if run.engine == "ray" else LocalEngine(run.threads)


def describe(grid: Grid, cells: Sequence[Cell], run: Run) -> list[str]:
    """What will be compared at which budget, in sentences."""
    arms, sets, seeds = len(grid.arms), len(grid.datasets), len(grid.seeds)
    lines = [
        f"{counted(arms, 'arm')} x {counted(sets, 'data set')} x {counted(seeds, 'seed')} = "
        f"{counted(arms * sets * seeds, 'cell')}; {run.processes} processes x {run.threads} threads ({run.engine}); "
        f"tuning trials on val for each arm and data set: {len(grid.tune)}"
    ]
    if seeds < 2:
        lines.append("one seed: readings, no result")
    pairs, rivals = sets * seeds, arms - 1
    lowest = max(holm([smallest_p(pairs)] * rivals), default=0.0)
    if lowest > ALPHA:
        units = f"{counted(pairs, 'pair')} and {counted(rivals, 'arm')} beside the baseline"
        lines.append(f"{units}: p cannot fall below {lowest:.4f} after Holm, so no test can reach {ALPHA}")
    for dataset in grid.datasets:
        each = {(cell.seed, cell.steps, cell.images) for cell in cells if cell.dataset == dataset}
        budgets = {(steps, images) for _, steps, images in each}
        text = " or ".join(f"{steps} optimiser steps, {images} images" for steps, images in sorted(budgets))
        equal = len(each) == len({seed for seed, *_ in each})
        lines.append(f"budget on {dataset}: {text}, {'the same for' if equal else 'UNEQUAL among'} all arms")
        beside = dict.fromkeys(
            cell.arm for cell in cells
            if cell.dataset == dataset and cell.identity["config"].get("data.unlabelled") is not None
        )  # fmt: skip
        if beside:
            lines.append(f"{dataset}: images without a label beside these in each step of {', '.join(beside)}")
        if min(steps for steps, _ in budgets) < FEW:
            lines.append(f"{dataset}: networks hardly learn before {STEPS} steps or so; such a budget says little")
    return lines


def stock_lines(tasks: Sequence[Task]) -> list[str]:
    """How many cells are done, and why the others run."""
    reasons = Counter(task.why for task in tasks if task.run)
    kept = sum(not task.run for task in tasks)
    lines = [f"{kept} of {len(tasks)} cells are done already"] if kept else []
    named = {why: next(t.cell.name for t in tasks if t.why == why) for why in reasons}
    for why, number in reasons.items():
        others = f" and {number - 1} more" if number > 1 else ""
        lines += [] if why == "new" else [f"runs again: {named[why]}{others}: {why}"]
    return lines


def plan_lines(tasks: Sequence[Task]) -> list[str]:
    """What would run and why: a line for each arm on each data set, with its seeds; then what is done."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for task in tasks:
        if task.run:
            seeds.setdefault((task.cell.name.rpartition("/")[0], task.why), []).append(task.cell.seed)
    width = max((len(name) for name, _ in seeds), default=0)
    lines = [
        f"would run: {name:<{width}}  seed {', '.join(map(str, own))} ({why})" for (name, why), own in seeds.items()
    ]
    done = sum(not task.run for task in tasks)
    kept = [f"{done} of {len(tasks)} cells are done already"] if done else []
    return [*lines, *kept, f"{counted(len(tasks) - done, 'cell')} would run"]


def chosen(grid: Grid, cells: list[Cell], out: Path, console: Console) -> list[Cell]:
    """The cells of the final comparison: of each arm and data set, the option of `tune` with the best score on val."""
    if not grid.tune:
        return cells
    tuned: dict[tuple[str, str], int] = {}
    for (arm, dataset), trials in trial_scores(grid, cells, out).items():
        options = {option: score for option, score in trials.items() if isinstance(score, float)}
        if not options:
            warn(console, f"{arm} on {dataset} is left out: no tuning trial has a score on val; see their log.txt")
            continue
        option = tuned[arm, dataset] = max(sorted(options), key=options.__getitem__)  # of equal ones the first
        score = options[option]
        if len(options) < len(trials):
            lost = [f"option {number}: {why}" for number, why in trials.items() if isinstance(why, str)]
            few = f"{arm} on {dataset} was chosen among {len(options)} of {len(trials)} trials"
            warn(console, f"{few}: {'; '.join(lost)}")
        console.print(f"tuned {arm} on {dataset}: option {option} {grid.tune[option]} (val {score:.4f})")
    if not tuned:
        raise InputError("no tuning trial has a score on val; the log.txt of each says why.")
    return [cell for cell in cells if tuned.get((cell.arm, cell.dataset)) == cell.option]


def trial_scores(grid: Grid, cells: list[Cell], out: Path) -> dict[tuple[str, str], dict[int, float | str]]:
    """For each arm and data set: option -> its score on val, or why it has none."""
    tried: dict[tuple[str, str], dict[int, float | str]] = {}
    for cell in (one for one in cells if one.seed == grid.seeds[0]):
        state, select = read_state(out / "cells" / cell.name), selected_score(cell.identity["config"])
        score = (state.scores.get("val", {}) if state else {}).get(select)
        why = (state.why if state and state.status == "failed" else "") or f"{select} is not defined on val"
        tried.setdefault((cell.arm, cell.dataset), {})[cell.option or 0] = why if score is None else float(score)
    return tried


def selected_score(config: dict[str, Any]) -> str:
    """The score on val that decides which weights are kept."""
    return config.get("evaluation.select") or deciding_score(len(config["data.classes"]))


def collect(tasks: Sequence[Task]) -> tuple[list[Row], list[list[Any]]]:
    """Rows of the cells that are done, and a line of costs for every cell."""
    rows, costs = [], []
    for task in tasks:
        state, cell = read_state(task.folder), task.cell
        if state is None or (task.stale and state.identity != cell.identity):
            continue
        costs.append([
            cell.arm, cell.dataset, cell.seed, state.status, state.steps, f"{state.seconds:.1f}",
            f"{state.cpu_seconds:.1f}", f"{state.peak_memory / 1e9:.3f}", state.parameters, state.macs, state.why,
        ])  # fmt: skip
        for split, scores in state.scores.items() if state.status == "done" else ():
            rows.append(_row(cell, state, split, scores))
    return rows, costs


def write_cells(run: Run, tasks: Sequence[Task], trials: bool = False) -> None:
    """Brings `cells.csv` and `costs.csv` up to date. Rows of the baseline come first: `segkd compare` takes the first
    arm for it. Of `trials` only costs are told: several are of one arm, data set and seed, and none is chosen yet."""
    rows, costs = collect([*tasks, *run.rest])
    rows.sort(key=lambda row: row.arm != run.baseline)
    write_rows(run.out / "cells.csv", [] if trials else rows)
    write_whole(run.out / "costs.csv", dump_csv([COSTS, *costs]))


def _row(cell: Cell, state: State, split: str, scores: dict[str, float | None]) -> Row:
    images = round(cell.images * state.steps / cell.steps)
    return Row(
        cell.arm, cell.dataset, cell.seed, split, scores_of(scores), state.steps, images, state.seconds, state.commit
    )


def _run(tasks: list[Task], splits: list[str], engine: Engine, run: Run, console: Console, trials: bool = False) -> str:
    for line in stock_lines(tasks):
        console.print(f"{'tuning on val' if trials else 'training'}: {line}")
    waiting = [task for task in tasks if task.run]
    select = selected_score(tasks[0].cell.identity["config"])
    cells = [task.cell for task in waiting]
    if trials and not waiting:
        return ""
    # before the first cell, too: a grid that is killed must leave no row of a result that is stale by now
    write_cells(run, tasks, trials)
    with Watcher(console, splits, select, cells, run.processes, lambda: write_cells(run, tasks, trials)) as w:
        stopped = run_tasks(waiting, engine, run.processes, run.out, w)
    write_cells(run, tasks, trials)
    return stopped
