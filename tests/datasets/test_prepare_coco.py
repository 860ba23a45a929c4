import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from segkd.datasets.prepare.annotated import classes_of, find_annotations, read_annotations
from segkd.datasets.prepare.coco import read_coco
from segkd.datasets.prepare.drawing import Drawing, Shape, draw
from segkd.datasets.prepare.fitting import mask_of
from segkd.types import InputError

LEFT, TOP, RIGHT, BOTTOM = 40, 8, 60, 30
OUTLINE = [LEFT, TOP, RIGHT, TOP, RIGHT, BOTTOM, LEFT, BOTTOM]
"""A rectangle, clearly not in the middle, of a picture of 128 x 96."""

TRACKED = "<polygon frame='0' points='1,2;3,4;5,6'/>"


def picture(path, size=(96, 128), tag=1, seed=0):
    """A picture of noise of (height, width), with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = tag
    Image.fromarray(noise).save(path, exif=exif)


def annotation(image=1, category=1, segmentation=None, **more):
    return {"image_id": image, "category_id": category, "segmentation": segmentation or [OUTLINE], **more}


def coco(path, annotations=None, images=None, categories=None):
    """Writes a COCO file: of one object on one image of 128 x 96 unless told otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": images or [{"id": 1, "file_name": "a.png", "width": 128, "height": 96}],
        "annotations": annotations if annotations is not None else [annotation()],
        "categories": categories if categories is not None else [{"id": 1, "name": "cat"}],
    }
    path.write_text(json.dumps(content))
    return path


def box_of(mask):
    """Left, top, right, bottom of what is drawn, right and bottom beyond it."""
    y, x = np.nonzero(mask)
    return [int(n) for n in (x.min(), y.min(), x.max() + 1, y.max() + 1)]


def near(mask, expected):
    np.testing.assert_allclose(box_of(mask), expected, atol=1)


def drawn(root):
    drawings, names = read_coco([root / "a.json"], root)
    return mask_of(root / "a.png", drawings[0], {name: i for i, name in enumerate(names, 1)})


def test_one_outline_without_a_list_around_it_is_drawn(tmp_path):
    picture(tmp_path / "a.png")
    coco(tmp_path / "a.json", [annotation(segmentation=OUTLINE)])
    near(drawn(tmp_path)[0], [LEFT, TOP, RIGHT, BOTTOM])


@pytest.mark.parametrize("kind", ["polygon", "runs"])
def test_outlines_are_scaled_to_pictures_that_were_resized(tmp_path, kind):
    picture(tmp_path / "a.png", (48, 64))
    whole = np.zeros((96, 128), int)
    whole[TOP:BOTTOM, LEFT:RIGHT] = 1
    edges = np.flatnonzero(np.diff([0, *whole.T.ravel().tolist(), 0]))
    counts = np.diff([0, *edges, whole.size]).tolist()
    coco(
        tmp_path / "a.json",
        [annotation(segmentation={"size": [96, 128], "counts": counts} if kind == "runs" else None)],
    )
    mask, scaled = drawn(tmp_path)
    assert mask.shape == (48, 64) and scaled
    near(mask, [LEFT / 2, TOP / 2, RIGHT / 2, BOTTOM / 2])
    picture(tmp_path / "a.png")
    mask, scaled = drawn(tmp_path)
    assert not scaled
    near(mask, [LEFT, TOP, RIGHT, BOTTOM])


def test_a_picture_of_other_proportions_is_refused(tmp_path):
    picture(tmp_path / "a.png", (64, 64))
    coco(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"a\.png: expected a picture of 128x96 pixels, as its annotations say.*64x64"):
        drawn(tmp_path)


