import numpy as np
import pytest
from PIL import Image

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.opening import open_data
from segkd.datasets.transforms import Augment
from segkd.types import IGNORE, InputError


def opened(data, wanted=("train", "val")):
    records, findings = open_data(data, wanted, lambda n: None)
    return records, findings.about


def arrays(records):
    return {name: [part.load(i) for i in range(len(part))] for name, part in records.items()}


@pytest.mark.parametrize("high", [255, 1])
def test_a_folder_of_0_255_or_0_1_masks_needs_no_settings(make_folder, high):
    root = make_folder(n=6, high=high)
    records, about = opened(Data(root=str(root)))
    assert {name: len(part) for name, part in records.items()} == {"train": 5, "val": 1}
    assert sorted(records["train"].ids + records["val"].ids) == [f"photo{i}" for i in range(6)]
    rule = "255 -> 1" if high == 255 else "raw values 0..1 are the classes"
    assert "5 train, 1 val" in about and rule in about and "foreground 16.7 %" in about
    for image, label in (records["train"].load(i) for i in range(5)):
        assert image.shape == (48, 40, 3) and label.shape == (48, 40) and label.dtype == np.uint8
        assert label.sum() == 320 and image[label == 1].min() > image[label == 0].mean()


def test_cache_on_and_off_give_the_same_arrays(make_folder):
    root = make_folder(n=5)
    cached, about_cached = opened(Data(root=str(root)))
    read, about_read = opened(Data(root=str(root), cache_gb=0.0))
    partly, about_partly = opened(Data(root=str(root), cache_gb=3 * 48 * 40 * 4 / 1e9))  # three of five would fit
    assert "cached in memory" in about_cached
    assert "read from disk" in about_read and "read from disk" in about_partly
    expected = arrays(cached)
    for other in (arrays(read), arrays(partly)):
        for name, samples in expected.items():
            for (image, label), (other_image, other_label) in zip(samples, other[name], strict=True):
                np.testing.assert_array_equal(image, other_image)
                np.testing.assert_array_equal(label, other_label)


def test_the_cache_survives_the_files_and_reading_from_disk_says_what_changed(make_folder):
    root = make_folder(n=3)
    cached, _ = opened(Data(root=str(root)))
    read, _ = opened(Data(root=str(root), cache_gb=0.0))
    for path in (root / "masks").iterdir():
        path.unlink()
    assert cached["val"].load(0)[1].sum() == 320
    with pytest.raises(InputError, match=r"data changed since this command began: .*\.png"):
        read["val"].load(0)


def test_progress_is_told_the_total_once_and_then_each_file(make_folder):
    told = []
    open_data(Data(root=str(make_folder(n=4))), ("train", "val"), told.append)
    assert told == [4, 0, 0, 0, 0]


def test_lists_are_found_by_name_or_as_set(make_folder):
    root = make_folder(n=6)
    (root / "test.txt").write_text("photo0\nphoto1\n")
    (root / "chosen.txt").write_text("photo2\n")
    records, _ = opened(Data(root=str(root), val="chosen.txt"), ("train", "val", "test"))
    assert records["test"].ids == ("photo0", "photo1") and records["val"].ids == ("photo2",)
    assert records["train"].ids == ("photo3", "photo4", "photo5")


def test_only_wanted_splits_are_read(make_folder):
    root = make_folder(n=4)
    (root / "test.txt").write_text("photo0\n")
    (root / "masks" / "photo3.png").write_bytes(b"broken")
    records, _ = opened(Data(root=str(root)), ("test",))
    assert list(records) == ["test"]
    with pytest.raises(InputError, match="photo3"):
        opened(Data(root=str(root)))


def test_a_wanted_split_that_is_not_there_says_which_are(make_folder):
    with pytest.raises(InputError, match=r"no test split: expected data\.test.*There are: train, val"):
        opened(Data(root=str(make_folder(n=3))), ("test",))


def test_an_absent_root_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.root: expected a folder, found none at .*nowhere"):
        opened(Data(root=str(tmp_path / "nowhere")))


def test_map_ignore_and_threshold_reach_the_labels(make_folder):
    root = make_folder(n=3)
    for path in (root / "masks").iterdir():
        with Image.open(path) as picture:
            mask = np.array(picture) // 255 * 9
        mask[0, :3] = 40
        Image.fromarray(mask).save(path)
    base = {"root": str(root), "val": None}
    _, label = opened(Data(**base, label_map={0: 0, 9: 1}, ignore=[40]))[0]["train"].load(0)
    assert (label == 1).sum() == 320 and (label == IGNORE).sum() == 3 and label.max() == IGNORE
    _, label = opened(Data(**base, threshold=8))[0]["train"].load(0)
    assert (label == 1).sum() == 323
    _, label = opened(Data(**base, threshold=8, ignore=[40]))[0]["train"].load(0)
    assert (label == 1).sum() == 320 and (label == IGNORE).sum() == 3
    with pytest.raises(InputError, match=r"no class \(40\)"):
        opened(Data(**base, label_map={0: 0, 9: 1}))


