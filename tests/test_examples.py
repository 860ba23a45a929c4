"""The examples run as they stand."""

import runpy
import sys

import numpy as np
import pytest
import torch

from segkd import load_model
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def test_a_plain_loop_learns_from_the_virtual_teacher():
    losses = runpy.run_path(str(EXAMPLES / "plain_loop.py"))["train"]()
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_a_table_learns_before_a_network_of_ones_own():
    stage, losses = runpy.run_path(str(EXAMPLES / "frequency_first.py"))["train"](steps=10)
    assert torch.isfinite(torch.tensor(losses)).all() and stage.theta.abs().max() > 0.01


def test_a_network_of_torchvision_is_trained_scored_and_opened(make_folder, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    run = tmp_path / "run"
    settings = ["--data.root", make_folder(n=8), "--data.size", 32, "--data.workers", 0, "--data.batch_size", 4]
    settings += ["--engine.epochs", 1, "--evaluation.band_errors", "false", "--config", "methods/virtual_teacher.yaml"]
    status, out, err = run_cli("train", "--model", "torchvision_net.Lraspp", *settings, "--out", run)
    assert status == 0, out + err
    status, _, err = run_cli("evaluate", "--run", run, "--split", "val")
    assert status == 2 and "--trust" in err
    status, _, err = run_cli("evaluate", "--run", run, "--split", "val", "--trust")
    assert status == 0, err
    shares = load_model(run, trust=True).predict(np.zeros((40, 30, 3), np.uint8))
    assert shares.shape == (2, 40, 30)


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.py"))])
def test_every_example_says_how_it_is_called(name):
    assert f"examples/{name}" in (EXAMPLES / name).read_text() or "segkd train" in (EXAMPLES / name).read_text()
