"""Shapes of LabelMe and CVAT, and texts of YOLO, as their programs write them."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.prepare.annotated import find_annotations
from segkd.datasets.prepare.cvat import read_cvat
from segkd.datasets.prepare.drawing import Drawing, draw, polygon
from segkd.datasets.prepare.fitting import mask_of
from segkd.datasets.prepare.labelme import read_labelme
from segkd.datasets.prepare.yolo import read_yolo
from segkd.types import InputError
from tests.datasets.test_prepare_coco import box_of, near, picture

SIZE = (60, 80)
ROUND = [0, 1, 0, 1], [1, 1, 1, 0]
"""Pixels of a small mask, and others."""


def the_mask(drawing, size=SIZE):
    return draw(drawing, size, {"cat": 1})


def cvat(root, shapes, size="width='80' height='60'"):
    (root / "a.xml").write_text(f"<annotations><image name='a.png' {size}>{shapes}</image></annotations>")
    drawings, _ = read_cvat([root / "a.xml"], root)
    return drawings[0]


def test_boxes_and_ellipses_of_cvat_are_drawn_and_lines_are_counted(tmp_path):
    box = "<box label='cat' xtl='10' ytl='20' xbr='30' ybr='50'/>"
    near(the_mask(cvat(tmp_path, box)), [10, 20, 30, 50])
    near(the_mask(cvat(tmp_path, "<ellipse label='cat' cx='40' cy='30' rx='20' ry='10'/>")), [20, 20, 60, 40])
    drawing = cvat(tmp_path, f"{box}<polyline label='cat' points='1,2;3,4'/><tag label='cat'/>")
    assert len(drawing.shapes) == 1 and drawing.left_out == ["a polyline, which has no area"]


def test_turned_boxes_and_ellipses_of_cvat_turn_clockwise(tmp_path):
    box = cvat(tmp_path, "<box label='cat' xtl='20' ytl='25' xbr='60' ybr='35' rotation='90'/>")
    near(the_mask(box), [35, 10, 45, 50])
    for shape in ("<box label='cat' xtl='20' ytl='25' xbr='60' ybr='35' rotation='30'/>",
                  "<ellipse label='cat' cx='40' cy='30' rx='20' ry='5' rotation='30'/>"):  # fmt: skip
        y, x = np.nonzero(the_mask(cvat(tmp_path, shape)))
        slope = np.polyfit(x, y, 1)[0]
        assert slope == pytest.approx(np.tan(np.radians(30)), abs=0.1)  # y grows downwards: to the right, and down


def test_objects_of_cvat_lie_before_those_of_a_lower_z_order_however_large(tmp_path):
    """Without one, or within one, the smaller lies before the larger."""

    def box(label, sides, order):
        ends = " ".join(f"{name}='{value}'" for name, value in zip(("xtl", "ytl", "xbr", "ybr"), sides))
        return f"<box label='{label}' {ends}{order}/>"

    for orders, seen in (
        (("", ""), 1),
        ((" z_order='0'", " z_order='1'"), 2),
        ((" z_order='1'", " z_order='0'"), 1),
        ((" z_order='3'", " z_order='3'"), 1),
        ((" z_order='-1'", ""), 2),
        ((" z_order='1.0'", " z_order='2.0'"), 2),
        ((" z_order='1.0'", " z_order=''"), 1),
    ):
        small, large = box("cat", (10, 10, 20, 20), orders[0]), box("dog", (5, 5, 40, 40), orders[1])
        for shapes in (small + large, large + small):
            mask = draw(cvat(tmp_path, shapes), (60, 80), {"cat": 1, "dog": 2})
            assert mask[15, 15] == seen and mask[30, 30] == 2


@pytest.mark.parametrize("order", ["nan", "x"])
def test_a_z_order_of_cvat_that_is_no_number_is_named(tmp_path, order):
    with pytest.raises(InputError, match=rf"a\.xml: a\.png: z_order: expected a number, found '{order}'"):
        cvat(tmp_path, f"<box label='cat' xtl='1' ytl='1' xbr='5' ybr='5' z_order='{order}'/>")


def test_a_damaged_box_of_cvat_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.xml: a\.png: 'xtl'"):
        cvat(tmp_path, "<box label='cat'/>")


def labelme(root, *shapes, **more):
    content = {"imagePath": "a.png", "shapes": [{"label": "cat", **shape} for shape in shapes], **more}
    (root / "a.json").write_text(json.dumps(content))
    return read_labelme([root / "a.json"], root)[0][0]


def encoded(pixels):
    """A mask as LabelMe writes it: a PNG of two levels in base64."""
    file = io.BytesIO()
    Image.fromarray(np.array(pixels, bool)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("pixels", ROUND)
def test_masks_of_labelme_lie_in_their_box(tmp_path, pixels):
    pixels = np.array(pixels, np.uint8).reshape(1, 4) | np.zeros((3, 4), np.uint8)
    pixels[2] = 0
    shape = {"shape_type": "mask", "points": [[10, 20], [13, 22]], "mask": encoded(pixels)}
    mask = the_mask(labelme(tmp_path, shape))
    expected = np.zeros(SIZE, np.uint8)
    expected[20:23, 10:14] = pixels
    np.testing.assert_array_equal(mask, expected)


def test_a_mask_of_labelme_that_is_larger_than_its_box_is_refused(tmp_path):
    shape = {"shape_type": "mask", "points": [[10, 20], [12, 22]], "mask": encoded(np.ones((3, 4)))}
    with pytest.raises(InputError, match=r"a\.json: cat: a mask: expected 3x3 pixels, as its box has, found 4x3"):
        labelme(tmp_path, shape)
    for text in ("no base64", base64.b64encode(b"no PNG").decode(), encoded(np.ones((3, 4)))[:60]):
        with pytest.raises(InputError, match=r"a\.json: cat: a mask: expected a PNG in base64"):
            labelme(tmp_path, shape | {"mask": text})


def test_rectangles_of_four_corners_are_drawn_and_lines_are_counted(tmp_path):
    corners = [[10, 20], [30, 20], [30, 50], [10, 50]]
    line = {"shape_type": "line", "points": [[1, 1], [2, 2]]}
    drawing = labelme(tmp_path, {"shape_type": "rectangle", "points": corners}, line)
    near(the_mask(drawing), [10, 20, 30, 50])
    assert drawing.left_out == ["a line, which has no area"]
    drawing = labelme(tmp_path, {"shape_type": "polygon", "points": corners[:2]})
    assert not drawing.shapes and drawing.left_out == ["a polygon of fewer than three corners"]


@pytest.mark.parametrize("kind", ["CVAT", "LabelMe"])
def test_sizes_that_cvat_and_labelme_state_are_kept_to(tmp_path, kind):
    picture(tmp_path / "a.png", (30, 40))
    if kind == "CVAT":
        drawing = cvat(tmp_path, "<box label='cat' xtl='10' ytl='20' xbr='30' ybr='50'/>")
    else:
        shape = {"shape_type": "rectangle", "points": [[10, 20], [30, 50]]}
        drawing = labelme(tmp_path, shape, imageHeight=60, imageWidth=80)
    mask, scaled = mask_of(tmp_path / "a.png", drawing, {"cat": 1})
    assert scaled
    near(mask, [5, 10, 15, 25])


def yolo(root, **texts):
    """A data set of YOLO polygons: a picture and a text for each, in folders of their own."""
    for name, text in texts.items():
        picture(root / "images" / f"{name}.png", SIZE, seed=len(name))
        (root / "labels").mkdir(parents=True, exist_ok=True)
        (root / "labels" / f"{name}.txt").write_text(text)


TRIANGLE = "0 0.25 0.25 0.75 0.25 0.75 0.75\n"


def test_empty_texts_boxes_and_numbers_at_the_edge_are_read(tmp_path, run_cli):
    root = tmp_path / "cells"
    picture(root / "images" / "without.png", SIZE, seed=9)
    yolo(root, a=TRIANGLE, bb=TRIANGLE, empty="", boxes="0 0.5 0.5 0.2 0.2\n",
         both=TRIANGLE + "0 0.5 0.5 0.2 0.2\n", over="0 -0.001 0.5 1.001 0.5 1.001 1.001\n")  # fmt: skip
    (root / "classes.txt").write_text("cell\n")
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "cells.yaml")
    said = " ".join(out.split())
    assert status == 0 and "4 objects of cell on 6 images" in said, out + err
    assert "not drawn: 2 times a box, which has no outline" in said
    masks = {path.stem: np.asarray(Image.open(path)) for path in (tmp_path / "cells.prepared" / "masks").glob("*.png")}
    assert masks.keys() == {"a", "bb", "empty", "boxes", "both", "over"}
    assert not masks["empty"].any() and not masks["boxes"].any() and masks["both"].any()
    near(masks["over"], [0, 30, 80, 60])


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("data.yaml", "names: {1: cat, 0: dog}", ["dog", "cat"]),
        ("data.yaml", "names:\n  '0': dog\n  '1': cat\n  '2': cow", ["dog", "cat", "cow"]),
        ("data.yaml", "names: {1: cat, 2: dog}", ["class0", "class1"]),
        ("data.yaml", "names: {dog: 0, cat: 1}", ["class0", "class1"]),
        ("data.yaml", "names: 2", ["class0", "class1"]),
        ("data.yaml", "names: {0: dog, 1: cat, 5: cow}", ["dog", "cat"]),
        ("data.yaml", '{"nc": 2, "names": ["dog", "cat"]}', ["dog", "cat"]),
        ("data.yaml", "nc: 2\rnames: [dog, cat]\r", ["dog", "cat"]),
        ("obj.names", "dog\ncat\n", ["dog", "cat"]),
        ("pets.NAMES", "dog\ncat\n", ["dog", "cat"]),
        ("classes.txt", "dog\n", ["class0", "class1"]),
    ],
)
def test_numbers_get_the_names_of_a_file_and_no_others(tmp_path, file, text, names):
    (tmp_path / "a.txt").write_text(TRIANGLE + TRIANGLE.replace("0", "1", 1))
    (tmp_path / file).write_text(text)
    assert read_yolo([tmp_path / "a.txt"], tmp_path)[1] == names


def test_yaml_of_other_tools_is_passed_over_and_a_damaged_list_of_names_is_not(tmp_path):
    (tmp_path / "a.txt").write_text(TRIANGLE)
    for name, text in (("a.yaml", b"a: !Ref b"), ("b.yml", b"a: 1\n---\na: 2"), ("c.yaml", b"a: \xff")):
        (tmp_path / name).write_bytes(text)
    (tmp_path / "data.yaml").write_text("train: images\nnames: [dog]\n")
    assert read_yolo([tmp_path / "a.txt"], tmp_path)[1] == ["dog"]
    (tmp_path / "data.yaml").write_text("train: images\nnames: [dog\n")
    with pytest.raises(InputError, match=r"data\.yaml: expected a readable YAML file"):
        read_yolo([tmp_path / "a.txt"], tmp_path)


def test_texts_without_a_picture_are_no_annotations(tmp_path):
    yolo(tmp_path, a=TRIANGLE)
    (tmp_path / "labels" / "notes.txt").write_text("of last year")
    assert [path.name for path in find_annotations(tmp_path)["YOLO polygon"]] == ["a.txt"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 20 30 40 30 40 50", "line 2: expected shares of the image's sides, 0 to 1, found 20 to 50"),
        ("cat 0 0 1 0 1 1", "line 2: expected the number of a class"),
        ("999999999999 0 0 1 0 1 1", "line 2: expected the number of a class, up to 65535"),
        ("0 0 0 1 0 1 1 1", "line 2: a polygon: expected x, y of three corners or more, found 7 numbers"),
    ],
)
def test_a_wrong_line_of_yolo_is_named(tmp_path, text, words):
    (tmp_path / "a.txt").write_text(TRIANGLE + text)
    with pytest.raises(InputError, match=r"a\.txt: " + words):
        read_yolo([tmp_path / "a.txt"], tmp_path)


def test_a_shape_of_nothing_but_short_parts_is_none():
    drawing = Drawing("a.png")
    drawing.take("cat", [polygon([1, 2, 3, 4]), polygon([])])
    assert not drawing.shapes and len(drawing.left_out) == 2
    drawing.take("cat", [polygon([1, 2, 3, 4]), polygon([10, 10, 20, 10, 20, 20])])
    assert len(drawing.shapes) == 1 and box_of(the_mask(drawing))[0] in (9, 10)


def test_texts_elsewhere_cost_no_image_its_objects(tmp_path):
    """Boxes of a detector, or captions, in folders of their own beside the polygons."""
    for place in ("images", "labels/train", "labels/val", "labels_box", "captions"):
        (tmp_path / place).mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (16, 12)).save(tmp_path / "images" / f"{i}.png")
        (tmp_path / "labels" / ("train" if i < 3 else "val") / f"{i}.txt").write_text(TRIANGLE if i < 3 else "")
        (tmp_path / "labels_box" / f"{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        (tmp_path / "captions" / f"{i}.txt").write_text("a cat sits\n")
    found = find_annotations(tmp_path)["YOLO polygon"]
    assert [path.parent.name for path in found] == ["train"] * 3 + ["val"]
