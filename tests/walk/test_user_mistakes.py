"""What a first user does wrong, and the README's lines as they stand."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY, TINY

TINY_MODEL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16"]
SHORT = ["--data.size", "32", "--data.batch_size", "4", "--engine.epochs", "1", "--data.workers", "0"]


@pytest.fixture
def trained(make_folder, run_cli, tmp_path):
    root = make_folder(n=8)
    status, out, err = run_cli("train", "--data.root", root, *TINY_MODEL, *SHORT, "--out", tmp_path / "run")
    assert status == 0, out + err
    return root, tmp_path / "run"


def refused(run_cli, *arguments: object) -> str:
    status, _, err = run_cli(*arguments)
    assert status == 2 and "Traceback" not in err, err
    return err


def readme_row(start: str) -> list[str]:
    """The command of the README's table row that begins with `start`."""
    (row,) = [line for line in (REPOSITORY / "README.md").read_text().splitlines() if line.startswith(f"| {start}")]
    return shlex.split(row.split("`")[1])


@pytest.mark.parametrize(("row", "name"), [("an smp network", "SmpNet"), ("any network of any package", "WrappedNet")])
def test_the_lines_of_the_readme_for_other_networks_train(make_folder, run_cli, tmp_path, row, name):
    status, out, err = run_cli(
        "train", *readme_row(row), "--data.root", make_folder(), *SHORT, "--out", tmp_path / "run"
    )
    assert status == 0 and name in out, out + err
    assert "width:" not in (tmp_path / "run" / "config.yaml").read_text(), "a setting of FusionNet stayed"


def test_the_network_of_the_readme_trains_with_its_own_defaults(make_folder, run_cli, tmp_path, monkeypatch):
    code = (REPOSITORY / "README.md").read_text().split("```python\n")[2].split("```")[0]
    (tmp_path / "my_file.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    layer = tmp_path / "mine.yaml"
    layer.write_text("model: {class_path: my_file.MyNet}\n")
    for name, given in (("a", ["--model", "my_file.MyNet"]), ("b", ["--config", layer])):
        status, out, err = run_cli("train", *given, "--data.root", make_folder(name=name), *SHORT, "--out", f"r{name}")
        assert status == 0, out + err
        assert "width: 16" in (tmp_path / f"r{name}" / "config.yaml").read_text()


def test_a_network_that_answers_wrongly_is_told_what_is_expected(make_folder, run_cli, tmp_path, monkeypatch):
    head = "from torch import nn\nfrom segkd import Prediction\nfrom segkd.models.network import Network\n"
    body = "class {}(Network):\n    def __init__(self, classes: int):\n        super().__init__()\n"
    body += "        self.c = nn.Conv2d(3, classes, 1, stride=2)\n    def forward(self, image):\n        return {}\n"
    code = head + body.format("Bare", "self.c(image)") + body.format("Small", "Prediction(self.c(image))")
    (tmp_path / "wrong_nets.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Bare", "Small"):
        arguments = ["--model", f"wrong_nets.{name}", "--data.root", make_folder(name=name), *SHORT]
        err = refused(run_cli, "train", *arguments, "--out", tmp_path / f"run{name}")
        assert f"{name}.forward: expected segkd.Prediction" in err and "(1, 2, 32, 32)" in err


def test_predictions_never_replace_images(trained, run_cli, tmp_path):
    root, run = trained
    before = {path: path.read_bytes() for path in (root / "images").iterdir()}
    for out in (root / "images", root / "images" / "masks"):
        assert "outside" in refused(run_cli, "predict", "--run", run, "--images", root / "images", "--out", out)
    assert before == {path: path.read_bytes() for path in (root / "images").iterdir()}
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(root / "images" / "photo1.png")
    err = refused(run_cli, "predict", "--run", run, "--images", root / "images", "--out", tmp_path / "masks")
    assert "photo1.jpg" in err and "photo1.png" in err
    (tmp_path / "file").write_text("mine")
    (root / "images" / "photo1.png").unlink()
    assert "cannot write" in refused(
        run_cli, "predict", "--run", run, "--images", root / "images", "--out", tmp_path / "file"
    )


def test_a_layer_with_more_than_data_serves_as_data(trained, run_cli, tmp_path):
    root, run = trained
    status, out, err = run_cli("evaluate", "--run", run, "--data", run / "config.yaml", "--split", "val")
    assert status == 0, err
    some = ["--data.embedded.train", "4", "--data.embedded.side", "48"]
    status, out, err = run_cli("sheet", "--data", "quickstart.yaml", *some, "--out", tmp_path / "sheet.png")
    assert status == 0, err
    assert "expected the key data" in refused(run_cli, "sheet", "--data", "methods/baseline.yaml")


def test_classes_that_vanished_are_refused(make_folder, run_cli, tmp_path):
    root = make_folder()
    arguments = ["train", "--data.root", root, *TINY_MODEL, *SHORT, "--out", tmp_path / "run"]
    assert "two classes that occur" in refused(run_cli, *arguments, "--data.label_map", "{0: 0, 255: 0}")
    assert "names a class twice" in refused(run_cli, *arguments, "--data.classes", "[a, a, b]")
    assert "names 3" in refused(run_cli, *arguments, "--data.classes", "[a, b, c]")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "-1"], "seed"),
        (["--engine.threads", "0"], "engine.threads"),
        (["--engine.patience", "0"], "engine.patience"),
        (["--data.augment.scale", "[2.0, 3.0]"], "data.augment.scale"),
        (["--data.augment.colour", "2"], "data.augment.colour"),
        (["--data.ignore", "255"], "Write [255]"),
        (["--optim.momentum", "1.5"], "optim.momentum"),
        (["--config", "methods/virtual_teacher.yaml", "--distiller.teachers.label.confidence", "0.3"], "confidence"),
    ],
)
def test_settings_that_would_do_harm_are_refused(make_folder, run_cli, tmp_path, arguments, said):
    base = ["train", "--data.root", make_folder(), *TINY_MODEL, *SHORT, "--out", tmp_path / "run"]
    assert said in refused(run_cli, *base, *arguments)


