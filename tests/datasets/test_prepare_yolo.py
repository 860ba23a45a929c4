"""YOLO's texts and data.yaml as people have them, beside what tests of shapes look at."""

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.prepare.annotated import find_annotations
from segkd.datasets.prepare.draft import new_draft
from segkd.datasets.prepare.drawing import draw
from segkd.datasets.prepare.sources import Told, lay_out
from segkd.datasets.prepare.yolo import read_yolo
from segkd.types import InputError
from tests.datasets.test_prepare_coco import picture
from tests.datasets.test_prepare_shapes import TRIANGLE

SIZE = (24, 32)
SQUARE = "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"


@pytest.fixture
def put(tmp_path):
    """Puts pictures and texts into the data set."""

    def put(name, text=None):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(path, SIZE, seed=len(str(path))) if text is None else path.write_text(text, encoding="utf-8")

    return put


@pytest.fixture
def laid(tmp_path):
    """Draws the annotations of the data set: what is said, and how many pixels of each mask are of a class."""

    def laid(**told):
        out = tmp_path / f"{len([*tmp_path.glob('*.prepared')])}.yaml"
        said = []
        classes = lay_out(new_draft(tmp_path / "set", out), Told(**told), said.append)
        folder = out.with_suffix(".prepared") / "masks"
        masks = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.png")}
        return " ".join(said), classes, {name: int(np.asarray(Image.open(path)).sum()) for name, path in masks.items()}

    return laid


def test_a_corner_beyond_the_picture_moves_no_edge_within_it(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1.1 0.5 1.1 0.8\n")
    mask = draw(read_yolo([tmp_path / "a.txt"], tmp_path)[0][0], (100, 100), {"class0": 1})
    y, x = (np.mgrid[:100, :100] + 0.5) / 100
    np.testing.assert_array_equal(mask, (y > 0.5) & (y < 0.5 + (x - 0.5) / 2))


def test_texts_belong_to_pictures_of_their_own_folders(put, laid):
    for split, text in (("train", TRIANGLE), ("val", SQUARE)):
        put(f"{split}/images/1.png")
        put(f"{split}/labels/1.txt", text)
    assert laid()[2] == {"train/images/1": 96, "val/images/1": 192}


def test_a_text_of_train_is_not_of_a_picture_of_val(put, laid):
    for name in ("train/images/2.png", "val/images/1.png"):
        put(name)
    for name in ("1", "2"):
        put(f"train/labels/{name}.txt", TRIANGLE)
    with pytest.raises(InputError, match="found none or several of these names for 1 of 2: train/labels/1"):
        laid()


def test_names_are_compared_in_unicodes_composed_form(put, laid):
    put("images/caf\u00e9.png")
    put("labels/cafe\u0301.txt", TRIANGLE)
    assert laid()[2] == {"caf\u00e9": 96}


@pytest.mark.parametrize("shape", ["[5, 2]", "[17, 3]"])
def test_key_points_are_no_outlines(tmp_path, shape):
    (tmp_path / "a.txt").write_text("0 .5 .5 .4 .4 .3 .3 .4 .4 .5 .6\n")
    (tmp_path / "data.yaml").write_text(f"names: [cat]\nkpt_shape: {shape}\n")
    with pytest.raises(InputError, match=r"data\.yaml: expected polygons, found kpt_shape, .*YOLO pose"):
        read_yolo([tmp_path / "a.txt"], tmp_path)


def test_outlines_that_may_be_turned_boxes_are_told(put, laid):
    for name in "ab":
        put(f"images/{name}.png")
        put(f"labels/{name}.txt", SQUARE)
    words = "every outline is a box with four corners"
    assert words in laid()[0]
    put("labels/a.txt", "0 .5 .2 .8 .5 .5 .8 .2 .5\n")  # turned
    assert words in laid()[0]
    for outline in (TRIANGLE, "0 .2 .2 .8 .3 .7 .8 .2 .7\n"):
        put("labels/b.txt", outline)
        assert words not in laid()[0]


def test_of_files_that_name_the_classes_the_nearest_counts_and_two_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text(TRIANGLE)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "data.yaml").write_text("names: [old]\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    assert read_yolo([tmp_path / "a.txt"], tmp_path)[1] == ["cat", "dog"]
    (tmp_path / "coco.yaml").write_text("names: {0: cat, 1: dog}\n")
    assert read_yolo([tmp_path / "a.txt"], tmp_path)[1] == ["cat", "dog"]
    (tmp_path / "coco.yaml").write_text("names: [person, car]\n")
    with pytest.raises(InputError, match=r"data\.yaml: expected the names of the classes that coco\.yaml"):
        read_yolo([tmp_path / "a.txt"], tmp_path)


def test_a_mark_before_the_text_and_numbers_of_pandas_are_read(put, laid, tmp_path):
    put("images/a.png")
    put("labels/a.txt", f"\ufeff{TRIANGLE}")
    assert laid()[2] == {"a": 96}
    put("labels/a.txt", " ".join(f"{float(cell):.18e}" for cell in TRIANGLE.split()))
    assert laid()[2] == {"a": 96}
    put("labels/a.txt", TRIANGLE.replace("0", "0.5", 1))
    assert find_annotations(tmp_path / "set") == {}


@pytest.mark.parametrize("names", ["[cat]", "{1: cat, 2: dog}"])
def test_names_that_do_not_suffice_are_told(tmp_path, names):
    (tmp_path / "a.txt").write_text(TRIANGLE + TRIANGLE.replace("0", "1", 1))
    (tmp_path / "data.yaml").write_text(f"names: {names}")
    drawings, found = read_yolo([tmp_path / "a.txt"], tmp_path)
    assert found == ["class0", "class1"]
    assert drawings[0].notes == [f"{tmp_path / 'data.yaml'} does not name all numbers 0 to 1 of the classes"]


def test_numbers_of_one_name_are_one_class(put, laid):
    put("images/a.png")
    put("labels/a.txt", TRIANGLE + SQUARE.replace("0", "1", 1))
    put("data.yaml", "names: [cat, cat]")
    _, classes, masks = laid()
    assert classes == ["background", "cat"] and masks == {"a": 192}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 8 6 24 6 24 18", "expected shares of the image's sides, 0 to 1, found 6 to 24"),
        (TRIANGLE.strip() + " 0.93", "expected x, y of three corners or more, found 7 numbers"),
        (TRIANGLE.strip().replace(" ", ","), "expected the number of a class"),
    ],
)
def test_texts_that_are_nearly_yolos_are_refused_by_what_is_wrong(put, laid, text, words):
    """Corners in pixels; what a network was sure of behind them; commas."""
    put("images/a.png")
    put("labels/a.txt", text)
    with pytest.raises(InputError, match=rf"a\.txt: line 1: .*{words}"):
        laid()


