"""Predictions in every coding: what is read, what is refused, and what is said of it."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from tests.walk.test_judge import maps  # noqa: F401

# ruff: noqa: F811


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
