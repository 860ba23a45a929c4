"""Trainings that are stopped, and that go on."""

import os
import signal

import pytest
import torch

from segkd.engine.checkpoint import Progress, load_checkpoint
from segkd.engine.loop import Outputs, Plan, train
from segkd.engine.record import Recorder, read_lines
from segkd.types import InputError
from tests.engine.test_loop import Notes, meter_of, run
from tests.engine.test_step import make_engine


def test_a_signal_saves_and_leaves(tmp_path, make_batch):
    batch = make_batch(soft=False)

    def batches():
        for number in range(100):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, Notes(), lambda pause: meter_of(4), lambda meter: {})
        plan = Plan(50, 2, 1, 100, 1.0, None, "miou_image")
        engine = make_engine()
        assert train(engine, batches(), plan, Progress(), outputs) == "SIGTERM"
    assert engine.micro == 3 and (tmp_path / "checkpoints" / "last.pt").is_file()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_signal_while_waiting_for_a_batch_leaves_at_once_unless_steps_would_be_lost(
    tmp_path, make_batch, accumulate, monkeypatch
):
    """A worker that never answers must not keep the process from leaving."""
    monkeypatch.setattr("segkd.engine.signals.GRACE", 1)

    def batches():
        yield make_batch(soft=False)
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            signal.pause()

    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, Notes(), lambda pause: meter_of(4), lambda meter: {})
        engine = make_engine(accumulate=accumulate)
        assert train(engine, batches(), Plan(50, 2, 1, 100, 1.0, None, "miou_image"), Progress(), outputs) == "SIGTERM"
    assert (tmp_path / "checkpoints" / "last.pt").is_file() == (accumulate == 1)


def test_what_goes_wrong_with_the_data_is_saved_before_it_is_said(tmp_path, make_batch):
    def batches():
        yield from [make_batch(soft=False)] * 3
        raise InputError("a worker ended")

    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, Notes(), lambda pause: meter_of(4), lambda meter: {})
        with pytest.raises(InputError, match="a worker ended"):
            train(make_engine(), batches(), Plan(50, 9, 1, 100, 1.0, None, "miou_image"), Progress(), outputs)
    assert torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)["micro"] == 3


def test_a_signal_in_a_validation_leaves_it_and_the_resumed_run_begins_with_it(tmp_path, make_batch):
    def validate(pause):
        os.kill(os.getpid(), signal.SIGTERM)
        pause()
        raise AssertionError("the validation went on")

    plan = Plan(2, 2, 1, 100, 1.0, None, "miou_image")
    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, Notes(), validate, lambda meter: {})
        assert train(make_engine(), iter(lambda: make_batch(soft=False), None), plan, Progress(), outputs) == "SIGTERM"
    engine = make_engine()
    progress, _ = load_checkpoint(tmp_path / "checkpoints" / "last.pt", engine)
    assert engine.micro == 2 and progress.owed and progress.best is None
    *_, notes, kept, after = run(tmp_path, make_batch(soft=False), [4, 8], engine, progress, epochs=2)
    assert [epoch for epoch, *_ in notes.validations] == [1, 2] and len(kept) == 2 and not after.owed
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("train", 1), ("train", 2), ("val", 2), ("train", 3), ("train", 4), ("val", 4)
    ]  # fmt: skip


def test_a_run_that_nobody_hears_any_more_saves_and_leaves(tmp_path, make_batch):
    class Deserted(Notes):
        deserted = True

    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, Deserted(), lambda pause: meter_of(4), lambda meter: {})
        plan = Plan(50, 9, 1, 100, 1.0, None, "miou_image")
        assert train(make_engine(), iter(lambda: make_batch(soft=False), None), plan, Progress(), outputs) == "SIGPIPE"
    assert (tmp_path / "checkpoints" / "last.pt").is_file()


def test_a_run_folder_that_is_gone_is_said(tmp_path, make_batch):
    folder = tmp_path / "run"
    folder.mkdir()

    def validate(pause):
        folder.rename(tmp_path / "renamed")
        return meter_of(4)

    with Recorder(folder, 0, writes=True) as recorder:
        outputs = Outputs(folder, recorder, Notes(), validate, lambda meter: {})
        plan = Plan(2, 2, 1, 100, 1.0, None, "miou_image")
        with pytest.raises(InputError, match="run"):
            train(make_engine(), iter(lambda: make_batch(soft=False), None), plan, Progress(), outputs)
    assert not folder.exists() and (tmp_path / "renamed" / "checkpoints" / "last.pt").is_file()


def test_a_finished_and_a_stopped_run_take_no_step_more(tmp_path, make_batch):
    plan = Plan(2, 2, 1, 100, 1.0, 3, "miou_image")
    for progress, micro, how in ((Progress(since_best=3), 2, "stopped early"), (Progress(), 4, "done")):
        engine = make_engine()
        engine.micro = engine.step = micro
        with Recorder(tmp_path, 0, writes=True) as recorder:
            outputs = Outputs(tmp_path, recorder, Notes(), lambda pause: meter_of(4), lambda meter: {})
            assert train(engine, iter(lambda: make_batch(soft=False), None), plan, progress, outputs) == how
        assert engine.step == micro
