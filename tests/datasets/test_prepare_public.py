"""Public data sets in the form they are downloaded in, rebuilt small."""

import numpy as np
import pytest
import yaml
from PIL import Image

SIZE = (48, 64)


@pytest.fixture
def prepare(tmp_path, run_cli):
    """A function that prepares tmp_path/set and gives the layer and what was said: (*options) -> (data, said)."""

    def run(*options):
        layer = tmp_path / "layer.yaml"
        status, out, err = run_cli("prepare", tmp_path / "set", "--out", layer, *options)
        assert status == 0, out + err
        return yaml.safe_load(layer.read_text())["data"], " ".join((out + err).split())

    return run


@pytest.fixture
def put(tmp_path):
    """A function that writes a picture below tmp_path/set: (name, array or None for a photo)."""
    draw = np.random.default_rng(0)

    def write(name, array=None):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (*SIZE, 3), np.uint8) if array is None else array).save(path)

    return write


def patches(n, values, background=0):
    """A mask with a patch of each value, elsewhere for each n."""
    mask = np.full(SIZE, background, np.uint8)
    for at, value in enumerate(values):
        top, left = divmod(at + n, 7)
        mask[6 * top % 48 :, 9 * left :][:6, :9] = value
    return mask


def test_white_beside_many_class_numbers_is_left_out(put, prepare):
    """COCO-Stuff: 0 to 181 with gaps, 255 for what nobody labelled."""
    numbers = np.array([0, 1, 2, 15, 16, 43, 44, 88, 95, 110, 123, 124, 156, 168, 180, 181])
    for n in range(6):
        put(f"train2017/{n}.jpg")
        put(f"stuffthingmaps/train2017/{n}.png", patches(n, np.roll(numbers, n), 255))
    data, said = prepare()
    assert data["ignore"] == [255] and len(data["classes"]) == 16 and "255 is left out" in said
    assert data["label_map"][181] == 15


def test_white_beside_grey_levels_is_a_class_and_told_how_to_leave_it_out(put, prepare):
    for n in range(6):
        put(f"images/{n}.jpg")
        put(f"masks/{n}.png", patches(n, [64, 128, 192, 255]))
    data, said = prepare()
    assert data["label_map"] == {0: 0, 64: 1, 128: 2, 192: 3, 255: 4}
    assert "if 255 is to be left out, take it out of label_map and classes, and write ignore: [255]" in said


def test_images_of_a_test_without_any_masks_need_no_lists(put, prepare):
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        for n in range(number):
            put(f"images/{split}/{split}{n}.jpg")
            if split != "test":
                put(f"masks/{split}/{split}{n}.png", patches(n, [1]))
    data, said = prepare()
    assert not data.keys() & {"train", "val", "test"} and "splits: 4 train, 2 val (" in said


def test_masks_elsewhere_may_be_more_than_the_images(put, prepare, tmp_path):
    for split in ("train_img", "val_img"):
        for n in range(3):
            put(f"{split}/{split}{n}.jpg")
            put(f"../masks/{split}{n}.png", patches(n, [1]))
    put("../masks/another.png", patches(1, [1]))
    data, said = prepare("--images", "*_img/{}", "--masks", str(tmp_path / "masks"))
    assert "splits: 3 train, 3 val" in said and "masks without image, which no split needs: 1" in said


def test_images_of_trainval_are_not_taken_twice(put, run_cli, tmp_path):
    for split, names in (("train", range(4)), ("val", range(4, 6)), ("trainval", range(6))):
        for n in names:
            put(f"images/{split}/{n}.jpg")
            put(f"masks/{split}/{n}.png", patches(n, [1]))
    status, _, err = run_cli("sheet", "--data.root", tmp_path / "set", "--out", tmp_path / "sheet.png")
    assert status != 0 and "lie in none that names a split" in err


def test_a_label_and_a_field_of_view_beside_an_image_are_not_joined(put, prepare):
    for n in range(6):
        put(f"{n}.jpg")
        put(f"{n}_mask.png", field_of_view())
        put(f"{n}_label.png", patches(n, [1, 2]))
    data, said = prepare()
    assert data["masks"] == "{}_label.png" and "used for nothing: 6" in said and "joined" not in said


def test_a_short_list_that_may_be_one_of_objects_is_told_and_not_taken(put, prepare, tmp_path):
    for n in range(6):
        put(f"images/{n}.jpg")
        put(f"masks/{n}.png", patches(n, [1, 2]))
    (tmp_path / "set" / "classes.txt").write_text("cat\ndog\nbird\n")
    data, said = prepare()
    assert data["classes"] == ["background", "class1", "class2"] and "say --classes" in said


