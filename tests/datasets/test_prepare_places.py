"""Where `segkd prepare` finds things, where it writes, and what it leaves behind."""

import os
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from segkd.datasets.prepare.draft import Draft, names_of, new_draft, removed_on_error
from segkd.datasets.prepare.drawing import beside
from segkd.datasets.prepare.splitting import fold_lists, kept_together
from segkd.types import InputError
from tests.conftest import touch
from tests.datasets.test_prepare_coco import annotation, coco, data_set, picture

FLAT = "0 0.25 0.25 0.75 0.25 0.75 0.75\n"


def annotated(root, name="a.json"):
    """A COCO file for three pictures below the root; where it lies."""
    images = data_set(root)
    return coco(root / name, [annotation(i) for i in range(3)], images)


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("place", ["cats/labels/a.json", "cats/labels", "other/a.json", "other", "a.json"])
def test_annotations_are_drawn_wherever_they_are_told_to_lie(tmp_path, run_cli, monkeypatch, place, absolute):
    file = place if place.endswith(".json") else f"{place}/a.json"
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    os.replace(annotated(tmp_path / "cats"), tmp_path / file)
    monkeypatch.chdir(tmp_path)
    told = tmp_path / place if absolute else place
    status, out, err = run_cli("prepare", "cats", "--out", "cats.yaml", "--annotations", told)
    assert status == 0 and "3 objects of cat on 3 images" in " ".join(out.split()), out + err
    assert np.asarray(Image.open("cats.prepared/masks/1.png")).any()


def test_annotations_beside_masks_are_named_and_drawn_where_the_masks_are_of_objects(tmp_path, run_cli):
    root = tmp_path / "cats"
    annotated(root)
    for folder, drawn in (("masks", False), ("panoptic", True)):
        (root / folder).mkdir()
        for i in range(3):
            mask = np.zeros((96, 128), np.uint8)
            mask[20:40, 30:60] = 255
            Image.fromarray(mask).save(root / folder / f"{i}.png")
        status, out, err = run_cli("prepare", root, "--out", tmp_path / f"{folder}.yaml")
        said = " ".join(out.split())
        assert status == 0 and ("3 objects of cat on 3 images" in said) == drawn, out + err
        assert ("a.json holds COCO annotations, which are not used: to draw those, say --annotations" in said) != drawn
        shutil.rmtree(root / folder)


@pytest.mark.parametrize("labels", ["_labels/{}_L.png", "annot/{}.png", "/masks/{}.png"])
def test_folders_of_val_and_test_beside_that_of_training_are_used(tmp_path, run_cli, labels):
    """The forms of CamVid: train, train_labels, val, val_labels, ...; numbered anew in each."""
    root, draw = tmp_path / "street" / "CamVid", np.random.default_rng(5)
    for split, number in (("train", 6), ("val", 3), ("test", 2)):
        for i in range(number):
            mask = np.zeros((64, 64), np.uint8)
            mask[8:24, 10 + i : 40] = 255
            photo = root / (f"{split}/images" if labels.startswith("/") else split) / f"{i}.png"
            for path, array in ((photo, draw.integers(0, 255, (64, 64, 3), np.uint8)),
                                (root / f"{split}{labels.format(i)}", mask)):  # fmt: skip
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "test_extra").mkdir()
    Image.fromarray(mask).save(root / "test_extra" / "x.png")
    status, out, err = run_cli("prepare", root.parent, "--out", tmp_path / "street.yaml")
    said = " ".join(out.split())
    assert status == 0 and "splits: 6 train, 3 val, 2 test images" in said, out + err
    assert "val is the folder CamVid/val" in said and "used for nothing: 1 in CamVid/test_extra;" in said
    layer = yaml.safe_load((tmp_path / "street.yaml").read_text())["data"]
    assert (layer["val"], layer["test"]) == ("CamVid/val", "CamVid/test")


def test_folders_without_masks_of_their_own_are_no_splits(tmp_path, run_cli):
    """Images of test may have the names of those of train, whose masks they must not get."""
    root = tmp_path / "cats"
    for split in ("train", "test"):
        data_set(root / split)
    images = data_set(root / "train")
    coco(root / "train" / "a.json", [annotation(i) for i in range(3)], images)
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "cats.yaml", "--annotations", root / "train")
    assert (
        "test" not in yaml.safe_load((tmp_path / "cats.yaml").read_text())["data"] if status == 0 else "Add them" in err
    )
    for split in ("train", "test"):
        for i in range(3):
            (root / split / "images" / f"{i}.png").replace(root / split / f"{i}.png")
    (root / "train" / "a.json").unlink()
    (root / "masks").mkdir()
    for i in range(3):
        Image.fromarray(np.eye(64, dtype=np.uint8) * 255).resize((128, 96), 0).save(root / "masks" / f"{i}.png")
    more = ("--images", "train", "--masks", "masks")
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "again.yaml", *more)
    assert status == 0 and "test is the folder" not in out, out + err


