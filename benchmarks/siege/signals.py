"""Signals while starting, in the loop and in a validation; a reader that leaves, a launcher that dies."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.siege.crash import go_on
from benchmarks.siege.stand import Ended, reach, run, scratch, start
from benchmarks.siege.table import HELD, Trial, broken, times
from benchmarks.siege.tiny import Unbroken, differences, training

PATIENCE = 30.0
"""Seconds within which a command must leave."""

PAIRS = {
    "SIGTERM": (signal.SIGTERM,),
    "SIGINT": (signal.SIGINT,),
    "SIGHUP": (signal.SIGHUP,),
    "SIGINT twice": (signal.SIGINT, signal.SIGINT),
    "SIGINT and SIGTERM": (signal.SIGINT, signal.SIGTERM),
}


def while_training(kind: str, seed: str, unbroken: Unbroken) -> list[Trial]:
    """A signal at a random moment; a second one follows within five milliseconds."""
    draw = random.Random(seed)
    moment, gap = draw.uniform(0.02, 1.0) * unbroken.seconds, draw.uniform(0.0002, 0.005)
    recipe = f"{kind} after {moment:.3f} s{f', {1000 * gap:.1f} ms apart' if len(PAIRS[kind]) > 1 else ''} ({seed})"
    with scratch() as folder:
        child = start(training(Path("run")), folder)
        reach(child.pid, moment)
        trained = _trained(folder / "run")
        for number in PAIRS[kind]:
            child.send(number)
            time.sleep(gap)
        ended = child.wait(PATIENCE)
        return [_left(ended, kind, recipe, folder, unbroken, trained)]


def in_validation(kind: str, seed: str, unbroken: Unbroken) -> list[Trial]:
    """A signal in a validation that takes long: the checkpoint comes before its end."""
    draw = random.Random(seed)
    long = training(Path("run"), data__embedded__val=200, data__embedded__train=4, engine__epochs=2)
    recipe = f"{kind} in a long validation ({seed})"
    with scratch() as folder:
        child = start(long, folder)
        while not child.ended and not _trained(folder / "run"):
            time.sleep(0.005)
        time.sleep(draw.uniform(0.05, 0.5))
        for number in PAIRS[kind]:
            child.send(number)
        ended = child.wait(PATIENCE)
        fault = broken(ended, recipe)
        if fault or ended.status == 0:
            return [fault or HELD]
        if not (folder / "run" / "checkpoints" / "last.pt").exists():
            return [Trial("other", f"{recipe}: left and saved nothing: {ended.words}")]
        again = run(["train", "--resume", "run"], folder)
        return [broken(again, f"{recipe}, then --resume") or (HELD if again.status == 0 else _refused(recipe, again))]


def while_starting(kind: str, seed: str, unbroken: Unbroken) -> list[Trial]:
    """A signal in the first seconds of a process of its own, which still imports torch."""
    draw = random.Random(seed)
    moment = draw.uniform(0.05, 4.0)
    recipe = f"{kind} {moment:.2f} s after the start of a new process ({seed})"
    with scratch() as folder:
        child = subprocess.Popen(
            _command(folder), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        reach(child.pid, moment)
        trained = _trained(folder / "run")
        child.send_signal(PAIRS[kind][0])
        ended = finish(child, PATIENCE)
        return [_left(ended, kind, recipe, folder, unbroken, trained)]


def reader_leaves(seed: str, unbroken: Unbroken) -> list[Trial]:
    """`segkd train | head -1`: what was trained is saved, and it goes on."""
    with scratch() as folder:
        child = subprocess.Popen(
            _command(folder), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        try:
            status = child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            return [Trial("hang", f"train | head -1 ({seed})")]
        ended = Ended(status, child.stderr.read(), False, 0.0)
        return [_left(ended, "a reader that leaves", f"train | head -1 ({seed})", folder, unbroken, False)]


def launcher_dies(seed: str, unbroken: Unbroken) -> list[Trial]:
    """SIGKILL of torchrun leaves no rank behind."""
    with scratch() as folder:
        ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
                 *_command(folder, engine__epochs=2000)[1:]]  # fmt: skip
        child = subprocess.Popen(ranks, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        since = time.monotonic()
        while child.poll() is None and not _trained(folder / "run") and time.monotonic() < since + 120:
            time.sleep(0.05)
        trained, left = _trained(folder / "run"), _children(child.pid)
        child.kill()
        child.wait()
        until = time.monotonic() + PATIENCE
        while any(map(_alive, left)) and time.monotonic() < until:
            time.sleep(0.1)
        orphans = [pid for pid in left if _alive(pid)]
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        recipe = f"SIGKILL of torchrun with two ranks ({seed})"
        if not trained:
            return [Trial("other", f"{recipe}: the ranks did not start training")]
        return [Trial("other", f"{recipe}: {len(orphans)} ranks train on") if orphans else HELD]


def _left(ended: Ended, kind: str, recipe: str, folder: Path, unbroken: Unbroken, trained: bool) -> Trial:
    """Left in time and without a traceback, saved what was trained, and ends as the unbroken run when it goes on."""
    fault = broken(ended, recipe)
    if fault:
        return fault
    if trained and ended.status not in (0, -signal.SIGKILL) and not (folder / "run/checkpoints/last.pt").exists():
        return Trial("other", f"{recipe}: nothing saved; status {ended.status}; said: {ended.words}")
    again = go_on(folder) if ended.status else ended
    if again.status:
        return broken(again, f"{recipe}, then train --resume") or _refused(recipe, again)
    found = differences(folder / "run", unbroken.folder)
    return Trial("silent", f"{recipe}, then resumed: {'; '.join(found)}") if found else HELD


def _refused(recipe: str, ended: Ended) -> Trial:
    return Trial("other", f"{recipe}, then --resume ends with status {ended.status}: {ended.words}")


def _trained(run: Path) -> bool:
    """Whether an optimiser step has been logged."""
    path = run / "metrics.jsonl"
    return path.exists() and '"train"' in path.read_text(errors="replace")


def _command(folder: Path, **settings: object) -> list[str]:
    return [sys.executable, "-m", "segkd.cli", *map(str, training(folder / "run", **settings))]


def finish(child: subprocess.Popen, limit: float) -> Ended:
    """Waits for a process of its own."""
    try:
        text, hung = child.communicate(timeout=limit)[0], False
    except subprocess.TimeoutExpired:
        child.kill()
        text, hung = child.communicate()[0], True
    return Ended(child.returncode, text, hung, 0.0)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial."""
    found: list[tuple] = []
    for kind in PAIRS:
        found += [(while_training, kind, f"{kind} {seed} {i}", unbroken) for i in range(times(6, more))]
        found += [(in_validation, kind, f"validation {kind} {seed} {i}", unbroken) for i in range(times(2, more))]
        found += [(while_starting, kind, f"start {kind} {seed} {i}", unbroken) for i in range(times(2, more))]
    found += [(reader_leaves, f"reader {seed} {i}", unbroken) for i in range(times(1, more))]
    return [*found, *((launcher_dies, f"launcher {seed} {i}", unbroken) for i in range(times(1, more)))]
