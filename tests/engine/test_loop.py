import os
import signal

import numpy as np
import pytest

from segkd.engine.checkpoint import Progress
from segkd.engine.loop import Outputs, Plan, Reporter, interruption, train
from segkd.engine.record import Recorder, read_lines
from segkd.metrics.counts import count_classes
from segkd.metrics.meter import Meter
from tests.engine.test_step import make_engine


class Notes(Reporter):
    def __init__(self):
        self.validations, self.warnings, self.steps = [], [], 0

    def advance(self, engine, loss):
        self.steps += 1

    def validated(self, epoch, scores, best):
        self.validations.append((epoch, scores["miou_image"], best))

    def warn(self, sentence):
        self.warnings.append(sentence)


def meter_of(right: int) -> Meter:
    """A meter whose image has `right` of 16 foreground pixels found."""
    label = np.ones((4, 8), np.uint8)
    label[:, 4:] = 0
    predicted = np.zeros_like(label)
    predicted[:, :4].flat[:right] = 1
    meter = Meter(["a", "b", "c"])
    meter.add("image", count_classes(predicted, label, 3))
    return meter


def run(tmp_path, batch, found, **changes):
    plan = {"epochs": 6, "per_epoch": 2, "log_every": 1, "save_every": 100, "validate_every": 1, "patience": None}
    meters, kept, notes, engine = iter(map(meter_of, found)), [], Notes(), make_engine()
    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, notes, lambda: next(meters), lambda meter: kept.append(meter.scores()))
        progress = Progress()
        how = train(engine, iter(lambda: batch, None), Plan(select="miou_image", **plan | changes), progress, outputs)
    return how, engine, notes, kept, progress


def test_the_best_is_kept_and_patience_ends_the_training(tmp_path, make_batch):
    how, engine, notes, kept, progress = run(tmp_path, make_batch(soft=False), [4, 8, 6, 7, 9, 9], patience=2)
    assert how == "stopped early" and engine.micro == 8
    assert [best for *_, best in notes.validations] == [True, True, False, False]
    assert len(kept) == 2 and progress.best == kept[-1]["miou_image"]
    assert (tmp_path / "checkpoints" / "last.pt").is_file()


def test_the_last_epoch_always_ends_with_a_validation(tmp_path, make_batch):
    how, engine, notes, *_ = run(tmp_path, make_batch(soft=False), [4] * 6, epochs=5, validate_every=2)
    assert how == "done" and [epoch for epoch, *_ in notes.validations] == [2, 4, 5] and notes.steps == 10
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "val"] == [4, 8, 10]


def test_a_silent_class_is_warned_of(tmp_path, make_batch):
    *_, notes, _, _ = run(tmp_path, make_batch(soft=False), [0] * 6)
    assert len(notes.warnings) == 1 and "class 1 is never predicted" in notes.warnings[0]


def test_a_signal_saves_and_leaves(tmp_path, make_batch):
    batch = make_batch(soft=False)

    def batches():
        for number in range(100):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, Notes(), lambda: meter_of(4), lambda meter: None)
        plan = Plan(50, 2, 1, 100, 1, None, "miou_image")
        engine = make_engine()
        assert train(engine, batches(), plan, Progress(), outputs) == "SIGTERM"
    assert engine.micro == 4 and (tmp_path / "checkpoints" / "last.pt").is_file()


def test_a_second_interrupt_ends_at_once_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruption() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals == ["SIGINT"]
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
