"""LabelMe's and VIA's files as people have them, beside what tests of shapes look at."""

import json
import shutil

import numpy as np
import pytest

from segkd.datasets.prepare.annotated import classes_of, not_drawn, numbers_of
from segkd.datasets.prepare.drawing import draw
from segkd.datasets.prepare.labelme import read_labelme
from segkd.types import InputError
from tests.datasets.test_prepare_public import prepare  # noqa: F401
from tests.datasets.test_prepare_yolo import laid, put  # noqa: F401

# ruff: noqa: F811

SQUARE = [[2, 3], [10, 3], [10, 12], [2, 12]]
LARGE = [[0, 0], [20, 0], [20, 20], [0, 20]]


def shape(label="cat", points=SQUARE, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind}


def labelme(image, *shapes):
    return json.dumps({"imagePath": image, "shapes": list(shapes) or [shape()], "imageHeight": 24, "imageWidth": 32})


@pytest.fixture
def read(tmp_path):
    """The drawing of one file."""

    def read(*shapes):
        (tmp_path / "a.json").write_text(labelme("a.png", *shapes))
        return read_labelme([tmp_path / "a.json"], tmp_path)[0][0]

    return read


def test_the_way_to_an_image_is_followed(put, laid):
    for folder, outline in (("cats", SQUARE), ("dogs", LARGE)):
        put(f"{folder}/1.png")
        put(f"json/{folder}_1.json", labelme(f"..\\{folder}\\1.png", shape(points=outline)))
    assert laid()[2] == {"cats/1": 72, "dogs/1": 400}


def test_an_image_of_another_folder_does_not_stand_in(put, laid):
    for name in ("dogs/1.png", "cats/2.png"):
        put(name)
    for name in "12":
        put(f"json/{name}.json", labelme(f"../cats/{name}.png"))
    with pytest.raises(InputError, match=r"found none or several of these names for 1 of 2: cats/1\.png"):
        laid()


@pytest.mark.parametrize("way", ["C:\\mine\\cats\\1.png", "/mine/cats/1.png", "../old/1.png", "1.png"])
def test_an_image_beside_its_file_is_taken_where_the_way_leads_nowhere(put, laid, way):
    for folder in ("cats", "dogs"):
        put(f"{folder}/1.png")
        put(f"{folder}/1.json", labelme(way))
    assert laid()[2] == {"cats/1": 72, "dogs/1": 72}


def test_a_file_that_names_the_image_of_another_is_refused(put, laid):
    """Images and files that were given new numbers: all outlines would lie on the next image."""
    for name in "123":
        put(f"{name}.png")
    for name, image in (("1", "2.png"), ("2", "3.png")):
        put(f"{name}.json", labelme(image))
    with pytest.raises(InputError, match=r"1\.json: expected imagePath 1\.png, .* found 2\.png"):
        laid()


def test_the_same_file_twice_is_one_and_another_is_refused(put, laid):
    put("a.png")
    put("a.json", labelme("a.png"))
    put("old/a.json", labelme("../a.png"))
    assert laid()[2] == {"a": 72}
    put("old/a.json", labelme("../a.png", shape(points=LARGE)))
    with pytest.raises(InputError, match="expected one annotation of each image, found two"):
        laid()


def test_a_shape_without_a_type_is_a_polygon_and_one_of_another_is_not_called_without_area(read):
    assert len(read(shape(kind=None)).shapes) == 1
    drawing = read(shape(kind="cuboid"), shape(kind="oriented_rectangle"), shape(kind="linestrip"))
    assert len(drawing.shapes) == 1
    assert drawing.left_out == ["a shape of type cuboid, which is not read", "a linestrip, which has no area"]


def test_blanks_around_a_name_are_none_of_it_and_capitals_are_told(read):
    drawing = read(shape(), shape("cat "), shape(" cat"), shape("Cat"))
    assert {one.name for one in drawing.shapes} == {"cat", "Cat"}
    assert "classes that differ in capital letters alone: Cat, cat" in " ".join(not_drawn([drawing], ["background"]))


@pytest.mark.parametrize("name", ["background", "Background", "_background_"])
def test_background_that_is_drawn_is_background(read, name):
    """So people cut holes."""
    drawing = read(shape(points=LARGE), shape(name))
    classes = classes_of([drawing], [name, "cat"], None)
    assert classes == ["background", "cat"]
    mask = draw(drawing, (24, 32), numbers_of([drawing], classes))
    expected = np.zeros((24, 32), np.uint8)
    expected[:20, :20] = 1
    expected[3:12, 2:10] = 0
    np.testing.assert_array_equal(mask, expected)
    assert f"background, as it is drawn so: objects of {name}" in not_drawn([drawing], classes)


def test_annotations_without_any_object_are_refused_with_what_they_hold(put, laid):
    put("a.png")
    put("a.json", labelme("a.png", shape(kind="line")))
    with pytest.raises(InputError, match=r"a\.json: expected LabelMe .* not drawn: 1 times a line, which has no area"):
        laid()


def test_annotations_of_other_kinds_are_told(put, laid):
    put("images/a.png")
    put("json/a.json", labelme("../images/a.png"))
    put("labels/a.txt", "0 0.25 0.25 0.75 0.25 0.75 0.75\n")
    said, _, masks = laid()
    assert (
        masks == {"a": 72} and "labels/a.txt holds YOLO polygon annotations, which are not used: to draw those" in said
    )


@pytest.mark.parametrize("name", ["__ignore__", "ignore", "Void", "unlabelled"])
@pytest.mark.parametrize("apart", [False, True])
def test_what_is_called_so_belongs_to_no_class(put, prepare, tmp_path, name, apart):
    """Also where no mask holds it beside an object, so that the values alone would not tell."""
    for i in range(4):
        put(f"{i}.png")
        void, cat = shape(name, LARGE), shape()
        shapes = [[void], [cat]][i % 2] if apart else [void, cat]
        put(f"{i}.json", labelme(f"{i}.png", *shapes))
    data, said = prepare()
    assert data["classes"] == ["background", "cat"] and data["ignore"] == [255] and "label_map" not in data
    assert f"left out of training and scores, as they are called so: objects of {name}" in said
    (tmp_path / "layer.yaml").unlink()
    shutil.rmtree(tmp_path / "layer.prepared")
    data, said = prepare("--classes", "background", "cat", name)  # the user knows better
    assert data["classes"] == ["background", "cat", name] and "ignore" not in data and "left out of" not in said


@pytest.mark.parametrize("points", [SQUARE, [[-1, -1], [99, -1], [99, 99], [-1, 99]]])
def test_objects_of_no_class_alone_are_refused(put, tmp_path, run_cli, points):
    for name in "ab":
        put(f"{name}.png")
        put(f"{name}.json", labelme(f"{name}.png", shape("__ignore__", points)))
    status, _, err = run_cli("prepare", tmp_path / "set", "--out", tmp_path / "layer.yaml")
    assert status == 2 and "no mask holds a foreground beside a background" in " ".join(err.split())
