"""A training in two stages by one command: neighbours teach the network, then its adapters; cut off in either."""

import json
import shutil

import pytest
import torch

from segkd import load_model
from segkd.engine import loop
from tests.conftest import TINY
from tests.warm import end_well, segkd

SMALL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "8", "--data.size", "32",
         "--data.embedded", '{"train": 8, "val": 2, "test": 2, "side": 40}', "--data.batch_size", "4",
         "--data.workers", "0", "--engine.device", "cpu", "--engine.threads", "1", "--engine.save_every", "1",
         "--evaluation.band_errors", "false", "--engine.log_every", "1"]  # fmt: skip


@pytest.fixture
def finished(run_cli, tmp_path):
    status, out, err = run_cli("train", *SMALL, "--engine.epochs", "1", "--out", tmp_path / "before")
    assert status == 0, out + err
    return tmp_path / "before"


def recipe(finished, *more):
    return ["--config", "methods/dk_kd.yaml", *SMALL, "--init", finished, "--engine.epochs", "4",
            "--distiller.teachers.neighbours.source", finished, "--distiller.teachers.neighbours.queries", "64",
            *more]  # fmt: skip


def test_both_stages_in_one_command_and_cut_off_in_either_it_goes_on_bit_for_bit(
    finished, run_cli, tmp_path, monkeypatch
):
    save = loop._save

    def and_copied(engine, progress, outputs):
        save(engine, progress, outputs)
        if engine.step in (3, 6) and not (tmp_path / f"cut{engine.step}").exists():
            shutil.copytree(outputs.folder, tmp_path / f"cut{engine.step}")  # as a kill leaves it

    monkeypatch.setattr(loop, "_save", and_copied)
    status, out, err = run_cli("train", *recipe(finished), "--out", tmp_path / "run")
    assert status == 0, out + err
    assert "adapters.0.down.weight" in out and "keys of 8 numbers from 8 images (background " in out
    monkeypatch.setattr(loop, "_save", save)
    whole = torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)
    assert whole["step"] == 8
    for step in (3, 6):
        status, out, err = run_cli("train", "--resume", tmp_path / f"cut{step}")
        assert status == 0 and f"going on from step {step}" in out, out + err
        again = torch.load(tmp_path / f"cut{step}/checkpoints/last.pt", weights_only=True)
        assert all(torch.equal(tensor, again["learner"][name]) for name, tensor in whole["learner"].items())
    files = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("run", "cut3", "cut6")]
    assert files[0] == files[1] == files[2]
    half, end = (torch.load(tmp_path / name / "checkpoints/last.pt", weights_only=True)["learner"] for name in
                 ("cut3", "run"))  # fmt: skip
    assert half.keys() == end.keys()
    assert type(load_model(tmp_path / "run").network).__name__ == "AdaptedNet"  # the adapters stay
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 9))


def test_two_processes_keep_one_store_and_one_network_in_both_stages(finished, warm, tmp_path):
    """At every checkpoint it is looked whether they hold the same; gradients of what rests are waited for."""
    halves = ["--data.batch_size", "2", "--engine.epochs", "2"]  # four steps
    arguments = [*recipe(finished, *halves), "--out", tmp_path / "two"]
    end_well(*warm.ranks(segkd, "train", *map(str, arguments)))
    two = torch.load(tmp_path / "two/checkpoints/last.pt", weights_only=True)
    assert two["step"] == 4 and two["circumstances"]["processes"] == 2
    up = two["learner"]["student.adapters.0.up.weight"]
    assert up.any() and not two["learner"]["distiller.teachers.neighbours.earlier.adapters.0.up.weight"].any()


def test_what_cannot_be_a_store_or_a_source_is_refused_before_anything_is_written(finished, run_cli, tmp_path):
    more = ["--distiller.teachers.neighbours.group", "film(.)"]
    status, _, err = run_cli("train", *recipe(finished, *more), "--out", tmp_path / "a")
    assert status == 2 and "group: 'film(.)' occurs in none of 8 names" in err and "Traceback" not in err
    assert not (tmp_path / "a" / "checkpoints").exists()
    three = ["--data.classes", "[a, b, c]"]
    status, _, err = run_cli("train", *recipe(finished, *three), "--out", tmp_path / "b")
    assert status == 2 and "knows 2 classes" in err and not (tmp_path / "b").exists()
    status, _, err = run_cli("train", "--config", "methods/dk_kd.yaml", *SMALL, "--out", tmp_path / "c")
    assert status == 2 and "--distiller.teachers.NAME.source RUN" in err and not (tmp_path / "c").exists()
