"""Names and numbers of classes, and annotations, of public data sets rebuilt small."""

# ruff: noqa: F811

import json

import numpy as np
import pytest

from segkd.datasets.prepare.named import find_names
from segkd.datasets.prepare.several import names_of_places
from tests.datasets.test_prepare_lists import write  # noqa: F401
from tests.datasets.test_prepare_public import SIZE, patches, prepare, put  # noqa: F401


@pytest.mark.parametrize(
    "names", [["pet", "background", "border"], ["void", "pet", "background", "border"], ["a", "b", "c", "d", "e"]]
)
def test_values_from_1_may_be_named_with_or_without_0(put, prepare, names):
    for n in range(5):
        put(f"images/{n}.jpg")
        put(f"masks/{n}.png", patches(n, [1, 3], 2))
    data, said = prepare("--classes", *names)
    assert "say --classes" not in said
    assert data["classes"] == names and data.get("label_map") == ({1: 0, 2: 1, 3: 2} if len(names) == 3 else None)


@pytest.mark.parametrize(
    ("name", "lines", "values", "names"),
    [
        ("objectInfo150.txt", ["Idx\tRatio\tName", "1\t.15\twall", "2\t.1\tbuilding, edifice"], [0, 1, 2],
         {0: "background", 1: "wall", 2: "building, edifice"}),
        ("label_class_dict.csv", ["name,r,g,b", "background,0,0,0", "road,255,255,255"], [0, 255],
         {0: "background", 255: "road"}),
        ("class_names.txt", ["_background_", "car", "bus"], [0, 1, 2], {0: "_background_", 1: "car", 2: "bus"}),
        ("classes.txt", ["background", "car", "bus"], [1, 2], {0: "background", 1: "car", 2: "bus"}),
        ("classes.txt", ["lorry", "car", "bus"], [1, 2], {}),
        ("objects.csv", ["id,class,note", "0,sky,", "1,sea,wet"], [0, 1], {0: "sky", 1: "sea"}),
        ("objects.csv", ["id,class", "a,sky", "b,sea"], [0, 1], {}),
        ("labels.csv", ["id,label", "1,0", "1,2"], [0, 1], {}),
    ],
)  # fmt: skip
def test_tables_that_name_the_classes(write, tmp_path, name, lines, values, names):
    """ADE20K, Massachusetts Roads as Kaggle has it, LabelMe's VOC folders."""
    write(name, lines)
    found = find_names(tmp_path / "set", values)
    assert found.names == names and ("but 0, taken for the background" in found.said) == (name == "objectInfo150.txt")


WHOLE = {"background": 0, "liver": 1, "spot": 2}


@pytest.mark.parametrize(
    ("labels", "values", "names", "words"),
    [
        (WHOLE, [0, 1, 2], ["background", "liver", "spot"], "dataset.json names them"),
        ({"2": "spot", "0": "background", "1": "liver"}, [0, 1, 2], ["background", "liver", "spot"], "names them"),
        (WHOLE, [0, 1], ["background", "liver", "spot"], "names them"),
        ({"background": 0, "liver": 1}, [0, 1, 2], [], "dataset.json names 2 classes, which is not sure to fit"),
        ({"background": 0, "whole": [1, 2], "core": [2]}, [0, 1, 2], [], "regions of several values"),
        ([1, 2], [0, 1], [], ""),
    ],
)
def test_the_file_of_nnunet_names_the_classes(tmp_path, labels, values, names, words):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "numTraining": 6, "file_ending": ".png"}))
    found = find_names(tmp_path, values)
    assert [*found.names.values()] == names and words in found.said


def test_a_list_that_names_the_background_is_not_offered_with_a_second_one(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    assert find_names(tmp_path, [0, 1, 2]).said.endswith("0 to 2; to name the classes, say --classes")


@pytest.mark.parametrize("channels", [2, 3])
def test_channels_of_nnunet_in_files_of_their_own_are_told(put, run_cli, tmp_path, channels):
    root = tmp_path / "set"
    for n in range(6):
        put(f"labelsTr/case_{n}.png", patches(n, [1, 2]))
        for channel in range(channels):
            put(f"imagesTr/case_{n}_{channel:04d}.png")
    content = {"labels": WHOLE, "channel_names": {str(channel): "T1" for channel in range(channels)}}
    (root / "dataset.json").write_text(json.dumps(content))
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "layer.yaml")
    words = "dataset.json: the channels of an image are files of their own (case_0_0000.png, case_0_0001.png"
    assert words in " ".join((out + err).split()), out + err
    assert status == (0 if channels == 2 else 2) and "--images 'imagesTr/{}_0000'" in " ".join((out + err).split())
    told = ("--images", "imagesTr/{}_0001", "--masks", "labelsTr")
    assert run_cli("prepare", root, "--out", tmp_path / "one.yaml", *told)[0] == 0
    for path in (root / "imagesTr").glob("*_000[12].png"):  # one file holds them: R, G, B
        path.unlink()
    _, out, _ = run_cli("prepare", root, "--out", tmp_path / "rgb.yaml")
    assert "channels of an image" not in " ".join(out.split())


