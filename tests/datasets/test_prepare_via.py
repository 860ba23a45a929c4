"""Files of the VGG Image Annotator as people have them, and images that several files name."""

import json

import numpy as np
import pytest

from segkd.datasets.prepare.coco import read_coco
from segkd.datasets.prepare.drawing import draw
from segkd.datasets.prepare.via import read_via
from segkd.types import InputError
from tests.datasets.test_prepare_annotated import via_image
from tests.datasets.test_prepare_coco import annotation, coco
from tests.datasets.test_prepare_yolo import laid, put  # noqa: F401

# ruff: noqa: F811

X, Y = [2, 10, 10, 2], [3, 3, 12, 12]
LARGE = [0, 20, 20, 0], [0, 0, 20, 20]
OTHER = [[1, 1, 9, 1, 9, 9]]


def region(x=X, y=Y, **attributes):
    shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
    return {"shape_attributes": shape, "region_attributes": attributes}


def image(name, *regions, size=7):
    return {f"{name}{size}": {"filename": name, "size": size, "file_attributes": {}, "regions": list(regions)}}


@pytest.fixture
def read(tmp_path):
    """What is read of files of these contents."""

    def read(*contents):
        paths = [tmp_path / f"{number}.json" for number in range(len(contents))]
        for path, content in zip(paths, contents):
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_via(paths, tmp_path)

    return read


def test_folders_of_images_are_kept(put, laid):
    put("cats/1.png")
    put("via.json", json.dumps(image("cats/1.png", region()) | image("dogs/1.png", region(*LARGE))))
    with pytest.raises(InputError, match=r"expected one annotation of each image, found two of \S*cats/1\.png"):
        laid()
    put("dogs/1.png")
    assert laid()[2] == {"cats/1": 72, "dogs/1": 400}


def test_one_attribute_names_the_classes_of_all_regions(read):
    """Where one region has no type, its colour is no class."""
    drawings, names = read(image("a.png", region(colour="red", type="cat"), region(colour="blue", type="")))
    assert names == ["cat", "foreground"]
    assert drawings[0].notes == ["classes are the attribute type of the regions; not read: colour",
                                 "1 regions without the attribute type are of the class foreground"]  # fmt: skip
    drawings, names = read(image("a.png", region(kind={"cat": True, "dog": True}), region(kind={"dog": True})))
    assert names == ["cat", "dog"]
    assert drawings[0].notes == ["1 regions are of several classes (kind): the first counts"]


def test_an_image_in_two_files_is_read_once_or_refused(read):
    """A project beside its export, as it is or as it was."""
    now, then = image("a.png", region(type="cat")), image("a.png", region(*LARGE, type="cat"))
    assert [len(one.shapes) for one in read({"_via_img_metadata": now}, now)[0]] == [1]
    more = image("a.png", region(type="cat"), region(*LARGE, type="cat"))
    assert [len(one.shapes) for one in read(now, more)[0]] == [2]
    with pytest.raises(InputError, match=r"1\.json: a\.png: expected .* found others in .*0\.json"):
        read(now, then)
    assert [len(one.shapes) for one in read(now, image("a.png", region(*LARGE, type="dog")))[0]] == [2]
    with pytest.raises(InputError, match=r"0\.json: a\.png: expected one entry"):
        read(now | image("a.png", region(*LARGE, type="cat"), size=8))


def test_an_image_in_two_coco_files_is_read_once_or_refused(tmp_path):
    """COCO's people are in instances, too; an older version is none of these."""
    cats = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    whole = coco(tmp_path / "a.json", [annotation(), annotation(category=2, segmentation=OTHER)], categories=cats)
    part = coco(tmp_path / "b.json")
    for paths in ([whole, part], [part, whole]):
        drawings, names = read_coco(paths, tmp_path)
        assert [len(one.shapes) for one in drawings] == [2] and names == ["cat", "dog"]
    coco(part, [annotation(category=2)], categories=cats)
    with pytest.raises(InputError, match=r"b\.json: a\.png: expected .* found others in .*a\.json"):
        read_coco([whole, part], tmp_path)
    coco(part, [annotation()], categories=[{"id": 1, "name": "cow"}])
    assert len(read_coco([whole, part], tmp_path)[0][0].shapes) == 3
    coco(part, images=[{"id": 1, "file_name": "a.png", "width": 64, "height": 48}])
    with pytest.raises(InputError, match=r"b\.json: a\.png: expected 128x96 pixels, as .*a\.json says, found 64x48"):
        read_coco([whole, part], tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": {"filename": "a.png", "regions": [{"region_attributes": {}}]}}, "a.png: 'shape_attributes' is missing"),
        ({"a": {"size": 3, "regions": []}}, "'filename' is missing"),
        (image("a.png", region(x=[1, None, 3, 4])), "a.png: a polygon: expected numbers, found a corner without one"),
        (image("a.png", region(x=None)), "a.png: expected what its program writes, found: .*NoneType"),
    ],
)
def test_what_is_missing_is_named(read, content, words):
    with pytest.raises(InputError, match=words):
        read(content)


def test_regions_that_are_none_are_none(read):
    assert not read({"a": {"filename": "a.png", "regions": None}})[0][0].shapes
    bare = region()
    del bare["region_attributes"]
    assert read(image("a.png", bare))[1] == ["foreground"]