def test_indexed_masks_of_many_classes_need_no_map(make_folder):
    root = make_folder(n=4, high=2)
    records, about = opened(Data(root=str(root), classes=["ground", "sky", "tree"]))
    assert set(np.unique(records["train"].load(0)[1])) == {0, 2}
    assert "sky 0.0 %" in about and "tree 16.7 %" in about


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"embedded": None}, "one of data.root .* and data.embedded"),
        ({"root": "somewhere"}, "one of data.root .* and data.embedded"),
        ({"classes": ["one"]}, "names 1 classes; 2 to 255"),
        ({"classes": [str(i) for i in range(256)]}, "names 256 classes"),
        ({"size": 16}, r"data.size is \[16, 16\]; at least 32"),
        ({"size": (64, 31)}, r"data.size is \[64, 31\]"),
        ({"batch_size": 0}, "data.batch_size 0 must be 1 to 65536"),
        ({"workers": -1}, "data.workers -1"),
        ({"val_share": 0.0}, "data.val_share is 0.0"),
        ({"val_share": 1.0}, "data.val_share is 1.0"),
        ({"threshold": 128, "label_map": {0: 0}}, "data.threshold is for two classes without"),
        ({"threshold": 128, "classes": ["a", "b", "c"]}, "data.threshold is for two classes"),
        ({"range": (5.0, 5.0)}, r"data.range is \[5.0, 5.0\]; give \[black, white\]"),
        ({"max_megapixels": 0.0}, "data.max_megapixels is 0.0"),
        ({"colours": {"a": "#000000"}, "ignore": [255]}, "data.colours says the class of each colour"),
        ({"size": (64, 32), "augment": Augment(quarter_turns=True)}, "quarter_turns needs a square"),
    ],
)
def test_bad_settings_are_refused_in_words(settings, words):
    small = Embedded(train=1, val=1, test=1, side=32)
    with pytest.raises(InputError, match=words):
        opened(Data(**{"embedded": small, **settings}))


def test_all_bad_settings_stand_in_one_report():
    with pytest.raises(InputError) as error:
        opened(Data(size=8, batch_size=0, val_share=2.0))
    assert all(word in str(error.value) for word in ("data.root", "data.size", "data.batch_size", "data.val_share"))


def test_the_embedded_splits_are_disjoint_and_do_not_depend_on_what_is_wanted():
    data = Data(embedded=Embedded(train=5, val=2, test=3, side=32))
    records, about = opened(data, ("train", "val", "test"))
    assert [len(records[name]) for name in ("train", "val", "test")] == [5, 2, 3] and "5 train, 2 val, 3 test" in about
    images = [image.tobytes() for samples in arrays(records).values() for image, _ in samples]
    assert len(set(images)) == 10
    alone, _ = opened(data, ("test",))
    np.testing.assert_array_equal(alone["test"].load(2)[0], records["test"].load(2)[0])
    assert len(set(records["train"].ids + records["val"].ids + records["test"].ids)) == 10


def test_size_is_one_number_or_height_and_width():
    assert Data(size=64).shape == (64, 64) and Data(size=(64, 96)).shape == (64, 96)


def test_masks_in_colours_are_opened_by_their_names(make_folder):
    root = make_folder(n=4)
    for path in (root / "masks").iterdir():
        with Image.open(path) as picture:
            mask = np.array(picture) // 255
        Image.fromarray(np.array([(0, 0, 0), (48, 112, 32)], np.uint8)[mask]).save(path)
    with pytest.raises(InputError, match=r"data\.colours: \{background: '#000000', foreground: '#307020'\}"):
        opened(Data(root=str(root)))
    (root / "map.txt").write_text("background:0,0,0::\nforeground:48,112,32::\n")
    for colours in ({"background": "#000000", "foreground": [48, 112, 32]}, "map.txt"):
        records, about = opened(Data(root=str(root), colours=colours, cache_gb=0.0))
        assert "colours are the classes" in about and records["train"].load(0)[1].sum() == 320


def test_what_to_look_at_comes_with_the_records(make_folder):
    root = make_folder(n=4)
    for path in (root / "images").iterdir():
        with Image.open(path) as picture:
            grey = np.array(picture.convert("L")).astype(np.uint16)
        Image.fromarray(grey * 16).save(path.with_suffix(".png"))
        if path.suffix != ".png":
            path.unlink()
    _, findings = open_data(Data(root=str(root)), ("train", "val"), lambda n: None)
    assert len(findings.warnings) == 1 and "Write data.range: [0, 4095]" in findings.warnings[0]
    records, findings = open_data(Data(root=str(root), range=(0.0, 4095.0)), ("train", "val"), lambda n: None)
    assert findings.warnings == () and "of 0..4095" in findings.about
    assert records["train"].load(0)[0].max() > 100


def test_masks_may_be_numpys_files(make_folder):
    root = make_folder(n=4)
    for path in (root / "masks").iterdir():
        with Image.open(path) as picture:
            np.save(path.with_suffix(".npy"), np.array(picture) > 0)
        path.unlink()
    records, about = opened(Data(root=str(root)))
    assert "foreground 16.7 %" in about and records["val"].load(0)[1].sum() == 320


def test_settings_about_files_are_refused_where_images_are_generated():
    data = Data(embedded=Embedded(), label_map={0: 1, 1: 0}, train="nowhere.txt", ignore=[1])
    with pytest.raises(InputError, match=r"data\.ignore, data\.train, data\.label_map: about files, without effect"):
        open_data(data, ["train"], lambda n: None)
