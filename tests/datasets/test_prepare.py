from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segkd.datasets.audit import Audit, Reading
from segkd.datasets.pairing import Pair, Paired, pair_files
from segkd.datasets.prepare.layouts import find_layout
from segkd.datasets.prepare.objects import find_objects, joined
from segkd.datasets.prepare.passed_over import passed_over
from segkd.datasets.prepare.proposal import lost_share, propose_size, propose_turns
from segkd.datasets.prepare.splitting import fold_lists, keep_apart, split_lists
from segkd.datasets.prepare.twins import print_of, twins
from segkd.datasets.prepare.values import meaning_of
from segkd.datasets.split_folders import Where
from segkd.datasets.splits import Splits, find_splits
from segkd.types import InputError


def write(path, mask=False, size=(20, 20), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng([seed, len(path.name)])
    array = draw.integers(0, 255, (*size, 3)).astype(np.uint8)
    if mask:
        array = np.zeros(size, np.uint8)
        array[5:12, 5:12] = 255
    Image.fromarray(array).save(path)


@pytest.mark.parametrize(
    ("image", "mask", "images", "masks"),
    [
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "JPEGImages", "SegmentationClass"),
        ("seg/{}.png", "photos/{}.jpg", "photos", "seg"),  # not what the names say first, but what the pictures show
        ("all/{}.jpg", "all/{}_mask.png", "all/{}.jpg", "all/{}_mask.png"),
        ("{}/image.png", "{}/mask.png", "{}/image.png", "{}/mask.png"),
        ("train/{}_training.tif", "1st_manual/{}_manual1.gif", "train/{}_training", "1st_manual/{}_manual1"),
    ],
)
def test_patterns_are_found(tmp_path, image, mask, images, masks):
    turned = image.startswith("seg/")
    for i in range(4):
        write(tmp_path / image.format(f"{i:02d}"), mask=turned, seed=i)
        write(tmp_path / mask.format(f"{i:02d}"), mask=not turned, seed=i)
    found = find_layout(tmp_path)
    assert found is not None and len(found.paired.pairs) == 4
    assert (found.images, found.masks) == (images, masks)


def test_where_images_or_masks_are_told_the_others_are_found(tmp_path):
    for i in range(4):
        write(tmp_path / f"images/{i}.jpg", seed=i)
        write(tmp_path / f"ground_truth_mask/{i}.png", mask=True)
    for told in ({"images": "images"}, {"masks": "ground_truth_mask"}):
        found = find_layout(tmp_path, **told)
        assert found is not None and (found.images, found.masks) == ("images", "ground_truth_mask")
    assert find_layout(tmp_path, masks="images") is None  # pictures are no masks


def test_splits_within_the_names_of_folders_are_stars_and_splits(tmp_path):
    """The folders of DUTS."""
    for split, number in (("TR", 5), ("TE", 4)):
        for i in range(number):
            write(tmp_path / f"DUTS-{split}/DUTS-{split}-Image/{split}_{i}.jpg", seed=i)
            write(tmp_path / f"DUTS-{split}/DUTS-{split}-Mask/{split}_{i}.png", mask=True)
    found = find_layout(tmp_path)
    assert found is not None and (found.images, found.masks) == ("DUTS-*/DUTS-*-Image/{}", "DUTS-*/DUTS-*-Mask/{}")
    assert split_lists(tmp_path, found.paired, tmp_path / "made") == ({}, "")  # the folders tell it by themselves
    splits = find_splits(Where(tmp_path, found.images, found.masks)).members
    assert {name: len(pairs) for name, pairs in splits.items()} == {"train": 4, "val": 1, "test": 4}


