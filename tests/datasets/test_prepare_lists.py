"""Lists of splits that come with public data sets, rebuilt small."""

# ruff: noqa: F811

import pytest

from tests.datasets.test_prepare_public import patches, prepare, put  # noqa: F401


@pytest.fixture
def write(tmp_path):
    """A function that writes a text below tmp_path/set: (name, lines)."""

    def text(name, lines):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(map(str, lines)) + "\n")

    return text


def test_of_several_folders_of_lists_that_of_the_most_pairs_counts(put, prepare, write):
    """Pascal VOC with SBD: lists of other tasks lie beside those of masks, and a longer one for training."""
    for n in range(9):
        put(f"JPEGImages/a{n}.jpg")
        put(f"SegmentationClassAug/a{n}.png", patches(n, [1, 2]))
    for folder, first in (("Action", 2), ("Segmentation", 0)):
        write(f"ImageSets/{folder}/train.txt", [f"a{n}" for n in range(first, 3)])
        write(f"ImageSets/{folder}/val.txt", ["a3", "a4"])
        write(f"ImageSets/{folder}/trainval.txt", [f"a{n}" for n in range(first, 5)])
    write("ImageSets/Segmentation/trainaug.txt", [f"a{n}" for n in (0, 1, 2, 5, 6, 7)])
    data, said = prepare()
    assert data["train"] == "ImageSets/Segmentation/train.txt" and "splits: 3 train, 2 val" in said
    assert "4 images with masks are in none of them, and left out (trainaug.txt beside them names 3 of these" in said


def test_a_list_for_train_and_val_beside_one_for_test(put, prepare, write):
    """Oxford-IIIT Pet: names with numbers in columns, trimaps of 1, 2 and 3."""
    for n in range(8):
        put(f"images/Cat_{n}.jpg")
        put(f"annotations/trimaps/Cat_{n}.png", patches(n, [1, 3], 2))
    write("annotations/list.txt", ["#Image CLASS-ID SPECIES", *(f"Cat_{n} 5 1" for n in range(8))])
    write("annotations/trainval.txt", [f"Cat_{n} 5 1" for n in range(5)])
    write("annotations/test.txt", [f"Cat_{n} 5 1" for n in range(5, 8)])
    data, said = prepare()
    assert "splits: 4 train, 1 val, 3 test" in said and data["test"] == "annotations/test.txt"
    assert data["classes"] == ["class1", "class2", "class3"] and data["label_map"] == {1: 0, 2: 1, 3: 2}
    assert "values are classes, of which none is 0: 1 -> class1" in said and "nothing can be said" not in said


def test_a_list_may_name_folders_of_frames(put, prepare, write, tmp_path):
    """DAVIS: a sequence is in one split."""
    for sequence in ("bear", "boat", "goat"):
        for n in range(3):
            put(f"JPEGImages/480p/{sequence}/{n:05d}.jpg")
            put(f"Annotations/480p/{sequence}/{n:05d}.png", patches(n, [1, 2] if sequence == "goat" else [1]))
    write("ImageSets/2016/train.txt", ["bear"])
    write("ImageSets/2017/train.txt", ["bear", "boat"])
    write("ImageSets/2017/val.txt", ["goat"])
    _, said = prepare()
    assert "splits: 6 train, 3 val" in said and "ImageSets/2017, whose lines are folders" in said
    assert "if they are numbers of objects, say --as objects" in said
    assert (tmp_path / "layer.prepared" / "val.txt").read_text().splitlines()[0] == "480p/goat/00000"


def test_names_of_images_may_begin_with_their_split(put, prepare):
    """GlaS: train_1.bmp, testA_1.bmp, testB_1.bmp."""
    for split, number in (("train", 5), ("testA", 2), ("testB", 1)):
        for n in range(1, number + 1):
            put(f"{split}_{n}.bmp")
            put(f"{split}_{n}_anno.bmp", patches(n, range(1, n + 1)))
    assert "splits by words in the images' names" in (said := prepare()[1]) and "4 train, 1 val, 3 test" in said


@pytest.mark.parametrize("lists", [{"trainval": range(9), "val": range(6, 9), "test": range(9, 12)},
                                   {"trainval": range(12), "test": range(9, 12)}])  # fmt: skip
def test_a_list_for_both_is_not_trained_on_where_another_holds_a_part_of_it(put, prepare, write, lists):
    for n in range(12):
        put(f"images/{n:03d}.jpg")
        put(f"masks/{n:03d}.png", patches(n, [255]))
    for name, numbers in lists.items():
        write(f"ImageSets/{name}.txt", [f"{n:03d}" for n in numbers])
    data, said = prepare()
    assert "splits: 10 train, 2 val" in said and "train" not in data


def test_a_folder_of_lists_with_val_comes_before_a_longer_list_for_training(put, prepare, write):
    for n in range(12):
        put(f"images/{n:03d}.jpg")
        put(f"masks/{n:03d}.png", patches(n, [255]))
    write("a/train.txt", [f"{n:03d}" for n in range(4)])
    write("a/val.txt", [f"{n:03d}" for n in (4, 5)])
    write("b/train.txt", [f"{n:03d}" for n in range(12)])
    data, said = prepare()
    assert data["train"] == "a/train.txt" and "splits: 4 train, 2 val" in said


def test_names_without_any_that_begins_with_train_tell_no_splits(put, prepare):
    for n in range(12):
        put(f"images/{'val' if n < 6 else 'test'}_{n}.jpg")
        put(f"masks/{'val' if n < 6 else 'test'}_{n}.png", patches(n, [255]))
    assert "splits: 10 train, 2 val" in prepare()[1]
