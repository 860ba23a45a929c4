"""`segkd evaluate` on predictions of any model: files, tables, a page, and what happens to bad input."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from segkd.metrics.meter import score_names

NAMES = (
    "f_max f_mean f_adaptive f_weighted s_measure e_max e_mean e_adaptive mae ber dice iou_fg_image iou_fg_dataset "
    "miou_image miou_dataset boundary_iou hd95 ece"
).split()


@pytest.fixture
def maps(make_folder, tmp_path):
    root = make_folder(n=7)
    (tmp_path / "maps").mkdir()
    for path in (root / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray((mask // 2 + 60).astype(np.uint8)).resize((20, 24)).save(tmp_path / "maps" / path.name)
    return root, tmp_path / "maps"


def test_any_models_maps_are_judged_into_every_kind_of_file(maps, run_cli, tmp_path):
    root, folder = maps
    out_folder = tmp_path / "out"
    arguments = ["--predictions", folder, "--labels", root / "masks", "--images", root / "images", "--out", out_folder]
    status, out, err = run_cli("evaluate", *arguments)
    assert status == 0 and "labels: label_map 0 -> 0, 255 -> 1; predictions: read as value / 255" in out, out + err
    scores = json.loads((out_folder / "scores.json").read_text())
    assert set(NAMES) <= scores.keys() and scores["n_images"] == 7 and scores["n_resized"] == 7
    assert scores["skipped"] == scores["surplus"] == []
    assert set(scores["fingerprint"]) == {
        "protocol", "size", "interpolation", "threshold", "minmax", "beta2", "ignore", "augmentation", "scaled"
    }  # fmt: skip
    assert scores["fingerprint"]["scaled"] == "as probabilities"
    with (out_folder / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert np.mean([float(row["s_measure"]) for row in rows]) == pytest.approx(scores["s_measure"])
    curves = list(csv.DictReader((out_folder / "curves.csv").read_text().splitlines()))
    assert len(curves) == 256 and max(float(row["f"]) for row in curves) == scores["f_max"]
    assert f"{scores['mae']:.4f}".removeprefix("0") in (out_folder / "scores.md").read_text()
    assert (
        "\\toprule" in (out_folder / "scores.tex").read_text() and "f\\_max" in (out_folder / "scores.tex").read_text()
    )
    assert "<!doctype html>" in (out_folder / "report.html").read_text()


def test_processes_and_protocols(maps, run_cli, tmp_path):
    root, folder = maps
    found = []
    for extra in ([], ["--processes", "2"], ["--protocol", "pysod"]):
        arguments = ["--predictions", folder, "--labels", root / "masks", *extra, "--out", tmp_path / "s.json"]
        assert run_cli("evaluate", *arguments)[0] == 0
        found.append(json.loads((tmp_path / "s.json").read_text()))
    assert found[0] == found[1]
    assert found[2]["fingerprint"]["minmax"] and found[2]["mae"] < found[0]["mae"]


def test_bad_files_are_named_and_the_others_are_scored(maps, run_cli, tmp_path):
    root, folder = maps
    arguments = ["--predictions", folder, "--labels", root / "masks", "--out", tmp_path / "out"]
    assert run_cli("evaluate", *arguments)[0] == 0
    rows = (tmp_path / "out" / "per_image.csv").read_text().splitlines()
    (folder / "photo0.png").write_bytes(b"torn")
    (folder / "photo1.png").unlink()
    np.save(folder / "photo1.npy", np.full((48, 40), np.nan))
    (folder / "photo2.png").unlink()
    (folder / "photo2.png").mkdir()
    (folder / "photo3.png").unlink()
    Image.new("L", (4, 4)).save(folder / "[bold]stray & <b>.png")
    status, out, err = run_cli("evaluate", *arguments)
    assert status == 2 and "4 of 7 images have no scores" in err and "Traceback" not in err
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    said = "\n".join(scores["skipped"])
    assert scores["n_images"] == 3 and len(scores["skipped"]) == 4
    for name, why in (("photo0", "readable"), ("photo1", "NaN"), ("photo2", "folder"), ("photo3", "no prediction")):
        assert any(name in line and why in line for line in said.splitlines())
    assert scores["surplus"] == ["[bold]stray & <b>.png: no label"] and "[bold]stray" in out
    kept = (tmp_path / "out" / "per_image.csv").read_text().splitlines()
    assert kept[1:4] == rows[5:8] and len(kept) == 8
    page = (tmp_path / "out" / "report.html").read_text()
    assert "stray &amp; &lt;b&gt;" in page and "stray & <b>" not in page


def test_several_data_sets_get_a_folder_each_and_one_table(maps, run_cli, tmp_path):
    root, folder = maps
    (root / "few.txt").write_text("photo1\nphoto2\n")
    (root / "all.txt").write_text("\n".join(f"photo{i}" for i in range(7)))
    both = ["--predictions", folder, folder, "--labels", root / "masks", root / "masks"]
    arguments = [*both, "--list", root / "few.txt", root / "all.txt", "--out", tmp_path / "out"]
    status, out, err = run_cli("evaluate", *arguments)
    assert status == 0, out + err
    assert json.loads((tmp_path / "out" / "folder" / "scores.json").read_text())["n_images"] == 2
    assert json.loads((tmp_path / "out" / "folder-2" / "scores.json").read_text())["n_images"] == 7
    assert (tmp_path / "out" / "scores.md").read_text().count("| folder") == 2
    assert (tmp_path / "out" / "folder-2" / "report.html").is_file()


def test_labels_may_come_from_a_data_layer(maps, run_cli, tmp_path):
    root, folder = maps
    (root / "test.txt").write_text("photo4\nphoto5\n")
    arguments = ["--predictions", folder, "--data.root", root, "--data.classes", "[a, b]", "--out", tmp_path / "out"]
    status, out, err = run_cli("evaluate", *arguments)
    assert status == 0, err
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores["n_images"], scores["split"]) == (2, "test")  # by which `segkd compare` pairs them


def test_class_maps_are_judged_with_ignored_pixels(run_cli, tmp_path):
    draw = np.random.default_rng(0)
    for name in ("maps", "gt"):
        (tmp_path / name).mkdir()
    for number in range(3):
        label = draw.choice([0, 1, 2, 255], (20, 30)).astype(np.uint8)
        Image.fromarray(label).save(tmp_path / "gt" / f"{number}.png")
        predicted = np.where(label == 255, 0, label).astype(np.uint8)
        predicted[:5] = 1
        np.save(tmp_path / "maps" / f"{number}.npy", (predicted == np.arange(3)[:, None, None]).astype(np.float32))
    data = ["--data.classes", "[road, car, sky]", "--data.ignore", "[255]"]
    arguments = ["--predictions", tmp_path / "maps", "--labels", tmp_path / "gt", *data, "--out", tmp_path / "out"]
    status, out, err = run_cli("evaluate", *arguments)
    assert status == 0, out + err
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(score_names(3)) <= scores.keys() and 0.7 < scores["pixel_accuracy"] < 1 and "sky" in scores["iou"]
    assert scores["fingerprint"]["threshold"] == "largest"
    status, _, err = run_cli("evaluate", *arguments, "--threshold", "0.3")
    assert status == 2 and "--threshold 0.3 decides between two classes; of 3 the most probable" in err
    assert not (tmp_path / "out" / "curves.csv").exists() and (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of --run"),
        (["--onnx", "o", "--predictions", "MAPS"], "one of --run"),
        (["--predictions", "MAPS"], "--labels"),
        (["--predictions", "MAPS", "--labels", "GT", "GT"], "one for each"),
        (["--predictions", "MAPS", "--labels", "GT", "--flip"], "for a network"),
        (["--predictions", "MAPS", "--labels", "GT", "--protocol", "mine"], "plain or pysod"),
        (["--predictions", "MAPS", "--labels", "GT", "--protocol", "pysod", "--threshold", "0.3"], "cuts at 0.5"),
        (["--predictions", "MAPS", "--labels", "GT", "--threshold", "val"], "--threshold"),
        (["--predictions", "MAPS", "--labels", "GT", "--processes", "0"], "--processes"),
        (["--predictions", "GT/photo0.png", "--labels", "GT"], "expected a folder, found a file"),
        (["--onnx", "gone.onnx", "--data.root", "ROOT"], "gone.onnx"),
        (["--onnx", "gone.onnx", "--data.root", "ROOT", "--processes", "2"], "accelerate launch"),
        (["--onnx", "gone.onnx", "--data.root", "ROOT", "--stride", "0.2"], "say --slide too"),
        (["--predictions", "MAPS", "--labels", "GT", "--split", "val"], "--split is one of a data set"),
        (["--predictions", "MAPS", "--labels", "GT", "--trust"], "--trust and --device are for a network"),
        (["--predictions", "MAPS", "--data.root", "ROOT", "--data.domain_group", "(.)"], "one data set"),
        (["--predictions", "MAPS", "MAPS", "--labels", "GT", "GT", "--out", "s.json"], "2 data sets need a folder"),
    ],
)
def test_mistakes_are_one_paragraph(maps, run_cli, arguments, said):
    root, folder = maps
    places = {"MAPS": folder, "GT": root / "masks", "GT/photo0.png": root / "masks" / "photo0.png", "ROOT": root}
    status, _, err = run_cli("evaluate", *(places.get(a, a) for a in arguments))
    assert status == 2 and said in err and "Traceback" not in err, err


def test_a_data_set_that_cannot_be_scored_costs_the_others_nothing(maps, run_cli, tmp_path):
    root, folder = maps
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "photo0.png").write_bytes(b"no picture")
    both = ["--predictions", folder, tmp_path / "empty", "--labels", root / "masks", root / "masks"]
    status, _, err = run_cli("evaluate", *both, "--out", tmp_path / "out")
    assert status == 2 and "the others are" in err and "photo0.png" in err and "Traceback" not in err
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["n_images"] == 7


def test_an_unwritable_place_is_refused_before_the_work(maps, run_cli, tmp_path):
    root, folder = maps
    (tmp_path / "taken").write_text("")
    status, out, err = run_cli(
        "evaluate", "--predictions", folder, "--labels", root / "masks", "--out", tmp_path / "taken"
    )
    assert status == 2 and "cannot write there" in err and "f_max" not in out


def test_two_models_on_several_data_sets_are_compared(maps, run_cli, tmp_path):
    root, folder = maps
    for name in ("ours", "theirs"):
        where = ["--predictions", folder, folder, "--labels", root / "masks", root / "masks"]
        status, out, err = run_cli("evaluate", *where, "--out", tmp_path / name)
        assert status == 0, out + err
    files = sorted(tmp_path.glob("*/*/scores.json"))
    assert len(files) == 4
    status, out, err = run_cli("compare", *files)
    assert status == 0 and "2 data sets" in out and "baseline ours" in out and "theirs" in out, out + err


def test_a_folder_among_the_labels_costs_one_image(maps, run_cli, tmp_path):
    root, folder = maps
    (root / "masks" / "extra.png").mkdir()
    status, _, err = run_cli(
        "evaluate", "--predictions", folder, "--labels", root / "masks", "--out", tmp_path / "scores.json"
    )
    assert status == 2 and "extra.png: expected a file, found a folder" in err
    assert json.loads((tmp_path / "scores.json").read_text())["n_images"] == 7


def test_labels_without_a_picture_are_told(maps, run_cli, tmp_path):
    root, _ = maps
    (root / "images" / "photo0.jpg").unlink()
    arguments = ["--predictions", root / "masks", "--labels", root / "masks", "--images", root / "images"]
    _, out, _ = run_cli("evaluate", *arguments, "--out", tmp_path / "out")
    assert "1 of 7 labels have no picture of their name in --images (photo0)" in " ".join(out.split())
