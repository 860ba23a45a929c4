from pathlib import Path

import pytest

from segkd.datasets.matching import files_by_stem, images_for, labels_in, match_maps
from segkd.types import InputError
from tests.conftest import touch


def test_missing_and_surplus_files_are_listed_not_refused(tmp_path):
    (tmp_path / "maps" / "d.png").mkdir(parents=True)
    for name in ("maps/a.png", "maps/c.npy", "b.png"):
        (tmp_path / name).write_bytes(b"")
    labels = {stem: tmp_path / f"{stem}.png" for stem in "abd"}
    found = match_maps(tmp_path / "maps", labels)
    assert [pair.id for pair in found.pairs] == ["a"]
    assert found.missing == {"b": "b: no prediction"} and found.surplus == ["c.npy: no label"]
    assert "expected a file, found a folder" in found.unreadable["d"]
    del labels["d"]
    assert not match_maps(tmp_path / "maps", labels).unreadable  # nobody asked for it


def test_folders_that_cannot_serve_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "none").mkdir()
    for folder, said in (("gone", "nothing there"), ("file", "a file there"), ("none", "found none")):
        with pytest.raises(InputError, match=said):
            files_by_stem(tmp_path / folder, "predictions", {".png"})
    (tmp_path / "none" / "x.png").write_text("")
    with pytest.raises(InputError, match=r"named like the labels.*--predictions '.*none/\{\}_pred\.\*'"):
        match_maps(tmp_path / "none", {"y": tmp_path})


def test_where_every_name_is_there_twice_the_ways_to_choose_are_said(tmp_path):
    for name in ("a.png", "a.npy", "b.png", "b.npy"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="several files share one name") as error:
        match_maps(tmp_path, {"a": tmp_path, "b": tmp_path})
    assert f"{tmp_path}/{{}}.npy or {tmp_path}/{{}}.png" in str(error.value)
    assert len(match_maps(tmp_path / "{}.npy", {"a": tmp_path, "b": tmp_path}).pairs) == 2


def test_a_list_chooses_labels_by_stem_or_file_name(tmp_path):
    for stem in "abc":
        (tmp_path / f"{stem}.png").write_bytes(b"")
    (tmp_path / "list.txt").write_text("# test\na\nc.png\n")
    assert list(labels_in(tmp_path, tmp_path / "list.txt").files) == ["a", "c"]
    (tmp_path / "list.txt").write_text("a\nz\n")
    with pytest.raises(InputError, match="1 of 2"):
        labels_in(tmp_path, tmp_path / "list.txt")


def test_files_that_are_numbered_from_0_and_from_1_are_told(tmp_path):
    touch(tmp_path, "0.png", "1.png", "2.png")
    assert match_maps(tmp_path, labels_of("1", "2", "3")).notes == [
        "predictions are numbered from 0, labels from 1, and the same numbers are paired: if the first of both belong "
        "together, rename the predictions"
    ]
    for stems in (("0", "1", "2"), ("1", "2"), ("1", "2", "4"), ("1", "2", "a")):
        assert match_maps(tmp_path, labels_of(*stems)).notes == []


def labels_of(*stems):
    return {stem: Path(f"{stem}.png") for stem in stems}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}.jpg.png", "NAME -> NAME.jpg"), ("{}_pred.png", "NAME -> NAME_pred"), ("pred-{}.npy", "NAME -> pred-NAME"),
        ("sub/{}.png", "NAME -> NAME, in whatever folders"),
    ],
)  # fmt: skip
def test_one_rule_that_holds_for_every_prediction_is_used_and_said(tmp_path, written, said):
    stems = [f"img{i}" for i in range(8, 14)]
    touch(tmp_path, *(written.format(stem) for stem in stems[1:]))
    found = match_maps(tmp_path, labels_of(*stems))
    assert found.notes == [f"predictions are matched with labels by their names: {said}"]
    assert [pair.id for pair in found.pairs] == sorted(stems[1:]) and found.missing == {"img8": "img8: no prediction"}
    assert all(pair.prediction.name == Path(written.format(pair.id)).name for pair in found.pairs)


def test_labels_may_have_the_longer_names(tmp_path):
    touch(tmp_path, "1.png", "2.png")
    found = match_maps(tmp_path, labels_of("1_mask", "2_mask"))
    assert [pair.id for pair in found.pairs] == ["1_mask", "2_mask"] and "NAME_mask -> NAME" in found.notes[0]


def test_names_in_another_case_are_matched_and_said(tmp_path):
    found = match_maps(touch(tmp_path, "IMG0.PNG", "IMG1.PNG"), labels_of("img0", "img1", "img2"))
    assert [pair.id for pair in found.pairs] == ["img0", "img1"] and "2 names differ" in found.notes[0]


def test_the_same_names_come_before_any_rule(tmp_path):
    found = match_maps(touch(tmp_path, "a.png", "b_pred.png"), labels_of("a", "b"))
    assert [pair.id for pair in found.pairs] == ["a"] and found.surplus == ["b_pred.png: no label"]