def test_a_void_of_value_0_is_left_out_and_how_to_keep_it_is_said(put, prepare, tmp_path):
    for n in range(6):
        put(f"images/{n}.jpg")
        put(f"masks/{n}.png", patches(n, [1, 2]))
    (tmp_path / "set" / "classes.txt").write_text("unlabeled\ncar\nroad\n")
    data, said = prepare()
    assert data["ignore"] == [0] and "if 0 is the background, say --classes background car road" in said


def test_masks_that_are_all_alike_come_before_edges(put, prepare):
    for n in range(10):
        put(f"images/{n}.jpg")
        put(f"masks/{n}.png", field_of_view())
        put(f"edges/{n}.png", patches(n, [1]))
    assert prepare()[0]["masks"] == "masks"


def test_train_val_beside_train_and_val_is_not_trained_on(put, prepare):
    for split, names in (("train", range(4)), ("val", range(4, 6)), ("trainval", range(6))):
        for n in names:
            put(f"{split}/images/{n}.jpg")
            put(f"{split}/masks/{n}.png", patches(n, [1]))
    assert "splits: 4 train, 2 val (" in prepare()[1]


def field_of_view():
    """What a round lens shows of a picture, 255."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.where((y - 24) ** 2 + (x - 32) ** 2 < 22**2, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("tested", [False, True])
def test_fields_of_view_are_not_taken_for_the_vessels(put, prepare, tested):
    """DRIVE, with and without the vessels of test; their names differ from the images' in each split."""
    for split, names in (("training", range(21, 27)), ("test", range(1, 7))):
        for n in names:
            put(f"{split}/images/{n:02d}_{split}.tif")
            put(f"{split}/mask/{n:02d}_{split}_mask.gif", field_of_view())
            if split == "training" or tested:
                put(f"{split}/1st_manual/{n:02d}_manual1.gif", patches(n, [255]))
            if split == "test" and tested:
                put(f"{split}/2nd_manual/{n:02d}_manual2.gif", patches(n, [255]))
    data, said = prepare()
    assert ("training/mask," in said or "training/mask;" in said) and "nearly the same" not in said
    if tested:
        assert (data["images"], data["masks"]) == ("images/{}_*", "1st_manual/{}_manual1")
        assert "splits: 5 train, 1 val, 6 test" in said
    else:
        assert data["masks"] == "training/1st_manual/{}_manual1" and "splits: 5 train, 1 val images" in said
        assert "would fit as well" not in said


def test_masks_that_are_the_same_in_all_images_are_told(put, prepare):
    for n in range(5):
        put(f"images/{n}.png")
        put(f"masks/{n}.png", field_of_view())
    said = prepare()[1]
    assert (
        "nearly the same in all images, as a camera's field of view is: if the labels lie elsewhere, say --masks"
        in said
    )


@pytest.mark.parametrize("folders", [["benign/benign", "normal/normal"], ["scan"]])
def test_further_masks_of_an_image_are_joined_with_the_first(put, prepare, tmp_path, folders):
    """BUSI: some tumours of an image have masks of their own."""
    for folder in folders:
        for n in range(1, 5):
            put(f"{folder} ({n}).png")
            put(f"{folder} ({n})_mask.png", patches(n, [255]))
    put(f"{folders[0]} (2)_mask_1.png", patches(20, [255]))
    data, said = prepare()
    number = 4 * len(folders)
    assert f"{number + 1} masks of objects for {number} images, such as 2 for" in said
    assert f"masks among the images, which no split needs: {number + 1}" in said and "without mask" not in said
    mask = np.asarray(Image.open(next((tmp_path / "layer.prepared" / "masks").rglob(f"{folders[0]} (2).png"))))
    np.testing.assert_array_equal(mask, (patches(2, [255]) | patches(20, [255])) > 0)
    assert (data["images"], data["classes"]) == ("{}.png", ["background", "foreground"])


def test_one_mask_for_each_image_is_left_where_it_lies(put, prepare):
    for n in range(4):
        put(f"{n}.png")
        put(f"{n}_mask.png", patches(n, [255]))
    data, _ = prepare()
    assert (data["images"], data["masks"]) == ("{}.png", "{}_mask.png")