def test_masks_of_another_kind_are_not_taken_for_images_and_not_before_those_of_the_classes(tmp_path):
    for i in range(5):
        write(tmp_path / f"photos/{i}.jpg", seed=i)
        for kind in ("GT", "Edge", "GT_Instance"):
            write(tmp_path / f"{kind}/{i}.png", mask=True)
    found = find_layout(tmp_path)
    assert found is not None and (found.images, found.masks) == ("photos", "GT")
    assert "photos with Edge" in found.rivals
    assert list(passed_over(tmp_path, found.paired, [], tmp_path / "made")) == [
        "pictures that are used for nothing: 5 in Edge, 5 in GT_Instance; if they are needed, say --images and "
        "--masks; data.unlabelled trains on photos that have no mask"
    ]
    for path in (tmp_path / "photos").iterdir():
        path.rename(tmp_path / "GT" / f"photo_of_{path.stem}_a.jpg")
    assert find_layout(tmp_path, images="GT", masks="GT_Instance") is not None  # as told
    alone = tmp_path / "alone"
    for i in range(5):
        write(alone / f"first/ground_truth/{i}.png", mask=True)
        write(alone / f"second/ground_truth/{i}.png", mask=True)
    assert find_layout(alone) is None


def test_a_table_of_run_lengths_beside_masks_is_named_and_one_to_submit_is_not(tmp_path):
    for name in ("sample_submission", "train"):
        (tmp_path / f"{name}.csv").write_text("ImageId,EncodedPixels\na,1 1\n")
    (said,) = passed_over(tmp_path, Paired(tmp_path, "images", "masks", []), [], tmp_path / "made")
    assert "train.csv holds Kaggle run-length annotations, which are not used" in said


@pytest.mark.parametrize("kind", ["dark photos", "masks of many objects", "masks of many classes"])
def test_what_folders_are_called_counts_where_pictures_say_little(tmp_path, kind):
    draw = np.random.default_rng(3)
    for i in range(5):
        write(tmp_path / f"images/{i}.png", seed=i)
        write(tmp_path / f"masks/{i}.png", mask=True)
        photo = draw.integers(0, 40 if kind == "dark photos" else 255, (20, 20, 3)).astype(np.uint8)
        objects = np.arange(400).reshape(20, 20) // (9 if kind == "masks of many objects" else 80)
        if kind == "masks of many objects":  # a dark photo is flatter than these
            photo //= 12
            objects[:16] = 0
        Image.fromarray(photo).save(tmp_path / f"images/{i}.png")
        if kind != "dark photos":
            Image.fromarray(objects.astype(np.uint16)).save(tmp_path / f"masks/{i}.png")
    found = find_layout(tmp_path)
    assert found is not None and (found.images, found.masks) == ("images", "masks")


@pytest.mark.parametrize("image, mask", [("segmentation/img/{}.png", "segmentation/ann/{}.png"),
                                         ("img/seg_{}.png", "ann/seg_{}.png")])  # fmt: skip
def test_words_that_images_and_masks_share_say_nothing(tmp_path, image, mask):
    for i in range(4):
        write(tmp_path / image.format(i), mask=True)  # as dark photos are
        write(tmp_path / mask.format(i), mask=True)
    assert find_layout(tmp_path) is not None


def test_two_folders_of_photos_are_no_layout(tmp_path):
    for i in range(4):
        write(tmp_path / "left" / f"{i}.jpg", seed=i)
        write(tmp_path / "right" / f"{i}.jpg", seed=i + 9)
    assert find_layout(tmp_path) is None


def test_lists_within_a_data_set_are_used(tmp_path):
    for i in range(4):
        write(tmp_path / "JPEGImages" / f"{i}.jpg", seed=i)
        write(tmp_path / "SegmentationClass" / f"{i}.png", mask=True)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n")
    (lists / "val.txt").write_text("3\n")
    (tmp_path / "ImageSets" / "Main").mkdir()
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("0\n7\n")
    found, said = split_lists(tmp_path, pair_files(tmp_path, "JPEGImages", "SegmentationClass"), tmp_path / "made")
    assert found == {"train": lists / "train.txt", "val": lists / "val.txt"} and "Segmentation" in said


