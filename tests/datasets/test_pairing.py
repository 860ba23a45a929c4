import json
import os

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.pairing import Pair, pair_files
from segkd.datasets.pictures import read_image
from segkd.types import InputError
from tests.conftest import touch

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def write(path, array=GREY):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def stems(paired):
    return [pair.stem for pair in paired.pairs]


def refused(root, images="images", masks="masks"):
    with pytest.raises(InputError) as error:
        paired = pair_files(root, images, masks)
        raise paired.refusal({*paired.lone_images, *paired.lone_masks})
    return str(error.value)


LAYOUTS = {
    "folders": (["images/{}.jpg", "masks/{}.png"], "images", "masks", "{}"),
    "folders with subfolders": (["images/cat/{}.jpg", "masks/cat/{}.png"], "images", "masks", "cat/{}"),
    "Carvana": (["train/{}.jpg", "train_masks/{}_mask.gif"], "train", "train_masks/{}_mask.gif", "{}"),
    "ISIC": (["in/ISIC_{}.jpg", "gt/ISIC_{}_segmentation.png"], "in", "gt/{}_segmentation.png", "ISIC_{}"),
    "DRIVE": (["images/{}_training.tif", "1st_manual/{}_manual1.gif"], "images/{}_training.tif",
              "1st_manual/{}_manual1.gif", "{}"),
    "Cityscapes": (["leftImg8bit/train/a/a_{}_leftImg8bit.png", "gtFine/train/a/a_{}_gtFine_labelTrainIds.png",
                    "gtFine/train/a/a_{}_gtFine_color.png"],
                   "leftImg8bit/**/{}_leftImg8bit.png", "gtFine/**/{}_gtFine_labelTrainIds.png", "a_{}"),
    "Cityscapes, folders kept": (["leftImg8bit/train/a/{}_leftImg8bit.png", "gtFine/train/a/{}_gtFine_labelIds.png"],
                                 "leftImg8bit/{}_leftImg8bit.png", "gtFine/{}_gtFine_labelIds.png", "train/a/{}"),
    "one folder": (["all/{}.png", "all/{}_mask.png"], "all/{}.png", "all/{}_mask.png", "{}"),
    "one folder, prefix": (["all/{}.png", "all/gt_{}.png"], "all/{}.png", "all/gt_{}.png", "{}"),
    "one folder, masks plain": (["all/{}_image.png", "all/{}.png"], "all/{}_image.png", "all/{}.png", "{}"),
    "one folder, the root": (["{}.jpg", "{}.png"], "{}.jpg", "{}.png", "{}"),
    "a folder per image": (["n{}/image.png", "n{}/mask.png"], "{}/image.png", "{}/mask.png", "n{}"),
    "a folder per image, named twice": (["{}/images/{}.png", "{}/masks/{}.png"], "{}/images/{}.png", "{}/masks/{}.png",
                                        "{}"),
    "two endings": (["images/{}.jpg", "masks/{}.jpg.png"], "images", "masks/{}.jpg.png", "{}"),
    "no ending": (["images/{}.jfif", "masks/{}-seg.TIF"], "images/{}", "masks/{}-seg", "{}"),
    "CamVid": (["701/{}.png", "701_labels/{}_L.png"], "701", "701_labels/{}_L.png", "{}"),
    "BSDS": (["data/images/train/{}.jpg", "data/groundTruth/train/{}_seg.png"], "data/images",
             "data/groundTruth/{}_seg.png", "train/{}"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_public_data_sets_are_paired(tmp_path, layout):
    files, images, masks, stem = LAYOUTS[layout]
    numbers = ["21", "22", "103"]
    for number in numbers:
        touch(tmp_path, *(name.replace("{}", number) for name in files))
    paired = pair_files(tmp_path, images, masks)
    assert sorted(stems(paired)) == sorted(stem.replace("{}", n) for n in numbers)
    assert not paired.lone_images and not paired.lone_masks and not paired.notes
    for pair in paired.pairs:
        number = next(n for n in numbers if n in pair.stem)
        assert pair.image == tmp_path / files[0].replace("{}", number)
        assert pair.mask == tmp_path / files[1].replace("{}", number)


def test_names_that_occur_in_several_folders_are_told_apart_by_what_the_stars_stand_for(tmp_path):
    for part, ending in (("training", "_training"), ("test", "_test")):
        for n in (1, 2):
            touch(tmp_path, f"{part}/images/{n}{ending}.tif", f"{part}/1st_manual/{n}_manual1.gif")
    for stars in ("**/", "*/"):
        paired = pair_files(tmp_path, stars + "images/{}_*.tif", stars + "1st_manual/{}_manual1.gif")
        assert stems(paired) == ["test/1", "test/2", "training/1", "training/2"]
        assert all(pair.image.parent.parent == pair.mask.parent.parent for pair in paired.pairs)
    assert "share one name" in refused(tmp_path, "**/images/{}_*.tif", "training/1st_manual/{}_manual1.gif")


@pytest.mark.parametrize(
    ("image", "mask", "writes"),
    [
        ("images/{}.jpg", "masks/{}_mask.png", 'write data.masks: "masks/{}_mask.png" ('),
        ("images/{}_training.tif", "masks/{}_manual1.gif",
         'write data.images: "images/{}_training.tif" and data.masks: "masks/{}_manual1.gif"'),
        ("images/{}.jpg", "masks/{}.jpg.png", 'write data.masks: "masks/{}.jpg.png"'),
        ("images/{}.jpg", "masks/gt_{}.png", 'write data.masks: "masks/gt_{}.png"'),
        ("images/{}.jpg", "masks/x/{}.png", 'write data.images: "images/**/{}.jpg" and data.masks: "masks/**/{}.png"'),
    ],
)  # fmt: skip
def test_the_refusal_proposes_what_then_works(tmp_path, image, mask, writes):
    for i in range(8, 13):
        touch(tmp_path, image.format(f"img{i}"), mask.format(f"img{i}"))
    text = refused(tmp_path)
    assert text.startswith("10 of 10 stems are unmatched") and "By their names every mask is an image's" in text
    assert writes in text
    proposed = dict(part.split(": ") for part in text.split("write ")[1].split(" (")[0].split(" and "))
    images, masks = (proposed.get(f"data.{what}", f'"{what}"').strip('"') for what in ("images", "masks"))
    assert len(pair_files(tmp_path, images, masks).pairs) == 5


def test_a_rule_that_not_all_follow_is_proposed_with_its_count(tmp_path):
    for i in range(20):
        touch(tmp_path, f"images/{i}.jpg", f"masks/{i}_mask.png" if i else "masks/odd.png")
    assert "19 of 20 masks are an image's (NAME -> NAME_mask)" in refused(tmp_path)


def test_where_several_names_fit_as_well_they_are_named_beside_the_proposal(tmp_path):
    for i in range(3):
        kinds = [f"gtFine/train/ulm/{i:03}_gtFine_{kind}.png" for kind in ("color", "labelIds", "labelTrainIds")]
        touch(tmp_path, f"leftImg8bit/train/ulm/{i:03}_leftImg8bit.png", *kinds)
    text = refused(tmp_path, "leftImg8bit", "gtFine")
    assert "these would fit as well, so choose: NAME_leftImg8bit -> " in text
    assert all(f"NAME_gtFine_{kind}" in text for kind in ("color", "labelIds", "labelTrainIds"))


def test_what_is_alone_by_its_extension_is_left_out_by_a_pattern(tmp_path):
    for i in range(3):
        touch(tmp_path, f"images/{i}.jpg", f"images/{i}_superpixels.png", f"masks/{i}_seg.png")
    assert "fit as well" not in refused(tmp_path)  # by "superpixels" and "seg", which begin alike
    text = refused(tmp_path, "images", "masks/{}_seg.png")
    assert 'No .png file of images is paired: write data.images: "images/{}.jpg"' in text
    assert not pair_files(tmp_path, "images/{}.jpg", "masks/{}_seg.png").lone_images
    touch(tmp_path, "images/7.jpg")
    assert "in a list file (data.train)" in refused(tmp_path, "images/{}.jpg", "masks/{}_seg.png")


def test_both_in_one_folder_is_refused_with_the_patterns_to_write(tmp_path):
    for i in range(4):
        touch(tmp_path, f"all/{i}.jpg", f"all/{i}_mask.png")
    for images, masks in (("all", "all"), ("all", "all/"), ("all", "./all")):
        text = refused(tmp_path, images, masks)
        assert 'write data.images: "all/{}.jpg" and data.masks: "all/{}_mask.png"' in text
    assert len(pair_files(tmp_path, "all/{}.jpg", "all/{}_mask.png").pairs) == 4
    (tmp_path / "link").symlink_to(tmp_path / "all")
    assert "data.images and data.masks are one folder (all, link)" in refused(tmp_path, "all", "link")
    touch(tmp_path, "one/a.jpg")
    assert '"one/{}_mask.png", where {} is the name' in refused(tmp_path, "one", "one")
    (tmp_path / "one" / "a.json").write_text(json.dumps({"shapes": [], "imagePath": "a.jpg"}))
    assert "LabelMe" in refused(tmp_path, "one", "one")


def test_a_wrong_root_is_told_what_lies_there(tmp_path):
    touch(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "SegmentationClass/a.png")
    assert "The pictures there lie in: JPEGImages (2), SegmentationClass (1)" in refused(tmp_path)
    touch(tmp_path / "flat", "a.jpg", "b.jpg", "a_mask.png", "b_mask.png")
    assert 'write data.images: "{}.jpg" and data.masks: "{}_mask.png"' in refused(tmp_path / "flat")
    content = '{"images": [], "annotations": [{"segmentation": []}], "categories": []}'
    (tmp_path / "JPEGImages" / "coco.json").write_text(content)
    assert "COCO" in refused(tmp_path, "JPEGImages", "JPEGImages/coco.json")
    assert "expected a folder or a pattern, found a file" in refused(tmp_path, "JPEGImages", "SegmentationClass/a.png")


def test_a_pattern_that_matches_nothing_shows_a_file(tmp_path):
    touch(tmp_path, "images/a.jpg", "masks/a_seg.png")
    text = refused(tmp_path, "images", "masks/{}_mask.png")
    assert "masks/{}_mask.png: expected files like this pattern" in text and "masks/a_seg.png" in text
    elsewhere = tmp_path / "masks"
    assert f"a file there is {elsewhere}/a_seg.png" in refused(tmp_path / "images", ".", f"{elsewhere}/{{}}_mask.png")


def test_names_that_differ_in_form_or_case_alone_are_paired_and_the_case_is_said(tmp_path):
    touch(tmp_path, "images/caf\u00e9.jpg", "masks/cafe\u0301.png", "images/IMG1.JPG", "masks/img1.png")
    paired = pair_files(tmp_path, "images", "masks")
    assert stems(paired) == ["IMG1", "caf\u00e9"]
    assert paired.notes == ["images and masks: 1 names differ in upper and lower case alone"]


def test_names_that_are_not_utf8_are_paired(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    touch(tmp_path, f"images/{odd}.jpg", f"masks/{odd}.png")
    assert stems(pair_files(tmp_path, "images", "masks")) == [odd]


def test_files_that_are_passed_over_are_said(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b.heic", "masks/a.png", "masks/.hidden.png", "masks/notes.txt")
    assert pair_files(tmp_path, "images", "masks").notes == ["images: passed over 1 file: b.heic (no reader)"]


@pytest.mark.parametrize(
    "extension", [".jpg", ".jfif", ".jpe", ".png", ".tif", ".webp", ".gif", ".jp2", ".tga", ".JPG"]
)
def test_images_of_any_common_extension_are_paired_and_read(tmp_path, extension):
    colour = np.full((16, 24, 3), 120, np.uint8)
    write(tmp_path / "images" / f"a{'.jpg' if extension == '.jfif' else extension}", colour)
    if extension == ".jfif":
        (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / "a.jfif")
    write(tmp_path / "masks" / "a.png")
    (pair,) = pair_files(tmp_path, "images", "masks").pairs
    assert pair == Pair("a", tmp_path / "images" / f"a{extension}", tmp_path / "masks" / "a.png")
    image = read_image(pair.image)
    assert image.shape == (16, 24, 3) and image.dtype == np.uint8 and np.abs(image.astype(int) - 120).max() <= 3


def test_unmatched_stems_of_both_sides_are_named_by_file(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/only_image.jpg", "masks/a.png", "masks/stray.png")
    text = refused(tmp_path)
    assert f"{tmp_path}/images/only_image.jpg has no mask" in text
    assert f"{tmp_path}/masks/stray.png has no image" in text
    assert text.startswith("2 of 3 stems") and "Rename them" in text and "/a." not in text


def test_a_long_list_of_unmatched_stems_is_cut_and_counted(tmp_path):
    touch(tmp_path, "masks/a.png", *(f"images/b{i:02d}.png" for i in range(14)))
    text = refused(tmp_path)
    assert "15 of 15" in text and "and 5 more" in text


def test_two_files_with_one_stem_are_refused(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png")
    assert "a.jpg and a.png share one name; remove or rename" in refused(tmp_path)


def test_missing_and_empty_folders_say_what_to_set(tmp_path):
    touch(tmp_path, "images/a.jpg")
    text = refused(tmp_path)
    assert "masks: expected the folder of masks" in text and "data.root" in text and "data.masks" in text
    (tmp_path / "masks").mkdir()
    assert "masks: expected image files (.jpg .png .tif ...), found none. Is data.masks the right" in refused(tmp_path)


def test_photos_and_masks_of_one_name_in_one_folder_are_told_apart_by_their_endings(tmp_path):
    touch(tmp_path, "a.jpg", "a.png", "b.jpg", "b.png")
    with pytest.raises(InputError, match=r'2 files as \.jpg and as \.png: write data.images: "\{\}\.jpg" and'):
        pair_files(tmp_path, ".", ".")
