import json

import pytest
import yaml

from segkd.datasets.data import Data
from segkd.datasets.opening import splits_of
from segkd.datasets.packing import write_shards
from segkd.experiment.planning import STEPS, plan_length, too_short
from tests.conftest import TINY

TINY_MODEL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16"]


@pytest.mark.parametrize(
    ("n", "batch", "epochs"),
    [(20, 4, 200), (100, 4, 40), (300, 8, 30), (600, 16, 30), (10_000, 16, 30), (1, 4, 1000)],
)
def test_small_sets_get_small_batches_and_more_epochs(n, batch, epochs):
    length = plan_length(n, None, None)
    assert (length.batch_size, length.epochs) == (batch, epochs)
    assert length.epochs / length.every <= 60 and float(length.every).is_integer()
    assert length.steps >= STEPS and f"data.batch_size {batch} and engine.epochs {epochs}" in length.said


def test_what_is_said_is_kept():
    length = plan_length(320, 16, 12)
    assert (length.batch_size, length.epochs, length.steps, length.said) == (16, 12, 240, "")
    assert plan_length(320, None, 12).batch_size == 4 and plan_length(5000, None, 12).batch_size == 16
    assert plan_length(320, 16, None).epochs == 50 and "batch_size" not in plan_length(320, 16, None).said
    # two processes see twice the images in a step, and so do two micro-batches
    assert plan_length(800, None, 30, world=2).batch_size == plan_length(800, None, 30, accumulate=2).batch_size == 8


def test_a_short_training_is_said_to_be_short():
    assert "60 steps in all are few" in too_short(60, 16, 12) and "(to 200)" in too_short(60, 16, 12)
    assert "1 step in all is few" in too_short(1, 1, 1) and "batch_size" not in too_short(1, 1, 1)
    assert too_short(1000, 16, 12) == "" == too_short(240, 16, 12, generated=True)


def test_shards_without_one_to_train_on_are_refused(make_folder, run_cli, tmp_path):
    write_shards({"test": splits_of(Data(root=str(make_folder()))).members["train"]}, tmp_path / "shards")
    status, _, err = run_cli("train", "--data.parquet", tmp_path / "shards", "--out", tmp_path / "run")
    assert status == 2 and "no train split: expected a shard train-*.parquet, found none. There are: test." in " ".join(
        err.split()
    )


def test_what_was_planned_stands_in_the_run_and_a_resumed_one_keeps_it(make_folder, run_cli, tmp_path):
    root, run = make_folder(8), tmp_path / "run"
    small = ["--data.root", root, "--data.size", 32, "--data.workers", 0, "--evaluation.band_errors", "false"]
    status, out, err = run_cli("train", *small, *TINY_MODEL, "--engine.epochs", 2, "--out", run)
    assert status == 0 and "planned: data.batch_size 4, so 2 steps on 7 images" in out, out + err
    assert "2 steps in all are few" in out
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["data"]["batch_size"] == 4 and written["evaluation"]["every"] == 1.0

    del written["engine"]["recompute"]  # a setting that came later: then, it was its default
    (run / "config.yaml").write_text(yaml.safe_dump(written))
    (root / "images" / "photo7.jpg").rename(root / "images" / "photo9.jpg")
    (root / "masks" / "photo7.png").rename(root / "masks" / "photo9.png")
    status, out, err = run_cli("train", "--resume", run, "--engine.epochs", 3, "--data-changed")
    assert status == 0 and "planned:" not in out, out + err
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == 3
