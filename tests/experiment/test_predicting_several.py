"""Several runs that predict together."""

import numpy as np
import pytest
import torch
from PIL import Image

from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, save_student
from tests.conftest import TINY
from tests.experiment.test_predicting import picture


@pytest.fixture
def runs(tmp_path):
    """Two run folders with students of one size."""
    for seed, name in enumerate(["one", "two"]):
        torch.manual_seed(seed)
        arguments = {"classes": 2, "encoder": TINY, "weights": None, "width": 8}
        network = FusionNet(**arguments)
        with torch.no_grad():  # sure enough that a wrong mean shows
            network.head.weight.mul_(30)
        (tmp_path / name).mkdir()
        card = ModelCard("segkd.models.network.FusionNet", arguments, ["no", "yes"], (64, 64), threshold=0.3)
        save_student(tmp_path / name, network, card)
    return [tmp_path / "one", tmp_path / "two"]


def test_several_runs_predict_the_mean_of_their_probabilities(runs, run_cli, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")

    def said(name, *options):
        out = tmp_path / name
        status, _, err = run_cli("predict", *options, "--images", tmp_path / "a.png", "--out", out, "--kind", "npy")
        assert status == 0, err
        return np.load(out / "a.npy")

    one, two = (said(run.name + "_out", run) for run in runs)
    both = said("both", "--run", runs[0], "--run", runs[1], "--fuse", "mean")
    assert np.abs(one - two).max() > 0.05
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-5)


def test_an_ensembles_masks_are_cut_at_a_half(runs, run_cli, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    fused = ["--run", runs[0], "--run", runs[1], "--fuse", "mean", "--images", tmp_path / "a.png"]
    status, said, err = run_cli("predict", *fused, "--out", tmp_path / "masks")
    assert status == 0 and "0.5" in said, (said, err)
    run_cli("predict", *fused, "--out", tmp_path / "npy", "--kind", "npy")
    mask, shares = np.asarray(Image.open(tmp_path / "masks" / "a.png")), np.load(tmp_path / "npy" / "a.npy")
    assert np.array_equal(mask == 255, shares >= 0.5) and 0 < mask.mean() < 255


def test_several_runs_without_fuse_and_fuse_without_several_are_refused(runs, run_cli, tmp_path):
    for options in (["--run", runs[0], "--run", runs[1]], ["--run", runs[0], "--fuse", "mean"]):
        status, _, err = run_cli("predict", *options, "--images", tmp_path)
        assert status == 2 and "--run A --run B --fuse mean" in err


def test_exported_files_alone_are_not_fused(runs, run_cli, tmp_path):
    pytest.importorskip("onnxruntime")
    from tests.models.graphs import TWO, node, save

    files = [
        save(tmp_path / name, [node("Conv", ["image", "w", "c"], "out")], constants=TWO)
        for name in ("a.onnx", "b.ONNX")
    ]
    picture_of = tmp_path / "a.png"
    Image.fromarray(picture()[0]).save(picture_of)
    status, _, err = run_cli("predict", "--run", files[0], "--run", files[1], "--fuse", "mean", "--images", picture_of)
    assert status == 2 and "--run FOLDER" in err and "load_ensemble" not in err
