"""SIGKILL at random moments and before the n-th file operation; two trainings in one folder."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.siege.stand import Ended, reach, run, scratch, start
from benchmarks.siege.table import HELD, Trial, broken, times
from benchmarks.siege.tiny import Unbroken, differences, training

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "fsync")


def operations(folder: Path, called: Callable[[int], None]) -> None:
    """In this process, from now on: calls `called(n)` before the n-th operation that changes a file below `folder`.

    Those of TensorBoard, five in six, do not count: what it keeps decides nothing.
    """
    number, below, fsync = 0, os.path.realpath(folder), os.fsync

    def hook(event: str, arguments: tuple) -> None:
        nonlocal number
        if event not in EVENTS or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        names = [a for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
        paths = [os.path.abspath(os.fsdecode(name)) for name in names]
        if event == "fsync" or any(p.startswith(below) and "tensorboard" not in p for p in paths):
            number += 1
            called(number)

    def counted(handle: int) -> None:
        hook("fsync", ())
        fsync(handle)

    os.fsync = counted
    sys.addaudithook(hook)


def count_operations(folder: Path, counted: Path) -> None:
    """Keeps the number of operations so far in `counted`, which lies elsewhere."""
    operations(folder, lambda number: counted.write_text(str(number)) and None)


def die_at(folder: Path, n: int) -> None:
    """SIGKILL before the n-th operation."""
    operations(folder, lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == n else None)


def go_on(folder: Path) -> Ended:
    """Goes on with a run, or begins it when there is none: what a user or a queue does."""
    if (folder / "run" / "config.yaml").exists():
        return run(["train", "--resume", "run"], folder)
    return run(training(Path("run")), folder)


def verdict(folder: Path, unbroken: Unbroken, recipe: str) -> Trial:
    """Goes on to the end and compares with the unbroken run."""
    ended = go_on(folder)
    fault = broken(ended, f"{recipe}, then train --resume")
    if fault or ended.status != 0:
        return fault or Trial("other", f"{recipe}, then neither begun nor resumed: {ended.words}")
    found = differences(folder / "run", unbroken.folder)
    return Trial("silent", f"{recipe}, then resumed: {'; '.join(found)}") if found else HELD


def at_operation(n: int, unbroken: Unbroken) -> list[Trial]:
    """One kill before file operation `n`."""
    with scratch() as folder:
        run(training(Path("run")), folder, before=partial(die_at, folder / "run", n))
        return [verdict(folder, unbroken, f"SIGKILL before file operation {n} of {unbroken.operations}")]


def at_random(seed: str, unbroken: Unbroken) -> list[Trial]:
    """One to three kills at random moments, those of training and of resuming."""
    draw = random.Random(seed)
    moments = [draw.uniform(0, 1.0) * unbroken.seconds for _ in range(draw.choice((1, 2, 2, 3)))]
    with scratch() as folder:
        for moment in moments:
            begun = (folder / "run" / "config.yaml").exists()
            child = start(["train", "--resume", "run"] if begun else training(Path("run")), folder)
            reach(child.pid, moment)
            child.send(signal.SIGKILL)
            child.wait()
        said = f"SIGKILL after {', '.join(f'{m:.2f}' for m in moments)} s ({seed})"
        return [verdict(folder, unbroken, said)] * len(moments)


def two_writers(seed: str, unbroken: Unbroken) -> list[Trial]:
    """A second training in the folder of a living one: refused in a sentence, and the first one is not harmed."""
    draw = random.Random(seed)
    with scratch() as folder:
        first = start(training(Path("run")), folder)
        while not first.ended and not (folder / "run" / "metrics.jsonl").exists():
            time.sleep(0.005)
        reach(first.pid, draw.uniform(0.4, 0.7) * unbroken.seconds)
        again = draw.choice((["train", "--resume", "run"], training(Path("run"))))
        first.send(signal.SIGSTOP)  # it would otherwise end while the second still waits for the lock
        second = run(again, folder)
        first.send(signal.SIGCONT)
        ended = first.wait()
        recipe = f"two writers in one folder, the second: {' '.join(map(str, again[:2]))} ({seed})"
        fault = broken(second, recipe) or broken(ended, recipe)
        if fault or ended.status != 0:
            return [fault or Trial("other", f"{recipe}: the first ended so: {ended.words}")]
        found = differences(folder / "run", unbroken.folder)
        if second.status == 0 or found:
            return [Trial("silent", f"{recipe}: status {second.status}; {'; '.join(found)}")]
        return [HELD]


def jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial; about 100 kills, `more` times as many."""
    every = random.Random(seed).sample(range(1, unbroken.operations + 1), min(times(60, more), unbroken.operations))
    return [
        *((at_operation, n, unbroken) for n in sorted(every)),
        *((at_random, f"crash {seed} {i}", unbroken) for i in range(times(24, more))),
        *((two_writers, f"two {seed} {i}", unbroken) for i in range(times(4, more))),
    ]