def test_a_torn_row_is_named(tmp_path):
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    (tmp_path / "via.csv").write_text(f"{head}\na.png,1,{{}},1\n")
    with pytest.raises(InputError, match=r"via\.csv: line 2: expected 7 columns, found 4"):
        read_via([tmp_path / "via.csv"], tmp_path)


def version3(*shapes, view=("1",), files=("a.png",)):
    """A project of VIA 3 with shapes (numbers, number of the class) on its first image."""
    return {
        "project": {"pid": "x", "vid_list": ["1"]},
        "config": {},
        "attribute": {"1": {"aname": "kind", "type": 4, "options": {"0": "cat", "1": "dog"}},
                      "2": {"aname": "scene", "type": 1}},
        "file": {str(n): {"fid": str(n), "fname": name, "type": 2} for n, name in enumerate(files, 1)},
        "view": {"1": {"fid_list": list(view)}},
        "metadata": {f"1_{n}": {"vid": "1", "flg": 0, "z": [], "xy": xy, "av": {"1": kind} if xy else {"2": "park"}}
                     for n, (xy, kind) in enumerate(shapes)},
    }  # fmt: skip


def test_projects_of_version_3_are_drawn(put, laid, tmp_path):
    put("a.png")
    put("b.png")
    square = [number for corner in zip(X, Y) for number in corner]
    content = version3(
        ([7, *square], "0"), ([2, 12, 12, 4, 6], "1"), ([1, 3, 3], "0"), ([], ""), ([8, 1, 1, 2, 2], "0")
    )
    content["file"]["2"] = {"fid": "2", "fname": "b.png", "type": 2}
    content["view"]["2"] = {"fid_list": ["2"]}
    put("via.json", json.dumps(content))
    said, classes, masks = laid()
    assert classes == ["background", "cat", "dog"] and masks == {"a": 72 + 2 * 24, "b": 0}
    assert "not drawn: 1 times a point, which has no area" in said and "a shape of type 8, which is not read" in said
    for xy, area in (([3, 10, 10, 5], np.pi * 25), ([4, 16, 12, 8, 5], np.pi * 40)):
        (tmp_path / "a.json").write_text(json.dumps(version3((xy, "0"))))
        drawing = read_via([tmp_path / "a.json"], tmp_path)[0][0]
        assert draw(drawing, (24, 32), {"cat": 1}).sum() == pytest.approx(area, rel=0.05)


def test_boxes_that_are_ticked_in_version_3_and_videos(read):
    content = version3(([2, 1, 1, 4, 4], "1,0"))
    content["attribute"]["1"]["type"] = 2
    drawings, names = read(content)
    assert names == ["dog"] and drawings[0].notes == ["1 regions are of several classes (kind): the first counts"]
    content["file"]["1"]["type"] = 4
    assert read(content) == ([], [])


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_pictures_of_other_bytes_than_were_annotated_are_told(put, laid, tmp_path, kind):
    """VIA states no other size: a picture that was made smaller since then gets outlines in the wrong place."""
    put("a.png")
    put("b.png")
    words = "pictures have another size in bytes than their annotations say"
    for size, told in ((-1, False), ("", False), ((tmp_path / "set" / "a.png").stat().st_size, False), (7, True)):
        if kind == "json":
            put("via.json", json.dumps(image("a.png", region(), size=size) | image("b.png", size=-1)))
        else:
            cells = [json.dumps(one).replace('"', '""') for one in region().values()]
            head = "filename,file_size,region_shape_attributes,region_attributes"
            put("via.csv", f'{head}\na.png,{size},"{cells[0]}","{cells[1]}"\n')
        assert (f"1 {words} (a.png)" in laid()[0]) == told


def test_objects_beyond_the_picture_are_told(read):
    small = region([1.1, 1.2, 1.2], [1.1, 1.1, 1.2])
    drawing = read(image("a.png", region(), region([40, 50, 50], [3, 3, 9]), small))[0][0]
    draw(drawing, (24, 32), {"foreground": 1})
    assert drawing.left_out == ["an object that lies beyond its picture, as those of a larger picture do",
                                "an object that holds the middle of no pixel"]  # fmt: skip


def test_round_regions_of_via_and_faults_with_their_image(tmp_path):
    circle = {"shape_attributes": {"name": "circle", "cx": 20, "cy": 30, "r": 10}, "region_attributes": {}}
    turned = {"name": "ellipse", "cx": 20, "cy": 30, "rx": 16, "ry": 6, "theta": np.pi / 2}
    regions = [circle, {"shape_attributes": turned, "region_attributes": {"type": "b"}}]
    (tmp_path / "via.json").write_text(json.dumps({"a": via_image("C:\\x\\a.jpg", regions)}))
    drawings, names = read_via([tmp_path / "via.json"], tmp_path)
    assert drawings[0].file == "a.jpg" and names == ["b", "foreground"]
    y, x = np.mgrid[:60, :40] + 0.5
    for name, inside in (
        ("foreground", np.hypot(x - 20, y - 30) < 10), ("b", np.hypot((x - 20) / 6, (y - 30) / 16) < 1)
    ):  # fmt: skip
        mask = draw(drawings[0], (60, 40), {name: 1}) > 0
        assert (mask & inside).sum() >= 0.98 * inside.sum() and mask.sum() <= 1.25 * inside.sum()
    regions[0]["shape_attributes"].pop("r")
    (tmp_path / "via.json").write_text(json.dumps({"a": via_image("a.jpg", regions)}))
    with pytest.raises(InputError, match=r"via\.json: a\.jpg: 'r'"):
        read_via([tmp_path / "via.json"], tmp_path)
