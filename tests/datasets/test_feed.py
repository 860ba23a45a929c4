import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from segkd.datasets import feed
from segkd.datasets.feed import Feed, bytes_of
from segkd.types import Batch, InputError


class Numbers(Dataset):
    """Key (0, n) -> n; from `bad` on `trouble` happens."""

    def __init__(self, trouble=lambda: None, bad=3):
        self.trouble, self.bad = trouble, bad

    def __getitem__(self, key):
        if key[1] >= self.bad:
            self.trouble()
        return key[1]


def numbers(trouble, workers=2, **changes) -> Feed:
    keys = [[(0, n)] for n in range(6)]
    return Feed(Numbers(trouble), keys, torch.tensor, workers, prefetch=1, size=1, **changes)


def refuse():
    raise InputError("mask.png: it changed")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_worker_refuses_is_a_sentence_without_a_traceback(workers):
    with pytest.raises(InputError) as found:
        list(numbers(refuse, workers))
    assert str(found.value) == "mask.png: it changed"


def test_a_worker_that_dies_is_a_paragraph():
    with pytest.raises(InputError, match=r"data\.workers.*shm-size"):
        list(numbers(lambda: os.kill(os.getpid(), signal.SIGKILL)))


def test_a_worker_that_hangs_is_given_up_and_gone(monkeypatch):
    monkeypatch.setattr(feed, "STUCK", 1)
    stream = numbers(lambda: time.sleep(600))
    with pytest.raises(InputError, match=r"data\.workers"):
        list(stream)
    assert not [child for child in torch.multiprocessing.active_children() if child.is_alive()]


def test_a_fault_of_the_code_stays_one():
    def fail():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(numbers(fail))


def test_few_open_files_mean_pipes(monkeypatch):
    monkeypatch.setattr(feed.resource, "getrlimit", lambda which: (24, 24))
    stream = numbers(lambda: None)
    assert "ulimit -n" in stream.said and [int(one) for one in stream] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("files", "local", "pipes"), [(79, 1, True), (80, 1, False), (95, 2, True), (96, 2, False)])
def test_each_batch_ahead_of_each_process_needs_four_files(monkeypatch, files, local, pipes):
    monkeypatch.setattr(feed.resource, "getrlimit", lambda which: (files, files))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    assert bool(numbers(lambda: None).said) == pipes


@pytest.mark.parametrize(("free", "pipes"), [(119, True), (120, False)])
def test_batches_ahead_have_to_fit_into_shared_memory_with_a_quarter_to_spare(monkeypatch, free, pipes):
    monkeypatch.setattr(feed.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    batches = [[(0, n)] * 3 for n in range(6)]
    said = Feed(Numbers(), batches, torch.tensor, 2, prefetch=1, size=3).said  # 4 batches of 3 numbers of 8 bytes
    assert ("shm-size" in said) == pipes


def test_loading_draws_nothing_from_the_stream_of_the_training():
    before = torch.get_rng_state()
    list(numbers(lambda: None, workers=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_bytes_of_a_batch_count_each_tensor_once():
    image, label = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    assert bytes_of((Batch(image, image, label, None, ("a", "b")), [])) == image.nbytes + label.nbytes


def test_a_child_ends_with_its_parent():
    code = (
        "import os, signal, time\nfrom segkd.datasets.feed import end_with_parent\n"
        "if os.fork() == 0:\n    end_with_parent(signal.SIGKILL)\n    print(os.getpid(), flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    assert child != parent.pid
    parent.communicate(timeout=60)  # ends when the child, which holds the pipe, has ended


def test_python_ends_though_workers_hang_and_the_stream_is_still_held():
    # torch answers the death of the first with an exception in the main thread: the others have to end all the same
    code = (
        "import time, torch\nfrom segkd.datasets.feed import Feed\n"
        "class Hanging:\n    def __getitem__(self, key):\n        return key[1] if key[1] < 6 else time.sleep(600)\n"
        "stream = iter(Feed(Hanging(), [[(0, n)] for n in range(18)], torch.tensor, 6, prefetch=1, size=1))\n"
        "print(next(stream))\ntime.sleep(0.5)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "0" in done.stdout and "Error" not in done.stderr, done.stderr


def test_a_worker_says_nothing_of_a_main_process_that_leaves_while_it_takes_a_batch():
    # DupFd is what a tensor travels as; Python's thread answers in turn: each is taken after the one before failed
    code = (
        "import os, multiprocessing.resource_sharer as sharer\n"
        "from multiprocessing.connection import SocketClient\n"
        "from segkd.datasets.feed import prepare_worker\n"
        "prepare_worker(0)\n"
        "for ends in (lambda one: one.close(), lambda one: one.send_bytes(b'?' * 40)):\n"
        "    sent = sharer.DupFd(2)\n"
        "    one = SocketClient(sent._id[0])\n"
        "    ends(one)\n"
        "    os.close(sent.detach())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr.count("Traceback") == 1 and "AuthenticationError" in done.stderr
