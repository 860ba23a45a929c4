"""`segkd evaluate --onnx`: what a file gives is found out, said, recorded, and doubted where it looks wrong."""

import json

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from segkd.metrics.protocol import differences
from tests.models.graphs import CONV, KERNEL, node, save

ASIS = ["--mean", 0, 0, 0, "--std", 1, 1, 1]


@pytest.fixture
def given(make_folder):
    """Arguments for a folder of bright squares, at the size it has."""
    root = make_folder(n=6, size=(48, 40))
    (root / "test.txt").write_text("photo0\nphoto1\nphoto2\n")
    return ["--data.root", root, "--data.size", "[48, 40]", "--data.workers", 0, "--split", "test"]


@pytest.fixture
def sided(tmp_path):
    """A file whose first output is a side output, and whose last one is the map."""
    nodes = [CONV, node("Sigmoid", "z", "final"), node("Neg", "z", "n"), node("Sigmoid", "n", "side")]
    return save(tmp_path / "sided.onnx", nodes, outputs=("side", "final"), constants=KERNEL)


def test_the_output_that_is_judged_is_named_by_the_user_where_it_could_be_any(given, sided, run_cli, tmp_path):
    status, _, err = run_cli("evaluate", "--onnx", sided, *given, *ASIS)
    assert status == 2 and "side" in err and "final" in err and "--onnx-output-name NAME" in err
    out = tmp_path / "scores.json"
    status, said, err = run_cli("evaluate", "--onnx", sided, *given, *ASIS, "--onnx-output-name", "final", "--out", out)
    assert status == 0, err
    scores = json.loads(out.read_text())
    assert scores["iou_fg_image"] > 0.95
    for text in (said, scores["reading"]):
        assert "output final, as asked, of 2 outputs" in text and "fed RGB in 0..1" in text


def test_probabilities_called_logits_are_doubted_after_the_scores(given, sided, run_cli):
    status, said, _ = run_cli(
        "evaluate", "--onnx", sided, *given, *ASIS, "--onnx-output-name", "final", "--onnx-output", "logits"
    )
    assert status == 0 and "all outputs final lie in 0..1" in said and "are these probabilities?" in said


def test_a_file_of_one_size_is_shown_images_of_that_size(given, run_cli, tmp_path):
    nodes = [node("Transpose", "image", "first", perm=[0, 3, 1, 2]), node("Conv", ["first", "w", "c"], "out")]
    path = save(tmp_path / "n.onnx", nodes, axes=(2, 24, 32, 3), constants=KERNEL)
    status, said, err = run_cli("evaluate", "--onnx", path, *given, *ASIS, "--out", tmp_path / "scores.json")
    assert status == 0 and "[2 24 32 3]" in said, err
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["size"] == [24, 32] and scores["iou_fg_image"] > 0.8 and scores["n_images"] == 3
    status, _, err = run_cli("evaluate", "--onnx", path, *given, *ASIS, "--scales", 0.5, 1)
    assert status == 2 and "--scales" in err and "Traceback" not in err


def test_a_normalisation_that_divides_by_nothing_is_refused(given, sided, run_cli):
    for std in (["0", "0", "0"], ["1", "-1", "1"]):
        status, _, err = run_cli("evaluate", "--onnx", sided, *given, "--std", *std)
        assert status == 2 and "std above 0" in err


def test_a_threshold_is_one_that_somebody_stated(given, sided, run_cli):
    status, _, err = run_cli("evaluate", "--onnx", sided, *given, "--onnx-output-name", "final", "--threshold", "val")
    assert status == 2 and "states no threshold of its own" in err, err


@pytest.mark.parametrize(
    "option", [["--onnx-output", "logits"], ["--onnx-output-name", "x"], ["--std", 1, 1, 1], ["--channels", "bgr"]]
)
def test_options_without_effect_are_refused(given, run_cli, tmp_path, option):
    status, _, err = run_cli("evaluate", "--predictions", tmp_path, "--labels", tmp_path, *option)
    assert status == 2 and f"{option[0]} says how a file of --onnx is read" in err


def test_one_file_that_is_read_in_two_ways_has_two_fingerprints(given, sided, run_cli, tmp_path):
    said = []
    for name in ("probability", "logits"):
        where = "--onnx-output-name", "final", "--onnx-output", name, "--out", tmp_path / f"{name}.json"
        assert run_cli("evaluate", "--onnx", sided, *given, *ASIS, *where)[0] == 0
        said.append(json.loads((tmp_path / f"{name}.json").read_text()))
    assert differences(*said) == ["output: as probabilities against as logits"]
    assert said[0]["fingerprint"]["scaled"] == "as logits"
