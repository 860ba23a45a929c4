import json

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkd.engine.record import Recorder, number, read_lines, rewind


def test_means_of_the_steps_since_the_last_line(tmp_path):
    with Recorder(tmp_path, 0, writes=True) as recorder:
        recorder.collect({"task": torch.tensor(1.0), "response": torch.tensor(0.5)}, images=4)
        recorder.collect({"task": torch.tensor(3.0), "response": torch.tensor(0.5)}, images=4)
        loss = recorder.train(2, 0.5, [0.1, 0.01], processes=1)
        recorder.scores(2, 1, {"miou_image": 0.5, "f_mean": float("nan")}, {"cat": 0.25})
    first, second = read_lines(tmp_path / "metrics.jsonl")
    assert loss == first["loss"] == 2.5 and first["terms"] == {"task": 2.0, "response": 0.5} and first["lr"] == 0.1
    assert second["kind"] == "val" and second["f_mean"] is None and second["iou"] == {"cat": 0.25}
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"train/loss", "train/task", "train/lr", "val/miou_image"} <= set(events.Tags()["scalars"])


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
            recorder.note("spectrum", 0, {"errors": [1.0]})
        assert len(read_lines(tmp_path / "metrics.jsonl")) == kept


def test_json_has_no_nan():
    assert number(float("nan")) is None and number(0.5) == 0.5
