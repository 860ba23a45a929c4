import csv
import json

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.prepare.annotated import READERS, find_annotations, not_drawn
from segkd.datasets.prepare.coco import read_coco
from segkd.datasets.prepare.drawing import Drawing, Runs, Shape, counts_of, draw, patch_of, polygon
from segkd.datasets.prepare.via import read_via
from segkd.types import InputError
from tests.datasets.test_annotations import VIA_HEAD

SQUARE = [[2, 3], [10, 3], [10, 12], [2, 12]]
"""Corners of x 2..10, y 3..12."""

FLAT = [number for corner in SQUARE for number in corner]


def the_square(size=(20, 16)):
    mask = np.zeros(size, np.uint8)
    mask[3:12, 2:10] = 1
    return mask


def inside_of(*parts, size):
    return patch_of(Shape("a", parts), size).whole(size)


def compressed(counts):
    """COCO's compressed form, written from its description letter by letter, slowly."""
    letters = ""
    for i, count in enumerate(counts):
        value, more = count - (counts[i - 2] if i > 2 else 0), True
        while more:
            bits, value = value & 31, value >> 5
            more = not (value == 0 and not bits & 16) and not (value == -1 and bits & 16)
            letters += chr(48 + (bits | 32 * more))
    return letters


def runs_of(mask):
    """Run lengths of a mask by columns, zeros first, pixel by pixel."""
    counts, now = [0], 0
    for value in mask.T.ravel().tolist():
        if value != now:
            counts.append(0)
            now = value
        counts[-1] += 1
    return counts


def coco(root):
    segmentations = [[FLAT], {"size": [20, 16], "counts": runs_of(the_square())}]
    segmentations.append({"size": [20, 16], "counts": compressed(runs_of(the_square()))})
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 16, "height": 20} for i in range(3)],
        "annotations": [{"image_id": i, "category_id": 7, "segmentation": s} for i, s in enumerate(segmentations)],
        "categories": [{"id": 9, "name": "dog"}, {"id": 7, "name": "cat"}],
    }
    (root / "instances.json").write_text(json.dumps(content))


def labelme(root):
    for i in range(3):
        shapes = [{"label": "cat", "points": SQUARE, "shape_type": "polygon"}]
        if i == 1:
            shapes = [{"label": "cat", "points": [SQUARE[0], SQUARE[2]], "shape_type": "rectangle"}]
        shapes.append({"label": "cat", "points": [[1, 1]], "shape_type": "point"})
        (root / f"{i}.json").write_text(json.dumps({"shapes": shapes, "imagePath": f"C:\\mine\\{i}.jpg"}))


def yolo(root):
    shares = " ".join(f"{x / 16} {y / 20}" for x, y in SQUARE)
    for i in range(3):
        (root / f"{i}.txt").write_text(f"0 {shares}\n")
    (root / "data.yaml").write_text("names: [cat, dog]\n")


def cvat(root):
    points = ";".join(f"{x},{y}" for x, y in SQUARE)
    runs = ",".join(map(str, [0, 72]))
    images = f"<image name='0.jpg'><polygon label='cat' points='{points}'/><points label='cat'/></image>"
    for i in (1, 2):
        images += (
            f"<image name='{i}.jpg'><mask label='cat' rle='{runs}' left='2' top='3' width='8' height='9'/></image>"
        )
    (root / "annotations.xml").write_text(f"<annotations>{images}</annotations>")


