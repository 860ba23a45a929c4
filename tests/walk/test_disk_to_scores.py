"""From a folder of images to a trained, scored, reloadable network, through the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from segkd import load_model
from segkd.metrics.meter import score_names
from tests.conftest import TINY

TINY_MODEL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16"]
SHORT = ["--data.size", "32", "--data.batch_size", "4", "--engine.epochs", "12", "--optim.lr", "0.01"]


@pytest.fixture
def trained(make_folder, run_cli, tmp_path):
    root = make_folder(n=16)
    method = ["--config", "methods/virtual_teacher.yaml"]
    status, out, err = run_cli(
        "train", *method, "--data.root", root, *TINY_MODEL, *SHORT, "--data.workers", 0, "--out", tmp_path / "run"
    )
    assert status == 0, out + err
    return root, tmp_path / "run", out


def test_train_evaluate_predict_and_reload(trained, run_cli, tmp_path):
    root, run, out = trained
    assert "255 -> 1" in out and "GMACs" in out and str(run) in out
    present = {path.relative_to(run).as_posix() for path in run.rglob("*")}
    assert {
        "config.yaml", "environment.json", "metrics.jsonl", "checkpoints/last.pt", "student.safetensors", "model.json"
    } <= present  # fmt: skip

    status, out, err = run_cli("evaluate", "--run", run, "--split", "val", "--out", tmp_path / "s" / "scores.json")
    scores = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert status == 0 and "miou_image" in out, err
    names = score_names(2)
    assert all(0 <= scores[name] <= 1 for name in names if name != "hd95") and scores["n_images"] == 2
    # a bright square on a dark ground: whoever does not find it has a broken pipeline
    assert scores["miou_image"] > 0.7

    validated = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max((line for line in validated if line["kind"] == "val"), key=lambda line: line["miou_image"])
    assert {name: best[name] for name in names} == {name: scores[name] for name in names}

    status, out, err = run_cli("predict", "--run", run, "--images", root / "images", "--out", tmp_path / "masks")
    assert status == 0, err
    model = load_model(run)
    for path in sorted((root / "images").iterdir())[:3]:
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{path.stem}.png"))
        shares = model.predict(np.asarray(Image.open(path)))
        assert mask.shape == shares.shape[1:] == (48, 40)
        np.testing.assert_array_equal(mask == 255, shares[1] >= model.card.threshold)


def test_evaluate_takes_the_same_data_layer_as_train(trained, run_cli, tmp_path):
    root, run, _ = trained
    (root / "test.txt").write_text("photo3\nphoto4\nphoto5\n")
    (tmp_path / "layer.yaml").write_text(f"data: {{root: {root.name}, test: test.txt}}\n")
    status, out, err = run_cli("evaluate", "--run", run, "--data", tmp_path / "layer.yaml", "--split", "test")
    assert status == 0 and "3 images" in out, err
    status, _, err = run_cli("evaluate", "--run", run, "--data", tmp_path / "layer.yaml", "--data.classes", "[a,b,c]")
    assert status == 2 and "3 classes" in err


def test_several_data_sets_and_several_looks_at_test(trained, run_cli, tmp_path):
    root, run, _ = trained
    (root / "test.txt").write_text("photo3\nphoto4\nphoto5\n")
    (root / "images" / "photo4.jpg").write_bytes(b"torn")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"data: {{root: {root.name}, test: test.txt, workers: 2}}\n")
    both = ["--data", tmp_path / "one.yaml", "--data", tmp_path / "two.yaml"]
    looks = ["--flip", "--slide", "--scales", "1", "1.5"]
    status, out, err = run_cli("evaluate", "--run", run, *both, *looks, "--out", tmp_path / "out")
    assert status == 2 and "2 of 6 images have no scores" in err and "photo4" in err, out + err
    scores = json.loads((tmp_path / "out" / "folder-2" / "scores.json").read_text())
    assert scores["n_images"] == 2 and len(scores["skipped"]) == 1 and scores["miou_image"] > 0.6
    assert scores["fingerprint"]["augmentation"] == "flip, scales 1 1.5, window stride 0.5, blended"
    page = (tmp_path / "out" / "folder" / "report.html").read_text()
    assert "Training loss" in page and "environment.json" in page


def test_mistakes_in_evaluating_are_named(trained, run_cli, tmp_path):
    root, run, _ = trained
    for arguments, said in [
        (["--run", tmp_path / "none"], "config.yaml"),
        (["--run", run, "--split", "test"], "test"),
        (["--run", run, "--threshold", "2"], "--threshold"),
        (["--run", run, "--data.root", tmp_path / "gone", "--split", "val"], "gone"),
    ]:
        status, _, err = run_cli("evaluate", *arguments)
        assert status == 2 and said in err and "Traceback" not in err
    (root / "images" / "broken.jpg").write_bytes(b"no image")
    status, out, err = run_cli("predict", "--run", run, "--images", root / "images", "--out", tmp_path / "masks")
    assert status == 2 and "broken.jpg" in err and len(list((tmp_path / "masks").iterdir())) == 16


def test_bad_data_is_named_before_epoch_one_and_nothing_is_lost(make_folder, run_cli, tmp_path):
    root = make_folder(n=6)
    (root / "images" / "photo2.jpg").write_bytes(b"torn")
    arguments = ["--data.root", root, *TINY_MODEL, *SHORT, "--data.workers", 0, "--out", tmp_path / "run"]
    status, _, err = run_cli("train", *arguments)
    assert status == 2 and "photo2.jpg" in err and "Traceback" not in err
    Image.fromarray(np.zeros((48, 40, 3), np.uint8)).save(root / "images" / "photo2.jpg")
    status, out, err = run_cli("train", *arguments, "--engine.epochs", "1")
    assert status == 0, out + err


def test_one_batch_is_overfitted(make_folder, run_cli, tmp_path):
    root = make_folder(n=8)
    arguments = ["--data.root", root, *TINY_MODEL, *SHORT, "--data.workers", 0, "--out", tmp_path / "run"]
    status, out, err = run_cli("train", *arguments, "--overfit-one-batch")
    assert status == 0 and "is overfitted" in out, out + err


def test_a_contact_sheet_shows_every_image_twice(make_folder, run_cli, tmp_path):
    root = make_folder(n=7)
    status, out, err = run_cli("sheet", "--data.root", root, "--out", tmp_path / "p" / "sheet.png", "--number", "4")
    assert status == 0 and "sheet.png" in out, err
    assert np.asarray(Image.open(tmp_path / "p" / "sheet.png")).shape == (178, 4 * 326, 3)
    status, _, err = run_cli("sheet", "--data.root", root, "--out", tmp_path / "sheet.foo")
    assert status == 2 and "sheet.foo" in err


def test_half_precision_accumulation_and_freezing_train_too(make_folder, run_cli, tmp_path):
    root = make_folder(n=10)
    some = ["--engine.precision", "bf16", "--engine.accumulate", "2", "--optim.freeze", "[encoder.body.conv_stem]"]
    method = ["--config", "methods/virtual_teacher.yaml", "--optim.name", "sgd", "--optim.average", "null"]
    arguments = [*method, *some, "--data.root", root, *TINY_MODEL, *SHORT, "--engine.epochs", "2", "--data.workers", 0]
    status, out, err = run_cli("train", *arguments, "--out", tmp_path / "run")
    assert status == 0 and "done" in out, out + err
