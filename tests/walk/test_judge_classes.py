"""`segkd evaluate` on maps of several classes, and what it answers to maps that it cannot read."""

import json

import numpy as np
import pytest
from PIL import Image

from segkd.experiment.painting import in_colours

COLOURS = {"sky": (217, 163, 130), "road": (0, 0, 0), "car": (19, 4, 144)}
PALETTE = np.array(list(COLOURS.values()), np.uint8)


def save(folder, arrays):
    folder.mkdir()
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"p{number}.png")
    return folder


@pytest.fixture
def truth():
    return [
        np.random.default_rng(number).integers(0, 3, (6, 8), np.uint8).repeat(4, 0).repeat(4, 1) for number in (1, 2)
    ]


@pytest.fixture
def judged(run_cli, tmp_path):
    """What evaluate says of predictions and labels that are given as arrays, and its scores."""

    def judge(predictions, labels, *options):
        folders = save(tmp_path / "maps", predictions), save(tmp_path / "gt", labels)
        arguments = ["--predictions", folders[0], "--labels", folders[1], "--out", tmp_path / "s.json", *options]
        status, out, err = run_cli("evaluate", *arguments)
        return status, out + err, json.loads((tmp_path / "s.json").read_text()) if status == 0 else {}

    return judge


CLASSES = ["--data.classes", "[sky, road, car]"]
NAMED = [*CLASSES, "--data.colours", "{sky: [217, 163, 130], road: [0, 0, 0], car: '#130490'}", "--data.ignore", "[9]"]


def test_colours_are_those_of_the_predictions_where_labels_are_grey(judged, truth):
    label = truth[0].copy()
    label[:4] = 9  # left out by data.ignore, of values
    status, said, scores = judged([PALETTE[one] for one in truth], [label, truth[1]], *NAMED)
    assert status == 0 and "labels: raw values 0..2 are the classes; ignored [9]" in said, said
    assert scores["miou_dataset"] == 1


def test_colours_are_those_of_the_labels_where_predictions_are_grey(judged, truth):
    status, said, scores = judged(truth, [PALETTE[one] for one in truth], *NAMED[:4])
    assert status == 0 and "labels: colours are the classes" in said and scores["miou_dataset"] == 1, said


def test_masks_of_segkd_predict_are_numbers_beside_labels_in_colours(run_cli, tmp_path, truth):
    labels, maps = save(tmp_path / "gt", [PALETTE[one] for one in truth]), tmp_path / "maps"
    maps.mkdir()
    for number, one in enumerate([truth[0], truth[1] * 0]):  # black is class 0 there, and road among the labels
        in_colours(one, 3).save(maps / f"p{number}.png")
    given = ["--predictions", maps, "--labels", labels, "--out", tmp_path / "s.json", *NAMED[:4]]
    status, out, err = run_cli("evaluate", *given)
    assert status == 0, out + err
    found = json.loads((tmp_path / "s.json").read_text())["confusion"]
    expected = [np.bincount(np.concatenate([truth[0][truth[0] == c], truth[1][truth[1] == c] * 0]), minlength=3)
                for c in range(3)]  # fmt: skip
    np.testing.assert_array_equal(found, expected)


def test_grey_labels_in_grey_colours_are_read_by_them(judged, truth):
    greys = np.array([200, 0, 100], np.uint8)
    named = ["--data.colours", "{sky: '#c8c8c8', road: '#000000', car: '#646464'}"]
    status, said, scores = judged(truth, [greys[one] for one in truth], *CLASSES, *named)
    assert status == 0 and "labels: colours are the classes" in said and scores["miou_dataset"] == 1, said


def test_what_is_proposed_for_coloured_predictions_names_the_classes_and_is_taken(judged, truth):
    status, said, _ = judged([PALETTE[one] for one in truth], truth, *CLASSES)
    assert status == 2 and "found pictures in 3 colours" in said
    written = said.split('--data.colours "')[1].split('"')[0]
    assert all(f"{name}: '#" in written for name in COLOURS)


@pytest.mark.parametrize(("classes", "said"), [([], "colour map (jet)"), (CLASSES, "smoothing or JPEG")])
def test_painted_and_blurred_predictions_are_told_apart(judged, truth, classes, said):
    ramp = np.arange(24 * 32, dtype=np.uint32).reshape(24, 32)
    painted = np.stack([ramp % 256, ramp // 3, 255 - ramp % 256], axis=-1).astype(np.uint8)
    status, told, _ = judged([painted] * 2, [np.minimum(one, 1) for one in truth], *classes)
    assert status == 2 and "hundreds of colours" in told and said in told


def test_maps_have_no_threshold_of_their_own(judged, truth):
    cut = [np.minimum(one, 1) for one in truth]
    status, said, _ = judged(cut, cut, "--threshold", "val")
    assert status == 2 and "--threshold val is a run's own, and maps have none" in said


def test_labels_that_are_their_own_predictions_are_told(run_cli, tmp_path, truth):
    folder = save(tmp_path / "gt", truth)
    (tmp_path / "links").symlink_to(folder)
    for place, said in ((folder, True), (tmp_path / "links", True), (save(tmp_path / "maps", truth), False)):
        status, out, err = run_cli("evaluate", "--predictions", place, "--labels", folder, *CLASSES)
        assert status == 0 and ("2 of 2 predictions are the labels themselves" in out + err) is said, out + err


def test_the_colours_of_the_labels_under_other_numbers_are_told(run_cli, tmp_path, truth):
    for name, order in (("gt", [0, 1, 2]), ("maps", [1, 2, 0]), ("same", [0, 1, 2])):
        (tmp_path / name).mkdir()
        for number, one in enumerate(truth):
            picture = Image.fromarray(np.argsort(order).astype(np.uint8)[one])
            picture.putpalette(PALETTE[order].tobytes())
            picture.save(tmp_path / name / f"p{number}.png")
    for name, said in (("maps", True), ("same", False)):
        status, out, err = run_cli("evaluate", "--predictions", tmp_path / name, "--labels", tmp_path / "gt", *CLASSES)
        assert status == 0, out + err
        told = "2 of 2 predictions have the colours of the labels under other numbers" in " ".join(out.split())
        assert told is said, out
