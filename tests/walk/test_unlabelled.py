"""A training with images that nobody has labelled, as a user runs it: refused, written, trained, cut off, resumed."""

import json
import shutil

import pytest
import torch
from PIL import Image

from segkd.engine import loop
from tests.conftest import TINY

SMALL = ["--data.size", 32, "--data.batch_size", 4, "--data.workers", 0, "--model.encoder", TINY, "--model.weights",
         "null", "--model.width", 16, "--engine.epochs", 2, "--engine.log_every", 1, "--engine.save_every", 1,
         "--evaluation.band_errors", "false"]  # fmt: skip


@pytest.fixture
def arguments(make_folder):
    """Of a training on ten pairs and five images without a mask."""
    root = make_folder(10)
    for i in range(5):
        Image.new("RGB", (40, 48), (40 * i, 90, 30)).save(root / "images" / f"new{i}.jpg")
    return ["train", "--config", "methods/clean_view.yaml", "--data.root", root, *SMALL]


UNLABELLED = ["--data.unlabelled", "images", "--data.unlabelled_batch", 2, "--distiller.sure", 0.4]


def test_they_are_learned_from_and_a_run_that_is_cut_off_goes_on_bit_for_bit(arguments, run_cli, tmp_path, monkeypatch):
    status, _, err = run_cli(*arguments, "--out", tmp_path / "none")
    assert status == 2 and "To train on them without a label, write data.unlabelled: images" in err
    save = loop._save

    def and_copied(engine, progress, outputs):
        save(engine, progress, outputs)
        if engine.step == 3 and not (tmp_path / "cut").exists():
            shutil.copytree(outputs.folder, tmp_path / "cut")  # as a kill leaves it

    monkeypatch.setattr(loop, "_save", and_copied)
    status, out, err = run_cli(*arguments, *UNLABELLED, "--out", tmp_path / "run")
    assert status == 0 and "5 images without a label (images)" in out, out + err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]
    assert sum(name.startswith("new") for name in (tmp_path / "run" / "trained_on.txt").read_text().split()) == 5
    monkeypatch.setattr(loop, "_save", save)
    assert run_cli("train", "--resume", tmp_path / "cut")[0] == 0
    one, two = (torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True) for name in ("run", "cut"))
    assert one["step"] == two["step"] == 4
    assert all(torch.equal(tensor, two["learner"][name]) for name, tensor in one["learner"].items())

    (arguments[4] / "images" / "new0.jpg").unlink()
    status, _, err = run_cli("train", "--resume", tmp_path / "cut", "--engine.epochs", 3)
    assert status == 2 and "unlabelled: 1 removed (new0)" in err
    assert run_cli("evaluate", "--run", tmp_path / "run", "--split", "val", "--out", tmp_path / "scores.json")[0] == 0


def test_they_change_what_is_learned_and_without_a_teacher_that_is_said(arguments, run_cli, tmp_path):
    weights = {}
    for name, more in (("alone", ["--data.train", "train.txt"]), ("beside", UNLABELLED)):
        (arguments[4] / "train.txt").write_text("\n".join(f"photo{i}" for i in range(8)))
        (arguments[4] / "val.txt").write_text("photo8\nphoto9")
        status, out, err = run_cli(*arguments, *more, "--seed", 1, "--out", tmp_path / name)
        assert status == 0 and "warning: no teacher" not in out, out + err
        state = torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True)
        weights[name] = state["learner"]["student.head.weight"]
    assert not torch.equal(weights["alone"], weights["beside"])
    baseline = [*arguments[:2], "methods/baseline.yaml", *arguments[3:]]
    status, out, err = run_cli(*baseline, *UNLABELLED[:2], "--out", tmp_path / "baseline")
    assert status == 0 and "images without a label (data.unlabelled): a finished run would" in out, out + err


def test_a_draw_that_makes_batches_of_its_own_is_refused(arguments, run_cli, tmp_path):
    status, _, err = run_cli(*arguments, *UNLABELLED, "--draw", "Overlap", "--out", tmp_path / "run")
    assert status == 2 and "draw: Overlap" in err and "data.unlabelled" in err and not (tmp_path / "run").exists()
