import json

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.annotations import recognise

COCO = {
    "info": {},
    "images": [{"id": 1, "file_name": "a.jpg"}],
    "annotations": [{"image_id": 1, "segmentation": [[1, 2, 3]]}],
    "categories": [{"id": 1}],
}
CVAT = (
    "<?xml version='1.0'?><annotations><image name='a.jpg'><polygon label='x' points='1,2;3,4'/></image></annotations>"
)
VOC = "<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>"
SUPERVISELY = {"description": "", "tags": [], "size": {"height": 4, "width": 4}, "objects": [{"classTitle": "cat"}]}
VIA_HEAD = "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
VIA = {"a.jpg1": {"regions": [{"shape_attributes": {"name": "polygon"}}]}}


@pytest.mark.parametrize(
    ("name", "content", "kind", "cure"),
    [
        ("instances.json", json.dumps(COCO), "COCO", "segkd prepare"),
        ("a.json", json.dumps({"shapes": [{"points": [[1, 2]]}], "imagePath": "a.jpg"}), "LabelMe", "segkd prepare"),
        ("via.json", json.dumps(VIA), "VIA", "segkd prepare"),
        ("via.csv", f"{VIA_HEAD}\na.jpg,1,{{}},0,0,{{}},{{}}\n", "VIA", "segkd prepare"),
        ("via3.json", json.dumps({"project": {"vid_list": []}, "metadata": {"1": {"av": {}}}}), "VIA", "segkd prepare"),
        ("via3.csv", "# VIA\n# CSV_HEADER = metadata_id,spatial_coordinates\n", "VIA 3 table", "save the project"),
        ("train.csv", "\ufeffImageId,EncodedPixels\na,1 2\n", "Kaggle run-length", "segkd prepare"),
        ("ann/a.jpg.json", json.dumps(SUPERVISELY), "Supervisely", "Export as masks"),
        ("ann/bare.jpg.json", json.dumps({**SUPERVISELY, "objects": []}), "Supervisely", "Export as masks"),
        ("a.txt", "0 .1 .1 .5 .1 .5 .6\n1 0.1 0.1 0.5 1 0.5 1e-3\n", "YOLO polygon", "segkd prepare"),
        ("b.txt", "0 .1 .1 .5 .1\n", "YOLO box", "no outline"),
        (
            "mixed.txt",
            "0 .1 .1 .5 .1 .5 .6\n1 0.1 0.1 0.5 1\n0 -0.001 0 1.001 0 1 1\n",
            "YOLO polygon",
            "segkd prepare",
        ),
        ("annotations.xml", CVAT, "CVAT", "segkd prepare"),
        ("boxes.xml", CVAT.replace("polygon", "box"), "CVAT box", "no outline"),
        ("boxes.json", json.dumps(COCO).replace("segmentation", "bbox"), "COCO box", "no outline"),
        ("a.xml", VOC, "Pascal VOC box", "no outline"),
    ],
)
def test_annotations_are_named_with_what_to_do(tmp_path, name, content, kind, cure):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content, encoding="utf-8")
    for place in (tmp_path, tmp_path / name):
        told = recognise(place)
        assert f"{name} holds {kind} annotations" in told and "segkd reads masks" in told and cure in told


def test_the_keys_of_a_large_file_may_lie_at_its_end(tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(20_000)]
    middle = [{"image_id": i, "segmentation": []} for i in range(2)]
    more = [{"image_id": i, "bbox": [i]} for i in range(20_000)]
    content = {"images": images, "annotations": middle + more, "categories": []}
    (tmp_path / "big.json").write_text(json.dumps(content))
    assert "holds COCO annotations" in recognise(tmp_path)
    content["annotations"] = more
    (tmp_path / "big.json").write_text(json.dumps(content))
    assert "holds COCO box annotations" in recognise(tmp_path)


def test_a_large_project_of_via_3_is_known_by_its_ends(tmp_path):
    names = [str(i) for i in range(6000)]
    content = {
        "project": {"pid": "x", "vid_list": names},
        "file": {name: {"fid": name, "fname": f"{name}.jpg"} for name in names},
        "metadata": {name: {"vid": name, "xy": [7, 0, 0, 9, 0, 9, 9], "av": {"1": "0"}} for name in names},
        "view": {name: {"fid_list": [name]} for name in names},
    }
    (tmp_path / "project.json").write_text(json.dumps(content))
    assert "holds VIA annotations" in recognise(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.txt", "0001\n0002\n"),
        ("list.txt", "images/0.jpg masks/0.png\n"),
        ("notes.json", '{"a": 1}'),
        ("torn.json", '{"images'),
        ("empty.txt", ""),
        ("numbers.txt", "1 2 3 4 5 6 7\n"),
        ("pixels.txt", "0 -20 7 8 9 10 11\n"),
        ("table.csv", "image,width\na.jpg,3\n"),
        ("captions.json", json.dumps({"images": [], "annotations": [{"image_id": 1, "caption": "a"}]})),
        ("image_info.json", json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "categories": []})),
        ("bare.csv", ""),
        ("cell.csv", 150_000 * "x"),
    ],
)
def test_other_files_are_no_annotations(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert recognise(tmp_path, tmp_path / "nowhere") == ""


def test_one_mask_per_object_is_told_from_split_folders(tmp_path):
    def put(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)

    for n in range(2):
        put(tmp_path / f"dsb/n{n}/images/n{n}.png")
        for k in range(3):
            put(tmp_path / f"dsb/n{n}/masks/{k}.png")
            put(tmp_path / f"split{n}/images/{k}.png")
            put(tmp_path / f"split{n}/masks/{k}.png")
    assert "holds 3 masks, one per object" in recognise(tmp_path / "dsb")
    assert recognise(tmp_path / "split0") == recognise(tmp_path / "split1") == ""