def test_a_rule_that_does_not_hold_for_all_is_proposed_and_works_as_a_pattern(tmp_path):
    maps = touch(tmp_path / "maps", *(f"{i}_{part}.png" for i in range(5) for part in ("fused", "side")))
    labels = labels_of(*map(str, range(5)))
    with pytest.raises(
        InputError, match=r"5 would .* NAME_side or as NAME -> NAME_fused: say which.*maps/\{\}_side\.\*'"
    ):
        match_maps(maps, labels)
    assert len(match_maps(maps / "{}_side.*", labels).pairs) == 5
    assert len(match_maps(maps / "{}_side.png", labels).pairs) == 5


def test_labels_with_the_longer_names_may_be_fewer_than_the_predictions(tmp_path):
    maps = touch(tmp_path / "maps", *(f"{i:04}.png" for i in range(9)))
    found = match_maps(maps, labels_of(*(f"{i:04}_mask" for i in range(3))))
    assert [pair.prediction.name for pair in found.pairs] == ["0000.png", "0001.png", "0002.png"]
    assert found.notes == ["predictions are matched with labels by their names: NAME_mask -> NAME"]
    assert len(found.surplus) == 6


def test_what_is_proposed_for_labels_with_longer_names_names_both_sides(tmp_path):
    labels = labels_of(*(f"{i}_mask" for i in range(5)))
    maps = touch(tmp_path / "maps", *(f"{i}_{part}.png" for i in range(5) for part in ("fused", "side")))
    with pytest.raises(InputError, match=r"maps/\{\}_side\.\*' with --labels 'FOLDER/\{\}_mask\.\*'"):
        match_maps(maps, labels)


CLASSES = ["sky", "road", "car"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["{}_0", "{}_1", "{}_2"], r"NAME_0 \.\.\. NAME_2"), (["{}-3", "{}-1", "{}-2"], r"NAME-1 \.\.\. NAME-3"),
        (["{}_car", "{}_sky", "{}_road"], r"NAME_sky \.\.\. NAME_car"),
        (["00/{}", "01/{}", "02/{}"], r"00/NAME \.\.\. 02/"),
    ],
)  # fmt: skip
def test_one_file_per_class_is_refused_with_how_to_stack_them(tmp_path, written, said):
    labels = labels_of("a", "a_x", "b", "c")
    touch(tmp_path, *(f"{one.format(stem)}.png" for stem in labels for one in written))
    with pytest.raises(InputError, match=rf"one file per class \({said}.*Stack .* \[3 h w\]"):
        match_maps(tmp_path, labels, CLASSES)


def test_of_one_file_for_each_of_two_classes_the_foreground_is_proposed(tmp_path):
    labels = labels_of("a", "b")
    touch(tmp_path, *(f"{stem}_{k}.png" for stem in labels for k in range(2)))
    with pytest.raises(InputError, match=r"the foreground's is enough: --predictions '.*/\{\}_1\.\*'"):
        match_maps(tmp_path, labels, ["background", "foreground"])
    touch(tmp_path, "a_2.png", "b_2.png")  # three samples, perhaps
    with pytest.raises(InputError, match="would match as"):
        match_maps(tmp_path, labels, ["background", "foreground"])


def test_rules_that_disagree_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"would match as .* or as "):
        match_maps(touch(tmp_path, "b_a_c.png"), labels_of("b_a", "a_c"))


def test_images_are_found_for_labels_with_longer_names(tmp_path):
    images = touch(tmp_path / "images", "1.jpg", "2.jpg", "3.jpg")
    assert images_for(images, labels_of("1_mask", "2_mask")) == {f"{i}_mask": images / f"{i}.jpg" for i in (1, 2)}
    assert images_for(images, labels_of("3")) == {"3": images / "3.jpg"}
    assert images_for(images, labels_of("x", "y")) == {}


def test_labels_called_otherwise_than_the_list_are_refused_with_the_pattern(tmp_path):
    touch(tmp_path, *(f"gt/{n}_mask.png" for n in range(6)))
    (tmp_path / "list.txt").write_text("0.jpg\n1.jpg\n2.jpg\n")
    with pytest.raises(InputError, match=r"3 of 3 lines .* say --labels '.*gt/\{\}_mask\.png'.*NAME -> NAME_mask"):
        labels_in(tmp_path / "gt", tmp_path / "list.txt")
    assert [*labels_in(tmp_path / "gt" / "{}_mask.png", tmp_path / "list.txt").files] == ["0", "1", "2"]
    (tmp_path / "list.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError, match="correct the list or add the files"):
        labels_in(tmp_path / "gt", tmp_path / "list.txt")


def test_labels_may_be_a_pattern_and_lists_name_them_in_any_way(tmp_path):
    touch(tmp_path / "gt", "a_mask.png", "b_mask.png", "a.png")
    named = labels_in(tmp_path / "gt" / "{}_mask.png", None)
    assert list(named.files) == ["a", "b"]
    for line in ("b", "b_mask.png", "C:\\old\\gt\\b_mask.png", "images/b.jpg masks/b_mask.png", "b 1"):
        (tmp_path / "list.txt").write_bytes(f"{line}\r\n".encode("utf-16"))
        assert list(labels_in(tmp_path / "gt" / "{}_mask.png", tmp_path / "list.txt").files) == ["b"]
    (tmp_path / "list.txt").write_text("# none\n")
    with pytest.raises(InputError, match="expected names of labels"):
        labels_in(tmp_path / "gt", tmp_path / "list.txt")