def test_names_of_objects_in_words_and_boxes_beside_them_lose_no_masks(tmp_path, run_cli):
    root = tmp_path / "seen"
    for folder in ("images", "instance_masks"):
        (root / folder).mkdir(parents=True)
    images = data_set(tmp_path / "other")
    for i in range(3):
        os.replace(tmp_path / "other" / "images" / f"{i}.png", root / "images" / f"{i}.png")
        Image.fromarray(np.eye(96, 128, dtype=np.uint8) * 255).save(root / "instance_masks" / f"{i}.png")
    coco(
        root / "boxes.json", [{k: v for k, v in annotation(i).items() if k != "segmentation"} for i in range(3)], images
    )
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "seen.yaml")
    assert status == 0 and "found: 3 images with masks" in " ".join(out.split()), out + err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("scan.nii.gz", "x", "volumes (NIfTI): save their slices as PNG"),
        ("gt.mat", "x", "MATLAB files: save the masks in them as PNG"),
        ("part-0.parquet", "x", "train on them as they are, with --data.parquet"),
        ("masks.zip", "x", "packed files: unpack them, such as"),
        ("masks.tar.zst", "x", "packed files: unpack them, such as"),
        ("train.arrow", "x", "Arrow files of Hugging Face: save them as Parquet"),
        ("labels.geojson", "{}", "outlines on a map: burn them into a grid"),
        ("export.ndjson", "{}", "annotations of Labelbox: export the project as COCO"),
        ("a.json", '[{"annotations": [{"result": [{"original_width": 9}]}]}]', "Label Studio annotations"),
        ("a.json", '{"item": {"slots": []}, "annotations": []}', "export the data set once more as COCO"),
    ],
)
def test_what_is_read_by_no_reader_is_named_with_what_to_do(tmp_path, run_cli, name, text, words):
    data_set(tmp_path / "cats")
    (tmp_path / "cats" / name).write_text(text)
    status, _, err = run_cli("prepare", tmp_path / "cats", "--out", tmp_path / "cats.yaml")
    assert status == 2 and words in " ".join(err.split())


def test_labels_of_yolo_that_are_told_have_the_names_of_their_data_set(tmp_path, run_cli):
    root = tmp_path / "cells"
    data_set(root)
    (root / "labels").mkdir()
    for i in range(3):
        (root / "labels" / f"{i}.txt").write_text(FLAT)
    (root / "data.yaml").write_text("names: [cell]\n")
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "cells.yaml", "--annotations", root / "labels")
    assert status == 0 and "3 objects of cell on 3 images" in " ".join(out.split()), out + err


def test_annotations_that_are_nowhere_are_named(tmp_path, run_cli):
    annotated(tmp_path / "cats")
    status, _, err = run_cli(
        "prepare", tmp_path / "cats", "--out", tmp_path / "a.yaml", "--annotations", tmp_path / "b"
    )
    assert status == 2 and "b: expected an annotation file or a folder of them, found nothing" in " ".join(err.split())


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("more", [["--masks", "m"], ["--masks", "m", "--masks", "n"], ["--images", "images"]])
def test_what_would_have_no_effect_beside_annotations_is_refused(tmp_path, run_cli, more, told):
    """Several masks that are not there are refused where no annotations are told, too, but in other words."""
    file = annotated(tmp_path / "cats")
    words = ["--annotations", file] if told else []
    status, _, err = run_cli("prepare", tmp_path / "cats", "--out", tmp_path / "a.yaml", *words, *more)
    assert status == 2 and f"{more[0]} {more[1]}" in err
    assert ("has no effect where annotations are drawn" in " ".join(err.split())) == (told or len(more) < 4), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cats"]


