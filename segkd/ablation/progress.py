"""How far a grid is, and how long it will still take."""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from segkd.ablation.cell import State
from segkd.ablation.resolve import Cell
from segkd.experiment.console import warn


@dataclass
class Watcher:
    """Progress bars on a terminal, one line per finished cell elsewhere.

    Args:
        console: where to print.
        splits: splits that the cells are scored on.
        select: the score printed for a finished cell.
        waiting: cells that are still to run.
        rates: arm -> seconds per step of its finished cells.
        slots: cells side by side.
        finished: called after each cell, to keep the CSV files up to date.
    """

    console: Console
    splits: list[str]
    select: str
    waiting: list[Cell]
    slots: int
    finished: Callable[[], None]
    rates: dict[str, list[float]] = field(default_factory=dict)
    active: dict[str, tuple[Cell, Path, TaskID, float]] = field(default_factory=dict)
    stopping: bool = False
    done: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.total = len(self.waiting)
        self.whole = self.bar.add_task("cells", total=sum(cell.steps for cell in self.waiting), text="")

    def __enter__(self) -> "Watcher":
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def started(self, cell: Cell, folder: Path) -> None:
        """A cell begins."""
        self.waiting.remove(cell)
        task = self.bar.add_task(cell.name, total=cell.steps, text="starting")
        self.active[cell.name] = (cell, folder, task, time.time())

    def ended(self, cell: Cell, state: State | None) -> None:
        """A cell ended: prints how."""
        _, _, task, _ = self.active.pop(cell.name)
        self.bar.remove_task(task)
        self.finished()
        status = "failed" if state is None else state.status
        if status == "done" and state is not None:
            self.done += 1
            self.rates.setdefault(cell.arm, []).append(state.seconds / max(cell.steps, 1))
            text = "  ".join(f"{split} {self.select} {_shown(s.get(self.select))}" for split, s in state.scores.items())
            self.console.print(f"{self.counts()}  {cell.name}  {text}  {state.seconds:.0f} s{self._left()}")
        elif status == "failed":
            self.failed += 1
            why = "it left no state" if state is None else state.why
            warn(self.console, why, f"{self.counts()}  {cell.name}  failed")
        else:
            self.console.print(f"{cell.name}  stopped; its state is saved")

    def left(self, cell: Cell, why: str) -> None:
        """A cell is not run: prints why."""
        self.waiting.remove(cell)
        self.total -= 1
        warn(self.console, why, f"{self.counts()}  {cell.name}  not run")

    def look(self) -> None:
        """Moves the bars."""
        if self.bar.disable:
            return
        steps = 0
        for cell, folder, task, _ in self.active.values():
            step, loss = last_step(folder / "run" / "metrics.jsonl")
            steps += step
            self.bar.update(task, completed=step, text=f"step {step}/{cell.steps}  {loss}")
        ended = self.bar.tasks[0].total or 0
        ended -= sum(c.steps for c in self.waiting) + sum(c.steps for c, *_ in self.active.values())
        self.bar.update(self.whole, completed=ended + steps, text=self.counts() + self._left())

    def counts(self) -> str:
        """Cells that ended of all that were to run."""
        return f"{self.done + self.failed}/{self.total}"

    def _left(self) -> str:
        seconds = remaining(self.waiting, [(cell, since) for cell, _, _, since in self.active.values()], self.rates)
        return "" if seconds is None else f"  about {_duration(seconds / self.slots)} left"


def remaining(waiting: list[Cell], active: list[tuple[Cell, float]], rates: dict[str, list[float]]) -> float | None:
    """Seconds of work left, from the seconds per step of each arm's finished cells; None before the first."""
    known = {arm: statistics.fmean(values) for arm, values in rates.items()}
    if not known:
        return None
    usual = statistics.fmean(known.values())
    left = 0.0 + sum(cell.steps * known.get(cell.arm, usual) for cell in waiting)
    now = time.time()
    return left + sum(max(0.0, cell.steps * known.get(cell.arm, usual) - (now - since)) for cell, since in active)


def last_step(path: Path) -> tuple[int, str]:
    """Step and loss of the last whole line of a metrics.jsonl, reading its end alone; (0, "") before there is one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.path.getsize(path) - 8192))
            lines = file.read().split(b"\n")
    except OSError:
        return 0, ""
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        step, loss = (found.get("step"), found.get("loss")) if isinstance(found, dict) else (None, None)
        if isinstance(step, int):
            return step, f"loss {loss:.4f}" if isinstance(loss, float) else ""
    return 0, ""


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "1 min"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
