"""Cells to jobs: what is kept, what is run and why, in which order."""

import os
import signal
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkd.ablation.cell import STOPPED, State, read_state, write_state
from segkd.ablation.engines import Engine, Job
from segkd.ablation.identity import config_today, differences
from segkd.ablation.progress import Watcher
from segkd.ablation.resolve import Cell, content_digest, without_place
from segkd.disk import write_whole
from segkd.engine.signals import interruption
from segkd.experiment.folder import checkpoint_of
from segkd.types import InputError

POLL = 0.5
"""Seconds between two looks at the running cells."""


@dataclass(frozen=True)
class Run:
    """How a grid is run.

    Attributes:
        out: its folder.
        processes: cells side by side.
        threads: CPU threads of each.
        engine: "local" or "ray".
        keep_code: whether cells stay valid when nothing but the code changed, settings that came with it included.
        baseline: the arm that stands first in `cells.csv`.
        rest: of a part of a grid what lies there of the rest, whose lines stay in `cells.csv`; it is not run.
    """

    out: Path
    processes: int
    threads: int
    engine: str
    keep_code: bool = False
    baseline: str | None = None
    rest: "tuple[Task, ...]" = ()


@dataclass(frozen=True)
class Task:
    """A cell, its folder, whether it must run, why (new, changed, failed before, unfinished), whether the folder holds
    a result of something else."""

    cell: Cell
    folder: Path
    run: bool
    why: str
    stale: bool = False


def take_stock(cells: Iterable[Cell], run: Run, splits: list[str]) -> list[Task]:
    """What lies in `run.out` for each cell, and what is to do; nothing is written."""
    named = {cell.name: cell for cell in cells}
    found: dict[str, Task] = {}

    def look(cell: Cell) -> Task:
        if cell.name not in found:
            read = [look(named[name]) for name in cell.needs if name in named]
            found[cell.name] = _task(cell, run, splits, read)
        return found[cell.name]

    return [look(cell) for cell in named.values()]


def _task(cell: Cell, run: Run, splits: list[str], read: list[Task]) -> Task:
    """`read`: the tasks of the runs that it reads."""
    folder = run.out / "cells" / cell.name
    state = read_state(folder)
    if state is None:
        return Task(cell, folder, True, "new", stale=folder.exists())
    then, now = state.identity, cell.identity
    if run.keep_code:
        config = _config_then(then["config"], now["config"], cell.config, folder, run.out)
        for key, digest in _runs_there(read).items():
            if config.get(key) == digest:  # it read the run that lies there, and that is kept
                config[key] = now["config"][key]
        then = {**then, "config": config, "code": now["code"]}
    changed = differences(then, now)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return Task(cell, folder, True, f"changed: {'; '.join(changed[:3])}{more}", stale=True)
    if state.status == "failed":
        return Task(cell, folder, True, f"failed before: {state.why}")
    missing = [split for split in splits if split not in state.scores]
    if state.status == "done" and not missing:
        return Task(cell, folder, False, "done")
    return Task(
        cell, folder, True, f"not yet scored on {', '.join(missing)}" if state.status == "done" else "unfinished"
    )


def _runs_there(read: list[Task]) -> dict[str, str]:
    """What stands in a configuration for the runs that lie there, of those that are kept."""
    states = [(task.cell.arm, read_state(task.folder)) for task in read if not task.stale]
    return {f"needs.{arm}": content_digest(state.identity) for arm, state in states if state is not None}


def _config_then(then: dict[str, Any], now: dict[str, Any], planned: str, folder: Path, out: Path) -> dict[str, Any]:
    """What a cell was configured to, with settings that came with later code at their defaults."""
    if then.keys() == now.keys():
        return dict(then)
    try:
        today = config_today(folder / "config.yaml", planned)
    except InputError:
        return dict(then)
    needs = {key: value for key, value in then.items() if key.startswith("needs.")}
    return {key: without_place(value, out) for key, value in today.items()} | needs


def prepare(task: Task, out: Path, splits: list[str]) -> None:
    """Makes the folder of a cell ready to run; a stale result is moved to `out`/replaced, not deleted."""
    if task.stale:
        # no name of an arm or a data set has an @: with a hyphen a/b-c and a-b/c would go to one place
        place = out / "replaced" / f"{task.cell.name.replace('/', '@')}-{time.strftime('%Y%m%d-%H%M%S')}"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(task.folder, place)
    state = read_state(task.folder) or State(task.cell.identity, splits)
    if not checkpoint_of(task.folder / "run").is_file():  # nothing of it was trained by other code, which may be kept
        state.identity = task.cell.identity
    state.splits, state.status = splits, "waiting"
    state.why = "" if task.why == "new" else task.why
    write_state(task.folder, state)
    write_whole(task.folder / "config.yaml", task.cell.config)


def run_tasks(tasks: list[Task], engine: Engine, slots: int, out: Path, watcher: Watcher) -> str:
    """Runs tasks, `slots` at a time; returns the name of the signal that stopped it, or "".

    A cell that fails, or that something else stops, halts nothing but those that read its run: they wait. Why it failed
    is in its state.
    """
    waiting, active, lost = deque(tasks), dict[int, tuple[Task, Job]](), set[str]()
    splits = watcher.splits
    with interruption() as told:
        signals = told.received
        while active or (waiting and not signals):
            for slot in [s for s in range(slots) if s not in active and waiting and not signals]:
                task = _ready(waiting, active)
                if task is not None:
                    waiting.remove(task)
                    prepare(task, out, splits)
                    active[slot] = (task, engine.start(task.folder, slot))
                    watcher.started(task.cell, task.folder)
            for slot, (task, job) in list(active.items()):
                code = job.poll()
                if code is not None:
                    del active[slot]
                    state = _settle(task.folder, code, bool(signals))
                    watcher.ended(task.cell, state)
                    if state is None or (state.status != "done" and not signals):
                        lost.add(task.cell.name)
            while task := next((one for one in waiting if lost & set(one.cell.needs)), None):
                waiting.remove(task)
                lost.add(task.cell.name)
                _leave(task, sorted(lost & set(task.cell.needs)), out, watcher)
            watcher.look()
            _stop_once(active, signals, watcher)
            time.sleep(POLL)
    return signals[0] if signals else ""


def _ready(waiting: Iterable[Task], active: dict[int, tuple[Task, Job]]) -> Task | None:
    """The first task that needs no run which is still to come."""
    ahead = {task.cell.name for task in waiting} | {task.cell.name for task, _ in active.values()}
    return next((task for task in waiting if not ahead & set(task.cell.needs)), None)


def _leave(task: Task, failed: list[str], out: Path, watcher: Watcher) -> None:
    """Says that a cell waits for a run that it reads, in its state too."""
    prepare(task, out, watcher.splits)
    state = read_state(task.folder)
    assert state is not None
    state.why = f"waits for the run of {', '.join(failed)}, which did not end well"
    write_state(task.folder, state)
    watcher.left(task.cell, state.why)


def _stop_once(active: dict[int, tuple[Task, Job]], signals: list[str], watcher: Watcher) -> None:
    if signals and not watcher.stopping:
        watcher.stopping = True
        for _, job in active.values():
            job.stop()


def _settle(folder: Path, code: int, stopping: bool) -> State | None:
    """The state of a cell whose process ended; one that died without a word is marked as failed."""
    state = read_state(folder)
    if state is not None and code not in (0, STOPPED) and state.status != "failed" and not stopping:
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        state.status, state.why = "failed", f"its process ended with {name}{hint}; its log.txt may say more"
        write_state(folder, state)
    return state