def via(root):
    """What version 2 exports as JSON, of two images; a project of version 2; and what version 1 exported as CSV."""
    polygons = {"name": "polygon", "all_points_x": [x for x, _ in SQUARE], "all_points_y": [y for _, y in SQUARE]}
    ticked = {"shape_attributes": polygons, "region_attributes": {"note": "a", "class": {"dog": False, "cat": True}}}
    point = {"shape_attributes": {"name": "point", "cx": 1, "cy": 1}, "region_attributes": {}}
    (root / "via_region_data.json").write_text(json.dumps({"0.jpg77": via_image("0.jpg", [ticked, point])}))
    rect = {"name": "rect", "x": 2, "y": 3, "width": 8, "height": 9}
    regions = {"0": {"shape_attributes": rect, "region_attributes": {"name": "cat"}}}
    metadata = {"1.jpg88": via_image("1.jpg", regions)}
    (root / "project.json").write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": metadata}))
    cells = ["2.jpg", 99, "{}", 1, 0, json.dumps(polygons), json.dumps({"label": "cat"})]
    with (root / "via_region_data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([VIA_HEAD.split(","), cells])


def via_image(name, regions):
    return {"filename": name, "size": 77, "regions": regions, "file_attributes": {}}


def kaggle(root):
    """Of Severstal: the class after the image's name, a row for each class, most of them empty; and a submission."""
    runs = encoded(the_square().T)
    rows = [f"{i}.jpg_{name},{runs if name == 'cat' else ''}" for i in range(3) for name in ("cat", "dog")]
    (root / "train.csv").write_text("\n".join(["ImageId_ClassId,EncodedPixels", *rows]) + "\n")
    (root / "sample_submission.csv").write_text("ImageId_ClassId,EncodedPixels\n9.jpg_cat,1 1\n")


def encoded(mask):
    """Kaggle's pairs of start and length, counted from 1 along the rows, pixel by pixel."""
    words, flat = [], mask.ravel().tolist()
    for at, value in enumerate(flat):
        if value and (at == 0 or not flat[at - 1]):
            words += [at + 1, 0]
        if value:
            words[-1] += 1
    return " ".join(map(str, words))


def test_an_outline_may_be_longer_than_a_cell_usually_is(tmp_path):
    csv.field_size_limit(131072)  # Python's own
    x, y = ([corner[axis] for corner in SQUARE for _ in range(10_000)] for axis in (0, 1))
    cells = ["0.jpg", 99, "{}", 1, 0, json.dumps({"name": "polygon", "all_points_x": x, "all_points_y": y}), "{}"]
    with (tmp_path / "via.csv").open("w", newline="") as file:
        csv.writer(file).writerows([VIA_HEAD.split(","), cells])
    assert len(cells[5]) > 131072
    drawings, names = read_via([tmp_path / "via.csv"], tmp_path)
    assert len(drawings[0].shapes) == 1 and names == ["foreground"]


@pytest.mark.parametrize(("kind", "write"), list(zip(READERS, (coco, cvat, labelme, yolo, via, kaggle))))
def test_each_kind_draws_the_same_square(tmp_path, kind, write):
    write(tmp_path)
    found = find_annotations(tmp_path)
    assert list(found) == [kind]
    drawings, names = READERS[kind](found[kind], tmp_path)
    assert len(drawings) == 3 and names[0] == "cat"
    for drawing in drawings:
        np.testing.assert_array_equal(draw(drawing, (20, 16), {"cat": 1}), the_square())
    if kind in ("LabelMe", "CVAT", "VIA"):
        assert any("a point" in one and "no area" in one for one in not_drawn(drawings, ["background"]))


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_read_as_a_slow_writer_writes_them(seed):
    mask = (np.random.default_rng(seed).random((40, 70)) < 0.02 * (seed + 1)).astype(np.uint8)
    counts = counts_of(compressed(runs_of(mask)))
    assert list(counts) == runs_of(mask)
    np.testing.assert_array_equal(inside_of(Runs(counts, (0, 0, 40, 70), by_columns=True), size=(40, 70)), mask)


def test_a_string_of_cocos_own_tool_is_read():
    # encode of pycocotools 2.0.11 gives this for a mask of 6 x 4 whose columns 1 and 2 are set in rows 1 to 3
    mask = np.zeros((6, 4), np.uint8)
    mask[1:4, 1:3] = 1
    assert counts_of("73305") == (7, 3, 3, 3, 8)
    runs = Runs((7, 3, 3, 3, 8), (0, 0, 6, 4), by_columns=True)
    np.testing.assert_array_equal(inside_of(runs, size=(6, 4)), mask)


def crosses(corners, x, y):
    """How many edges a line from (x, y) to the left crosses."""
    edges = zip(corners, np.roll(corners, -1, axis=0))
    return sum((y1 <= y) != (y2 <= y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x for (x1, y1), (x2, y2) in edges)


@pytest.mark.parametrize("seed", range(12))
def test_an_outline_holds_the_pixels_whose_middles_lie_within_it(seed):
    draws = np.random.default_rng(seed)
    corners = draws.uniform(-6, 22, (draws.integers(3, 9), 2))
    corners = corners if seed % 3 else np.rint(2 * corners) / 2  # through the middles of pixels, too
    inside = [[crosses(corners, x + 0.5, y + 0.5) % 2 == 1 for x in range(16)] for y in range(20)]
    np.testing.assert_array_equal(inside_of(corners, size=(20, 16)), inside)


def test_what_holds_no_pixel_is_told():
    thin = Drawing("x", [Shape("a", (polygon([3.6, 2, 4.4, 2, 4.4, 9, 3.6, 9]),)), Shape("a", (polygon(FLAT),))])
    assert draw(thin, (20, 16), {"a": 1}).sum() == the_square().sum()
    assert list(not_drawn([thin], ["background", "a"])) == [
        "not drawn: 1 times an object that holds the middle of no pixel"
    ]


def test_outlines_that_share_an_edge_share_no_pixel():
    masks = [inside_of(polygon([x, 2, x + 5, 2, x + 5, 9, x, 9]), size=(20, 16)) for x in (3, 8)]
    assert [int(mask.sum()) for mask in masks] == [35, 35] and not (masks[0] & masks[1]).any()


def test_small_objects_are_drawn_over_large_ones():
    small = Shape("b", (polygon([4, 4, 7, 4, 7, 7, 4, 7]),))
    mask = draw(Drawing("x", [small, Shape("a", (polygon(FLAT),))]), (20, 16), {"a": 1, "b": 2})
    assert mask[5, 5] == 2 and mask[10, 8] == 1
    assert draw(Drawing("x", [small]), (20, 16), {"a": 1}).max() == 0


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 2, 3, 4, 5, 6, 7]], "three corners"),
        ({"size": [20, 16], "counts": "\x01"}, "letters"),
        ({"size": [1]}, "values"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path, segmentation, words):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": segmentation}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a\.json: a\.jpg: .*" + words):
        read_coco([tmp_path / "a.json"], tmp_path)