@pytest.mark.parametrize("last", ["vessel", "ignore"])
def test_classes_of_nnunet_are_no_objects_and_its_ignore_is_left_out(put, prepare, tmp_path, last):
    for n in range(6):
        put(f"imagesTr/case_{n}_0000.png")
        put(f"labelsTr/case_{n}.png", patches(n, range(2 + n % 3)))  # {0, 1}, {0, 1, 2}, {0, 1, 2, 3}
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": {**WHOLE, last: 3}}))
    data, _ = prepare()
    assert data["classes"] == [*WHOLE] + [last] * (last == "vessel") and "threshold" not in data
    assert data.get("ignore") == (None if last == "vessel" else [3])


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [(128, 255, ["background", "foreground"]), (2, 5, ["background", "foreground"]), (1, 2, ["class1", "class2"])],
)
def test_two_values_without_a_0_are_background_and_foreground_unless_they_are_numbers(put, prepare, low, high, names):
    for n in range(5):
        put(f"images/{n}.jpg")
        put(f"masks/{n}.png", patches(n, [high], low))
    data, _ = prepare()
    assert data["classes"] == names and data["label_map"] == {low: 0, high: 1}


def test_annotations_come_before_pictures_of_edges(put, prepare, write):
    images = [{"id": n, "file_name": f"{n}.jpg", "width": SIZE[1], "height": SIZE[0]} for n in range(5)]
    objects = [{"id": n, "image_id": n, "category_id": 1, "segmentation": [[4, 4, 30, 4, 30, 30]]} for n in range(5)]
    for n in range(5):
        put(f"{n}.jpg")
        put(f"{n}_edges.png", patches(n, [255]))
    write("coco.json", [json.dumps({"images": images, "annotations": objects,
                                    "categories": [{"id": 1, "name": "cat"}]})])  # fmt: skip
    data, said = prepare()
    assert data["classes"] == ["background", "cat"] and "COCO annotations" in said


def test_a_category_that_only_heads_others_is_no_class(put, prepare, write):
    """Roboflow's first category holds the others, and has no objects."""
    images, objects = [], []
    for n in range(4):
        put(f"train/{n}.jpg")
        images.append({"id": n, "file_name": f"{n}.jpg", "height": 48, "width": 64})
        objects.append({"id": n, "image_id": n, "category_id": 2, "segmentation": [[4, 4, 40, 4, 40, 30, 4, 30 + n]]})
    kinds = [(0, "roads", "none"), (1, "tar", "roads"), (2, "mud", "roads"), (3, "ice", "ice")]
    categories = [{"id": number, "name": name, "supercategory": above} for number, name, above in kinds]
    content = {"images": images, "annotations": objects, "categories": categories}
    write("train/_annotations.coco.json", [json.dumps(content)])
    assert prepare()[0]["classes"] == ["background", "tar", "mud", "ice"]


def test_images_without_a_row_are_told_and_tables_to_submit_are_not_counted(put, prepare, write):
    """Severstal: train.csv has no rows of images without defects."""
    for n in range(5):
        put(f"train_images/{n}.jpg")
    write(
        "train.csv", ["ImageId,ClassId,EncodedPixels", *(f"{n}.jpg,{1 + n % 2},{1 + 48 * n} 9 49 9" for n in range(3))]
    )
    write("sample_submission.csv", ["ImageId,EncodedPixels,ClassId", "x.jpg,1 4,1"])
    _, said = prepare()
    assert (
        "annotations in 1 file:" in said and "2 images beside them are in no row, and left out (3.jpg, 4.jpg)" in said
    )


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        ("Annotations/1.xml", ['<Annotations><Region><Vertices><Vertex X="1" Y="2"/></Vertices>'], "holds ImageScope"),
        ("fold1/masks.npy", ["x"], "NumPy arrays: save images and masks in them as PNG under one name"),
        ("", [], "found masks of Label Studio, whose names tell tasks, but no images: export the project once more"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_what_to_make_of_it(put, run_cli, write, tmp_path, name, lines, words):
    """MoNuSeg, PanNuke, masks exported from Label Studio."""
    for n in range(3):
        put(f"images/photo_{n}.jpg")
    if name:
        write(name, lines)
    else:
        put("task-1-annotation-3-by-1-tag-road-0.png", np.zeros((4, 4), np.uint8))
    status, _, err = run_cli("prepare", tmp_path / "set", "--out", tmp_path / "layer.yaml")
    assert status == 2 and words in " ".join(err.split()), err


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["part1/{}_whole", "part2/{}_dots", "part2/{}_nets"], ["whole", "dots", "nets"]),
        (["all/*/1. Fine/{}_F", "all/*/2. Large/{}_L"], ["Fine", "Large"]),
        (["a/{}", "b/{}", "a/{}.png"], ["class1", "class2", "class3"]),
    ],
)
def test_places_of_masks_are_called_by_what_differs_in_each(places, names):
    """ISIC 2018: the attributes lie in one folder, the lesions in another."""
    assert names_of_places(places) == names