def numbered_masks(put, values=range(4)):
    for n in range(6):
        put(f"images/{n}.jpg")
        put(f"labels/{n}_P.png", patches(n, np.roll(values, n), min(values)))


@pytest.mark.parametrize(
    ("name", "text", "classes", "label_map", "ignore"),
    [
        ("codes.txt", "Other\nHigh Road\nPole\nTree\n", ["Other", "High Road", "Pole", "Tree"], None, None),
        ("codes.txt", "Other\nVoid\nPole\nTree\n", ["Other", "Pole", "Tree"], {0: 0, 2: 1, 3: 2}, [1]),
        ("labels.csv", "id,name\n0,sky\n1,road\n2,pole\n3,tree\n", ["sky", "road", "pole", "tree"], None, None),
        ("classes.txt", "1: road\n2: pole\n3: tree\n", ["background", "road", "pole", "tree"], None, None),
        ("class_dict.csv", "name,r,g,b\nsky,0,0,0\nroad,1,1,1\npole,2,2,2\ntree,3,3,3\n",
         ["sky", "road", "pole", "tree"], None, None),
    ],
)  # fmt: skip
def test_class_numbers_get_the_names_of_a_file(put, prepare, tmp_path, name, text, classes, label_map, ignore):
    """CamVid's codes.txt, and the like."""
    numbered_masks(put)
    (tmp_path / "set" / name).write_text(text)
    data, said = prepare()
    assert (data["classes"], data.get("label_map"), data.get("ignore")) == (classes, label_map, ignore)
    assert f"{name} names them" in said


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("classes.txt", "road\nlow pole\ntree\n", "to name them so, say --classes background road 'low pole' tree"),
        ("classes.txt", "sky\nroad\npole\ntree\nfox\n", "to name them so, say --classes sky road pole tree fox"),
        ("labels.txt", "0: none\n1: sky\n2: road\n3: pole\n4: tree\n", "labels.txt names 5 classes, which is not sure"),
        ("classes.txt", "road\ntree\n", "names 2 classes, which is not sure to fit the values 0 to 3; to name the cl"),
        ("file_names.txt", "a\nb\nc\nd\n", ""),
        ("labels.csv", "image,label\na,0\nb,1\nc,2\nd,3\ne,0\n", ""),
        ("labels.txt", "0.jpg\n1.jpg\n2.jpg\n3.jpg\n", ""),
    ],
)
def test_a_file_that_may_not_fit_the_class_numbers_is_told(put, prepare, tmp_path, name, text, words):
    numbered_masks(put)
    (tmp_path / "set" / name).write_text(text)
    data, said = prepare()
    assert data["classes"] == ["background", "class1", "class2", "class3"]
    assert words in said and (words or name not in said)


def test_numbers_with_gaps_are_named_by_their_numbers(put, prepare, tmp_path):
    numbered_masks(put, [0, 7, 21, 40])
    lines = [f"{number} kind{number}" for number in range(41)]
    (tmp_path / "set" / "label_names.txt").write_text("\n".join(lines))
    data, _ = prepare()
    assert data["classes"] == [f"kind{number}" for number in range(41)]
    (tmp_path / "layer.yaml").unlink()
    (tmp_path / "set" / "label_names.txt").write_text("\n".join(lines[7:]) + "\n0 ground\n")
    (tmp_path / "layer.prepared").rename(tmp_path / "before")
    data, said = prepare()
    assert data["classes"] == ["ground", "kind7", "kind21", "kind40"] and data["label_map"] == {
        0: 0,
        7: 1,
        21: 2,
        40: 3,
    }


def test_two_values_are_not_named_by_two_lines_unless_the_first_is_the_background(put, prepare, tmp_path):
    numbered_masks(put, [0, 1])
    (tmp_path / "set" / "classes.txt").write_text("cat\ndog\n")
    data, said = prepare()
    assert data["classes"] == ["background", "foreground"] and "say --classes cat dog" in said


def test_a_file_that_lacks_a_colour_is_told(put, prepare, tmp_path):
    colours = np.array([[0, 0, 0], [0, 0, 255], [255, 0, 0]], np.uint8)
    for n in range(6):
        put(f"images/{n}.jpg")
        put(f"labels/{n}.png", colours[patches(n, [1, 2])])
    (tmp_path / "set" / "class_dict.csv").write_text("Class, Red, Green, Blue\nsky,0,0,0\nroad,0,0,255\n")
    data, said = prepare()
    assert "class_dict.csv does not name #ff0000, so it is not taken" in said and "road" not in data["classes"]
