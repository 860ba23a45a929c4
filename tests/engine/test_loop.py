import numpy as np
import pytest
import torch

from segkd.engine.checkpoint import Progress, load_checkpoint
from segkd.engine.loop import Outputs, Pace, Plan, train
from segkd.engine.record import Recorder, read_lines
from segkd.engine.step import Diverged, Engine
from segkd.metrics.counts import count_classes
from segkd.metrics.meter import Meter
from tests.engine.test_step import make_engine


class Notes:
    deserted = False

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


def run(tmp_path, batch, found, engine=None, progress=None, **changes):
    plan = {"epochs": 6, "per_epoch": 2, "log_every": 1, "save_every": 100, "validate_every": 1.0, "patience": None}
    meters, kept, notes, engine = iter(map(meter_of, found)), [], Notes(), engine or make_engine()

    def keep(meter):
        kept.append(meter.scores())
        return {}

    with Recorder(tmp_path, engine.step, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, notes, lambda pause: next(meters), keep)
        progress = progress or Progress()
        how = train(engine, iter(lambda: batch, None), Plan(select="miou_image", **plan | changes), progress, outputs)
    return how, engine, notes, kept, progress


def test_the_best_is_kept_and_patience_ends_the_training(tmp_path, make_batch):
    how, engine, notes, kept, progress = run(tmp_path, make_batch(soft=False), [4, 8, 6, 7, 9, 9], patience=2)
    assert how == "stopped early" and engine.micro == 8
    assert [best for *_, best in notes.validations] == [True, True, False, False]
    assert len(kept) == 2 and progress.best == kept[-1]["miou_image"]
    assert (tmp_path / "checkpoints" / "last.pt").is_file()


def test_a_score_that_is_not_defined_does_not_try_patience(tmp_path, make_batch, monkeypatch):
    monkeypatch.setattr(Meter, "score", lambda self, name: float("nan"))
    how, *_, progress = run(tmp_path, make_batch(soft=False), [4] * 6, patience=1)
    assert how == "done" and progress.since_best == 0 and progress.best is None


def test_the_last_epoch_always_ends_with_a_validation(tmp_path, make_batch):
    how, engine, notes, *_ = run(tmp_path, make_batch(soft=False), [4] * 6, epochs=5, validate_every=2.0)
    assert how == "done" and [epoch for epoch, *_ in notes.validations] == [2, 4, 5] and notes.steps == 10
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "val"] == [4, 8, 10]


def due(every: Pace, per_epoch: int, epochs: int = 2, accumulate: int = 1) -> list[int]:
    plan = Plan(epochs, per_epoch, 1, 100, every, None, "miou_image")
    ends = range(accumulate, plan.total + 1, accumulate)
    return [micro for micro in ends if plan.validates(micro, accumulate)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((1.0, 4, 3), [4, 8, 12]),
        ((2.0, 4, 5), [8, 16, 20]),
        ((0.25, 8), [2, 4, 6, 8, 10, 12, 14, 16]),
        ((0.25, 10), [3, 5, 8, 10, 13, 15, 18, 20]),  # four per epoch, though 10 is no multiple of 4
        ((1.5, 4, 4), [6, 12, 16]),
        ((0.7, 10), [7, 14, 20]),  # .7 x 10 is a little more than 7
        ((0.01, 3), [1, 2, 3, 4, 5, 6]),  # no more often than every step
        ((0.25, 12, 1, 4), [4, 8, 12]),  # no more often than every optimiser step
        ((0.5, 6, 2, 2), [4, 6, 10, 12]),  # due after 3, in the middle of an accumulation: at its end
        (({0.0: 0.5}, 4), [2, 4, 6, 8]),
        (({0.0: 0.25, 1.0: 2.0}, 4, 6), [1, 2, 3, 4, 12, 20, 24]),
        (({2.0: 0.5, 0.0: 2.0}, 4, 4), [8, 10, 12, 14, 16]),  # by epoch, whatever the order of the words
        (({0.0: 1.0, 1.5: 2.0}, 4, 6), [4, 10, 18, 24]),  # half of the second was behind: the other half takes an epoch
    ],
)
def test_when_a_validation_is_due(settings, expected):
    assert due(*settings) == expected


def test_epochs_that_are_validated_often_at_the_start_alone_are_validated_then_as_they_would_be_anyway():
    assert set(due(2.0, 7, 14)) < set(due({0.0: 0.25, 4.0: 2.0}, 7, 14))
    assert [one for one in due({0.0: 0.25, 4.0: 2.0}, 7, 14) if one > 28] == [42, 56, 70, 84, 98]


def test_a_pace_holds_for_what_comes_after_its_epoch():
    plan = Plan(8, 7, 1, 100, {0.0: 0.25, 4.0: 2.0}, None, "miou_image")
    assert [plan.pace(micro) for micro in (0, 1, 28, 29, 56)] == [0.25, 0.25, 0.25, 2.0, 2.0]
    assert Plan(8, 7, 1, 100, 0.5, None, "miou_image").pace(56) == 0.5


def test_every_epoch_has_as_many_validations_as_was_asked_for():
    for per_epoch in range(4, 60):
        assert len(due(0.25, per_epoch, epochs=5)) == 20
        assert due(0.25, per_epoch, epochs=5)[3::4] == [per_epoch * epoch for epoch in range(1, 6)]


