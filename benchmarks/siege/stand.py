"""Commands of segkd in forked children: everything is imported once, and a command then starts in milliseconds."""

import ctypes
import gc
import importlib
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

IMPORTED = (
    *("torch", "timm", "segmentation_models_pytorch", "albumentations", "kornia", "accelerate", "scipy.stats"),
    *("torch.utils.tensorboard", "safetensors.torch", "matplotlib.pyplot", "pydantic", "yaml"),
    *("segkd.experiment.training", "segkd.experiment.scoring", "segkd.report.judging", "segkd.report.commands"),
    *("segkd.report.outputs", "segkd.report.page", "segkd.analysis.tables", "segkd.ablation.commands"),
)
MEMORY = 10 << 30
"""Bytes of address space that a command may take: more is a fault, and must not take the machine along."""


def prepare() -> None:
    """Imports what commands need. Nothing is computed here: a forked child must find no threads and no state."""
    import matplotlib
    import torch

    matplotlib.use("Agg")
    torch.set_num_threads(1)
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is never collected is never written to: children share it


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status (-n: by signal n), what it printed, and whether it had to be ended."""

    status: int
    text: str
    hung: bool
    seconds: float
    """Of processor time, where known: trials do not depend on what else the machine does."""

    @property
    def words(self) -> str:
        """Its last sentence, on one line: the refusal, or the end of what it said."""
        refusal = self.text.rfind("\nsegkd ") if self.status == 2 else -1
        flat = " ".join(self.text[max(refusal, 0) :].split())
        return flat[:300] if refusal >= 0 or self.text.startswith("segkd ") else flat[-300:]

    @property
    def warnings(self) -> frozenset[str]:
        """The lines that warn."""
        return frozenset(line for line in self.text.splitlines() if line.startswith(("warning:", "not scored:")))


class Child:
    """A running command, in a session of its own."""

    def __init__(self, pid: int, said: Path) -> None:
        self.pid, self.said = pid, said

    @property
    def ended(self) -> bool:
        """Whether it has ended; it stays to be waited for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def send(self, number: int) -> None:
        """Sends a signal to the command and its own children, as a terminal does; one that has ended hears nothing."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, limit: float = 60.0) -> Ended:
        """Waits for the end, at most `limit` seconds; what is left of its process group is ended then."""
        handle = os.pidfd_open(self.pid)
        hung = not select.select([handle], [], [], limit)[0]
        os.close(handle)
        self.send(signal.SIGKILL)
        _, status, used = os.wait4(self.pid, 0)
        text = self.said.read_text(encoding="utf-8", errors="replace")
        self.said.unlink()
        return Ended(os.waitstatus_to_exitcode(status), text, hung, used.ru_utime + used.ru_stime)


def reach(pid: int, seconds: float) -> None:
    """Waits until a process has used so much processor time, or has ended."""
    try:
        while int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) < seconds * 1e9:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.002)
    except OSError:
        return


def start(
    arguments: Sequence[object], folder: Path, before: Callable[[], None] | None = None, said: Path | None = None
) -> Child:
    """Starts `segkd ARGUMENTS` in `folder`; `before` is called in the child first. What it prints goes to a file in
    `said`, which is `folder` when null."""
    handle, name = tempfile.mkstemp(prefix="said-", dir=said or folder)
    pid = os.fork()
    if pid == 0:
        _become(handle, folder)
        os._exit(_run([os.fsdecode(a) if isinstance(a, bytes) else str(a) for a in arguments], before))
    os.close(handle)
    with suppress(OSError):  # both set it: neither has to wait for the other
        os.setpgid(pid, pid)
    return Child(pid, Path(name))


def run(
    arguments: Sequence[object],
    folder: Path,
    before: Callable[[], None] | None = None,
    said: Path | None = None,
    limit: float = 60.0,
) -> Ended:
    """`start` and `wait`."""
    return start(arguments, folder, before, said).wait(limit)


def end_with_parent() -> None:
    """From now on, this process is killed when the one that started it is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _become(handle: int, folder: Path) -> None:
    end_with_parent()
    with suppress(OSError):
        os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (handle, 1), (handle, 2)):
        os.dup2(source, target)
    for stream, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, stream, os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)


def _run(arguments: list[str], before: Callable[[], None] | None) -> int:
    """What the interpreter does around `segkd`: statuses, tracebacks, waiting for threads."""
    from segkd.cli import main

    try:
        if before is not None:
            before()
        sys.argv = ["segkd", *arguments]
        status: object = main(arguments)
        threading._shutdown()
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        traceback.print_exc()
        status = 1
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return status if isinstance(status, int) else int(status is not None)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of its own for one trial, removed afterwards whatever lies in it."""
    folder = Path(tempfile.mkdtemp(prefix="siege-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
