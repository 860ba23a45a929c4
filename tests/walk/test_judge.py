"""`segkd evaluate` on predictions of any model: files, tables, a page, and what happens to bad input."""

import csv
import json
import os
import signal

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


TRUTH = np.zeros((6, 40, 50), np.uint8)
for number, plane in enumerate(TRUTH):
    plane[5 : 25 + number, 10:30] = 1


def written(folder, arrays):
    folder.mkdir()
    for number, array in enumerate(arrays):
        picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
        picture.save(folder / f"a{number}.png")
    return folder


def indexed(mask, colours):
    picture = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    picture.putpalette([part for colour in colours for part in colour])
    return picture


def alpha(mask, bands):
    white = np.full_like(mask, 255)
    return np.dstack([white] * bands + [mask * 255])


WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)
CODINGS = {
    "8 bit": lambda m: m * 255, "argmax": lambda m: m, "16 bit": lambda m: m * np.uint16(65535),
    "bits": lambda m: Image.fromarray(m > 0), "white first": lambda m: indexed(1 - m, [WHITE, BLACK]),
    "red": lambda m: indexed(m, [BLACK, RED]), "rgb": lambda m: np.dstack([m * 255] * 3),
}  # fmt: skip


@pytest.mark.parametrize("name", CODINGS)
def test_a_folder_judged_against_itself_is_perfect_in_every_coding(run_cli, tmp_path, name):
    folder = written(tmp_path / "maps", [CODINGS[name](mask) for mask in TRUTH])
    status, out, err = run_cli("evaluate", "--predictions", folder, "--labels", folder, "--out", tmp_path / "s.json")
    scores = json.loads((tmp_path / "s.json").read_text())
    assert status == 0 and scores["miou_dataset"] == 1 and scores["mae"] == 0, out + err
    assert scores["coding"]["labels"]["rule"] in out and scores["coding"]["predictions"]["found"] in out


REFUSED = {
    "labels 0/128": (lambda m: m * 255, lambda m: m * 128, "--data.label_map '{0: 0, 128: 1}'"),
    "labels of classes": (lambda m: m, lambda m: m + np.roll(m, 5, 1) * 2, "--data.classes"),
    "one-based": (lambda m: m + 1, lambda m: m * 255, "--prediction-map '{1: 0, 2: 1}'"),
    "label in alpha": (lambda m: m * 255, lambda m: alpha(m, 3), "alpha channel"),
    "map in alpha": (lambda m: alpha(m, 1), lambda m: m * 255, "alpha channel"),
    "turned": (lambda m: np.ascontiguousarray(m.T) * 255, lambda m: m * 255, "on its side"),
    "another shape": (lambda m: m[3:-3, 9:-4] * 255, lambda m: m * 255, "another shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_that_could_mean_something_else_is_refused_before_it_is_scored(run_cli, tmp_path, name):
    maps, labels, cure = REFUSED[name]
    where = written(tmp_path / "maps", map(maps, TRUTH)), written(tmp_path / "gt", map(labels, TRUTH))
    status, out, err = run_cli(
        "evaluate", "--predictions", where[0], "--labels", where[1], "--out", tmp_path / "s.json"
    )
    assert status == 2 and cure in err and "Traceback" not in err, out + err
    assert not (tmp_path / "s.json").exists()


def test_what_the_user_says_of_predictions_is_done(run_cli, tmp_path):
    gt = written(tmp_path / "gt", TRUTH * 255)
    for number, (array, option) in enumerate(
        [(TRUTH + 1, ["--prediction-map", "{1: 0, 2: 1}"]), (TRUTH * 100, ["--prediction-scale", "100"])]
    ):
        folder = written(tmp_path / f"maps{number}", array)
        status, out, err = run_cli("evaluate", "--predictions", folder, "--labels", gt, *option)
        assert status == 0 and "│ 1.0000" in out, out + err
    status, _, err = run_cli("evaluate", "--onnx", "r", "--prediction-scale", "9")
    assert status == 2 and "--prediction-scale" in err


def test_maps_of_one_size_are_stretched_to_their_labels_and_said(run_cli, tmp_path):
    gt = written(tmp_path / "gt", TRUTH * 255)
    small = [np.asarray(Image.fromarray(mask * 255).resize((64, 64))) for mask in TRUTH]
    status, out, err = run_cli("evaluate", "--predictions", written(tmp_path / "maps", small), "--labels", gt)
    assert status == 0 and "measure 64x64, whatever the shape" in out and "6 of 6 predictions are scaled" in out, err


def test_a_map_that_fits_no_label_costs_its_own_scores(run_cli, tmp_path):
    gt, folder = written(tmp_path / "gt", TRUTH * 255), written(tmp_path / "maps", TRUTH * 255)
    Image.new("L", (50 * 40, 40 * 40)).save(folder / "a1.png")
    Image.new("L", (40, 50)).save(folder / "a2.png")
    Image.new("L", (1, 1)).save(folder / "a3.png")
    status, out, err = run_cli("evaluate", "--predictions", folder, "--labels", gt, "--out", tmp_path / "s.json")
    assert status == 2 and "3 of 6 images have no scores" in err and "32 times" in out and "on its side" in out
    assert json.loads((tmp_path / "s.json").read_text())["iou_fg_dataset"] == 1


def test_labels_and_maps_that_show_nothing_are_warned_of(run_cli, tmp_path):
    folder = written(tmp_path / "maps", TRUTH * 0)
    status, out, err = run_cli("evaluate", "--predictions", folder, "--labels", folder)
    assert status == 0 and "no image has foreground" in out and "nothing is ever predicted as foreground" in out, err


def test_a_worker_that_is_killed_ends_in_a_sentence(run_cli, tmp_path, monkeypatch):
    folder = written(tmp_path / "maps", TRUTH * 255)
    parent = os.getpid()

    def killed(*arguments):
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("segkd.engine.judge.view_mask", killed)
    arguments = ["--predictions", folder, "--labels", folder, "--processes", "2"]
    status, _, err = run_cli("evaluate", *arguments)
    assert status == 2 and "--processes 1" in err and "Traceback" not in err


def test_maps_are_turned_by_their_own_orientation_and_it_is_said(run_cli, tmp_path):
    gt = written(tmp_path / "gt", TRUTH * 255)
    tag = Image.Exif()
    tag[0x0112] = 3  # upside down, so that sizes tell nothing
    (tmp_path / "maps").mkdir()
    for number, mask in enumerate(TRUTH):
        Image.fromarray(np.rot90(mask * 255, 2).copy()).save(tmp_path / "maps" / f"a{number}.png", exif=tag)
    status, out, err = run_cli("evaluate", "--predictions", tmp_path / "maps", "--labels", gt)
    assert (
        status == 0
        and "6 of 6 predictions: another EXIF orientation than that of the label" in out
        and "│ 1.0000" in out
    ), err
    status, out, err = run_cli("evaluate", "--predictions", tmp_path / "maps", "--labels", gt, "--data.exif", "false")
    assert status == 0 and "EXIF" not in out and "│ 1.0000" not in out, err
