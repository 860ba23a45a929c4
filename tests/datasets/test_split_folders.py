"""Folders that are splits."""

from pathlib import Path

import pytest

from segkd.datasets.split_folders import Where, split_of
from segkd.datasets.splits import find_splits
from segkd.types import InputError
from tests.conftest import touch
from tests.datasets.test_splits import paired, split, stems


@pytest.mark.parametrize(
    ("folder", "split"),
    [("train", "train"), ("Training", "train"), ("train2017", "train"), ("TrainDataset", "train"), ("val_set", "val"),
     ("valid", "val"), ("validation", "val"), ("TEST", "test"), ("testing", "test"), ("test_2012", "test"),
     ("trained", None), ("valley", None), ("contest", None), ("train1", None), ("", None), ("training wheels", None),
     ("a. Training Set", "train"), ("b. Testing Set", "test"), ("1. train", "train"), ("01_train", "train"),
     ("2 - Val", "val"), ("3) test", "test"), ("X_train", None), ("a_test", None), ("fold 1 test", None),
     ("2012_test", None), ("1. Trained Eyes", None), ("1. ", None),
     ("DUTS-TR", "train"), ("DUTS-TE", "test"), ("TE", "test"), ("te", None), ("STR", None),
     ("TRASH", None), ("DUTS-TRIAL", None)],
)  # fmt: skip
def test_names_of_folders_that_are_splits(folder, split):
    assert split_of(folder) == split


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "val2017"])
def test_folders_below_are_splits(tmp_path, val):
    names = [*(f"train/{i}" for i in range(4)), *(f"{val}/{i}" for i in range(2)), "test/0"]
    splits = split(paired(tmp_path, names))
    assert stems(splits, "train") == names[:4] and stems(splits, "val") == names[4:6]
    assert stems(splits, "test") == ["test/0"] and "4 train, 2 val, 1 test (split by the folders" in splits.said


@pytest.mark.parametrize("val", ["val", "validation"])
def test_folders_above_are_splits(tmp_path, val):
    for name, number in (("train", 4), (val, 2)):
        paired(tmp_path / name, [str(i) for i in range(number)])
    touch(tmp_path, "test/images/0.jpg", "test/images/1.jpg")
    splits = split(tmp_path)
    assert stems(splits, "train") == [f"train/{i}" for i in range(4)] and stems(splits, "val") == [
        f"{val}/0",
        f"{val}/1",
    ]
    assert splits.said == f"4 train, 2 val (split by the folders train, {val})"
    assert splits.warnings == [f"{tmp_path}/test has images without masks: it is no test split"]


def test_folders_above_have_their_own_masks_and_no_other_folder_is_one(tmp_path):
    for folder in ("train", "val", "test", "old"):
        paired(tmp_path / folder, ["0", "1"])
    splits = split(tmp_path)
    assert {name: stems(splits, name) for name in splits.members} == {
        name: [f"{name}/0", f"{name}/1"] for name in ("train", "val", "test")
    }


@pytest.mark.parametrize(
    ("stray", "said"), [("images/2.jpg", r"2\.jpg has no mask"), ("masks/2.png", r"2\.png has no image")]
)
@pytest.mark.parametrize("folder", ["train", "val"])
def test_of_folders_above_what_has_no_counterpart_is_refused(tmp_path, folder, stray, said):
    for name in ("train", "val"):
        paired(tmp_path / name, ["0", "1"])
    touch(tmp_path / folder, stray)
    with pytest.raises(InputError, match=said):
        split(tmp_path)


def test_a_val_folder_above_without_masks_is_no_reason_to_carve(tmp_path):
    paired(tmp_path / "train", ["0", "1"])
    touch(tmp_path, "val/images/0.jpg")
    with pytest.raises(InputError, match="expected the folder of masks"):
        split(tmp_path)


def test_folders_inside_a_pattern_are_splits(tmp_path):
    for name, city in (("train", "aachen"), ("val", "ulm")):
        touch(tmp_path, f"leftImg8bit/{name}/{city}/{city}_1_leftImg8bit.png", f"gtFine/{name}/{city}/{city}_1_ids.png")
    where = Where(tmp_path, "leftImg8bit/**/{}_leftImg8bit.png", "gtFine/**/{}_ids.png")
    splits = find_splits(where)
    assert stems(splits, "train") == ["aachen_1"] and stems(splits, "val") == ["ulm_1"]


def test_a_test_folder_without_masks_is_passed_over_unless_it_is_wanted(tmp_path):
    paired(tmp_path, ["train/0", "train/1", "val/0"])
    touch(tmp_path, "images/test/9.jpg")
    splits = split(tmp_path)
    assert (
        splits.said.startswith("2 train, 1 val (")
        and "images without mask, which no split needs: 1 (9.jpg)" in splits.warnings[0]
    )
    with pytest.raises(InputError, match=r"images/test/9\.jpg has no mask"):
        split(tmp_path, ["test"])