def test_what_values_mean_is_not_asked_where_masks_are_made(tmp_path, run_cli):
    file = annotated(tmp_path / "cats")
    words = ["prepare", tmp_path / "cats", "--out", tmp_path / "a.yaml", "--annotations", file]
    status, _, err = run_cli(*words, "--as", "objects")
    assert status == 2 and "--as objects has no effect here" in " ".join(err.split())
    status, _, err = run_cli(*words, "--classes", "background", "cat", "cat")
    assert status == 2 and "data.classes names a class twice" in " ".join(err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cats"]
    assert run_cli(*words, "--as", "classes")[0] == 0


def test_a_file_outside_the_folder_names_its_images_by_themselves(tmp_path):
    assert beside(tmp_path / "a" / "x.json", "0.png", tmp_path) == "a/0.png"
    assert beside(tmp_path / "x.json", "0.png", tmp_path / "a") == "0.png"


@pytest.mark.parametrize("how", ["masks", "annotations"])
def test_a_layer_in_the_folder_itself_is_read_and_written_again(tmp_path, run_cli, monkeypatch, how):
    """What was made the first time lies within the folder, and is no part of it."""
    root = tmp_path / "flat"
    images = data_set(root, 6)
    for i in range(6):
        os.replace(root / "images" / f"{i}.png", root / f"{i}.png")
        if how == "masks":
            mask = np.zeros((96, 128), np.uint8)
            mask[20:40, 30:60] = 255
            Image.fromarray(mask).save(root / f"{i}_mask.png")
    (root / "images").rmdir()
    if how == "annotations":
        coco(root / "a.json", [annotation(i) for i in range(6)], images)
    monkeypatch.chdir(root)
    for name in ("data", "again"):
        status, out, err = run_cli("prepare", ".", "--out", f"{name}.yaml")
        assert status == 0 and "6 images" in " ".join(out.split()), out + err
    layers = [yaml.safe_load((root / f"{name}.yaml").read_text())["data"] for name in ("data", "again")]
    assert layers[0]["classes"] == layers[1]["classes"]
    assert layers[0]["classes"] == ["background", "cat" if how == "annotations" else "foreground"]
    for name in ("data", "again"):
        status, out, err = run_cli("sheet", "--config", f"{name}.yaml", "--out", tmp_path / f"{name}.png")
        assert status == 0, out + err


def test_two_pictures_of_one_name_are_refused_where_masks_are_made(tmp_path):
    touch(tmp_path / "images", "0.jpg", "0.png", "1.jpg")
    draft = Draft(tmp_path / "a.yaml", tmp_path, {"images": "images/{}"})
    assert names_of(draft, [tmp_path / "images" / "1.jpg"]) == {tmp_path / "images" / "1.jpg": "1"}
    with pytest.raises(
        InputError, match=r"images: expected a name of its own .* found other files .* of \S+0\.jpg\. Rename"
    ):
        names_of(draft, [tmp_path / "images" / "0.jpg"])


def test_what_a_command_made_is_taken_back_when_it_fails(tmp_path):
    (tmp_path / "cats").mkdir()
    draft = new_draft(tmp_path / "cats", tmp_path / "cats.yaml")
    with pytest.raises(KeyboardInterrupt), removed_on_error(draft):
        (draft.beside / "masks").mkdir(parents=True)
        draft.path.write_text("data: {}\n")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["cats"]
    with removed_on_error(draft):
        draft.beside.mkdir()
    assert draft.beside.is_dir()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.zip", "found a file there. Unpack it"),
        ("x.json", "found a file there. Give the folder that it lies in"),
        ("gone", "found nothing there. Correct the path"),
    ],
)
def test_what_is_no_folder_is_named_with_what_to_do(tmp_path, run_cli, name, words):
    if name != "gone":
        (tmp_path / name).write_bytes(b"PK")
    status, _, err = run_cli("prepare", tmp_path / name, "--out", tmp_path / "x.yaml")
    assert status == 2 and words in " ".join(err.split()), err


def test_masks_without_any_foreground_are_refused(tmp_path, run_cli):
    root = tmp_path / "empty"
    for i in range(4):
        picture(root / "images" / f"{i}.png", seed=i)
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((96, 128), np.uint8)).save(root / "masks" / f"{i}.png")
    for told in ([], ["--as", "objects"], ["--classes", "background", "cat"]):
        status, _, err = run_cli("prepare", root, "--out", tmp_path / f"{len(told)}.yaml", *told)
        assert status == 2 and "no mask holds a foreground" in " ".join(err.split()), err
    for i in range(4):
        Image.fromarray(np.full((96, 128, 3), (9, 99, 9), np.uint8)).save(root / "masks" / f"{i}.png")
    status, _, err = run_cli("prepare", root, "--out", tmp_path / "colour.yaml")
    assert status == 2 and "found the colour" in " ".join(err.split()), err


def prints_of(names, alike):
    """Random prints; each of `alike` has that of the name it is a copy of."""
    draw = np.random.default_rng(0)
    prints = {name: draw.random(128) < 0.5 for name in names}
    return prints | {name: prints[of] ^ (np.arange(128) == 5) for name, of in alike.items()}


def test_folds_keep_images_that_look_alike_together(tmp_path):
    stems = [f"p{i:02d}" for i in range(30)]
    copies = {f"p{i:02d}": f"p{i + 15:02d}" for i in range(0, 8, 2)}
    alike, said = kept_together(stems, 3, None, prints_of(stems, copies))
    assert {tuple(sorted(pair)) for pair in alike} == {tuple(sorted(pair)) for pair in copies.items()}
    assert "8 images look like others" in said and "in one fold" in said
    vals = [set(fold["val"].read_text().split()) for fold in fold_lists(stems, 3, None, tmp_path, alike)]
    assert sorted(stem for val in vals for stem in val) == stems and all(8 <= len(val) <= 12 for val in vals)
    assert all(any({one, other} <= val for val in vals) for one, other in copies.items())
    assert kept_together(stems, 3, None, prints_of(stems, {})) == ([], "")


def test_a_chain_of_images_that_look_alike_is_one_group_and_too_long_a_one_is_said(tmp_path):
    stems = [f"p{i:02d}" for i in range(30)]
    chain = {name: "p00" for name in stems[1:20]}
    alike, said = kept_together(stems, 3, None, prints_of(stems, chain))
    assert not alike and "too many to keep in one fold" in said
    alike, _ = kept_together(stems, 3, r"p(\d)", prints_of(stems, {"p00": "p11"}))
    assert alike == []  # whole groups are joined, and these would be two thirds
    with pytest.raises(InputError, match="as many groups of images, found 2"):
        fold_lists(stems, 3, r"p(\d)", tmp_path, [("p00", "p11")])
