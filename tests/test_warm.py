"""What tests start in place of fresh interpreters ends, speaks and dies as those do."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.warm import end_well


def look(name: str) -> None:
    print(os.getcwd(), os.environ[name], os.getsid(0) == os.getpid())


def fail() -> None:
    raise ValueError("a fault")


def wait() -> None:
    print("here", flush=True)
    time.sleep(60)


def test_folder_variables_and_session_are_its_own(warm, tmp_path):
    status, text = warm.start(look, "HERE", cwd=tmp_path, HERE="yes").end()
    assert (status, text) == (0, f"{tmp_path.resolve()} yes True\n") and "HERE" not in os.environ


def test_statuses_are_those_of_the_command_and_a_fault_is_a_traceback(warm):
    assert warm.run("--version")[0] == 0
    status, text = warm.run("nonsense")
    assert status == 2 and "no command 'nonsense'" in text
    process = warm.start(fail)
    status, text = process.end()
    assert status == 1 and "ValueError: a fault" in text
    with pytest.raises(AssertionError):
        end_well(warm.segkd("nonsense"))


def test_it_dies_by_the_signal(warm):
    process = warm.start(wait)
    while not Path(process.said).read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