@pytest.mark.parametrize(
    ("train", "val", "names"),
    [
        ("images/one", "images/two", ("a b", "c d")),
        ("[images/one, images/two/c.png]", "images/two", "none of the images is in its train;"),
        ("../images/one/", "/far/away/images/two", "none of the images is in its val;"),
        ("../images/one/", "../images/two/", ("a b", "c d")),  # as Roboflow writes it
        ("auto_train.txt", "auto_val.txt", ("a c", "b d")),
        ("[images/one]", "images/one", "some images are in two splits;"),
    ],
)
def test_splits_are_those_of_data_yaml(put, laid, tmp_path, train, val, names):
    for name in ("one/a", "one/b", "two/c", "two/d"):
        put(f"images/{name}.png")
        put(f"labels/{name}.txt", TRIANGLE)
    put("images/two/plain.png")
    put("auto_train.txt", "./images/one/a.png\n./images/two/plain.png\n./images/two/c.png\n")
    put("auto_val.txt", "./images/one/b.png\n./images/two/d.png\n")
    put("data.yaml", f"path: /home/me/set\ntrain: {train}\nval: {val}\ntest:\nnames: [cat]\n")
    said, _, _ = laid()
    lists = [tmp_path / "0.prepared" / f"{split}.txt" for split in ("train", "val")]
    followed = not isinstance(names, str)
    assert lists[1].exists() == ("splits are those of" in said) == followed
    assert followed or f"data.yaml are not followed, as {names}" in said
    if followed:
        assert [" ".join(line[-1] for line in path.read_text().split()) for path in lists] == [*names]


def test_a_picture_that_is_turned_is_told_where_nothing_says_how_it_was_annotated(put, laid, tmp_path):
    put("images/a.png")
    put("labels/a.txt", TRIANGLE)
    words = "1 pictures are turned by their EXIF orientation (a.png)"
    assert words not in laid()[0]
    picture(tmp_path / "set" / "images" / "a.png", SIZE, tag=6)
    assert words in laid()[0]


def test_of_pictures_of_one_name_the_one_in_images_beside_labels_counts(put, laid):
    for place in ("", "more/"):
        for folder in ("images", "overlays"):
            put(f"{place}train/{folder}/1.png")
        put(f"{place}train/labels/1.txt", TRIANGLE if place else SQUARE)
    assert laid()[2] == {"train/images/1": 192, "more/train/images/1": 96}
    put("train/labels/2.txt", TRIANGLE)
    for place in ("val", "test"):
        put(f"{place}/images/2.png")
    with pytest.raises(InputError, match="found none or several of these names for 1 of 3: train/labels/2"):
        laid()


def test_pictures_without_a_text_are_told_with_what_makes_them_background(put, laid):
    for name in "abc":
        put(f"images/{name}.png")
    put("labels/a.txt", TRIANGLE)
    put("labels/b.txt", "")
    said, _, masks = laid()
    assert masks == {"a": 96, "b": 0}
    assert "1 images beside them have no text, and are left out (c.png): if they hold no object, put an empty" in said
