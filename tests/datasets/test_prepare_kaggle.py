"""Tables of run lengths, in the forms in which they are handed on."""

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.prepare.annotated import find_annotations
from segkd.datasets.prepare.drawing import draw
from segkd.datasets.prepare.fitting import mask_of
from segkd.datasets.prepare.kaggle import read_kaggle, settle_order
from segkd.datasets.prepare.via import read_via
from segkd.types import InputError
from tests.datasets.test_prepare_annotated import encoded, the_square

TABLE = "train.csv"


def read(root, *lines):
    (root / TABLE).write_text("\n".join(lines))
    assert find_annotations(root) == {"Kaggle run-length": [root / TABLE]}
    return read_kaggle([root / TABLE], root)


def objects(drawings):
    """By image: the class and the runs of each object."""
    return {one.file: [(shape.name, shape.parts[0].runs) for shape in one.shapes] for one in drawings}


@pytest.mark.parametrize(
    "lines",
    [
        ("ImageId,EncodedPixels", "a.jpg,1 2 9 1", "b.jpg,"),
        (",EncodedPixels,ImageId", "0,1 2 9 1,a.jpg", "1,,b.jpg"),
        ("EncodedPixels,ImageId", "1 2 9 1,a.jpg", ",b.jpg"),
        ("id,ImageId,EncodedPixels", "0,a.jpg,1 2 9 1", "1,b.jpg,-1"),
        ("width,height,id,annotation", "4,3,a.jpg,1 2 9 1", "4,3,b.jpg,NaN"),
        ("ImageId;EncodedPixels", "a.jpg;1 2 9 1", "b.jpg; -1"),
        ("ImageId\tEncodedPixels", "a.jpg\t1 2 9 1", "b.jpg\t"),
        ("slice,rle", "a.jpg,1 2 9 1", "b.jpg,"),
        ("slice,rle", "a.jpg,1 2 9 1", "b.jpg,None"),
        ("ImageId,EncodedPixels", 'a.jpg,"[1, 2, 9, 1]"', "b.jpg,[]"),
        ("ImageId,EncodedPixels", 'a.jpg,"[[1, 2], [9, 1]]"', "b.jpg,[]"),
    ],
)
def test_the_column_of_images_is_found_wherever_it_stands(tmp_path, lines):
    drawings, names = read(tmp_path, *lines)
    assert objects(drawings) == {"a.jpg": [("foreground", ((1, 2), (9, 1)))], "b.jpg": []}
    assert names == ["foreground"]


@pytest.mark.parametrize(
    ("lines", "expected", "names"),
    [
        (("ImageId_ClassId,EncodedPixels", "a_b.jpg_1,1 2", "a_b.jpg_2,"), ["1"], ["1", "2"]),
        (("Image_Label,EncodedPixels", "a_b.jpg_Fish,1 2", "a_b.jpg_Sky,"), ["Fish"], ["Fish", "Sky"]),
        (("Image_Label,image,label,EncodedPixels", "a_b.jpg_Sky,a_b.jpg,Sky,1 2"), ["Sky"], ["Sky"]),
        (("EncodedPixels,ClassId,ImageId", "1 2,4,a_b.jpg", "3 1,1,a_b.jpg"), [*"41"], [*"14"]),
        (("ImageId,ClassName,EncodedPixels", "a_b.jpg,cat,1 2", "a_b.jpg,dog,5 1"), ["cat", "dog"], ["cat", "dog"]),
        (("ImageId,ClassId,EncodedPixels", "a_b.jpg,1.0,1 2", "a_b.jpg,,"), ["1"], ["1"]),
        (("ImageId,ClassId,EncodedPixels", "a_b.jpg,3,1 2", "a_b.jpg,-1,-1"), ["3"], ["3"]),
    ],
)  # fmt: skip
def test_classes_stand_in_a_column_or_behind_the_image(tmp_path, lines, expected, names):
    drawings, found = read(tmp_path, *lines)
    written = [name.removeprefix("class") for name, _ in objects(drawings)["a_b.jpg"]]
    assert written == expected and [name.removeprefix("class") for name in found] == names


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ("ImageId,EncodedPixels", "a.jpg,eNoLCA"),
            "found a compressed form, 'eNoLCA'. COCO's is read where columns height",
        ),
        (("ImageId,EncodedPixels,height,width", "a.jpg,eNoLCA,3,4"), "found a compressed form, 'eNoLCA'"),
        (("ImageId,EncodedPixels", "a.jpg,eNrzY="), "expected pairs of start and length, found 'eNrzY='"),
        (
            ("ImageId,EncodedPixels", "a.jpg,{'size': [3]}"),
            r'expected {"size": \[height, width\], "counts": ...}, found',
        ),
        (
            ("ImageId,EncodedPixels", 'a.jpg,"[[1, 2, 5, 2, 5, 6]]"'),
            "found a list of others, as corners of polygons are",
        ),
        (("ImageId,EncodedPixels", 'a.jpg,"[[10, 20], [30, 20], [30, 40]]"'), ".* as corners of polygons are"),
        (("ImageId,EncodedPixels", 'a.jpg,"[1, 2, 8, 7, 8, 2]"'), ".* as corners of polygons are"),
        (
            ("ImageId,height,width,EncodedPixels", "a.jpg,6,8,\"{'size': [3, 4], 'counts': [12]}\""),
            "expected those of an image of 8x6 pixels, as it says elsewhere, found 4x3",
        ),
        (("ImageId,ClassId,EncodedPixels", "a.jpg,,1 2"), "expected the class of its run lengths"),
    ],
)
def test_what_is_no_run_length_is_named_with_its_line(tmp_path, lines, words):
    with pytest.raises(InputError, match=rf"train\.csv: line 2: .*{words}"):
        read(tmp_path, *lines)


