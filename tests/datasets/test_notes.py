import numpy as np
import pytest

from segkd.datasets.audit import Audit, Reading, count
from segkd.datasets.labels import code_from_map, resize_label
from segkd.datasets.notes import notes_on, values_in_use
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import Seen

CLASSES = ["no", "yes"]


def pair(stem, tmp_path):
    return Pair(stem, tmp_path / f"{stem}.jpg", tmp_path / f"{stem}.png")


def mask(*values, side=32):
    """Stripes of the values, as wide as they can be."""
    return np.tile(np.repeat(np.array(values, np.uint8), side // len(values)), (side, 1))


@pytest.fixture
def notes(tmp_path):
    """The notes on readings of one or more splits."""

    def on(splits, classes=CLASSES, size=(32, 32)):
        audit = Audit()
        for readings in splits.values():
            for reading in readings:
                audit.take(reading)
        code = code_from_map({i: i for i in range(len(classes))}, [255], len(classes))
        return notes_on(audit, code, classes, {k: [r.pair for r in v] for k, v in splits.items()}, size)

    return on


@pytest.fixture
def reading(tmp_path):
    def make(stem, raw=None, size=(32, 32), **seen):
        raw = mask(0, 1) if raw is None else raw
        small = np.unique(resize_label(raw, size))
        return Reading(pair(stem, tmp_path), counts=count(raw), small=small, **seen)

    return make


def test_plain_data_need_no_word(notes, reading):
    assert notes({"train": [reading("a"), reading("b")], "val": [reading("c")]}) == ()


@pytest.mark.parametrize(
    "low, high, advice",
    [
        (0.0, 4094.0, "[0, 4095]"),
        (3.0, 255.0, "[0, 255]"),
        (0.0, 1000.0, "[0, 1023]"),
        (-1024.0, 3071.0, "[-1024, 3071]"),
    ],
)
def test_twelve_bits_in_sixteen_are_said_with_the_range_to_write(notes, reading, low, high, advice):
    seen = Seen(values=(low, high), scale=(0.0, 65535.0))
    (note,) = notes({"train": [reading("a", seen_image=seen), reading("b")]})
    assert note.startswith(f"1 of 2 images use the values {low:g}..{high:g} and are read as 0..65535")
    assert f"data.range: {advice}" in note and "a.jpg" in note


def test_images_that_fill_their_scale_are_not_warned_of_but_their_range_is_told(notes, reading):
    first = reading("a", seen_image=Seen(values=(0.0, 900.0), scale=(0.0, 4095.0)))
    second = reading("b", seen_image=Seen(values=(-5.0, 4000.0), scale=(0.0, 4095.0)))
    assert notes({"train": [first, second]}) == ()
    assert len(notes({"train": [first]})) == 1
    audit = Audit()
    for one in (first, second, reading("c")):
        audit.take(one)
    assert values_in_use(audit) == "image values -5..4000 of 0..4095"
    assert values_in_use(Audit()) == ""


def test_one_bright_file_does_not_hide_a_folder_of_black_ones(notes, reading):
    dark, bright = Seen(values=(0.0, 4000.0), scale=(0.0, 65535.0)), Seen(values=(0.0, 65535.0), scale=(0.0, 65535.0))
    readings = [reading(f"a{i:02d}", seen_image=bright if i == 7 else dark) for i in range(12)]
    (note,) = notes({"train": readings})
    assert note.startswith("11 of 12 images use the values 0..4000") and "data.range: [0, 4095]" in note


def test_undecided_orientations_are_counted(notes, reading):
    (note,) = notes({"train": [reading("a", undecided=True), reading("b")], "val": [reading("c", undecided=True)]})
    assert note.startswith("2 of 3 images have an EXIF orientation that their masks do not have")
    assert "data.exif: false" in note and "segkd sheet" in note


@pytest.mark.parametrize(
    ("image", "mask", "said"),
    [(6, 1, "images are turned, masks are not"), (1, 6, "masks are turned, images are not"), (6, 3, "by its own")],
)
def test_the_side_that_has_the_orientation_is_named(notes, reading, image, mask, said):
    (note,) = notes(
        {"train": [reading("a", undecided=True, seen_image=Seen(tag=image), seen_mask=Seen(tag=mask)), reading("b")]}
    )
    assert note.startswith("1 of 2 images have ") and said in note and "data.exif: false" in note


@pytest.mark.parametrize(
    ("shape", "size", "written"),
    [
        ((100, 700), (160, 160), "[64, 448]"),
        ((700, 100), (160, 160), "[448, 64]"),
        ((90, 100), (64, 320), "[128, 128]"),
    ],
)
def test_elongated_images_are_told_once_with_a_size_that_holds_them(notes, reading, shape, size, written):
    (note,) = notes({"train": [reading("a", shape=shape), reading("b", shape=shape)]}, size=size)
    assert note.startswith("2 of 2 images are more than 2 times as long") and f"write data.size: {written}" in note
    assert notes({"train": [reading("a", shape=shape)]}, size=tuple(map(int, written[1:-1].split(",")))) == ()


def test_a_few_elongated_images_do_not_change_the_size_of_all(notes, reading):
    shapes = {"a": (100, 100), "b": (100, 190), "c": (100, 500)}
    (note,) = notes({"train": [reading(name, shape=shape) for name, shape in shapes.items()]}, size=(96, 96))
    assert note.startswith("1 of 3 images") and "(c)" in note and "write data.size" not in note


def test_elongated_images_that_are_only_scored_get_no_advice_for_training(notes, reading):
    (note,) = notes({"val": [reading("a", shape=(20, 100))]})
    assert "--slide" in note and "crops" not in note and "write data.size" not in note and "cut these" not in note


def test_images_that_two_splits_share_byte_for_byte_are_told(notes, reading):
    train = [reading("a", digest="01 02"), reading("b", digest="03 04"), reading("unread")]
    val = [reading("c", digest="01 05"), reading("d", digest="06 02"), reading("unread2")]
    (note,) = notes({"train": train, "val": val})
    assert note.startswith("images in more than one split") and "flatter: 1 (a in train = c in val)" in note
    assert notes({"train": [*train, reading("a2", digest="01 02")]}) == ()


def test_what_was_left_out_is_counted_by_kind(notes, reading):
    pages, both = Seen(left_out=("pages after the first",)), Seen(left_out=("pages after the first", "transparency"))
    found = notes({"train": [reading("a", seen_image=pages), reading("b", seen_image=both, seen_mask=pages)]})
    assert [note.split(":")[0] for note in found] == [
        "2 of 2 images have pages after the first, which are left out",
        "1 of 2 images have transparency, which is left out",
        "1 of 2 masks have pages after the first, which are left out",
    ]
    assert ["save each as a file of its own" in note for note in found] == [True, False, True]


def test_palettes_that_differ_in_a_colour_both_use_are_said(notes, reading):
    first, second = Seen(palette={0: (0, 0, 0), 1: (255, 0, 0)}), Seen(palette={0: (0, 0, 0), 1: (0, 255, 0)})
    (note,) = notes({"train": [reading("a", seen_mask=first), reading("b", seen_mask=second)]})
    assert "palettes of the masks differ: index 1 is #ff0000" in note and "#00ff00" in note and "b.png" in note
    third = Seen(palette={0: (0, 0, 0), 2: (0, 255, 0)})
    assert notes({"train": [reading("a", seen_mask=first), reading("b", seen_mask=third)]}) == ()


def test_a_palette_that_runs_backwards_is_said(notes, reading):
    backwards = Seen(palette={0: (250, 250, 240), 1: (0, 0, 60)})
    (note,) = notes({"train": [reading("a", seen_mask=backwards)]})
    assert "runs backwards: index 0 is bright (#fafaf0) and index 1 dark" in note and "label_map: {0: 1, 1: 0}" in note


def speck(where, side=64):
    raw = np.zeros((side, side), np.uint8)
    raw[where] = 1
    return raw


def test_masks_that_lose_their_foreground_at_the_networks_size_are_counted(notes, reading):
    lost = [reading(f"l{i}", speck((8 * i, 0)), size=(8, 8)) for i in range(3)]
    kept = [reading("k", mask(0, 1, side=64), size=(8, 8)), reading("empty", mask(0, side=64), size=(8, 8))]
    (note,) = notes({"train": [*lost, *kept]}, size=(8, 8))
    assert (
        note.startswith("at data.size 8, 3 of 4 masks with yes lose all of it: raise data.size") and "--slide" in note
    )


def test_of_several_classes_those_that_vanish_often_are_named(notes, reading):
    raws = [mask(0, 2, side=64) for _ in range(20)]
    for i, raw in enumerate(raws):
        raw[0, 0] = 1  # never seen
        raw[1:, 32:] = 2 if i else 0  # one of many is lost
        raw[0, 63] = 2
    readings = [reading(f"a{i}", raw, size=(8, 8)) for i, raw in enumerate(raws)]
    (note,) = notes({"train": readings}, ["no", "dot", "stripes"], size=(8, 16))
    assert "at data.size [8, 16], classes vanish from masks that hold them (dot in 20 of 20)" in note


def test_a_class_that_is_nowhere_or_not_in_a_split_is_said(notes, reading):
    train, val = [reading("a", mask(0, 1))], [reading("b", mask(0, 2))]
    found = notes({"train": train, "val": val}, ["ground", "cat", "dog", "never"])
    assert found == (
        "no mask of val holds class cat, so it has no score there.",
        "no mask of train holds class dog, but masks of another split do: it cannot be learned.",
        "no mask holds class never: nothing can be said about it.",
    )
    assert notes({"test": val}, ["ground", "cat", "dog"]) == (
        "no mask of test holds class cat: nothing can be said about it.",
    )


def test_a_split_whose_masks_are_left_out_as_a_whole_is_one_sentence(notes, reading):
    splits = {"train": [reading("a"), reading("b")], "test": [reading("c", mask(255))]}
    said = [note for note in notes(splits) if "test" in note]
    assert said == ["no mask of test holds any class, so it has no scores: its labels are not public, or are others."]
    assert not any("holds any class" in note for note in notes({"test": splits["test"]}))
