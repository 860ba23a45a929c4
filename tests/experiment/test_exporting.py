"""`segkd export`: the file scores as the run does, and none is left where it does not."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import Namespace
from PIL import Image
from rich.console import Console

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from segkd.datasets.data import Data
from segkd.experiment import exporting
from segkd.models.exported import Parity
from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, save_student
from tests.conftest import TINY


@pytest.fixture
def run(make_folder, tmp_path):
    """A run folder of an untrained student at 40x48, whose decisions differ from place to place, and its data."""
    network = FusionNet(2, TINY, None, 16).eval()
    with torch.no_grad():
        logits = network(torch.rand(1, 3, 40, 48)).logits
        network.head.bias -= logits.mean(dim=(0, 2, 3))
    arguments = {"classes": 2, "encoder": TINY, "weights": None, "width": 16}
    card = ModelCard("segkd.models.network.FusionNet", arguments, ["ground", "square"], (40, 48), 0.45, {"mae": 0.5}, 3)
    save_student(tmp_path / "run", network, card)
    data = {"root": str(make_folder(n=10)), "size": [40, 48], "workers": 0, "batch_size": 4}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return tmp_path / "run"


def test_help_needs_no_run(run_cli, tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        run_cli("export", tmp_path / "none", "--help")
    assert "usage: segkd export" in capsys.readouterr().out
    status, _, err = run_cli("export", tmp_path / "none")
    assert status == 2 and "expected a run folder" in err


def test_the_file_scores_as_the_run_and_says_what_it_expects(run, run_cli, tmp_path, make_folder):
    status, out, err = run_cli("export", run)
    assert status == 0, err
    for said in ("parity: ", "pixels decided otherwise", "val miou_image", "CPU ms p50", "RGB in 0..1", "student.onnx"):
        assert said in out, said
    data = ["--data.root", tmp_path / "folder", "--data.workers", 0, "--split", "val"]
    for name, given in (("a", ["--run", run]), ("b", ["--onnx", run / "student.onnx", *data])):
        status, out, err = run_cli(
            "evaluate", *given, "--split", "val", "--threshold", "val", "--out", tmp_path / f"{name}.json"
        )
        assert status == 0, out + err
    status, _, err = run_cli("evaluate", "--onnx", run / "student.onnx", *data, "--data.size", "[32, 32]")
    assert status == 2 and "states that it looks at 40 x 48" in err, err
    ours, theirs = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    predicted = []
    for name, given in (("a", run), ("b", run / "student.onnx")):
        images = tmp_path / "folder" / "images"
        status, out, err = run_cli("predict", given, images, "--out", tmp_path / name, "--kind", "probability")
        assert status == 0, out + err
        predicted.append(
            [np.asarray(Image.open(path)).astype(int) for path in sorted((tmp_path / name).rglob("*.png"))]
        )
    differ = [abs(one - other).max() for one, other in zip(*predicted, strict=True)]
    assert len(differ) == 10 and max(differ) <= 1, "but for rounding"
    for score in ("miou_image", "mae", "f_mean", "threshold", "size", "step", "classes"):
        assert theirs[score] == pytest.approx(ours[score], abs=1e-6) if isinstance(ours[score], float) else (
            theirs[score] == ours[score]), score  # fmt: skip


@pytest.mark.parametrize(("select", "by"), [("worst_mae", "worst_mae"), ("mae", "mae"), (None, "miou_image")])
def test_the_score_that_chose_the_weights_decides(run, select, by):
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"evaluation": {"select": select}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    asked = Namespace(run=str(run), trust=False, int8=False, output="logits")
    bench, _ = exporting._bench(asked, Data(**config["data"] | {"size": (40, 48)}), Console(quiet=True))
    assert bench.select == by


def test_eight_bits_are_weighed_and_refused_with_the_numbers(run, run_cli, monkeypatch):
    monkeypatch.setattr(exporting, "CALIBRATING", 4)
    out = run / "small.onnx"
    status, said, err = run_cli("export", run, "--int8", "--out", out, "--allow-drop", 1)
    assert status == 0 and "int8" in said and said.count("data: ") == 1, said + err
    assert out.stat().st_size > 0
    out.unlink()
    row = exporting.Bench.row
    monkeypatch.setattr(
        exporting.Bench, "row", lambda self, name, *rest: _worse(row(self, name, *rest), name == "int8")
    )
    status, said, err = run_cli("export", run, "--int8", "--out", out)
    assert status == 2 and "by 0.2000, more than --allow-drop 0.01" in err.replace("\n", " "), err
    assert not list(run.glob("*.onnx*"))


def _worse(row, worse):
    return exporting.Row(row.name, 0.5 if worse else 0.7, row.spent, row.size)


def test_no_file_is_left_when_parity_fails(run, run_cli, monkeypatch):
    monkeypatch.setattr(exporting, "compared", lambda *_: Parity(3, ((1, 40, 48),), 0.5, 2.0, 9, 1000))
    status, out, err = run_cli("export", run, "--format", "torchscript")
    assert status == 2 and "differs from the student" in err and "9 of 1,000 pixels" in err and "torchscript" in out
    assert not list(run.glob("student.t*"))


def test_the_student_s_own_file_stands_for_its_run(run, run_cli, tmp_path):
    data = ["--data", run / "config.yaml", "--format", "torchscript", "--out", tmp_path / "a.torchscript.pt"]
    status, out, err = run_cli("export", run / "student.safetensors", *data)
    assert status == 0 and (tmp_path / "a.torchscript.pt").is_file(), out + err
    kept = tmp_path / "kept"
    shutil.copytree(run, kept)
    with (kept / "config.yaml").open("a") as file:
        file.write("evaluation: {select: mae}\n")
    status, out, err = run_cli("export", kept / "student.safetensors", *data[:4])
    assert status == 0 and (kept / "student.torchscript.pt").is_file() and "val mae" in out, out + err


def test_what_cannot_end_well_is_refused_before_any_work(run, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "open_splits", lambda *_: pytest.fail("data was opened"))
    for given, said in [
        ([tmp_path], "student.safetensors"),
        (["--format", "onnx"], "run folder first"),
        ([run, "--format", "pt2", "--int8"], "--int8 is for --format onnx"),
        ([run, "--int8", "--output", "classes"], "--int8 is for --format onnx"),
        ([run, "--int8", "--allow-drop", -1], "--allow-drop"),
        ([run, "--out", tmp_path / "none" / "a.onnx"], "a.onnx: expected a file in a folder that exists"),
        ([run, "--out", tmp_path], "expected a file in a folder"),
        ([run, "--format", "tflite"], "tflite"),
        ([run, "--out", tmp_path / "a.pt2"], "Say --format pt2, or end it in .onnx"),
    ]:
        status, _, err = run_cli("export", *given)
        assert status == 2 and said in err and "Traceback" not in err, err
    monkeypatch.delattr(torch.export.Dim, "DYNAMIC")  # as in torch 2.4 and 2.5
    status, _, err = run_cli("export", run, "--format", "pt2")
    assert status == 2 and "expected torch 2.6 or later" in err and torch.__version__ in err
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    status, _, err = run_cli("export", run)
    assert status == 2 and "pip install 'segkd[onnx]'" in err