def counted(mask):
    """Numbers of pixels that are alike, down the columns, zeros first."""
    runs = [0]
    for value in mask.T.ravel():
        if value != (len(runs) + 1) % 2:
            runs.append(0)
        runs[-1] += 1
    return runs


def compressed(runs):
    """COCO's letters for them."""
    letters = ""
    for at, run in enumerate(runs):
        left = run - runs[at - 2] if at > 2 else run
        while True:
            bits, left = left & 31, left >> 5
            more = left != (-1 if bits & 16 else 0)
            letters += chr(48 + bits + 32 * more)
            if not more:
                break
    return letters


@pytest.mark.parametrize("form", ["columns", "json", "python", "bytes", "counts"])
def test_run_lengths_of_coco_s_are_read_in_a_table_too(tmp_path, form):
    mask = (np.random.default_rng(3).random((40, 60)) < 0.05).astype(np.uint8)
    mask[5:30, 10:50] = 1
    mask[20] = 0
    counts = counted(mask)
    letters = compressed(counts)
    cells = {
        "columns": letters,
        "json": '{"size": [40, 60], "counts": "' + letters.replace("\\", "\\\\") + '"}',
        "python": str({"size": [40, 60], "counts": letters}),
        "bytes": str({"size": [40, 60], "counts": letters.encode()}),
        "counts": str({"size": [40, 60], "counts": counts}),
    }
    cell = cells[form].replace('"', '""')
    sized = ("image,height,width,rle", f'a.png,40,60,"{cell}"', "b.png,40,60,")
    drawings, names = read(tmp_path, *(sized if form == "columns" else ("image,rle", f'a.png,"{cell}"', "b.png,")))
    assert names == ["foreground"] and [one.file for one in drawings] == ["a.png", "b.png"]
    path = tmp_path / "a.png"
    assert "COCO's, counted down the columns" in settle_order({path: drawings[0]}, {path: (40, 60)}, "auto")
    np.testing.assert_array_equal(draw(drawings[0], (40, 60), {"foreground": 1}), mask)


def test_short_run_lengths_of_coco_s_are_no_list(tmp_path):
    """5[3 are 5 and 107 in COCO's letters, and looked like 5 and 3 parted by a bracket."""
    (drawing,), _ = read(tmp_path, "image,height,width,rle", "a.png,8,14,5[3")
    assert draw(drawing, (8, 14), {"foreground": 1}).sum() == 107


