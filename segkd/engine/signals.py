"""Signals while a run trains: noted, obeyed at the next moment that loses nothing, and at once when asked twice."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
"""What asks a run to save and leave: Ctrl-C, a cluster or `kill`, a terminal that closes."""


class Interrupted(BaseException):
    """A signal came at a moment when the run can leave at once; its checkpoint is saved. No `except Exception` of
    anyone's may take it for an error."""


GRACE = 10
"""Seconds after a signal in which what the run waits for may still come, where leaving at once would lose steps."""


@final
class Signals:
    """The signals that came, and whether the run waits for something that may never come.

    Attributes:
        received: names of the signals, in order.
    """

    def __init__(self) -> None:
        self.received: list[str] = []
        self._waits = self._patient = False

    @property
    def last(self) -> str:
        """The name of the last signal; "" when none came."""
        return self.received[-1] if self.received else ""

    def obey(self) -> None:
        """Raises `Interrupted` when a signal has come: for long work whose checkpoint is saved."""
        if self.received:
            raise Interrupted

    @contextmanager
    def waiting(self, patient: bool) -> Iterator[None]:
        """Within, the run waits and changes nothing: a signal raises `Interrupted`, after `GRACE` when `patient`."""
        try:
            self._waits, self._patient = True, patient
            if not patient:
                self.obey()
            yield
        finally:
            self._waits = False

    def note(self, number: int, _: FrameType | None = None) -> None:
        """The handler: a second Ctrl-C ends the process at once, whatever it is waiting for."""
        if number == signal.SIGINT and self.received:
            os.write(2, b"\nsegkd: interrupted twice, left at once; what was saved is kept\n")
            os._exit(128 + number)
        self.received.append(signal.Signals(number).name)
        signal.alarm(GRACE)  # again later, as what is raised here is lost where it meets a destructor
        if self._waits and not self._patient:
            raise Interrupted

    def hurry(self, *_: object) -> None:
        """The handler of the alarm that `note` sets."""
        if self._waits:
            raise Interrupted
        signal.alarm(GRACE)


@contextmanager
def interruption() -> Iterator[Signals]:
    """Collects the signals that ask to leave instead of dying of them."""
    signals = Signals()
    # nohup and shells hide SIGHUP from what shall outlive them
    chosen = [number for number in STOPPING
              if number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) != signal.SIG_IGN]  # fmt: skip
    try:
        former = {number: signal.signal(number, signals.note) for number in chosen}
        former[signal.SIGALRM] = signal.signal(signal.SIGALRM, signals.hurry)
    except ValueError:  # not the main thread: signals are not ours to handle
        yield signals
        return
    try:
        yield signals
    finally:
        signal.alarm(0)
        for number, handler in former.items():
            signal.signal(number, handler)
