"""Processes of their own that start in milliseconds, forked from one that has imported what commands need.

They have a session, signals and an end of their own, and share nothing but the seconds of the imports. That commands
start in a fresh interpreter, too, is shown by tests/test_cli.py, tests/walk/test_wheel.py and the cells of the grid
that tests/walk/test_grid.py kills.
"""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

import pytest

IMPORTED = (
    *("torch", "torch.distributed", "timm", "segmentation_models_pytorch", "albumentations", "accelerate"),
    *("torch.utils.tensorboard", "segkd.experiment.training", "segkd.experiment.settings", "segkd.ablation.commands"),
    "tests.warmed",
)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(list(IMPORTED))


class Running:
    """A process in a session of its own; what it prints goes to one file."""

    def __init__(self, function: Callable, arguments: tuple, cwd: Path | None, environment: Mapping[str, str]) -> None:
        handle, self.said = tempfile.mkstemp()
        os.close(handle)
        self.process = FORKS.Process(target=_become, args=(self.said, cwd, dict(environment), function, arguments))
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """The status of a process that has ended, -n where signal n ended it."""
        return self.process.exitcode

    def end(self, limit: float = 240) -> tuple[int, str]:
        """Waits for the end: the status, and what was printed."""
        self.process.join(limit)
        text = self.text()
        if self.process.exitcode is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"still running after {limit} seconds: {text}")
        Path(self.said).unlink()
        return self.process.exitcode, text

    def text(self) -> str:
        return Path(self.said).read_text(encoding="utf-8", errors="replace")

    def send(self, number: int) -> None:
        """Sends a signal to the process and its own children, as a terminal does."""
        os.killpg(self.pid, number)


class Warm:
    """Starts processes; those that still run when the tests end are killed."""

    def __init__(self) -> None:
        self.running: list[Running] = []

    def start(self, function: Callable, *arguments: object, cwd: Path | None = None, **environment: str) -> Running:
        """`function(*arguments)`, which must be importable, in the folder `cwd` and with these variables."""
        self.running.append(Running(function, arguments, cwd, environment))
        return self.running[-1]

    def segkd(self, *arguments: object, cwd: Path | None = None, **environment: str) -> Running:
        """`segkd ARGUMENTS`."""
        return self.start(segkd, *map(str, arguments), cwd=cwd, **environment)

    def ranks(self, function: Callable, *arguments: object, cwd: Path | None = None) -> list[Running]:
        """Two processes of one training, as a launcher starts them."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        return [
            self.start(function, *arguments, cwd=cwd, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
            for rank in range(2)
        ]

    def run(self, *arguments: object, cwd: Path | None = None, limit: float = 240) -> tuple[int, str]:
        """`segkd ARGUMENTS` to its end: the status, and what it printed."""
        return self.segkd(*arguments, cwd=cwd).end(limit)


def end_well(*processes: Running) -> None:
    """Waits for the end of all, which has to be a good one."""
    ended = [one.end() for one in processes]
    assert all(status == 0 for status, _ in ended), ended


@pytest.fixture(scope="session")
def warm():
    """Starts processes that are real and warm: `Warm`."""
    with patch.dict(os.environ, OMP_NUM_THREADS="1"):
        forkserver.ensure_running()
    maker = Warm()
    yield maker
    for one in maker.running:
        with suppress(ProcessLookupError):
            one.send(signal.SIGKILL)


def _become(said: str, cwd: Path | None, environment: dict[str, str], function: Callable, arguments: tuple) -> None:
    os.setsid()
    for target, name, flags in ((0, os.devnull, os.O_RDONLY), (1, said, os.O_WRONLY), (2, said, os.O_WRONLY)):
        os.dup2(os.open(name, flags | os.O_APPEND), target)
    for stream, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, stream, os.fdopen(number, "w", buffering=1, encoding="utf-8"))
    os.environ |= environment
    os.chdir(cwd or ".")
    sys.exit(function(*arguments))


def segkd(*arguments: str) -> int:
    """What `segkd ARGUMENTS` runs."""
    from segkd.cli import main

    sys.argv = ["segkd", *arguments]
    return main()
