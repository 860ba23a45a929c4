"""Images and masks in several places, and pictures that look like both: which belong together."""

# ruff: noqa: F811

from pathlib import PurePosixPath

import numpy as np
import pytest
import yaml
from PIL import Image

from segkd.datasets import pairing
from segkd.datasets.prepare.homes import in_homes
from segkd.datasets.prepare.layouts import find_layout
from tests.datasets.test_prepare_public import SIZE, patches, prepare, put  # noqa: F401


def test_equal_names_in_train_and_test_are_no_pairs(put, prepare):
    """KITTI: test/000.png is not the image of train/labels/000.png, though the names say so."""
    for n in range(6):
        put(f"data/testing/image_2/{n}_10.png")
        put(f"data/training/image_2/{n}_10.png")
        put(f"data/training/semantic/{n}_10.png", patches(n, [7, 11, 24], 1))
        put(f"data/training/semantic_rgb/{n}_10.png", np.stack([patches(n, [70, 110, 240], 10)] * 3, -1))
    data, said = prepare()
    assert (data["images"], data["masks"]) == ("data/training/image_2", "data/training/semantic")
    assert "6 in data/testing/image_2" in said and "data/testing/image_2 with" not in said


@pytest.mark.parametrize(
    ("homes", "words", "images"),
    [
        ({"Train/Rural": 3, "Train/Urban": 3, "Val/Rural": 2, "Val/Urban": 2}, "6 train, 4 val", "**/photos/{}"),
        ({"set/a_train/seq1": 3, "set/a_train/seq2": 3, "set/a_val/seq16": 2}, "6 train, 2 val", "set/**/photos/{}"),
        ({"train": 5, "valid/easy": 2, "valid/hard": 1, "test/easy": 2}, "5 train, 3 val, 2 test", "**/photos/{}"),
        ({"train_val": 6, "TEST": 3}, "5 train, 1 val, 3 test", "**/photos/{}"),
    ],
)  # fmt: skip
def test_the_same_folders_in_many_places_are_all_taken(put, prepare, homes, words, images):
    """LoveDA, UAVid (frames are numbered anew in each sequence), Trans10K, SUIM."""
    numbered = "seq" in "".join(homes)
    for place, (home, number) in enumerate(homes.items()):
        for n in range(number):
            name = n if numbered else 10 * place + n
            put(f"{home}/photos/{name}.jpg")
            put(f"{home}/labels/{name}_mask.png", patches(place + n, [1, 2]))
        if home == "TEST":
            put(f"{home}/labels/robots/{name}_mask.png", patches(n, [1]))
    data, said = prepare()
    assert f"splits: {words}" in said and data["images"] == images
    assert "photos would fit" not in said


def test_a_place_without_a_split_beside_train_holds_the_same_once_more():
    files = [PurePosixPath(f"{home}/{kind}/{n}.png") for home in ("train", "trainval") for kind in ("img", "masks")
             for n in range(4)]  # fmt: skip
    assert not list(in_homes(files))


@pytest.mark.parametrize("other", ["augmented", "old", "data/predictions"])
def test_a_place_of_copies_is_not_taken_with_the_images(put, prepare, other):
    place = "data/" * other.startswith("data/")
    for n in range(6):
        for home in (place, f"{other}/"):
            put(f"{home}images/{n}.jpg")
            put(f"{home}masks/{n}.png", patches(n, [255]))
    data, said = prepare()
    assert data["images"] == f"{place}images" and f"6 in {other}/images" in said


def test_places_that_are_taken_together_are_named(put, prepare):
    for n in range(4):
        for home in ("north", "south"):
            put(f"{home}/photos/{n}.jpg")
            put(f"{home}/labels/{n}.png", patches(n, [255]))
    assert "images of 2 folders are taken together (north/photos, south/photos): if one holds copies" in prepare()[1]


def test_which_of_two_folders_names_a_split_does_not_matter():
    files = [PurePosixPath(f"{home}/{name}/0.png") for home in "ab" for name in ("train", "test", "gt")]
    assert not list(in_homes(files))