def test_annotations_become_a_data_layer(tmp_path, run_cli):
    root = tmp_path / "cats"
    (root / "images").mkdir(parents=True)
    draw_noise = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(draw_noise.integers(0, 255, (20, 16, 3)).astype(np.uint8)).save(root / "images" / f"{i}.jpg")
    coco(root)
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "cats.yaml")
    assert status == 0 and "COCO annotations in 1 file: 3 objects of cat, dog on 3 images" in out, out + err
    assert "no mask holds class dog" in out
    text = (tmp_path / "cats.yaml").read_text()
    assert "classes: [background, cat, dog]" in text and "images: images/{}.jpg" in text
    mask = np.asarray(Image.open(tmp_path / "cats.prepared" / "masks" / "1.png"))
    np.testing.assert_array_equal(mask, the_square())
    status, _, err = run_cli("prepare", root, "--out", tmp_path / "cats.yaml")
    assert status == 2 and "exists already" in err


def test_images_of_one_name_are_told_apart_by_the_folder_of_their_file(tmp_path, run_cli):
    root = tmp_path / "cats"
    for number, split in enumerate(("train", "valid")):
        (root / split).mkdir(parents=True)
        for i in range(2):
            noise = np.random.default_rng(i).integers(0, 255, (20, 16, 3)).astype(np.uint8)
            Image.fromarray(noise).save(root / split / f"{i}.jpg")
        outline = [float(n) for x, y in SQUARE for n in (x + 3 * number, y)]
        annotations = [{"image_id": i, "category_id": 1, "segmentation": [outline]} for i in range(2)]
        images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(2)]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "cats.yaml")
    assert status == 0 and "split by the folders train, valid" in out, out + err
    masks = [np.asarray(Image.open(tmp_path / "cats.prepared" / "masks" / s / "0.png")) for s in ("train", "valid")]
    assert masks[0][5, 2] == 1 and masks[1][5, 2] == 0 and masks[1][5, 12] == 1
    assert "2 images of val look like images of train" in out


def test_masks_that_are_all_smaller_keep_their_values(tmp_path, run_cli):
    root = tmp_path / "things"
    for split in ("train", "val"):
        for i in range(2):
            for part in ("images", "masks"):
                (root / split / part).mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(i).integers(0, 255, (40, 32, 3)).astype(np.uint8)
            Image.fromarray(noise).save(root / split / "images" / f"{i}.jpg")
            Image.fromarray(the_square() * np.uint8(128 + 127 * i)).save(root / split / "masks" / f"{i}.png")
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "things.yaml", "--classes", "ground", "a", "b")
    assert status == 0 and "4 masks have another size" in out and "128 -> a, 255 -> b" in out, out + err
    mask = np.asarray(Image.open(tmp_path / "things.prepared" / "masks" / "val" / "1.png"))
    assert mask.shape == (40, 32) and set(np.unique(mask)) == {0, 255}


def test_dicom_is_refused_with_what_converts_it(tmp_path, run_cli):
    for i in range(2):
        (tmp_path / "scans" / f"{i}").mkdir(parents=True)
        for name in ("slice.dcm", "IM0"):
            (tmp_path / "scans" / f"{i}" / name).write_bytes(bytes(128) + b"DICM" + bytes(100))
    status, _, err = run_cli("prepare", tmp_path / "scans", "--out", tmp_path / "scans.yaml")
    assert status == 2 and "is a DICOM file, which segkd does not read" in err and "dcmj2pnm" in err, err
    status, _, err = run_cli("train", "--data.root", tmp_path / "scans", "--data.images", "0", "--data.masks", "1",
                             "--out", tmp_path / "run")  # fmt: skip
    assert status == 2 and "dcmj2pnm" in err, err
    (tmp_path / "scans" / "train.csv").write_text("ImageId,EncodedPixels\nslice,1 2\n")
    status, _, err = run_cli("prepare", tmp_path / "scans", "--out", tmp_path / "scans.yaml")
    assert status == 2 and "expected the images that they name" in err and "dcmj2pnm" in err, err
