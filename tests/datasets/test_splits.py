import hashlib
import os
import re
from pathlib import Path

import pytest

from segkd.datasets.groups import group_of
from segkd.datasets.pairing import Pair
from segkd.datasets.split_folders import Where
from segkd.datasets.splits import carve, find_splits
from segkd.types import InputError
from tests.conftest import touch

STEMS = [f"s{i:02d}" for i in range(20)]


@pytest.fixture
def root(tmp_path):
    return paired(tmp_path, STEMS)


def paired(root, names):
    return touch(root, *(f"images/{n}.jpg" for n in names), *(f"masks/{n}.png" for n in names))


def split(root, wanted=("train", "val"), val_share=0.2, group=None, **texts):
    lists = {}
    for name, text in texts.items():
        lists[name] = f"chosen_{name}.txt"
        (root / lists[name]).write_text(text, encoding="utf-8")
    return find_splits(Where(root, lists=lists, val_share=val_share, group=group), wanted)


def stems(splits, name):
    return [pair.stem for pair in splits.members[name]]


def test_lists_make_splits_and_the_rest_is_for_training(root):
    splits = split(root, train="# header\n\n s00 \ns01.jpg\nimages/s02.PNG\n/abs/olute/s03\ns00\n", val="s05\n")
    assert stems(splits, "train") == ["s00", "s01", "s02", "s03"]
    assert (
        stems(splits, "val") == ["s05"] and list(splits.members) == ["train", "val"] and splits.said == "4 train, 1 val"
    )
    assert len(stems(split(root, val="s05\n"), "train")) == 19
    (root / "test.txt").write_text("s01\ns02\n")
    assert stems(split(root, val="s05\n"), "test") == ["s01", "s02"]


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_a_list_of_val_may_be_called_as_its_folder_may(root, name):
    (root / f"{name}.txt").write_text("s05\n")
    assert stems(split(root), "val") == ["s05"] and len(stems(split(root), "train")) == 19
    (root / "val.txt").write_text("s06\n")
    assert stems(split(root), "val") == ["s06"]


def test_overlapping_lists_are_refused_with_both_files(root):
    with pytest.raises(InputError, match="2 images are in both the train and the test split") as error:
        split(root, train="s00\ns01\ns02\n", val="s09\n", test="s01\ns02\n")
    assert "_train.txt" in str(error.value) and "_test.txt" in str(error.value) and "s01" in str(error.value)


def test_an_empty_list_makes_an_empty_split_which_is_refused(root):
    with pytest.raises(InputError, match=r"the val split is empty: .*val\.txt.*data\.val"):
        split(root, val="# nothing yet\n")
    with pytest.raises(InputError, match=r"the train split is empty: the other splits take every pair.*data\.train"):
        split(root, val="\n".join(STEMS))
    assert stems(split(root, ["val"], val="\n".join(STEMS)), "val") == STEMS


def test_one_pair_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"one pair of an image and a mask only.*Add images"):
        split(paired(tmp_path, ["a"]))
    assert stems(split(tmp_path, ["test"], test="a\n"), "test") == ["a"]


def test_with_lists_only_listed_names_need_both_files(root):
    touch(root, "images/extra1.jpg", "images/extra2.jpg")
    splits = split(root, train="s00\ns01\n", val="s02\n")
    assert splits.said == "2 train, 1 val"
    said = "images without mask, which no split needs: 2 (extra1.jpg, extra2.jpg)"
    assert splits.warnings == [f"{said}; data.unlabelled: images trains on them without a label"]
    with pytest.raises(InputError, match="2 of 22 stems are unmatched"):
        split(root, val="s02\n")  # the rest would be trained on
    with pytest.raises(InputError, match=r"1 of 22 stems are unmatched.*\n.*extra1\.jpg has no mask"):
        split(root, train="s00\nextra1\n", val="s02\n")
    assert stems(split(root, ["test"], test="s03\n"), "test") == ["s03"]


def test_without_lists_val_is_carved_out_and_everything_is_used_once(root):
    splits = split(root, test="s03\ns07\n")
    assert stems(splits, "test") == ["s03", "s07"] and len(splits.members["val"]) == round(0.2 * 18)
    assert sorted(pair.stem for some in splits.members.values() for pair in some) == STEMS


def test_the_carved_val_split_is_stable(root):
    whole = stems(split(root), "val")
    assert whole == sorted(sorted(STEMS, key=lambda s: hashlib.sha256(s.encode()).hexdigest())[:4])
    paired(root, ["new"])
    assert stems(split(root, test="new\n"), "val") == whole
    before = set(whole)
    for i in range(10):  # one more image to train on moves at most one image out of val
        after = set(stems(split(paired(root, [f"new{i}"]), test="new\n"), "val"))
        assert len(before - after) <= 1
        before = after


