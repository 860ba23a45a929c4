"""Cityscapes as it is downloaded."""

import numpy as np
import pytest

from tests.datasets.test_prepare_public import patches, prepare, put  # noqa: F401

# ruff: noqa: F811


def cityscapes(put, images="leftImg8bit", masks="gtFine"):
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "frankfurt"), ("test", "berlin")):
        for n in range(3):
            name = f"{split}/{city}/{city}_00000{n}_000019"
            put(f"{images}/{name}_leftImg8bit.png")
            labels = patches(n, [1, 11, 23, 24, 33], 7) if split != "test" else patches(n, [1], 0)
            put(f"{masks}/{name}_gtFine_labelIds.png", labels)
            put(f"{masks}/{name}_gtFine_instanceIds.png", labels.astype(np.uint16) * 1000)
            put(f"{masks}/{name}_gtFine_color.png", np.stack([labels * 7] * 4, axis=-1))


@pytest.mark.parametrize("above", ["", "_trainvaltest"])
def test_cityscapes_is_read_as_it_is_downloaded(put, prepare, above):
    places = [f"{name}{above}/{name}" if above else name for name in ("leftImg8bit", "gtFine")]
    cityscapes(put, *places)
    put(f"{places[0]}/train_extra/bonn/bonn_000000_000019_leftImg8bit.png")
    data, said = prepare()
    assert data["images"] == f"{places[0]}/{{}}_leftImg8bit.png"
    assert data["masks"] == f"{places[1]}/{{}}_gtFine_labelIds.png"
    assert "splits: 6 train, 3 val, 3 test (" in said
    assert len(data["classes"]) == 19 and (data["classes"][0], data["classes"][18]) == ("road", "bicycle")
    assert (data["label_map"][7], data["label_map"][33]) == (0, 18) and {0, 1, 6, 30} <= set(data["ignore"])
    assert "no mask of test holds any class, so it has no scores" in said and "no mask of test holds class" not in said


def test_other_numbers_under_the_names_of_cityscapes_are_not_its_classes(put, prepare):
    for n in range(4):
        put(f"leftImg8bit/train/town/{n}_leftImg8bit.png")
        put(f"gtFine/train/town/{n}_gtFine_labelIds.png", patches(n, [1, 39], 7))
    assert prepare()[0]["label_map"] == {1: 0, 7: 1, 39: 2}


def test_train_ids_of_cityscapes_come_before_its_ids_and_all_ids_can_be_asked_for(put, prepare, tmp_path):
    cityscapes(put)
    data, _ = prepare("--as", "classes")
    assert data["label_map"] == {0: 0, 1: 1, 7: 2, 11: 3, 23: 4, 24: 5, 33: 6}
    for file in (tmp_path / "set").rglob("*_labelIds.png"):
        put(
            file.relative_to(tmp_path / "set").as_posix().replace("labelIds", "labelTrainIds"),
            patches(1, [0, 10, 18], 255),
        )
    (tmp_path / "layer.yaml").unlink()
    (tmp_path / "layer.prepared").rename(tmp_path / "before")
    data, _ = prepare()
    assert data["masks"].endswith("TrainIds.png") and data["classes"][18] == "bicycle" and data["ignore"] == [255]
    assert "label_map" not in data