def test_images_without_masks_are_left_out_by_a_list(tmp_path):
    for i in range(4):
        write(tmp_path / "images" / f"{i}.jpg", seed=i)
        if i:
            write(tmp_path / "masks" / f"{i}.png", mask=True)
    found, said = split_lists(tmp_path, pair_files(tmp_path, "images", "masks"), tmp_path / "made")
    assert found["train"].read_text() == "1\n2\n3\n" and said == ""


def test_masks_in_folders_named_like_their_images_are_objects(tmp_path):
    for i in range(3):
        write(tmp_path / "images" / f"{i}.jpg", seed=i)
        for n in range(2):
            write(tmp_path / "masks" / f"{i}" / f"{n}.png", mask=True)
    found = find_objects(tmp_path)
    assert found is not None and found.images == "images" and len(found.masks["2"]) == 2
    first, second = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    first[:2], second[5:] = 255, 1
    for name, mask in (("a", first), ("b", second)):
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    np.testing.assert_array_equal(joined([tmp_path / "a.png", tmp_path / "b.png"]), (first > 0) | (second > 0))


def test_pictures_of_one_thing_have_one_print():
    draw = np.random.default_rng(0)
    photos = [cv2.resize(draw.uniform(0, 255, (7, 9, 3)).astype(np.uint8), (90, 70)) for _ in range(30)]
    prints = {str(i): print_of(photo) for i, photo in enumerate(photos)}
    copies = {"small": print_of(cv2.resize(photos[3], (60, 50), interpolation=cv2.INTER_AREA))}
    copies["dark"] = print_of((photos[5] * 0.7).astype(np.uint8))
    copies["other"] = print_of(cv2.resize(draw.uniform(0, 255, (7, 9, 3)).astype(np.uint8), (90, 70)))
    assert twins(prints | copies, list(prints), list(copies)) == [("small", "3"), ("dark", "5")]
    assert print_of(np.full((50, 50, 3), 90, np.uint8)) is None


def splits_with(train, val, carved):
    pair = {stem: Pair(stem, Path(f"{stem}.jpg"), Path(f"{stem}.png")) for stem in (*train, *val)}
    return Splits({"train": [pair[s] for s in train], "val": [pair[s] for s in val]}, carved=carved)


@pytest.mark.parametrize("carved", [True, False])
def test_twins_leave_a_val_that_was_carved_and_are_named_in_one_that_was_given(tmp_path, carved):
    prints = {stem: np.arange(128) % (2 + i) == 0 for i, stem in enumerate("abcde")}
    prints["d"] = prints["a"]
    lists, said = keep_apart(splits_with("ab", "cde", carved), prints, tmp_path / "made")
    assert "1 images of val look like images of train (d = a)" in said[0]
    if carved:
        assert lists["train"].read_text().split() == ["a", "b", "d"] and lists["val"].read_text().split() == ["c", "e"]
    else:
        assert not lists and "--group" in said[0]


def test_folds_take_whole_groups_and_every_image_once(tmp_path):
    stems = [f"p{patient}_{i}" for patient in range(7) for i in range(3)]
    folds = fold_lists(stems, 3, r"p(\d)", tmp_path)
    vals = [fold["val"].read_text().split() for fold in folds]
    assert sorted(stem for val in vals for stem in val) == sorted(stems) and all(len(val) in (6, 9) for val in vals)
    for fold, val in zip(folds, vals):
        train = fold["train"].read_text().split()
        assert not {s[:2] for s in train} & {s[:2] for s in val} and len(train) + len(val) == len(stems)
    with pytest.raises(InputError, match="as many groups"):
        fold_lists(stems, 8, r"p(\d)", tmp_path)