def test_a_name_that_is_not_utf8_can_be_carved(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    splits = split(paired(tmp_path, [odd, "b"]))
    assert sorted(stems(splits, "train") + stems(splits, "val")) == sorted([odd, "b"])


def test_groups_are_carved_whole(tmp_path):
    names = [f"patient{p}_slice{s:02}" for p in range(8) for s in range(p + 2)]
    splits = split(paired(tmp_path, names), group="patient(\\d+)")
    homes = {name: {stem.split("_")[0] for stem in stems(splits, name)} for name in ("train", "val")}
    assert homes["val"] and not homes["train"] & homes["val"]
    assert 1 <= len(splits.members["val"]) <= round(0.2 * len(names)) and not splits.warnings
    again = split(tmp_path, group="patient\\d+")
    assert len(again.members["val"]) <= round(0.2 * len(names))


def test_one_large_group_does_not_take_everything():
    pairs = [Pair(f"{g}_{i}", Path(), Path()) for g, n in (("big", 18), ("small", 2)) for i in range(n)]
    train, val = carve(pairs, 0.05, lambda stem: stem.split("_")[0])
    assert len(train) == 18 and len(val) == 2


def test_groups_that_lists_tear_apart_are_counted(tmp_path):
    paired(tmp_path, ["a_1", "a_2", "b_1", "b_2", "c_1"])
    splits = split(tmp_path, train="a_1\nb_1\nb_2\n", val="a_2\nc_1\n", group="^[a-z]")
    assert splits.warnings == ["groups in more than one split, so that scores flatter: 1 (a)."]


@pytest.mark.parametrize(
    ("group", "said"),
    [("(", "expected a regular expression"), ("zzz", "occurs in none of 20 names, the first.*s00, s01, s02"),
     ("s", "one group only")],
)  # fmt: skip
def test_a_group_that_groups_nothing_is_refused(root, group, said):
    with pytest.raises(InputError, match=said):
        split(root, group=group)


def test_names_without_a_group_stand_alone_and_are_counted(root):
    assert "data.group occurs in 10 of 20 names" in split(root, group="s0.").warnings[0]


def test_alternatives_with_a_group_each_are_groups_each(tmp_path):
    names = [f"{who}{number}_f{i}" for who in ("patient", "subject") for number in range(6) for i in range(3)]
    splits = split(paired(tmp_path, names), group=r"patient(\d+)_f\d|subject(\d+)_f\d")
    homes = {name: {stem.split("_")[0] for stem in stems(splits, name)} for name in ("train", "val")}
    assert homes["val"] and not homes["train"] & homes["val"] and not splits.warnings
    warnings = []
    group = group_of(r"patient(\d+)|subject(\d+)", [*names, "other"], warnings)
    assert len({group(name) for name in names}) == 12 and group("patient3_f0") == "3" and group("other") == "other"
    assert warnings == ["data.group occurs in 36 of 37 names; each other one is its own group"]


def test_a_group_that_takes_no_part_is_not_found(tmp_path):
    warnings = []
    group = group_of(r"(p\d)?_", ["p1_0", "p1_1", "x_0"], warnings)
    assert [group(name) for name in ("p1_0", "p1_1", "x_0")] == ["p1", "p1", "x_0"]
    assert "data.group occurs in 2 of 3 names" in warnings[0]


@pytest.mark.parametrize("lines", ["extra1\nextra2\n", "gone1\ngone2\n"])
def test_a_bad_list_of_a_split_that_nobody_wants_is_left_out(root, lines):
    touch(root, "images/extra1.jpg", "images/extra2.jpg")
    splits = split(root, train="s00\ns01\n", val="s02\n", test=lines)
    assert splits.said == "2 train, 1 val" and list(splits.members) == ["train", "val"]
    assert re.match(r"the test split, not needed now, is left out: .*chosen_test\.txt: 2 of ", splits.warnings[0])
    assert "\n" not in splits.warnings[0]
    carved = split(root, train="s00\ns01\ns03\n", test=lines)
    assert carved.said == "2 train, 1 val"
    for wanted, texts in ((("test",), {"train": "s00\n"}), (("train", "val"), {"val": "s02\n"})):
        with pytest.raises(InputError):  # the list says what is not trained on
            split(root, wanted, **texts, test=lines)


def test_a_bad_list_of_training_does_not_stop_a_test(root):
    splits = split(root, ["test"], train="gone\ns01\n", test="s02\n")
    assert stems(splits, "test") == ["s02"] and list(splits.members) == ["test"]
    with pytest.raises(InputError, match="name no image"):  # what is not validated on would be carved out of it
        split(root, ["val"], train="gone\ns01\n", test="s02\n")
    assert stems(split(root, ["test"], val="gone\n", test="s02\n"), "test") == ["s02"]
    with pytest.raises(InputError, match="name no image"):  # what is tested would be trained on
        split(root, val="s01\n", test="gone\ns02\n")