def test_run_lengths_of_another_size_than_the_picture_are_refused(tmp_path):
    picture(tmp_path / "a.png", (48, 64))
    small = {"size": [24, 32], "counts": [10, 24 * 32 - 10]}
    coco(
        tmp_path / "a.json",
        [annotation(segmentation=small)],
        [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
    )
    with pytest.raises(InputError, match="expected those of the whole image, 64x48 pixels, found 32x24"):
        drawn(tmp_path)
    small["size"] = [32, 24]  # no size of the image is stated: that of its run lengths is
    coco(tmp_path / "a.json", [annotation(segmentation=small)], [{"id": 1, "file_name": "a.png"}])
    with pytest.raises(InputError, match="expected a picture of 24x32 pixels"):
        drawn(tmp_path)


def test_the_stated_size_settles_whether_a_picture_was_annotated_turned(tmp_path):
    picture(tmp_path / "a.png", tag=6)  # 128 x 96 as it is stored, to be turned clockwise
    coco(tmp_path / "a.json")
    mask, scaled = drawn(tmp_path)
    assert mask.shape == (128, 96) and not scaled
    near(mask, [96 - BOTTOM, LEFT, 96 - TOP, RIGHT])
    coco(tmp_path / "a.json", images=[{"id": 1, "file_name": "a.png", "width": 96, "height": 128}])
    mask, scaled = drawn(tmp_path)
    assert mask.shape == (128, 96) and not scaled
    near(mask, [LEFT, TOP, RIGHT, BOTTOM])


@pytest.mark.parametrize(
    "said", [{}, {"width": None, "height": None}, {"width": 0, "height": 0}, {"width": "x", "height": 4}]
)
def test_without_a_stated_size_outlines_are_in_the_pictures_pixels(tmp_path, said):
    picture(tmp_path / "a.png", (64, 64))
    coco(tmp_path / "a.json", images=[{"id": 1, "file_name": "a.png", **said}])
    mask, _ = drawn(tmp_path)
    near(mask, [LEFT, TOP, RIGHT, BOTTOM])


def data_set(root, n=3):
    """Pictures 0.png ..., and the images of a COCO file that names them."""
    for i in range(n):
        picture(root / "images" / f"{i}.png", seed=i)
    return [{"id": i, "file_name": f"{i}.png", "width": 128, "height": 96} for i in range(n)]


def test_what_was_scaled_and_what_was_left_out_is_said(tmp_path, run_cli):
    root = tmp_path / "cats"
    images = data_set(root)
    images[0] |= {"width": 256, "height": 192}
    annotations = [annotation(i) for i in range(3)] + [
        annotation(1, segmentation=[[]]),
        annotation(2, segmentation=[[1, 2, 3, 4]]),
    ]
    coco(root / "a.json", annotations, images)
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "cats.yaml")
    said = " ".join(out.split())
    assert status == 0 and "1 images have another size than their annotations say (0.png)" in said, out + err
    assert "not drawn: 2 times a polygon of fewer than three corners" in said


def test_files_of_captions_and_of_mere_images_stop_nothing(tmp_path, run_cli):
    """The annotations of COCO as they are downloaded."""
    root = tmp_path / "coco"
    images = data_set(root)
    folder = root / "annotations"
    coco(folder / "instances_train2017.json", [annotation(i) for i in range(3)], images)
    captions = {"images": images, "annotations": [{"image_id": 0, "id": 7, "caption": "a cat"}], "info": {}}
    (folder / "captions_train2017.json").write_text(json.dumps(captions))
    info = {"images": [{"id": 9, "file_name": "9.png"}], "categories": [{"id": 1, "name": "cat"}]}
    (folder / "image_info_test2017.json").write_text(json.dumps(info))
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "coco.yaml")
    assert status == 0 and "COCO annotations in 1 file: 3 objects of cat on 3 images" in " ".join(out.split()), (
        out + err
    )
    # named by their file, they are read, and found to hold no outline
    drawings, names = read_coco(sorted(folder.glob("*.json")), root)
    assert len(drawings) == 3 and names == ["cat"]


def test_classes_of_several_files_are_told_apart_by_name(tmp_path):
    """Each file numbers its classes by itself."""
    coco(tmp_path / "a.json")
    coco(tmp_path / "b.json", images=[{"id": 1, "file_name": "b.png"}], categories=[{"id": 1, "name": "dog"}])
    drawings, names = read_coco([tmp_path / "a.json", tmp_path / "b.json"], tmp_path)
    assert names == ["cat", "dog"]
    assert [draw(one, (96, 128), {"cat": 1, "dog": 2}).max() for one in drawings] == [1, 2]


def test_objects_of_a_category_without_a_name_have_a_class_of_their_own(tmp_path):
    annotations = [annotation(), annotation(category=2, segmentation=[[1, 1, 9, 1, 9, 9]])]
    drawings, names = read_coco([coco(tmp_path / "a.json", annotations)], tmp_path)
    assert names == ["cat", "class2"] and [shape.name for shape in drawings[0].shapes] == names
    annotations[1].pop("category_id")
    with pytest.raises(InputError, match=r"a\.json: expected a category_id of each object"):
        read_coco([coco(tmp_path / "a.json", annotations)], tmp_path)
    annotations[0].pop("category_id")
    assert read_coco([coco(tmp_path / "a.json", annotations, categories=[])], tmp_path)[1] == ["foreground"]