def audit_of(*masks):
    audit = Audit()
    for i, values in enumerate(masks):
        numbers = np.array([values[value] for value in sorted(values)])
        reading = Reading(Pair(str(i), Path(f"{i}.jpg"), Path(f"{i}.png")), counts=(np.array(sorted(values)), numbers))
        audit.take(reading)
    return audit


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([{0: 9, 255: 1}], {"label_map": {0: 0, 255: 1}}),
        ([{0: 9, 1: 1}], {"classes": ["background", "foreground"], "label_map": None}),
        ([{0: 9, 1: 1}, {0: 9, 255: 1}], {"label_map": {0: 0, 1: 1, 255: 1}}),
        ([{0: 9, 1: 1, 255: 1}, {0: 9, 2: 1}], {"classes": ["background", "class1", "class2"], "ignore": [255]}),
        ([{0: 9, 1: 1, 2: 1, 3: 1}, {0: 9, 1: 1}], {"threshold": 0}),
        ([{0: 9, 1: 1, 3: 1}, {0: 9, 2: 1}], {"classes": ["background", "class1", "class2", "class3"]}),
        ([{0: 9, 128: 1, 255: 2}], {"label_map": {0: 0, 128: 1, 255: 2}}),
        ([{0: 500, **dict.fromkeys(range(1, 7), 40), 255: 99}] * 2, {"ignore": [255], "threshold": None}),
        ([{0: 900, 255: 50, **dict.fromkeys([1, 2, 3, 252, 253], 1)}], {"threshold": 128}),  # as JPEG leaves them
        (
            [{0: 900, 255: 90, **dict.fromkeys([1, 4, 10, 22, 53, 72, 126, 169, 179, 228], 1)}],
            {"threshold": 128},
        ),  # smoothed
        ([{0: 900, 255: 90, **dict.fromkeys([1, 2, 15, 16, 43, 44, 88, 123, 124, 168], 1)}], {"threshold": None}),
        ([{0: 900, 255: 98, 254: 2}], {"threshold": 128}),  # as tools leave a few
        ([{0: 1900, 255: 98, 254: 2, 1: 1}], {"threshold": 128}),
        ([{0: 900, 255: 90, 254: 10}], {"label_map": {0: 0, 254: 1, 255: 2}, "threshold": None}),
        ([{0: 900, 255: 50, **dict.fromkeys(range(40, 220, 10), 1)}], {"threshold": 128}),
    ],
)
def test_what_values_mean(tmp_path, masks, expected):
    meaning = meaning_of(audit_of(*masks), None, "auto", tmp_path)
    assert {name: getattr(meaning, name) for name in expected} == expected, meaning.said


def test_the_user_says_what_values_are(tmp_path):
    audit = audit_of({0: 9, 1: 1, 2: 1, 3: 1}, {0: 9, 1: 1})
    assert meaning_of(audit, ["a", "b", "c", "d"], "classes", tmp_path).classes == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match=r"--classes names 3 classes .* hold 4"):
        meaning_of(audit, ["a", "b", "c"], "classes", tmp_path)
    with pytest.raises(InputError, match="--as objects"):
        meaning_of(audit_of(dict.fromkeys(range(0, 600, 2), 1)), None, "auto", tmp_path)


def test_the_size_follows_the_images_and_what_masks_lose():
    assert propose_size([(600, 800)], 160, lambda _: 0.0)[0] == (128, 160)
    assert propose_size([(500, 500)], 160, lambda _: 0.0)[0] == (160, 160)
    assert propose_size([(50, 60)], 160, lambda _: 0.0)[0] == (64, 64)
    size, why = propose_size([(1000, 1000)], 160, lambda size: float(size[0] < 300))
    assert size == (320, 320) and "lose a class" in why
    mask = np.zeros((320, 320), np.uint8)
    mask[3, 3] = 1
    assert lost_share({"a": mask}, (320, 320)) == 0 and lost_share({"a": mask}, (32, 32)) == 1
    assert "quarter_turns" in propose_turns(["data/nuclei"], (64, 64)) and not propose_turns(["people"], (64, 64))
