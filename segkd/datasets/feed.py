"""Batches from worker processes, and the trouble of such processes in words: none is waited for in vain."""

import ctypes
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from multiprocessing.queues import Queue
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any, Generic, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from segkd.types import InputError, reason_of

T = TypeVar("T")
SHARED = "/dev/shm"
"""Where Linux keeps the memory that processes share; containers have 64 MB of it unless they are told otherwise."""

STUCK = 600
"""Seconds without any batch after which the workers are given up."""

FILES = 64
"""Files that a process has open beside the tensors that its workers send."""


class Feed(Generic[T]):
    """The batches of `batches` (lists of keys of `dataset`), loaded by `workers` processes, or here when 0.

    Content and order do not depend on the workers. They send finished batches through shared memory where there is
    enough of it and of file handles; else arrays through pipes, which are put together here: the same bits, a little
    slower, and `said` is the sentence to say.

    Args:
        dataset: a key -> an item; an InputError of it is raised here.
        batches: lists of keys.
        collate: items -> a batch.
        workers: processes.
        prefetch: batches that each prepares ahead.
        size: items of a batch.
        pack: items -> what is sent of them through a pipe; the result is collated here.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: Iterable[Sequence[tuple[int, ...]]],
        collate: Callable[[Sequence[Any]], T],
        workers: int,
        *,
        prefetch: int,
        size: int,
        pack: Callable[[Sequence[Any]], list[Any]] = list,
    ) -> None:
        self.dataset, self.batches, self.collate, self.pack = dataset, batches, collate, pack
        self.workers, self.prefetch = workers, prefetch
        self.said = self._narrow(size) if workers else ""

    def __iter__(self) -> Iterator[T]:
        before = set(multiprocessing.active_children())
        stream = iter(self._loader())
        mine = set(multiprocessing.active_children()) - before
        # at the latest when Python ends, which waits for them: those that hang do not listen to SIGTERM
        kill = Finalize(None, end_workers, args=(mine,), exitpriority=100)
        try:
            while True:
                try:
                    found = self._next(stream)
                except InputError:  # torch would wait five seconds for each one that hangs
                    kill()
                    raise
                if found is None:
                    return
                if isinstance(found, Fault):
                    raise InputError(found.sentence)
                yield self.collate(found) if isinstance(found, list) else found
        finally:
            # an exception on its way holds the stream, which would shut them down when nobody does
            shut_down = getattr(stream, "_shutdown_workers", None)
            if shut_down is not None:
                shut_down()
            kill()

    def _loader(self) -> DataLoader:
        single_threaded_opencv()
        through_pipes = bool(self.said)
        return DataLoader(
            Guarded(self.dataset),
            batch_sampler=self.batches,  # type: ignore[arg-type]
            num_workers=self.workers,
            collate_fn=Packing(self.pack if through_pipes else self.collate),
            worker_init_fn=prepare_worker,
            generator=torch.Generator(),  # the loader must not draw from the global stream
            pin_memory=torch.cuda.is_available() and not through_pipes,
            prefetch_factor=self.prefetch if self.workers else None,
            timeout=STUCK if self.workers else 0,
        )

    def _next(self, stream: Iterator[Any]) -> Any:
        """The next batch or fault, None at the end."""
        try:
            return next(stream, None)
        except (RuntimeError, OSError, EOFError) as error:
            # an error of the dataset's own comes with the worker's traceback: it is no trouble of processes
            if not self.workers or str(error).startswith("Caught "):
                raise
            reason = reason_of(error)
            raise InputError(
                f"data.workers: a worker process ended or stopped sending ({reason}). Where memory is short, lower "
                "data.workers (0 loads in the main process), data.batch_size or data.size; a container gets more "
                "shared memory with --shm-size=2g, a shell more open files with ulimit -n 4096. What was saved is kept."
            ) from error

    def _narrow(self, size: int) -> str:
        """Why batches cannot travel through shared memory; "" when they can."""
        key = next(iter(self.batches), None)
        if key is None or not os.path.isdir(SHARED):
            return ""
        ahead = (self.prefetch * self.workers + 2) * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        needed = 1.25 * ahead * size * bytes_of(self.collate([self.dataset[key[0]]]))
        free, files = shutil.disk_usage(SHARED).free, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if needed > free:
            return (
                f"{SHARED} has {free / 1e6:.0f} MB free, batches ahead of time need {needed / 1e6:.0f}: they travel "
                "through pipes, a little slower. A container gets more with --shm-size=2g."
            )
        if 4 * ahead + FILES > files:
            return f"only {files} files may be open (ulimit -n): batches travel through pipes, a little slower."
        return ""


def single_threaded_opencv() -> None:
    """Keeps OpenCV to one thread in this process and in those that it forks from now on.

    A fork copies OpenCV's pool without its threads, and the copy waits for them forever: the pool has to go before.
    """
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class Fault:
    """The sentence of an InputError on its way from a worker: torch would add a traceback."""

    sentence: str


class Guarded(Dataset[Any]):
    """A dataset whose InputErrors are returned."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.dataset[key]
        except InputError as error:
            return Fault(str(error))


class Packing:
    """Collates unless there is a fault, which comes alone."""

    def __init__(self, collate: Callable[[Sequence[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[Any]) -> Any:
        """A batch, or the first fault."""
        return next((item for item in items if isinstance(item, Fault)), None) or self.collate(items)


def bytes_of(content: Any) -> int:
    """Bytes of the tensors in a batch, each counted once."""
    found: dict[int, int] = {}

    def look(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            found[part.data_ptr()] = part.nbytes
        elif is_dataclass(part):
            for field in fields(part):
                look(getattr(part, field.name))
        elif isinstance(part, tuple | list):
            for one in part:
                look(one)

    look(content)
    return sum(found.values())


def end_workers(workers: Iterable[multiprocessing.process.BaseProcess]) -> None:
    """Ends processes that may not listen, all of them."""
    with _deaths_unheard():
        for act in (lambda worker: worker.kill(), lambda worker: worker.join(timeout=5)):
            for worker in workers:
                with suppress(ValueError):
                    act(worker)


@contextmanager
def _deaths_unheard() -> Iterator[None]:
    """No SIGCHLD is answered: torch's answer to a worker that was killed is an exception, wherever the code is."""
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if here else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)


def prepare_worker(_: int) -> None:
    """Leaves Ctrl-C and SIGTERM to the main process, ends with it, and ends when it cannot send."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    # Python's own answer to a batch that cannot be sent is to drop it, and the main process waits for it for ever
    Queue._on_queue_feeder_error = staticmethod(_cannot_send)  # type: ignore[attr-defined]
    # a signal that ends the main process while it takes a batch would leave a traceback of Python's thread here
    sys.excepthook = _unless_left


def _cannot_send(error: Exception, _: object) -> None:
    os.write(2, f"segkd: a data worker cannot send its batch: {error}\n".encode("utf-8", "replace"))
    os._exit(1)


def _unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The hook of a worker: that the main process no longer listens is no fault of it, and is said there."""
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


def end_with_parent(number: int) -> None:
    """Has the system send this process a signal when its parent dies, where the system can (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, int(number), 0, 0, 0)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died in between
        os.kill(os.getpid(), number)
