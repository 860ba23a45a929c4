"""A training that starts from another's weights, and goes on after that."""

import shutil

import numpy as np
import torch
from PIL import Image

from segkd import load_model
from tests.conftest import TINY

SMALL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16", "--data.size", "32"]
SHORT = ["--data.batch_size", "4", "--data.workers", "0", "--engine.device", "cpu", "--engine.threads", "1"]


def test_three_classes_start_from_a_run_of_two_and_resume_without_it(make_folder, run_cli, tmp_path):
    two = ["--data.root", make_folder(), *SMALL, *SHORT, "--engine.epochs", "1"]
    status, out, err = run_cli("train", *two, "--out", tmp_path / "a")
    assert status == 0, out + err
    root = make_folder(high=1, name="three")
    for path in (root / "masks").iterdir():
        mask = np.array(Image.open(path))
        mask[-6:] = 2
        Image.fromarray(mask).save(path)
    three = ["--data.root", root, "--data.classes", "[a, b, c]", *SMALL, *SHORT, "--init", tmp_path / "a"]
    for name in ("b", "whole"):
        epochs = "1" if name == "b" else "2"
        rate = ["--optim.schedule", "constant"]
        status, out, err = run_cli("train", *three, *rate, "--engine.epochs", epochs, "--out", tmp_path / name)
        assert status == 0 and "starts from" in out and "head.weight (2, 16, 1, 1) for (3, 16, 1, 1)" in out, out + err
    assert f"init: {tmp_path / 'a'}" in (tmp_path / "b" / "config.yaml").read_text()
    shutil.rmtree(tmp_path / "a")  # what began needs it no more
    status, out, err = run_cli("train", "--resume", tmp_path / "b", "--engine.epochs", "2")
    assert status == 0 and "going on from step" in out and "starts from" not in out, out + err
    assert len(load_model(tmp_path / "b").card.classes) == 3
    state = [torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True) for name in ("b", "whole")]
    assert state[0]["learner"].keys() == state[1]["learner"].keys() and state[0]["step"] == state[1]["step"]


def test_nothing_that_fits_is_a_refusal_before_anything_is_written(make_folder, run_cli, tmp_path):
    torch.save({"weight": torch.ones(3)}, tmp_path / "other.pth")
    arguments = [
        "--data.root",
        make_folder(),
        *SMALL,
        *SHORT,
        "--init",
        tmp_path / "other.pth",
        "--out",
        tmp_path / "r",
    ]
    status, _, err = run_cli("train", *arguments)
    assert status == 2 and "other.pth: expected weights of FusionNet" in err
    assert not (tmp_path / "r" / "checkpoints").exists()
