import errno
import os
import threading
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkd.engine.board import Board


@pytest.fixture
def board(tmp_path):
    before = threading.excepthook
    made = Board(tmp_path, 0)
    yield made
    made.close()
    threading.excepthook = before


def read(board: Board) -> EventAccumulator:
    return EventAccumulator(str(board.folder)).Reload()


def test_what_is_flushed_can_be_looked_at_while_the_run_goes_on(board):
    board.scalar("val/miou", 0.5, 3)
    board.picture("panel", np.zeros((7, 9, 3), np.uint8), 3)
    board.flush()
    seen = read(board)
    assert [(one.step, one.value) for one in seen.Scalars("val/miou")] == [(3, 0.5)]
    assert [(one.height, one.width) for one in seen.Images("panel")] == [(7, 9)]


def test_closing_waits_for_what_is_written_but_not_for_ever(board, monkeypatch):
    done, writer, close = [], board.writer, board.writer.close

    def slowly():
        time.sleep(0.3)
        done.append(True)

    monkeypatch.setattr(board.writer, "close", slowly)
    board.close()
    assert done == [True]
    monkeypatch.setattr("segkd.engine.board.PATIENCE", 0.1)
    held, before = threading.Event(), set(threading.enumerate())
    monkeypatch.setattr(board.writer, "close", lambda: held.wait(20))
    start = time.perf_counter()
    board.close()
    assert time.perf_counter() - start < 10
    assert [one.daemon for one in set(threading.enumerate()) - before] == [True]  # else Python waits for it at its end
    held.set()
    monkeypatch.setattr(writer, "close", close)
    writer.close()  # else its thread writes where the folder was


def test_a_fault_is_said_once_in_the_systems_words_and_ends_the_view(board, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "events")

    writer = board.writer
    monkeypatch.setattr(writer, "add_scalar", full)
    board.scalar("loss", 1.0, 1)
    (said,) = board.faults()
    assert f"{board.folder}: TensorBoard's events cannot be written any more (No space left on device)." in said
    board.scalar("loss", 1.0, 2), board.flush()
    assert board.faults() == []
    writer.close()  # else its thread writes where the folder was


def test_the_error_of_tensorboards_thread_alone_is_silent_and_the_hook_comes_back(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda found: seen.append(found.exc_type))
    former, board = threading.excepthook, Board(tmp_path, 0)

    def dies():
        raise KeyError("mine")

    class _AsyncWriterThread(threading.Thread):
        pass

    for kind in (threading.Thread, _AsyncWriterThread):
        one = kind(target=dies)
        one.start(), one.join()
    assert seen == [KeyError]
    board.close()
    assert threading.excepthook is former