def test_run_lengths_of_one_image_in_two_tables_are_refused(tmp_path):
    """The older of two versions would be drawn over the newer one."""
    for name, runs in (("train.csv", "1 2"), ("train_v2.csv", "7 2"), ("train_v3.csv", "")):
        (tmp_path / name).write_text(f"ImageId,EncodedPixels\na.jpg,{runs}\na.jpg,{runs}\n{name}.jpg,1 1\n")
    tables = [tmp_path / name for name in ("train.csv", "train_v2.csv", "train_v3.csv")]
    with pytest.raises(
        InputError, match=r"train_v2\.csv: line 2: .*of a\.jpg in one table, found some in \S*train\.csv"
    ):
        read_kaggle(tables[:2], tmp_path)
    drawings, _ = read_kaggle([tables[0], tables[2]], tmp_path)  # without a run nothing is drawn twice
    assert [len(one.shapes) for one in drawings] == [2, 1, 1]


def test_a_copy_of_a_table_is_read_once(tmp_path):
    rows = ["a.jpg,1 2", "a.jpg,7 2", "b.jpg,"]
    for name, some in (("train", rows), ("train (1)", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["ImageId,EncodedPixels", *some]))
    drawings, _ = read_kaggle(sorted(tmp_path.glob("*.csv")), tmp_path)
    assert {one.file: len(one.shapes) for one in drawings} == {"a.jpg": 2, "b.jpg": 0}
    assert drawings[0].notes == ["train.csv holds the rows of train (1).csv once more, and is not read"]


def test_a_table_for_each_class_names_the_same_images(tmp_path):
    for name, class_, runs in (("kidney", "1", "1 2"), ("liver", "2", "7 2"), ("liver_v2", "2", "5 1")):
        (tmp_path / f"{name}.csv").write_text(f"ImageId,ClassId,EncodedPixels\na.jpg,{class_},{runs}\nb.jpg,1,\n")
    tables = [tmp_path / f"{name}.csv" for name in ("kidney", "liver", "liver_v2")]
    drawings, names = read_kaggle(tables[:2], tmp_path)
    assert names == ["class1", "class2"]
    assert objects(drawings) == {"a.jpg": [("class1", ((1, 2),)), ("class2", ((7, 2),))], "b.jpg": []}
    with pytest.raises(InputError, match=r"liver_v2\.csv: line 2: .*found some in \S*liver\.csv.*a column ClassId"):
        read_kaggle(tables, tmp_path)


def test_a_table_may_end_in_tsv(tmp_path):
    (tmp_path / "train.tsv").write_text("ImageId\tEncodedPixels\na.jpg\t1 2 9 1\nb.jpg\t\n")
    assert find_annotations(tmp_path) == {"Kaggle run-length": [tmp_path / "train.tsv"]}
    assert objects(read_kaggle([tmp_path / "train.tsv"], tmp_path)[0]) == {"a.jpg": [("foreground", ((1, 2), (9, 1)))],
                                                                           "b.jpg": []}  # fmt: skip
    region = '{""name"":""rect"",""x"":1,""y"":0,""width"":2,""height"":3}'
    heads = "filename\tregion_shape_attributes\tregion_attributes"
    (tmp_path / "train.tsv").write_text(f'{heads}\na.jpg\t"{region}"\t"{{""name"":""cat""}}"\n')
    assert find_annotations(tmp_path) == {"VIA": [tmp_path / "train.tsv"]}
    (drawing,), names = read_via([tmp_path / "train.tsv"], tmp_path)
    assert names == ["cat"] and draw(drawing, (4, 5), {"cat": 1}).sum() == 6


def test_a_table_of_the_files_of_masks_holds_no_run_lengths(tmp_path):
    (tmp_path / TABLE).write_text("image,segmentation\na.jpg,masks/a.png\n")
    assert find_annotations(tmp_path) == {}