def test_numbers_may_be_written_as_text(tmp_path):
    picture(tmp_path / "a.png")
    coco(tmp_path / "a.json", [annotation(image="1", category="1")])
    near(drawn(tmp_path)[0], [LEFT, TOP, RIGHT, BOTTOM])
    assert read_coco([tmp_path / "a.json"], tmp_path)[1] == ["cat"]
    with pytest.raises(InputError, match="found image_id 2, which none has"):
        read_coco([coco(tmp_path / "a.json", [annotation(image=2)])], tmp_path)


def test_two_images_of_one_id_are_refused(tmp_path):
    images = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]
    with pytest.raises(InputError, match=r"an id of its own for each image, found id 1 for a\.png and for b\.png"):
        read_coco([coco(tmp_path / "a.json", images=images)], tmp_path)


@pytest.mark.parametrize("segmentation", [None, []])
def test_boxes_alone_are_refused_as_such(tmp_path, run_cli, segmentation):
    root = tmp_path / "boxes"
    boxes = [{"image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4]} for i in range(3)]
    boxes = boxes if segmentation is None else [box | {"segmentation": segmentation} for box in boxes]
    coco(root / "a.json", boxes, data_set(root))
    status, _, err = run_cli("prepare", root, "--out", tmp_path / "boxes.yaml")
    assert status == 2 and "COCO" in err and "no outline to learn" in " ".join(err.split()), err


def test_empty_parts_stop_nothing_and_are_counted(tmp_path):
    parts = [[[]], [[1, 2, 3, 4, 5], OUTLINE], [OUTLINE]]
    drawings, _ = read_coco([coco(tmp_path / "a.json", [annotation(segmentation=part) for part in parts])], tmp_path)
    assert len(drawings[0].shapes) == 2 and drawings[0].left_out == 2 * ["a polygon of fewer than three corners"]


@pytest.mark.parametrize(
    ("kind", "name", "content", "words"),
    [
        ("CVAT", "a.xml", f"<annotations><track label='a'>{TRACKED}</track></annotations>", "CVAT for images 1.1"),
        ("Kaggle run-length", "sample_submission.csv", "ImageId,EncodedPixels\na,1 1\n", "hold predictions"),
    ],
)
def test_files_without_anything_to_draw_are_refused_by_their_kind(tmp_path, run_cli, kind, name, content, words):
    root = tmp_path / "none"
    data_set(root)
    (root / name).write_text(content)
    found = find_annotations(root)
    assert list(found) == [kind]
    with pytest.raises(InputError, match=words):
        read_annotations(kind, found[kind], root)
    status, _, err = run_cli("prepare", root, "--out", tmp_path / "none.yaml")
    assert status == 2 and name in err and words in " ".join(err.split()), err


def test_classes_that_are_told_leave_out_others_and_begin_with_the_background(tmp_path, run_cli):
    root = tmp_path / "pets"
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    coco(root / "a.json", [annotation(i, 1 + i % 2) for i in range(3)], data_set(root), categories)
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "a.yaml", "--classes", "background", "cat")
    assert status == 0 and "background, as --classes does not name them: dog" in " ".join(out.split()), out + err
    status, _, err = run_cli("prepare", root, "--out", tmp_path / "b.yaml", "--classes", "cat", "dog")
    assert status == 2 and "Say --classes background cat dog" in " ".join(err.split()), err
    status, _, err = run_cli("prepare", root, "--out", tmp_path / "b.yaml", "--classes", "background", "Cat")
    assert status == 2 and "names that the annotations have (cat, dog)" in " ".join(err.split()), err
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "c.yaml")
    assert status == 0 and "--classes does not name" not in out, out + err


def test_more_classes_than_a_mask_has_numbers_are_refused_with_the_most_frequent():
    """LVIS: 1203 categories."""
    drawings = [Drawing("a", [Shape(name, ()) for name in ("n7", "n9", "n9")])]
    with pytest.raises(InputError, match=r"have 255 classes: .* --classes background n9 n7; the others"):
        classes_of(drawings, [f"n{i}" for i in range(255)], None)
    assert len(classes_of(drawings, [f"n{i}" for i in range(254)], None)) == 255


def test_a_stated_size_of_many_megapixels_is_refused_before_it_is_filled(tmp_path):
    picture(tmp_path / "a.png", (64, 64))
    side = 1 << 16
    runs = {"size": [side, side], "counts": [0, side * side]}
    coco(tmp_path / "a.json", [annotation(segmentation=runs)],
         [{"id": 1, "file_name": "a.png", "width": side, "height": side}])  # fmt: skip
    with pytest.raises(InputError, match="megapixels"):
        drawn(tmp_path)