def test_images_beside_a_train_folder_are_never_mixed_in(tmp_path):
    paired(tmp_path, ["train/0", "train/1", "val/0", "stray"])
    with pytest.raises(InputError, match="2 images lie in a folder named train, but 1 lie in none"):
        split(tmp_path)
    paired(tmp_path / "b", ["x/0", "x/1", "val/0"])  # without a folder for training, all others are
    assert stems(split(tmp_path / "b"), "train") == ["x/0", "x/1"]


def test_lists_win_over_folders_and_a_val_folder_is_never_trained_on(tmp_path):
    paired(tmp_path, ["train/0", "train/1", "val/0", "val/1", "test/0"])
    splits = split(tmp_path, val="train/0\n")
    assert stems(splits, "train") == ["train/1"] and stems(splits, "val") == ["train/0"]
    assert splits.said.endswith("(split by the folders test, train, val; val as listed)")


@pytest.mark.parametrize("val", ["valid", "valid/images"])
def test_a_split_may_be_a_folder(tmp_path, val):
    paired(tmp_path / "train", ["0", "1"])
    paired(tmp_path / "valid", ["0"])
    where = Where(tmp_path, "train/images", "train/masks")
    alone = find_splits(where)
    assert alone.said == "1 train, 1 val" and "write data.val: valid" in alone.warnings[0]
    splits = find_splits(Where(tmp_path, "train/images", "train/masks", {"val": val}))
    assert splits.said == "2 train, 1 val" and not splits.warnings
    assert splits.members["val"][0].image == tmp_path / "valid" / "images" / "0.jpg"
    assert splits.members["val"][0].stem not in stems(splits, "train")


@pytest.mark.parametrize(
    ("stray", "said"), [("images/2.jpg", r"2\.jpg has no mask"), ("masks/2.png", r"2\.png has no image")]
)
def test_of_a_folder_that_is_a_split_what_has_no_counterpart_is_refused(tmp_path, stray, said):
    for name in ("train", "holdout"):
        paired(tmp_path / name, ["0", "1"])
    where = Where(tmp_path, "train/images", "train/masks", {"val": "holdout"})
    assert stems(find_splits(where), "val") == ["holdout/0", "holdout/1"]
    touch(tmp_path / "holdout", stray)
    with pytest.raises(InputError, match=said):
        find_splits(where)


def test_a_folder_of_another_split_is_told_of_only_where_images_lie_in_it(tmp_path):
    paired(tmp_path / "train", ["0", "1", "2"])
    touch(tmp_path, "valid/notes.txt")
    assert not find_splits(Where(tmp_path, "train/images", "train/masks")).warnings


@pytest.mark.parametrize(
    ("images", "masks", "val"),
    [
        ("data/train/{}.jpg", "data/train_labels/{}_L.png", "data/val/{}.jpg data/val_labels/{}_L.png"),
        ("data/train/{}.jpg", "data/train_labels/{}.png", "data/held/{}.jpg data/held_labels/{}.png"),
        ("train/{}.jpg", "trainannot/{}.png", "val/{}.jpg valannot/{}.png"),
        ("a_train/img/train/{}.jpg", "a_train/ann/train/{}.png", "a_train/img/val/{}.jpg a_train/ann/val/{}.png"),
    ],
)  # fmt: skip
def test_the_folder_of_another_split_is_found_with_its_masks(tmp_path, images, masks, val):
    touch(tmp_path, *(text.format(stem) for text in (images, masks) for stem in "abc"))
    touch(tmp_path, *(text.format(stem) for text in val.split() for stem in "de"))
    place = Where(tmp_path, images, masks, {"val": str(Path(val.split()[0]).parent)})
    found = find_splits(place).members
    assert [len(found[name]) for name in ("train", "val")] == [3, 2]


def test_images_of_another_split_do_not_get_the_masks_of_training(tmp_path):
    paired(tmp_path / "x", "ab")
    touch(tmp_path, "train/a.jpg", "train/b.jpg", "val/a.jpg", "val/b.jpg", "masks/a.png", "masks/b.png")
    with pytest.raises(InputError, match=r"data\.val: .* is a folder, but none of the paired images lies in it"):
        find_splits(Where(tmp_path, "train", "masks", {"val": "val"}))


def test_a_folder_among_the_images_may_be_named_as_a_split(tmp_path):
    paired(tmp_path, ["a/0", "a/1", "hold_out/0"])
    for folder in ("images/hold_out", "hold_out"):
        splits = find_splits(Where(tmp_path, lists={"val": folder}))
        assert stems(splits, "val") == ["hold_out/0"] and stems(splits, "train") == ["a/0", "a/1"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"data\.val: .*empty is a folder, but none"):
        find_splits(Where(tmp_path, lists={"val": "empty"}))