def test_a_misspelt_key_with_numbers_below_is_named(run_cli, tmp_path):
    layer = tmp_path / "layer.yaml"
    layer.write_text("data: {lable_map: {0: 0}}\n")
    err = refused(run_cli, "train", "--config", layer, "--out", tmp_path / "run")
    assert "layer.yaml" in err and "lable_map" in err and "data.label_map" in err


def test_a_score_that_is_undefined_on_val_keeps_the_last_weights(make_folder, run_cli, tmp_path):
    root = make_folder()
    Image.fromarray(np.zeros((48, 40), np.uint8)).save(root / "masks" / "photo0.png")
    (root / "val.txt").write_text("photo0\n")
    some = ["--data.val", "val.txt", "--evaluation.select", "f_mean", "--engine.epochs", "2"]
    status, out, err = run_cli("train", "--data.root", root, *TINY_MODEL, *SHORT, *some, "--out", tmp_path / "run")
    assert status == 0 and "f_mean is not defined on val" in out and "no score yet" in out, out + err
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert json.loads((tmp_path / "run" / "model.json").read_text())["step"] == max(steps)


def test_one_image_to_validate_on_is_enough_for_a_disturbance_that_mixes_images(make_folder, run_cli, tmp_path):
    root = make_folder()
    (root / "val.txt").write_text("photo0\n")
    some = ["--data.val", "val.txt", "--disturbance", "FDA"]
    status, out, err = run_cli("train", "--data.root", root, *TINY_MODEL, *SHORT, *some, "--out", tmp_path / "run")
    assert status == 0, out + err


def test_a_damaged_student_is_named(trained, run_cli):
    _, run = trained
    weights = (run / "student.safetensors").read_bytes()
    for content in (weights[:100], b"", weights[: len(weights) // 2]):
        (run / "student.safetensors").write_bytes(content)
        assert "student.safetensors" in refused(run_cli, "evaluate", "--run", run, "--split", "val")


def test_an_overfit_run_goes_on_as_one(make_folder, run_cli, tmp_path):
    arguments = ["--data.root", make_folder(), *TINY_MODEL, *SHORT, "--overfit-one-batch", "--optim.lr", "0.01"]
    status, out, err = run_cli("train", *arguments, "--out", tmp_path / "run")
    assert status == 0, out + err
    status, out, err = run_cli("train", "--resume", tmp_path / "run")
    assert "is overfitted" in out and "step 120" in out, out + err
    sessions = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert len(sessions) == 2
