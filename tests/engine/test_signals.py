import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from segkd.engine.signals import STOPPING, Interrupted, interruption

TWICE = """
import os, signal, threading
from segkd.engine.signals import interruption
with interruption():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()
"""


@pytest.fixture
def terminal():
    """As if started from a terminal: nohup would have hidden SIGHUP from the tests too."""
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, former)


def test_signals_are_noted_and_handlers_come_back(terminal):
    before = [signal.getsignal(number) for number in STOPPING]
    with interruption() as signals:
        assert signals.last == ""
        signals.obey()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == ["SIGTERM"] and signals.last == "SIGTERM"
        with pytest.raises(Interrupted):
            signals.obey()
        with pytest.raises(Interrupted), signals.waiting(patient=False):
            raise AssertionError("nothing is waited for once a signal has come")
        with signals.waiting(patient=True):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.last == "SIGHUP"
    assert [signal.getsignal(number) for number in STOPPING] == before and signal.alarm(0) == 0


def test_a_signal_ends_a_wait():
    with interruption() as signals, pytest.raises(Interrupted), signals.waiting(patient=False):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the wait went on")


def test_what_nohup_hides_stays_hidden():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.received == []
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_second_interrupt_ends_at_once_whatever_the_process_waits_for():
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130 and "interrupted twice" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_is_lost_in_a_destructor_ends_the_wait_later(monkeypatch):
    monkeypatch.setattr("segkd.engine.signals.GRACE", 1)

    class Dying:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)  # the handler runs before this returns

    with interruption() as signals, pytest.raises(Interrupted), signals.waiting(patient=False):
        Dying()
        threading.Event().wait(20)
        raise AssertionError("the wait went on")


def test_a_signal_after_a_wait_is_noted_and_breaks_nothing_off():
    with interruption() as signals:
        for patient in (False, True):
            with signals.waiting(patient=patient):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == ["SIGTERM"] and signal.alarm(0) > 0
        signals.hurry()
        assert signal.alarm(0) > 0  # it comes again, while nothing is waited for
