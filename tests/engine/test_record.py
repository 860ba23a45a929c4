import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkd.engine.record import Recorder, jsonable, read_lines, read_record, rewind
from segkd.types import InputError


def test_means_of_the_steps_since_the_last_line(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("segkd.engine.record.time", SimpleNamespace(perf_counter=lambda: now[0]))
    with Recorder(tmp_path, 0, writes=True) as recorder:
        recorder.collect({"task": torch.tensor(1.0), "response": torch.tensor(0.5)}, images=4)
        recorder.collect({"task": torch.tensor(3.0), "response": torch.tensor(0.5)}, images=4)
        now[0] += 4.0
        loss = recorder.train(2, 0.5, [0.1, 0.01], processes=2)
        now[0] += 100.0
        recorder.scores(2, 1, {"miou_image": 0.5, "f_mean": float("nan")}, {"cat": 0.25})
        recorder.collect({"task": torch.tensor(1.0)}, images=6)
        now[0] += 1.0
        recorder.train(3, 0.6, [0.1], processes=2)
    first, second, third = read_lines(tmp_path / "metrics.jsonl")
    assert loss == first["loss"] == 2.5 and first["terms"] == {"task": 2.0, "response": 0.5} and first["lr"] == 0.1
    assert (first["images_per_second"], third["images_per_second"]) == (4.0, 12.0)  # of a validation nothing counts
    assert second["kind"] == "val" and second["f_mean"] is None and second["iou"] == {"cat": 0.25}
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"train/loss", "train/task", "train/lr", "val/miou_image", "iou/cat"} <= set(events.Tags()["scalars"])


def test_another_process_writes_nothing(tmp_path):
    with Recorder(tmp_path, 0, writes=False) as recorder:
        recorder.collect({"task": torch.tensor(1.0)}, images=4)
        recorder.train(1, 0.5, [0.1], processes=2)
        recorder.scores(1, 1, {"miou_image": 0.5}, {})
    assert not list(tmp_path.iterdir())


def test_rewinding_drops_later_lines_and_a_torn_last_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": s}) + "\n" for s in (1, 2, 3)) + '{"step": 4, "lo')
    rewind(path, 2)
    assert [line["step"] for line in read_lines(path)] == [1, 2]
    assert path.read_text().endswith("}\n")


def test_a_run_that_begins_anew_keeps_nothing_not_even_what_came_before_the_first_step(tmp_path):
    for start, kept in ((-1, 1), (0, 2), (-1, 1)):
        with Recorder(tmp_path, start, writes=True) as recorder:
            recorder.note("spectrum", 0, {"epoch": 0, "errors": [1.0]})
        assert len(read_lines(tmp_path / "metrics.jsonl")) == kept


DAMAGED = [
    b"\xff\xfe{}", b"null", b"[]", b"5", b'{"kind": "train"}', b'{"step": "3"}', b'{"step": -1}', b'{"step": 1e400}',
    b'{"kind": "train", "step": 2, "epoch": 1, "loss": "low", "terms": {}, "lr": 1}', b'{"step": 2, "lo', b"[" * 9000,
    b'{"kind": "train", "step": 2, "epoch": 1, "loss": NaN, "terms": {}, "lr": 1}',
    b'{"kind": "val", "step": 2, "epoch": 1, "miou_image": "high"}', b'{"kind": "spectrum", "step": 2, "epoch": 1}',
]  # fmt: skip


def write_lines(path, *pieces: bytes) -> None:
    path.write_bytes(b"".join(piece + b"\n" for piece in pieces))


