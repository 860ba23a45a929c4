import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkd.engine import evaluate
from segkd.frequency.rings import EDGES
from tests.conftest import TINY

SMALL = {
    "data.embedded": '{"train": 16, "val": 3, "test": 1, "side": 80}',
    "data.size": 80,
    "data.batch_size": 4,
    "data.workers": 0,
    "model.encoder": TINY,
    "model.weights": "null",
    "model.width": 16,
    "engine.log_every": 1,
}


def lines_of(run: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.fixture
def trained(run_cli, tmp_path):
    """A function that trains a tiny network into a folder: (name, settings) -> folder."""

    def train(name: str, *flags: str, **settings) -> Path:
        given = SMALL | {key.replace("__", "."): value for key, value in settings.items()}
        overrides = [part for key, value in given.items() for part in (f"--{key}", value)]
        status, out, err = run_cli("train", *overrides, *flags, "--out", tmp_path / name)
        assert status in (0, 1), out + err  # 1: a batch was not overfitted
        return tmp_path / name

    return train


def test_band_errors_from_before_the_first_step_on(trained):
    run = trained("run", engine__epochs=2, evaluation__every=0.5)
    spectra = lines_of(run, "spectrum")
    assert [(line["step"], line["epoch"]) for line in spectra] == [(0, 0.0), (2, 0.5), (4, 1.0), (6, 1.5), (8, 2.0)]
    assert [line["step"] for line in lines_of(run, "val")] == [2, 4, 6, 8]
    for line in spectra:
        assert line["edges"] == list(EDGES) and line["split"] == "val"
        assert len(line["errors"]) == 8 and all(error > 0 for error in line["errors"])
    assert len({tuple(line["errors"]) for line in spectra}) == 5
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    for b in range(8):
        drawn = events.Scalars(f"spectrum/error_band{b}")
        assert [scalar.step for scalar in drawn] == [0, 2, 4, 6, 8]
        assert [scalar.value for scalar in drawn] == pytest.approx([line["errors"][b] for line in spectra], rel=1e-6)


def test_looking_changes_nothing(trained):
    """The same weights, bit for bit, and the same scores with band errors and without."""
    runs = [trained(name, engine__epochs=1, evaluation__band_errors=name) for name in ("true", "false")]
    one, two = (torch.load(run / "checkpoints" / "last.pt", weights_only=True)["learner"] for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert lines_of(runs[0], "val") == lines_of(runs[1], "val")
    assert len(lines_of(runs[0], "spectrum")) == 2 and not lines_of(runs[1], "spectrum")


def test_a_run_that_goes_on_has_one_line_before_the_first_step(trained, run_cli):
    run = trained("run", engine__epochs=1)
    before = lines_of(run, "spectrum")
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and lines_of(run, "spectrum") == before, out + err
    (run / "checkpoints" / "last.pt").unlink()  # as if it had been killed before the first checkpoint
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and lines_of(run, "spectrum") == before, out + err


def test_one_batch_to_overfit_has_no_spectrum(trained, monkeypatch):
    monkeypatch.setattr("segkd.experiment.overfit.EPOCHS", 4)
    run = trained("run", "--overfit-one-batch")
    assert not lines_of(run, "spectrum") and [line["step"] for line in lines_of(run, "val")] == [1, 2, 3, 4]


@pytest.mark.parametrize(("worth", "average", "said"), [(-1, "0.99", True), (1, "0.99", False), (-1, "null", False)])
def test_plain_weights_that_are_better_than_averaged_ones_are_said(
    run_cli, tmp_path, monkeypatch, worth, average, said
):
    monkeypatch.setattr("segkd.experiment.validation.WORTH", worth)
    settings = SMALL | {"engine.epochs": 1, "optim.average": average}
    flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
    status, out, err = run_cli("train", *flags, "--out", tmp_path / "run")
    text = " ".join((out + err).split())
    kept = lines_of(tmp_path / "run", "val")[-1]["miou_image"]
    assert status == 0 and (f"which is kept, {kept:.4f}" in text) is said


def test_weights_too_large_to_multiply_are_a_divergence_and_no_fault_of_an_image(run_cli, tmp_path):
    settings = SMALL | {"data.batch_size": 16, "engine.epochs": 2, "optim.lr": "1e6", "data.size": 48}
    flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
    status, _, err = run_cli("train", *flags, "--out", tmp_path / "run")
    assert status == 2 and "training diverged at step" in err and "Lower optim.lr" in err, err
    assert not (tmp_path / "run" / "checkpoints" / "last.pt").exists(), "its weights are no place to go on from"


@pytest.mark.parametrize(("gigabytes", "workers"), [("4", {0}), ("0", {2})])
def test_workers_load_what_is_not_kept_in_memory(run_cli, tmp_path, make_folder, monkeypatch, gigabytes, workers):
    asked, loader = set(), evaluate.evaluation_loader

    def seen(dataset, indices, batch_size, workers):
        asked.add(workers)
        return loader(dataset, indices, batch_size, 0)

    monkeypatch.setattr(evaluate, "evaluation_loader", seen)
    settings = {key: value for key, value in SMALL.items() if "embedded" not in key}
    settings |= {"data.root": str(make_folder(12)), "data.size": 32, "data.workers": 2, "data.cache_gb": gigabytes}
    flags = [part for key, value in (settings | {"engine.epochs": 1}).items() for part in (f"--{key}", value)]
    status, out, err = run_cli("train", *flags, "--out", tmp_path / "run")
    assert status == 0 and asked == workers, out + err
