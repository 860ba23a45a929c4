"""Cells to processes: what is kept, what is run and why, on this machine or through ray."""

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from segkd.ablation.cell import STOPPED, State, read_state, write_state
from segkd.ablation.identity import differences
from segkd.ablation.progress import Watcher
from segkd.ablation.resolve import Cell
from segkd.disk import write_whole
from segkd.engine.signals import interruption
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
        keep_code: whether cells stay valid when nothing but the code changed.
    """

    out: Path
    processes: int
    threads: int
    engine: str
    keep_code: bool = False


@dataclass(frozen=True)
class Task:
    """A cell, its folder, whether it must run, why (new, changed, failed before, unfinished), whether the folder holds
    a result of something else."""

    cell: Cell
    folder: Path
    run: bool
    why: str
    stale: bool = False


class Job(ABC):
    """A cell at work."""

    @abstractmethod
    def poll(self) -> int | None:
        """Its exit status, or None while it works."""

    @abstractmethod
    def stop(self) -> None:
        """Asks it to save and leave."""


class Engine(ABC):
    """Where cells run."""

    @abstractmethod
    def start(self, folder: Path, slot: int) -> Job:
        """Starts the cell of `folder`; `slot` numbers those that run side by side from 0."""


@final
class LocalJob(Job):
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def poll(self) -> int | None:
        """Its exit status, or None."""
        return self.process.poll()

    def stop(self) -> None:
        """SIGTERM: training saves a checkpoint and leaves."""
        self.process.terminate()


@final
class LocalEngine(Engine):
    """Processes of this machine with `threads` CPU threads each; where there are GPUs, one after the other in turn."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def start(self, folder: Path, slot: int) -> Job:
        """Starts a process whose output goes to log.txt."""
        return LocalJob(spawn(folder, self.threads, visible_device(slot)))


@final
class RayJob(Job):
    """A task of a ray cluster."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference

    def poll(self) -> int | None:
        """Its exit status, or None."""
        import ray

        ready, _ = ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return int(ray.get(self.reference))
        except (ray.exceptions.RayError, KeyboardInterrupt):
            return STOPPED

    def stop(self) -> None:
        """Cancels the task; the cell sees its standard input close, saves and leaves."""
        import ray

        ray.cancel(self.reference)


@final
class RayEngine(Engine):
    """A ray cluster (RAY_ADDRESS, or a local one of as many CPUs as are asked for); folders must be shared by all."""

    def __init__(self, threads: int, processes: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise InputError("--engine ray needs ray: pip install 'segkd[ray]'. Or use --engine local.") from error
        here: dict[str, Any] = {"num_cpus": processes * threads, "include_dashboard": False}
        ray.init(ignore_reinit_error=True, log_to_driver=False, **({} if os.environ.get("RAY_ADDRESS") else here))
        gpus = min(1.0, ray.cluster_resources().get("GPU", 0.0) / processes)
        self.threads = threads
        self.remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(wait_for)

    def start(self, folder: Path, slot: int) -> Job:
        """Hands the cell to the cluster, which picks machine and GPU."""
        return RayJob(self.remote.remote(str(folder.resolve()), self.threads, str(Path.cwd())))


def default_processes(threads: int) -> int:
    """One cell for each GPU; without any, as many as the cores carry."""
    import torch

    return torch.cuda.device_count() or max(1, (os.cpu_count() or 1) // threads)


def spawn(folder: Path, threads: int, device: str | None = None, home: str | None = None) -> subprocess.Popen:
    """The process of a cell; it ends by itself when the writing end of its standard input closes.

    It runs in the folder `home` (the working directory if None), where a user's own classes are.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    package = str(Path(__file__).parent.parent.parent)  # what we run is what cells run, installed or not
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            # -P: the working directory, where the plan's own classes may lie, comes last (`models.trust.seek_beside`)
            [sys.executable, "-P", "-m", "segkd.ablation.cell", str(folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=home,
            start_new_session=True,  # Ctrl-C is for the grid, which tells its cells
        )


def wait_for(folder: str, threads: int, home: str) -> int:
    """Runs a cell to its end (the body of a ray task)."""
    process = spawn(Path(folder), threads, home=home)
    try:
        return process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def visible_device(slot: int) -> str | None:
    """The GPU of a slot as CUDA_VISIBLE_DEVICES wants it; None without GPUs."""
    import torch

    if not torch.cuda.is_available():
        return None
    given = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    devices = given or [str(i) for i in range(torch.cuda.device_count())]
    return devices[slot % len(devices)]


def take_stock(cells: Iterable[Cell], run: Run, splits: list[str]) -> list[Task]:
    """What lies in `run.out` for each cell, and what is to do; nothing is written."""
    return [_task(cell, run.out / "cells" / cell.name, splits, run.keep_code) for cell in cells]


def _task(cell: Cell, folder: Path, splits: list[str], keep_code: bool) -> Task:
    state = read_state(folder)
    if state is None:
        return Task(cell, folder, True, "new", stale=folder.exists())
    now = cell.identity | ({"code": state.identity.get("code", {})} if keep_code else {})
    changed = differences(state.identity, now)
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


def prepare(task: Task, out: Path, splits: list[str]) -> None:
    """Makes the folder of a cell ready to run; a stale result is moved to `out`/replaced, not deleted."""
    if task.stale:
        place = out / "replaced" / f"{task.cell.name.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(task.folder, place)
    state = read_state(task.folder) or State(task.cell.identity, splits)
    state.splits, state.status = splits, "waiting"
    state.why = "" if task.why == "new" else task.why
    write_state(task.folder, state)
    write_whole(task.folder / "config.yaml", task.cell.config)


def run_tasks(tasks: list[Task], engine: Engine, slots: int, out: Path, watcher: Watcher) -> str:
    """Runs tasks, `slots` at a time; returns the name of the signal that stopped it, or "".

    A cell that fails keeps its reason in its state and stops nothing.
    """
    waiting, active = deque(tasks), dict[int, tuple[Task, Job]]()
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
                    watcher.ended(task.cell, _settle(task.folder, code, bool(signals)))
            watcher.look()
            _stop_once(active, signals, watcher)
            time.sleep(POLL)
    return signals[0] if signals else ""


def _ready(waiting: Iterable[Task], active: dict[int, tuple[Task, Job]]) -> Task | None:
    """The first task that needs no run which is still to come."""
    ahead = {task.cell.name for task in waiting} | {task.cell.name for task, _ in active.values()}
    return next((task for task in waiting if not ahead & set(task.cell.needs)), None)


def _stop_once(active: dict[int, tuple[Task, Job]], signals: list[str], watcher: Watcher) -> None:
    if signals and not watcher.stopping:
        watcher.stopping = True
        for _, job in active.values():
            job.stop()


def _settle(folder: Path, code: int, stopping: bool) -> State | None:
    """The state of a cell whose process ended; one that died without a word is marked as failed."""
    state = read_state(folder)
    if state is not None and code not in (0, 1, STOPPED) and not stopping:
        name = signal.Signals(-code).name if code < 0 else str(code)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        state.status, state.why = "failed", f"its process ended with {name}{hint}; its log.txt may say more"
        write_state(folder, state)
    return state