def test_validations_within_an_epoch_and_a_resumed_run_goes_on_with_them(tmp_path, make_batch):
    batch, plan = make_batch(soft=False), {"epochs": 2, "per_epoch": 8, "validate_every": 0.25}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    *_, notes, _, progress = run(whole, batch, [4, 5, 8, 6, 7, 8, 7, 6], make_engine(accumulate=2), **plan)
    assert [epoch for epoch, *_ in notes.validations] == [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
    lines = [line for line in read_lines(whole / "metrics.jsonl") if line["kind"] == "val"]
    assert [line["epoch"] for line in lines] == [epoch for epoch, *_ in notes.validations]
    assert isinstance(lines[3]["epoch"], int)  # a whole number looks like one

    # stopped after three validations: the same steps under a plan that ends there
    run(parts, batch, [4, 5, 8], make_engine(accumulate=2), epochs=1, per_epoch=6, validate_every=1 / 3)
    resumed = make_engine(accumulate=2)
    before, _ = load_checkpoint(parts / "checkpoints" / "last.pt", resumed)
    assert resumed.micro == 6 and before.best is not None
    *_, notes, _, after = run(parts, batch, [6, 7, 8, 7, 6], resumed, before, **plan)
    assert [epoch for epoch, *_ in notes.validations] == [1, 1.25, 1.5, 1.75, 2] and after == progress
    assert [line["step"] for line in read_lines(parts / "metrics.jsonl") if line["kind"] == "val"] == [*range(1, 9)]


def test_a_validation_leaves_a_checkpoint(tmp_path, make_batch):
    saved = []

    class Looks(Notes):
        def advance(self, engine, loss):
            path = tmp_path / "checkpoints" / "last.pt"
            saved.append(torch.load(path, weights_only=True)["micro"] if path.is_file() else 0)

    with Recorder(tmp_path, 0, writes=True) as recorder:
        outputs = Outputs(tmp_path, recorder, Looks(), lambda pause: meter_of(4), lambda meter: {})
        plan = Plan(1, 9, 1, 100, 1 / 3, None, "miou_image")
        train(make_engine(), iter(lambda: make_batch(soft=False), None), plan, Progress(), outputs)
    assert saved == [0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_broken_weights_take_the_place_of_no_checkpoint(tmp_path, make_batch):
    """A step whose gradient was a number may still end beyond all numbers."""
    engine, last = make_engine(), tmp_path / "checkpoints" / "last.pt"

    def broken(optimizer, *_):
        if engine.step == 3:  # within the fourth
            optimizer.param_groups[0]["params"][0].detach().fill_(float("inf"))

    engine.optimizer.optimizer.register_step_post_hook(broken)
    with pytest.raises(
        Diverged, match=r"diverged at step 4: numbers that are not finite in .*head\.weight.* optim\.lr"
    ):
        run(tmp_path, make_batch(soft=False), [4, 5, 6], engine)
    state = torch.load(last, weights_only=True)
    assert state["step"] == 2 and not state["owed"]


def test_a_validation_that_has_nothing_to_see_is_owed_by_no_checkpoint(tmp_path, make_batch):
    engine, last = make_engine(), tmp_path / "checkpoints" / "last.pt"

    def probe():
        if engine.step >= 4:
            raise Diverged("step 4")

    with Recorder(tmp_path, 0, writes=True) as recorder, pytest.raises(Diverged):
        outputs = Outputs(tmp_path, recorder, Notes(), lambda pause: meter_of(4), lambda meter: {}, probe)
        plan = Plan(6, 2, 1, 100, 1.0, None, "miou_image")
        train(engine, iter(lambda: make_batch(soft=False), None), plan, Progress(), outputs)
    state = torch.load(last, weights_only=True)
    assert state["step"] == 2 and not state["owed"]


def test_steps_that_a_gradient_scaler_skips_write_nothing_and_end_in_a_sentence(tmp_path, make_batch, monkeypatch):
    saved = []
    monkeypatch.setattr(Engine, "moved", lambda engine: False)
    monkeypatch.setattr("segkd.engine.loop._save", lambda engine, *_: saved.append(engine.micro))
    with pytest.raises(Diverged, match=r"step 1: the gradient was not finite 50 times in a row.*optim\.lr"):
        run(tmp_path, make_batch(soft=False), [], per_epoch=1000, save_every=1)
    assert not saved and not (tmp_path / "metrics.jsonl").exists()
    with pytest.raises(Diverged, match="step 1: the gradient was never finite"):
        run(tmp_path, make_batch(soft=False), [4], epochs=1)


def test_a_line_says_the_rate_of_its_own_step(tmp_path, make_batch):
    engine, batch = make_engine(), make_batch(soft=False)
    engine.schedule.lr_lambdas[0] = lambda step: 1 / 2**step
    run(tmp_path, batch, [4], engine, epochs=1, per_epoch=3)
    rates = [line["lr"] for line in read_lines(tmp_path / "metrics.jsonl") if line["kind"] == "train"]
    assert rates == [0.1, 0.05, 0.025]


def test_a_silent_class_is_warned_of(tmp_path, make_batch):
    *_, notes, _, _ = run(tmp_path, make_batch(soft=False), [0] * 6)
    assert len(notes.warnings) == 1 and "class 1 (b" in notes.warnings[0]
