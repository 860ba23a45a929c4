import hashlib

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.files import Pair, pair_files, split_pairs
from segkd.datasets.pictures import read_image
from segkd.types import InputError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def write(path, array=GREY, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def pairs(tmp_path):
    return [Pair(f"s{i:02d}", tmp_path / f"s{i:02d}.jpg", tmp_path / f"s{i:02d}.png") for i in range(20)]


def stems(pairs):
    return [pair.stem for pair in pairs]


def split(pairs, tmp_path, val_share=0.2, **texts):
    lists = dict.fromkeys(("train", "val", "test"))
    for name, text in texts.items():
        lists[name] = tmp_path / f"{name}.txt"
        lists[name].write_text(text, encoding="utf-8")
    return split_pairs(pairs, lists, val_share)


@pytest.mark.parametrize(
    "extension",
    [".jpg", ".jfif", ".jpe", ".png", ".bmp", ".tif", ".webp", ".gif", ".ppm", ".jp2", ".tga", ".JPG", ".Png"],
)
def test_images_of_any_common_extension_are_paired_and_read(tmp_path, extension):
    colour = np.full((16, 24, 3), 120, np.uint8)
    write(tmp_path / "images" / f"a{extension}", colour)
    write(tmp_path / "masks" / "a.png", GREY)
    (pair,) = pair_files(tmp_path / "images", tmp_path / "masks")
    assert pair == Pair("a", tmp_path / "images" / f"a{extension}", tmp_path / "masks" / "a.png")
    image = read_image(pair.image)
    assert image.shape == (16, 24, 3) and image.dtype == np.uint8 and np.abs(image.astype(int) - 120).max() <= 3


def test_stems_keep_subfolders_and_dots_and_skip_other_files(tmp_path):
    for stem in ("b", "cat/b", "dog/b.v2"):
        write(tmp_path / "images" / f"{stem}.jpg")
        write(tmp_path / "masks" / f"{stem}.png")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    (tmp_path / "images" / "._b.jpg").write_text("written by a file manager")
    found = pair_files(tmp_path / "images", tmp_path / "masks")
    assert stems(found) == ["b", "cat/b", "dog/b.v2"]
    assert all(p.image.parent.name == p.mask.parent.name or p.stem == "b" for p in found)


def test_unmatched_stems_of_both_sides_are_named_by_file(tmp_path):
    for name in ("images/a.jpg", "images/only_image.jpg", "masks/a.png", "masks/only_mask.png"):
        write(tmp_path / name)
    with pytest.raises(InputError) as error:
        pair_files(tmp_path / "images", tmp_path / "masks")
    text = str(error.value)
    assert f"{tmp_path}/images/only_image.jpg has no mask" in text
    assert f"{tmp_path}/masks/only_mask.png has no image" in text
    assert text.startswith("2 of 3 stems") and "Rename them" in text and "/a." not in text


def test_a_long_list_of_unmatched_stems_is_cut_and_counted(tmp_path):
    write(tmp_path / "masks" / "a.png")
    for i in range(14):
        write(tmp_path / "images" / f"b{i:02d}.png")
    with pytest.raises(InputError, match="15 of 15") as error:
        pair_files(tmp_path / "images", tmp_path / "masks")
    assert "and 5 more" in str(error.value)


def test_two_files_with_one_stem_are_refused(tmp_path):
    write(tmp_path / "images" / "a.jpg")
    write(tmp_path / "images" / "a.png")
    write(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match=r"a\.jpg and a\.png share one stem; remove or rename"):
        pair_files(tmp_path / "images", tmp_path / "masks")


def test_missing_and_empty_folders_say_what_to_set(tmp_path):
    write(tmp_path / "images" / "a.jpg")
    with pytest.raises(InputError, match=r"masks: expected the folder of masks.*data\.root.*data\.masks"):
        pair_files(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match=r"masks: expected image files.*\.png.*found none"):
        pair_files(tmp_path / "images", tmp_path / "masks")


def test_list_lines_may_be_stems_names_paths_comments_or_blank(pairs, tmp_path):
    text = "# header\n\n s00 \ns01.jpg\nimages/s02.PNG\n/abs/olute/s03\ns00\n"
    splits = split(pairs, tmp_path, val="s05\n", train=text)
    assert stems(splits["train"]) == ["s00", "s01", "s02", "s03"]
    assert stems(splits["val"]) == ["s05"] and "test" not in splits


def test_a_list_line_prefers_the_longest_stem(tmp_path):
    pairs = [Pair(stem, tmp_path, tmp_path) for stem in ("a", "cat/a", "dog/a")]
    splits = split(pairs, tmp_path, train="cat/a\n", val="data/images/dog/a.jpg\n", test="bird/a\n")
    assert [stems(splits[n]) for n in ("train", "val", "test")] == [["cat/a"], ["dog/a"], ["a"]]


def test_a_list_with_a_byte_order_mark_and_windows_line_ends_is_read(pairs, tmp_path):
    splits = split(pairs, tmp_path, train="\ufeffs00\r\ns01\r\n", val="s02\n")
    assert stems(splits["train"]) == ["s00", "s01"]


def test_unknown_list_lines_are_named(pairs, tmp_path):
    with pytest.raises(InputError) as error:
        split(pairs, tmp_path, train="s00\nnowhere\ns01\nimages/gone.jpg\n")
    text = str(error.value)
    assert text.startswith("2 of 4 lines") and "train.txt: nowhere" in text and "train.txt: images/gone.jpg" in text


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00s"])
def test_an_absent_or_binary_list_is_refused_by_name(pairs, tmp_path, content):
    path = tmp_path / "chosen.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"chosen\.txt: expected a text file with one stem per line"):
        split_pairs(pairs, {"train": path, "val": None, "test": None}, 0.2)


def test_overlapping_lists_are_refused_with_both_files(pairs, tmp_path):
    with pytest.raises(InputError, match="2 images are in both the train and the test split") as error:
        split(pairs, tmp_path, train="s00\ns01\ns02\n", val="s09\n", test="s01\ns02\n")
    assert "train.txt" in str(error.value) and "test.txt" in str(error.value) and "s01" in str(error.value)


def test_an_empty_list_makes_an_empty_split_which_is_refused(pairs, tmp_path):
    with pytest.raises(InputError, match=r"the val split is empty: .*val\.txt"):
        split(pairs, tmp_path, val="# nothing yet\n")
    with pytest.raises(InputError, match="the val split is empty"):
        split(pairs[:1], tmp_path)


def test_without_lists_val_is_carved_out_and_everything_is_used_once(pairs, tmp_path):
    splits = split(pairs, tmp_path, test="s03\ns07\n")
    assert stems(splits["test"]) == ["s03", "s07"] and len(splits["val"]) == round(0.2 * 18)
    assert sorted(stems(splits["train"] + splits["val"] + splits["test"])) == stems(pairs)


def test_the_carved_val_split_is_stable(pairs, tmp_path):
    whole = stems(split(pairs, tmp_path)["val"])
    assert whole == sorted(sorted(stems(pairs), key=lambda s: hashlib.sha256(s.encode()).hexdigest())[:4])
    assert stems(split(pairs[::-1], tmp_path)["val"]) == whole
    assert stems(split([*pairs, Pair("new", tmp_path, tmp_path)], tmp_path, test="new\n")["val"]) == whole
    for i in range(10):  # one more image to train on moves at most one image out of val
        grown = stems(split([*pairs, Pair(f"new{i}", tmp_path, tmp_path)], tmp_path)["val"])
        assert len(set(whole) - set(grown)) <= 1