@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda damaged: str(damaged[:30]))
def test_a_damaged_line_costs_itself_alone(tmp_path, damaged):
    path = tmp_path / "metrics.jsonl"
    good = [json.dumps({"kind": "other", "step": step}).encode() for step in (1, 2, 3, 4)]
    write_lines(path, good[0], damaged, *good[1:])
    assert [line["step"] for line in read_lines(path)] == [1, 2, 3, 4]
    kept, said = rewind(path, 3, promised=4)
    assert [line["step"] for line in kept] == [1, 1, 2, 3]
    assert len(said) == 1 and "line 2 is damaged" in said[0] and "metrics.jsonl" in said[0]
    assert [line["step"] for line in read_lines(path)] == [1, 2, 3]
    (aside,) = [line for line in read_record(path) if line["kind"] == "damaged"]
    assert aside["text"].encode()[:4] == damaged[:4] or aside["text"].startswith("\ufffd")
    assert rewind(path, 3, promised=4)[1] == []  # said once


def test_lines_that_the_checkpoint_promised_and_a_power_cut_took_are_told(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_lines(path, b'{"kind": "other", "step": 1}', b'{"kind": "other", "step": 2}')
    assert rewind(path, 5, promised=2)[1] == []
    ((said),) = rewind(path, 5, promised=6)[1]
    assert "4 of them are missing" in said and "step 2" in said


def test_a_line_that_stands_twice_is_told(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [f'{{"kind": "note", "step": {step}}}\n' for step in (1, 2, 3)]
    path.write_text("".join([*lines, lines[1]]))
    ((said),) = rewind(path, 3, promised=3)[1]
    assert "promises 3 lines, but 4" in said and str(path) in said


def test_a_validation_that_comes_again_writes_its_lines_and_scalars_once(tmp_path):
    for owed in (False, True):
        with Recorder(tmp_path, 1, writes=True, owed=owed) as recorder:
            assert len(read_lines(tmp_path / "metrics.jsonl")) == (1 if owed else 0)
            if not owed:
                recorder.collect({"task": torch.tensor(1.0)}, images=4)
                recorder.train(1, 0.5, [0.1], processes=1)
            recorder.note("spectrum", 1, {"epoch": 1, "errors": [1.0, float("nan")]})
            recorder.scores(1, 1, {"miou_image": 0.5}, {})
    assert [line["kind"] for line in read_lines(tmp_path / "metrics.jsonl")] == ["train", "spectrum", "val"]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag in ("train/loss", "val/miou_image"):
        assert [scalar.step for scalar in events.Scalars(tag)] == [1]


@pytest.mark.parametrize(
    ("owed", "turns", "left"), [(False, True, ["train", "val"]), (True, False, ["train", "domains"])]
)
def test_the_end_of_a_round_comes_again_only_where_that_is_said(tmp_path, owed, turns, left):
    path = tmp_path / "metrics.jsonl"
    lines = [{"kind": "train", "loss": 1.0, "terms": {}}, {"kind": "val"}, {"kind": "domains"}]
    write_lines(path, *(json.dumps(line | {"step": 2}).encode() for line in lines))
    kept, _ = rewind(path, 2, owed, None, turns)
    assert [line["kind"] for line in kept] == left


def test_tensorboard_may_break_and_the_record_goes_on(tmp_path):
    with Recorder(tmp_path, 0, writes=True) as recorder:
        recorder.scores(1, 1, {"miou_image": 0.5}, {})
        shutil.rmtree(tmp_path / "tensorboard")
        for step in range(2, 6):
            recorder.scores(step, 1, {"miou_image": 0.5}, {})
        said = recorder.faults()
    assert len(said) == 1 and "TensorBoard" in said[0] and recorder.faults() == []
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 5 and recorder.lines == 5


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    with Recorder(tmp_path, 0, writes=True) as recorder:
        (tmp_path / "metrics.jsonl").mkdir()
        with pytest.raises(InputError, match=r"metrics\.jsonl: cannot write"):
            recorder.scores(1, 1, {"miou_image": 0.5}, {})


def test_numbers_of_numpy_are_jsons_and_what_is_not_finite_is_null():
    found = jsonable({1: np.float32(0.5), "a": (np.arange(2), np.bool_(True)), "b": [np.nan, -np.inf], "c": None})
    assert found == {"1": 0.5, "a": [[0, 1], True], "b": [None, None], "c": None}
    assert type(found["a"][1]) is bool and type(found["1"]) is float
