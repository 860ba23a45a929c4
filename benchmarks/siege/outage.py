"""The disk fails: a file system that loses what was not flushed (a power cut), and one that is full."""

import ctypes
import fcntl
import os
import random
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.siege.crash import go_on, operations, verdict
from benchmarks.siege.stand import end_with_parent, run, scratch
from benchmarks.siege.table import HELD, Trial, broken, times
from benchmarks.siege.tiny import Unbroken, differences, training

NEW_NAMESPACE = 0x00020000
SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, struct.pack("I", 2)
"""EXT4_IOC_SHUTDOWN and its flag: from now on nothing reaches the disk, not even the journal in memory."""


def own_namespace() -> None:
    """Mounts of this process are seen by no other and end with it; without the right to it, mounting fails later.

    The process itself ends with the one that started it.
    """
    end_with_parent()
    if ctypes.CDLL(None).unshare(NEW_NAMESPACE) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)


class CannotMountError(Exception):
    """This machine lets nobody mount that."""


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    """A file system mounted on `folder/disk` with `mount ARGUMENTS`."""
    place = folder / "disk"
    place.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CannotMountError(str(error)) from error
    if done.returncode:
        raise CannotMountError(done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], capture_output=True, check=False)


def power_cut(seed: str, unbroken: Unbroken) -> list[Trial]:
    """The power goes before a file operation of a training on ext4, half the time after a flush of everything."""
    draw = random.Random(seed)
    cut = draw.randint(1, unbroken.operations)
    flush = draw.randint(1, cut) if draw.random() < 0.5 else None
    recipe = f"power cut before file operation {cut} of {unbroken.operations}, flushed before {flush} ({seed})"
    with scratch() as folder:
        try:
            image = _image(folder)
            with mounted(folder, *image) as disk:
                run(training(Path("run")), disk, partial(_lose, disk, cut, flush), said=folder)
            with mounted(folder, *image) as disk:
                return [_after(disk, folder, unbroken, recipe)]
        except CannotMountError as error:
            return [Trial("skipped", f"ext4 in a file cannot be mounted here: {error}")]


def _lose(disk: Path, cut: int, flush: int | None) -> None:
    """In a child: everything written is flushed before one operation, the power goes before another."""
    handle = os.open(disk, os.O_RDONLY)

    def called(number: int) -> None:
        if number == flush:
            ctypes.CDLL(None).syncfs(handle)
        if number == cut:
            fcntl.ioctl(handle, SHUTDOWN, WITHOUT_FLUSH)
            os.kill(os.getpid(), signal.SIGKILL)

    operations(disk / "run", called)


def _image(folder: Path) -> list[str]:
    """The arguments of `mount` for an empty file system in a file, without ext4's own cure for missing fsyncs."""
    path = folder / "image"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMountError(f"mkfs.ext4: {error}") from error
    return ["-o", "loop,noauto_da_alloc", str(path)]


def _after(disk: Path, folder: Path, unbroken: Unbroken, recipe: str) -> Trial:
    """Goes on after the cut: the unbroken run's end, its log whole or its loss said."""
    lost = {str(p.relative_to(disk)): p.stat().st_size for p in sorted((disk / "run").rglob("*")) if p.is_file()}
    ended = go_on(disk)
    recipe = f"{recipe}; left on the disk: {lost}"
    fault = broken(ended, f"{recipe}, then train --resume")
    if fault or ended.status != 0:
        return fault or Trial("other", f"{recipe}, then neither begun nor resumed: {ended.words}")
    found = differences(disk / "run", unbroken.folder)
    if found and all("metrics.jsonl" in line for line in found) and "metrics.jsonl" in ended.text:
        return HELD  # lines of the log are gone, and it says so
    return Trial("silent", f"{recipe}, then resumed: {'; '.join(found)}") if found else HELD


def full_disk(share: float, unbroken: Unbroken) -> list[Trial]:
    """A disk that holds a share of what the run writes; then room is made, and the run goes on."""
    size = max(4096, int(share * unbroken.bytes) // 4096 * 4096)
    recipe = f"a disk of {size} bytes ({share:.2f} of the run)"
    with scratch() as folder:
        try:
            with mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs") as disk:
                ended = run(training(Path("run")), disk, said=folder)
                fault = broken(ended, recipe)
                if fault:
                    return [fault]
                if ended.status not in (0, 2) or (ended.status == 2 and str(Path("run")) not in ended.text):
                    return [Trial("other", f"{recipe}: status {ended.status}; said: {ended.words}")]
                subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True, capture_output=True)
                return [verdict(disk, unbroken, recipe)]
        except CannotMountError as error:
            return [Trial("skipped", f"tmpfs cannot be mounted here: {error}")]


def power_jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial."""
    return [(power_cut, f"power {seed} {i}", unbroken) for i in range(times(24, more))]


def disk_jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial: from nothing to a little more than the run needs."""
    number = times(16, more) + 1
    return [(full_disk, 2.4 * i / (number - 1), unbroken) for i in range(number)]