def test_depths_and_heights_are_neither_the_images_nor_the_masks(put, prepare):
    """Potsdam and NYUv2: further channels in folders of their own."""
    metres = np.linspace(30, 60, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    for n in range(6):
        put(f"1_dsm/dsm_{n}.tif", metres)
        put(f"1_dsm_n/dsm_{n}.jpg")
        put(f"2_depth/{n}.png", (1000 * metres).astype(np.uint16))
        put(f"3_rgb/top_{n}_rgb.tif")
        put(f"5_labels/top_{n}_label.tif", patches(n, [1, 2]))
    data, _ = prepare()
    assert (data["images"], data["masks"]) == ("3_rgb/{}_rgb", "5_labels/{}_label")


def test_images_of_val_and_test_beside_masks_of_train_alone(put, prepare):
    """DeepGlobe: ID_sat.jpg and ID_mask.png in train, ID_sat.jpg alone in valid and test."""
    for n in range(9):
        folder = "train" if n < 5 else "valid" if n < 7 else "test"
        put(f"{folder}/{n}_sat.jpg")
        if n < 5:
            put(f"train/{n}_mask.png", patches(n, [1, 2]))
    data, said = prepare()
    assert (data["images"], data["masks"]) == ("train/{}_sat.jpg", "train/{}_mask.png") and "splits: 4 train" in said
    assert "set/valid is not used: not each of its images has a mask" in said


def test_names_with_dots_behind_what_they_share(put, prepare):
    """STARE: im0001.ppm with im0001.ah.ppm."""
    for n in range(5):
        put(f"photos/im{n}.ppm")
        put(f"labels-ah/im{n}.ah.ppm", patches(n, [255]))
    data, _ = prepare()
    assert data["masks"] == "labels-ah/{}.ah.*"


def test_folders_that_number_parts_are_no_objects_of_the_images_called_so(put, run_cli, tmp_path):
    """CelebAMask-HQ: masks/0/00003_hair.png is none of the image 0.jpg."""
    for n in range(6):
        put(f"img/{n}.jpg")
        for part in ("hair", "skin"):
            put(f"anno/{n // 3}/{n:05d}_{part}.png", patches(n, [255]))
    status, _, err = run_cli("prepare", tmp_path / "set", "--out", tmp_path / "layer.yaml")
    assert status == 2 and "found no images with masks" in " ".join(err.split())


def test_masks_smaller_than_images_below_a_relative_folder(put, run_cli, tmp_path, monkeypatch):
    """With a list that is written beside the layer, as an image has no mask."""
    for n in range(5):
        put(f"images/{n}.jpg")
        if n:
            put(f"masks/{n}.png", patches(n, [1, 2])[::2, ::2])
    monkeypatch.chdir(tmp_path)
    status, out, err = run_cli("prepare", "set", "--out", "layer.yaml")
    assert status == 0 and "all are written at the images' sizes" in " ".join(out.split()), out + err
    assert yaml.safe_load((tmp_path / "layer.yaml").read_text())["data"]["train"]
    with Image.open(tmp_path / "layer.prepared" / "masks" / "1.png") as mask:
        assert mask.size == SIZE[::-1]


@pytest.mark.parametrize("home", ["", "flood/"])
@pytest.mark.parametrize("end", ["", "_lab"])
def test_folders_that_name_their_split_once_more_are_one_set(put, prepare, home, end):
    """FloodNet: train/train-org-img beside train/train-label-img, and so for val and test."""
    for place, split in enumerate(("train", "val", "test")):
        for n in range(10 * place, 10 * place + 4 - place):
            put(f"{home}{split}/{split}-org-img/{n}.jpg")
            put(f"{home}{split}/{split}-label-img/{n}{end}.png", patches(n, [1, 2]))
    data, said = prepare()
    assert "splits: 4 train, 3 val, 2 test" in said and "used for nothing" not in said
    assert (data["images"], data["masks"]) == (f"{home}*/*-org-img/{{}}", f"{home}*/*-label-img/{{}}{end}")


def test_words_in_front_tell_images_from_masks_in_one_folder(put, prepare):
    """image_0.png beside mask_0.png, numbered anew in each split."""
    for split, number in (("train", 4), ("test", 2)):
        for n in range(number):
            put(f"{split}/image_{n}.png")
            put(f"{split}/mask_{n}.png", patches(n, [1]))
    data, said = prepare()
    assert "splits: 3 train, 1 val, 2 test" in said
    assert (data["images"], data["masks"]) == ("**/image_{}.png", "**/mask_{}.png")


def test_images_that_all_end_with_a_word_have_masks_of_several_kinds(put, prepare, tmp_path):
    """CVAT's export in the form of Cityscapes, whose numbers are the user's own classes."""
    colours = np.array([(0, 0, 0), (250, 50, 83), (36, 179, 83)], np.uint8)
    for n in range(6):
        put(f"imgsFine/leftImg8bit/default/{n}_leftImg8bit.png")
        numbers = patches(n, [1, 2])
        put(f"gtFine/default/{n}_gtFine_color.png", colours[numbers])
        put(f"gtFine/default/{n}_gtFine_labelIds.png", numbers)
        put(f"gtFine/default/{n}_gtFine_instanceIds.png", numbers * 40)
    (tmp_path / "set/label_colors.txt").write_text("0 0 0 background\n250 50 83 car\n36 179 83 tree\n")
    data, said = prepare()
    assert data["images"] == "imgsFine/leftImg8bit/{}_leftImg8bit"
    assert data["masks"] == "gtFine/{}_gtFine_labelIds" and data["classes"] == ["background", "car", "tree"]
    assert "label_map" not in data and "_gtFine_color would fit as well" in said


def test_many_folders_of_an_image_each_are_one_set(put, prepare):
    """More of them than candidates are tried; as labelme_json_to_dataset writes them, with a picture of both."""
    for n in range(12):
        put(f"{n:03d}_json/img.png")
        put(f"{n:03d}_json/label.png", patches(n, [1, 2]))
        put(f"{n:03d}_json/label_viz.png")
    data, said = prepare()
    assert (data["images"], data["masks"]) == ("{}/img.png", "{}/label.png") and "splits: 10 train, 2 val" in said


def test_many_folders_of_images_beside_their_masks_are_one_set(put, prepare):
    """Slices that are numbered anew for each patient: folders of the same names are no images and masks."""
    for n in range(80):
        put(f"p{n // 10}/{n % 10}.png")
        put(f"p{n // 10}/{n % 10}_mask.png", patches(n, [1]))
    data, said = prepare()
    assert (data["images"], data["masks"]) == ("{}.png", "{}_mask.png") and "found: 80 images" in said


def test_no_words_are_sought_for_an_error_that_nobody_reads(tmp_path, monkeypatch):
    """Of 20,000 folders they took half of the time."""
    monkeypatch.setattr(pairing, "_there_is", lambda _root: pytest.fail("looked through the folder"))
    draw = np.random.default_rng(0)
    for i in range(8):
        (tmp_path / f"case{i}").mkdir()
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / f"case{i}" / "image.png")
        Image.fromarray(draw.integers(0, 2, (8, 8), np.uint8)).save(tmp_path / f"case{i}" / "mask.png")
    found = find_layout(tmp_path)
    assert found is not None and (found.images, found.masks) == ("{}/image.png", "{}/mask.png")