def test_run_lengths_that_state_a_size_are_scaled_to_pictures_that_were_resized(tmp_path):
    mask = np.zeros((10, 16), np.uint8)
    mask[2:6, 5:12] = 1
    runs = " ".join(f"{10 * x + 3} 4" for x in range(5, 12))
    drawings, _ = read(tmp_path, "ImageId,EncodedPixels,Height,Width", f"a.png,{runs},10,16")
    path = tmp_path / "a.png"
    Image.new("RGB", (32, 20)).save(path)
    assert "down the columns (outlines" in settle_order({path: drawings[0]}, {path: (10, 16)}, "auto")
    larger, was_scaled = mask_of(path, drawings[0], {"foreground": 1})
    assert was_scaled
    np.testing.assert_array_equal(larger, mask.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(draw(drawings[0], (10, 16), {"foreground": 1}), mask)


def photos(root, n=3, size=(20, 16)):
    root.mkdir(parents=True)
    for i in range(n):
        noise = np.random.default_rng(i).integers(0, 255, (*size, 3)).astype(np.uint8)
        Image.fromarray(noise).save(root / f"{i}.png")


@pytest.mark.parametrize("way", ["columns", "rows"])
def test_runs_are_counted_as_the_outlines_say(tmp_path, run_cli, way):
    """Of images that are not square: both ways give the mask that was encoded, and nobody says which it was."""
    photos(tmp_path / "cells" / "train")
    mask = the_square()
    runs = encoded(mask.T if way == "columns" else mask)
    (tmp_path / "cells" / "train.csv").write_text(f"id,annotation\n0,{runs}\n1,{runs}\n2,\n")
    status, out, err = run_cli("prepare", tmp_path / "cells", "--out", tmp_path / "cells.yaml")
    said = " ".join(out.split())
    words = {"columns": "down the columns (outlines are", "rows": "along the rows (outlines are"}
    assert status == 0 and words[way] in said and "2 objects of foreground on 3 images" in said, out + err
    made = [np.asarray(Image.open(tmp_path / "cells.prepared" / "masks" / f"{i}.png")) for i in range(3)]
    np.testing.assert_array_equal(made[1], mask)
    assert made[2].max() == 0


def test_runs_of_square_images_go_down_the_columns_unless_it_is_said(tmp_path):
    mask = the_square((20, 20))
    (tmp_path / "train.csv").write_text(f"ImageId,ClassId,EncodedPixels\na.jpg,4,{encoded(mask.T)}\nb.jpg,2,-1\n")
    for told, wanted, words in (("auto", mask, "say --runs rows"), ("rows", mask.T, "as told")):
        drawings, names = read_kaggle([tmp_path / "train.csv"], tmp_path)
        assert names == ["class2", "class4"]
        images = {tmp_path / one.file: one for one in drawings}
        said = settle_order(images, dict.fromkeys(images, (20, 20)), told)
        assert words in said
        np.testing.assert_array_equal(draw(drawings[0], (20, 20), {"class4": 1}), wanted)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,1 2 3", "line 2: run lengths: expected pairs"),
        ("a,1 x", "line 2: run lengths: expected pairs of start and length, found 'x'"),
        ("a", "line 2: expected 2 columns"),
    ],
)
def test_a_torn_table_is_named_with_its_line(tmp_path, rows, words):
    (tmp_path / "train.csv").write_text(f"ImageId,EncodedPixels\n{rows}\n")
    with pytest.raises(InputError, match=r"train\.csv: " + words):
        read_kaggle([tmp_path / "train.csv"], tmp_path)
    for runs in ("0 2", "399 3"):
        (tmp_path / "train.csv").write_text(f"ImageId,EncodedPixels\na,{runs}\n")
        with pytest.raises(InputError, match="expected pixels 1 to 400"):
            draw(read_kaggle([tmp_path / "train.csv"], tmp_path)[0][0], (20, 20), {"foreground": 1})


@pytest.mark.parametrize("head", ["", "Unnamed: 0"])
def test_a_column_that_counts_the_rows_names_no_images(tmp_path, head):
    (tmp_path / "train.csv").write_text(f"{head},ImageId,EncodedPixels\n0,a.jpg,1 2\n1,b.jpg,\n")
    assert find_annotations(tmp_path) == {"Kaggle run-length": [tmp_path / "train.csv"]}
    assert [one.file for one in read_kaggle([tmp_path / "train.csv"], tmp_path)[0]] == ["a.jpg", "b.jpg"]


def test_blank_lines_of_a_table_are_no_rows(tmp_path):
    (tmp_path / "train.csv").write_text("ImageId,EncodedPixels\n\na,1 2\n,\nb,\n\n")
    assert [one.file for one in read_kaggle([tmp_path / "train.csv"], tmp_path)[0]] == ["a", "b"]
