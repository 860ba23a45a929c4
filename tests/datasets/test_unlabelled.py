"""Images without a label beside those that have one: which they are, what is read, where they stand in a batch."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from segkd.ablation.identity import data_digests
from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.opening import open_data
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Augment, Transform
from segkd.types import IGNORE, InputError


@pytest.fixture
def root(make_folder):
    """Eight pairs, of which a list validates on two; three more images in their folder, two elsewhere."""
    root = make_folder(8)
    for place, number in (("images", 3), ("more/deep", 2)):
        (root / place).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            Image.new("RGB", (40, 48), (90 * i, 20, 30)).save(root / place / f"new{i}.png")
    (root / "val.txt").write_text("photo6\nphoto7\n")
    return root


def opened(data, training=True):
    return open_data(data, ["train", "val"], lambda number: None, training=training)


def test_an_image_without_a_mask_is_refused_with_what_to_write_and_learned_from_when_it_is_written(root):
    with pytest.raises(InputError, match=r"3 of 11 stems are unmatched.*data.unlabelled: images"):
        opened(Data(root=str(root)))
    records, findings = opened(Data(root=str(root), unlabelled="images"))
    assert records["unlabelled"].ids == ("new0", "new1", "new2") and len(records["train"]) == 6
    assert "3 images without a label (images), cached in memory" in findings.about
    assert not any("without mask" in warning for warning in findings.warnings)
    image, label = records["unlabelled"].load(1)
    assert image.shape == (48, 40, 3) and (image == (90, 20, 30)).all()
    assert label.shape == (48, 40) and (label == IGNORE).all()


def test_no_image_of_a_split_is_among_them_and_those_of_a_fold_that_is_left_out_are(root):
    (root / "test.txt").write_text("photo5\n")
    data = Data(root=str(root), unlabelled="images/photo{}.jpg", only_fold=(0, 2), train="train.txt")
    (root / "train.txt").write_text("photo0\nphoto1\nphoto2\nphoto3\n")
    records, _ = opened(data)
    assert len(records["train"]) == 2
    whole = {*records["train"].ids, *(f"photo{id}" for id in records["unlabelled"].ids)}
    assert whole == {f"photo{i}" for i in (0, 1, 2, 3, 4)}  # 4 is in no list


def beside(root):
    """The pairs of `root` with their masks in the folder of the images."""
    for mask in (root / "masks").iterdir():
        mask.rename(root / "images" / f"{mask.stem}_mask.png")
    return Data(root=str(root), masks="images/{}_mask.png", unlabelled="images")


@pytest.mark.parametrize("settings", [{"train": "list.txt"}, {"only_fold": (0, 3)}, {"fold": (0, 3)}])
def test_masks_beside_the_images_are_none_of_them_whether_in_a_split_or_not(root, settings):
    (root / "list.txt").write_text("photo0\nphoto1\nphoto2\n")
    records, _ = opened(replace(beside(root), **settings))
    whole = {f"photo{i}" for i in range(6)} | {"new0", "new1", "new2"}
    assert {*records["unlabelled"].ids} == whole - {*records["train"].ids}


def test_images_to_test_on_that_have_no_mask_or_lie_in_a_folder_of_that_name_are_none_of_them(root):
    (root / "train.txt").write_text("\n".join(f"photo{i}" for i in range(6)))
    (root / "test.txt").write_text("new0\n")
    (root / "images" / "Testing").mkdir()
    Image.new("RGB", (40, 48)).save(root / "images" / "Testing" / "other.jpg")
    data = Data(root=str(root), unlabelled="images")
    records, findings = opened(data)
    assert records["unlabelled"].ids == ("new1", "new2")
    assert "; left out below folders named val or test: 1" in findings.about
    with pytest.raises(InputError, match=r"found none among 1 \(left out below folders named val or test: 1\)"):
        opened(replace(data, unlabelled="**/oth{}.jpg"))
    assert opened(replace(data, test="images/Testing", unlabelled="."))[0]["unlabelled"].ids == (
        *(f"images/new{i}" for i in range(3)), "more/deep/new0", "more/deep/new1"
    )  # fmt: skip
    (root / "test.txt").write_text("new0\nnowhere\n")
    with pytest.raises(InputError, match=r"1 of 2 lines of .*test.txt name no image"):
        opened(data)
    assert opened(data, training=False)[0].keys() == {"train", "val"}


@pytest.mark.parametrize(
    ("name", "unlabelled", "cure"),
    [
        ("test", "images", r"Or take them out of \S*test.txt:\n"),
        ("test", None, r"Or take them out of \S*test.txt:\n"),
        ("train", "images", r"Or take them out of \S*train.txt: data.unlabelled has them:\n"),
        (
            "train",
            None,
            r"Or take them out of \S*train.txt and write data.unlabelled: images, to train on them without",
        ),
    ],
)
def test_a_list_that_names_images_without_masks_is_answered_with_what_helps(root, name, unlabelled, cure):
    (root / f"{name}.txt").write_text("photo1\nnew0\n")
    with pytest.raises(InputError, match=cure) as caught:
        open_data(Data(root=str(root), unlabelled=unlabelled), ["train", "test"], lambda number: None)
    assert ("write data.unlabelled" in str(caught.value)) == (name == "train" and unlabelled is None)


def test_names_of_another_folder_begin_with_it(root):
    for stray in (root / "images").glob("new*"):
        stray.unlink()
    records, _ = opened(Data(root=str(root), unlabelled="more"))
    assert records["unlabelled"].ids == ("more/deep/new0", "more/deep/new1")


def test_only_a_training_reads_them(root):
    records, _ = opened(Data(root=str(root), unlabelled="images"), training=False)
    assert records.keys() == {"train", "val"}
    for stray in (root / "images").glob("new*"):
        stray.unlink()
    assert opened(Data(root=str(root), unlabelled="gone"), training=False)[0].keys() == {"train", "val"}
    with pytest.raises(InputError, match=r"gone: expected the folder of data.unlabelled"):
        opened(Data(root=str(root), unlabelled="gone"))


def test_what_cannot_be_used_is_named(root):
    (root / "images" / "new1.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 2)).save(root / "images" / "new2.png")
    with pytest.raises(
        InputError, match=r"2 of 3 files of data.unlabelled cannot be used:\n.*new1.png(.|\n)*new2.png.*40x2"
    ):
        opened(Data(root=str(root), unlabelled="images"))
    with pytest.raises(InputError, match=r"expected images that are in no split, found none among 8"):
        opened(Data(root=str(root), images="images/{}.jpg", unlabelled="images/p{}.jpg"))


def test_photos_that_nothing_reads_are_said_once(root):
    (root / "train.txt").write_text("photo0\nphoto1\n")
    for folder in ("more", "images"):
        (root / folder / "IMG_1.HEIC").write_bytes(b"ftypheic")
    passed = "passed over 1 file: IMG_1.HEIC (no reader)"
    for written, told in (("more", [f"images: {passed}", f"more: {passed}"]), ("images", [f"images: {passed}"])):
        _, findings = opened(Data(root=str(root), unlabelled=written))
        assert [one for one in findings.warnings if "HEIC" in one] == told
    with pytest.raises(InputError, match=r"found none among 0 \(passed over 1 file: IMG_1.HEIC"):
        opened(Data(root=str(root), unlabelled="more/x{}.png"))


def test_masks_of_another_data_set_are_no_photos(root):
    other = root.parent / "other"
    for name in ("images/far0.jpg", "images/far1.jpg", "masks/far0.png"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 48), (len(name), 9, int(name[-5]))).save(other / name)
    (root / "train.txt").write_text("photo0\nphoto1\n")
    records, findings = opened(Data(root=str(root), unlabelled="../other"))
    assert [name.rsplit("/", 1)[1] for name in records["unlabelled"].ids] == ["far0", "far1"]
    assert "; left out as masks of others: 1" in findings.about


def test_a_copy_of_an_image_of_a_split_is_left_out(root):
    (root / "test.txt").write_text("photo5")
    for number, split in ((1, "train"), (6, "val"), (5, "test")):
        shutil.copy(root / "images" / f"photo{number}.jpg", root / "more" / f"of_{split}.jpg")
    for stray in (root / "images").glob("new*"):
        stray.unlink()
    records, findings = opened(Data(root=str(root), unlabelled="./more/"))
    assert records["unlabelled"].ids == ("more/deep/new0", "more/deep/new1")
    assert "; 2 images without a label (./more/), cached" in findings.about
    assert findings.about.endswith("; left out as copies of images of a split: 3")
    shutil.rmtree(root / "more" / "deep")
    with pytest.raises(InputError, match="all 3 files are copies of images that a split holds"):
        opened(Data(root=str(root), unlabelled="more"))


def test_a_mask_beside_its_image_is_no_photo_and_a_wrong_folder_is_named_first(root):
    Image.new("L", (40, 48)).save(root / "more" / "deep" / "new0_mask.png")
    for stray in (root / "images").glob("new*"):
        stray.unlink()
    assert opened(Data(root=str(root), unlabelled="more"))[0]["unlabelled"].ids == ("more/deep/new0", "more/deep/new1")
    Image.new("RGB", (40, 48)).save(root / "images" / "alone.png")
    with pytest.raises(InputError, match=r"nowhere: expected the folder of data.unlabelled"):
        opened(Data(root=str(root), unlabelled="nowhere"))


def test_a_wrong_folder_an_archive_and_a_list_are_answered_with_what_to_write(root):
    (root / "photos.zip").write_bytes(b"PK")
    (root / "names.txt").write_text("new0\n")
    for written, told in (
        ("mroe", r"mroe: expected the folder of data.unlabelled, found nothing.*lie in: images \(11\)"),
        ("photos.zip", r"data.unlabelled: .*found a file. Unpack it, and give the folder"),
        ("names.txt", r"data.unlabelled: .*found a file. Lists of names are for data.train"),
    ):
        with pytest.raises(InputError, match=told):
            opened(Data(root=str(root), unlabelled=written))


def test_values_that_use_little_of_their_range_and_what_is_not_read_are_told_of_them_too(root):
    Image.fromarray(np.full((40, 48), 4000, np.uint16)).save(root / "more" / "deep12.png")
    Image.fromarray(np.arange(40 * 48 * 4).reshape(40, 48, 4).astype(np.uint8)).save(root / "more" / "glass.png")
    (root / "train.txt").write_text("photo0\nphoto1\n")
    _, findings = opened(Data(root=str(root), unlabelled="more"))
    assert any(one.startswith("more: 1 of 4 images use the values 4000..4000") for one in findings.warnings)
    assert any(one.startswith("more: 1 of 4 images have transparency") for one in findings.warnings)


def test_further_frames_of_a_patient_of_val_or_test_are_none_of_them(root):
    for name in ("photo1", "photo6", "photo5", "other"):
        Image.new("RGB", (40, 48), (len(name), 7, ord(name[-1]))).save(root / "more" / f"{name}_later.png")
    (root / "train.txt").write_text("photo0\nphoto1\n")
    (root / "test.txt").write_text("photo5\n")
    data = Data(root=str(root), unlabelled="more", group=r"photo(\d)")
    records, findings = opened(data)
    assert records["unlabelled"].ids == ("more/deep/new0", "more/deep/new1", "more/other_later", "more/photo1_later")
    assert "; left out as their group (data.group) is one of val or test: 2" in findings.about
    assert len(opened(replace(data, group=None))[0]["unlabelled"]) == 6


def test_a_grid_knows_which_they_are(root):
    data = Data(root=str(root), unlabelled="images")
    before = data_digests(data)
    assert before["unlabelled"]["pairs"] == 3
    Image.new("RGB", (40, 48)).save(root / "images" / "new3.png")
    after = data_digests(data)
    assert after["unlabelled"]["pairs"] == 4 and {s: d for s, d in after.items() if s != "unlabelled"} == {
        s: d for s, d in before.items() if s != "unlabelled"
    }


def test_read_from_disk_they_are_the_same_and_another_file_is_noticed(root):
    kept, _ = opened(Data(root=str(root), unlabelled="images"))
    read, findings = opened(Data(root=str(root), unlabelled="images", cache_gb=0.0))
    assert findings.memory == 0 and kept["unlabelled"].digests == read["unlabelled"].digests
    for i in range(3):
        assert all(np.array_equal(a, b) for a, b in zip(kept["unlabelled"].load(i), read["unlabelled"].load(i)))
    Image.new("RGB", (40, 48), (1, 2, 3)).save(root / "images" / "new2.png")
    with pytest.raises(InputError, match=r"new2.png: the data changed since this command began"):
        read["unlabelled"].load(2)


def test_of_generated_images_those_have_no_label_that_a_fold_leaves_out():
    data = Data(embedded=Embedded(train=6, val=2, side=48), only_fold=(0, 3), unlabelled="rest")
    records, _ = opened(data)
    whole, _ = opened(replace(data, only_fold=None, unlabelled=None))
    assert {*records["train"].ids, *records["unlabelled"].ids} == set(whole["train"].ids)
    assert not {*records["train"].ids} & {*records["unlabelled"].ids}
    at = whole["train"].ids.index(records["unlabelled"].ids[0])
    assert np.array_equal(records["unlabelled"].load(0)[0], whole["train"].load(at)[0])
    with pytest.raises(InputError, match=r"write data.only_fold"):
        opened(replace(data, only_fold=None))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unlabelled_batch": 4}, "data.unlabelled_batch is without effect"),
        ({"unlabelled": "images", "unlabelled_batch": 0}, "data.unlabelled_batch is 0; 1 to 65536"),
        ({"unlabelled": ""}, "data.unlabelled is ''; it is a folder below data.root"),
        ({"unlabelled": "/images"}, "it is a folder below data.root, or a pattern there"),
        ({"unlabelled": "images", "domain_group": "a"}, "not domains or shards"),
    ],
)
def test_settings_that_say_nothing_are_refused(root, settings, said):
    with pytest.raises(InputError, match=said):
        opened(Data(root=str(root), **settings))


def test_the_labelled_part_of_every_batch_is_that_of_a_training_without_them():
    plain = EpochBatches(10, 4, seed=3, accumulate=2)
    mixed = EpochBatches(10, 4, seed=3, accumulate=2, beside=(7, 3))
    assert plain.per_epoch == mixed.per_epoch == 2
    for epoch in range(3):
        order = mixed.order(epoch)
        assert order.shape == (2, 1, 7) and np.array_equal(order[..., :4], plain.order(epoch))
        others = order[..., 4:].ravel()
        assert len(set(others)) == 6 and others.min() >= 10 and others.max() < 17
    assert not np.array_equal(mixed.order(0)[..., 4:], mixed.order(1)[..., 4:])
    ranks = [next(iter(EpochBatches(12, 2, 0, rank=rank, world=2, beside=(20, 5)))) for rank in range(2)]
    drawn = [index for keys in ranks for _, index, _ in keys if index >= 12]
    assert len(drawn) == len(set(drawn)) == 10


def test_a_batch_knows_which_images_have_no_label_and_where_their_pixels_went(root):
    records, _ = opened(Data(root=str(root), unlabelled="images"))
    transform = Transform((32, 32), Augment(), 2, soft=True)
    dataset = SegmentationDataset(records["train"], transform, 0, records["unlabelled"])
    assert len(dataset) == 6
    batch = collate([dataset[0, i] for i in (1, 2, 7, 8)])
    assert batch.ids[2] == "new1" and batch.unlabelled == 2
    assert batch.valid[:2].all() and not batch.valid[2:].any()
    assert torch.equal(batch.unknown, ~batch.valid)
    source = torch.randperm(4 * 32 * 32).view(4, 32, 32)
    label = batch.label.flatten()[source]
    moved = replace(batch, label=label, source=source)
    assert torch.equal(moved.unknown, ~moved.valid) and moved.unknown[0].any() and not moved.unknown[3].all()
    assert collate([dataset[0, 0]]).unlabelled == 0 and collate([dataset[0, 0]]).unknown is None
