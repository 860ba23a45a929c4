"""Several masks of each image."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segkd.datasets.prepare.written import overlaid
from tests.datasets.test_prepare_public import SIZE, patches, prepare, put  # noqa: F401

# ruff: noqa: F811


def lungs(put):
    """The folders of Montgomery; the left lung of image 2 is missing."""
    for n in range(5):
        put(f"CXR_png/{n}.png")
        put(f"ManualMask/rightMask/{n}.png", patches(n, [255]))
        if n != 2:
            put(f"ManualMask/leftMask/{n}.png", patches(n, [0, 255]))


def test_other_masks_of_the_same_images_are_told_with_the_words_for_a_class_of_each(put, prepare):
    for n in range(5):
        put(f"images/{n}.jpg")
        for folder, end in (("1. Fine Dots", "FD"), ("2. Large Dots", "LD"), ("edges", "E")):
            put(f"truth/{folder}/{n}_{end}.tif", patches(n, [255]))
    data, said = prepare()
    assert data["classes"] == ["background", "foreground"] and data["masks"].split("/")[1][:2] in ("1.", "2.")
    assert "say --masks 'truth/1. Fine Dots/{}_FD' --masks 'truth/2. Large Dots/{}_LD' (later ones" in said
    assert said.count("images with truth/edges/{}_E would fit as well") == 1


def test_several_masks_are_a_class_each(put, prepare, tmp_path):
    lungs(put)
    data, said = prepare("--masks", "ManualMask/rightMask", "--masks", "ManualMask/leftMask")
    assert data["classes"] == ["background", "rightMask", "leftMask"] and "label_map" not in data
    assert "9 masks of rightMask, leftMask for 5 images; they are made one, later ones over earlier" in said
    for n in range(5):
        mask = np.asarray(Image.open(tmp_path / "layer.prepared" / "masks" / f"{n}.png"))
        left = patches(n, [0, 255]) if n != 2 else np.zeros(SIZE)
        np.testing.assert_array_equal(mask, np.where(left > 0, 2, patches(n, [255]) > 0))


def test_later_masks_lie_over_earlier_ones_and_have_the_names_that_are_told(put, prepare, tmp_path):
    lungs(put)
    both = ("--masks", "ManualMask/rightMask/{}.png", "--masks", "ManualMask/rightMask")
    data, _ = prepare("--images", "CXR_png", *both, "--classes", "none", "under", "over")
    assert data["classes"] == ["none", "under", "over"]
    assert np.unique(np.asarray(Image.open(tmp_path / "layer.prepared" / "masks" / "0.png"))).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("values", "inside"), [((0, 255), [0, 2]), ((128, 255), [0, 2]), ((3, 4), [0, 2]), ((9, 9), [2, 2])]
)
def test_of_two_values_the_larger_is_the_class(values, inside):
    assert overlaid([(2, Path("a.png"), np.array([values], np.uint8))]).tolist() == [inside]


@pytest.mark.parametrize("names", [("a. Training Set", "b. Testing Set"), ("train", "test")])
def test_kinds_of_masks_below_the_folders_of_splits(put, run_cli, monkeypatch, tmp_path, names):
    """IDRiD: the command that is offered takes all splits, and names classes without their numbers."""
    kinds = {"MA": "1. Microaneurysms", "HE": "2. Haemorrhages", "SE": "4. Soft Exudates", "OD": "5. Optic Disc"}
    for n in range(12):
        part = names[n > 7]
        put(f"1. Original Images/{part}/IDRiD_{n}.jpg")
        for end, place in kinds.items():
            if (n, end) != (2, "HE") and (n > 5 or end != "SE"):
                put(f"2. All Segmentation Groundtruths/{part}/{place}/IDRiD_{n}_{end}.tif", patches(n, [255]))
    monkeypatch.chdir(tmp_path)
    status, said, err = run_cli("prepare", "set", "--out", "one.yaml")
    assert status == 0 and "4 test (split by the folders" in said, said + err
    places = [f"2. All Segmentation Groundtruths/*/{kinds[end]}/{{}}_{end}" for end in ("MA", "HE", "OD")]
    masks = [word for place in places for word in ("--masks", place)]
    assert f"say {shlex.join(masks)} (later" in " ".join(said.split()), said
    status, said, err = run_cli("prepare", "set", "--out", "all.yaml", *masks)
    assert status == 0 and "4 test (split by the folders" in said and "used for nothing" not in said, said + err
    classes = yaml.safe_load(Path("all.yaml").read_text())["data"]["classes"]
    assert classes == ["background", "Microaneurysms", "Haemorrhages", "Optic Disc"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--classes", "none", "left"],
            "--classes names 2 classes (none, left), but --masks 2 places: expected 3",
        ),
        (["--images", "CXR_png/{}_x"], "expected files like this pattern"),
    ],
)
def test_several_masks_that_are_wrong_are_named(put, run_cli, tmp_path, options, words):
    lungs(put)
    masks = ("--masks", "ManualMask/leftMask", "--masks", "ManualMask/rightMask")
    status, _, err = run_cli("prepare", tmp_path / "set", "--out", tmp_path / "layer.yaml", *masks, *options)
    assert status == 2 and words in " ".join(err.split()), err


def test_masks_of_many_values_or_another_size_are_no_part_of_several(put, run_cli, tmp_path):
    lungs(put)
    for wrong, words in ((patches(0, [1, 2, 3]), "expected a mask of two values"),
                         (np.eye(30, dtype=np.uint8), "expected 64x48 pixels like the other masks")):  # fmt: skip
        put("ManualMask/leftMask/0.png", wrong)
        masks = ("--masks", "ManualMask/rightMask", "--masks", "ManualMask/leftMask")
        status, _, err = run_cli("prepare", tmp_path / "set", "--out", tmp_path / "layer.yaml", *masks)
        assert status == 2 and words in " ".join(err.split()), err
        assert not (tmp_path / "layer.prepared").exists()
