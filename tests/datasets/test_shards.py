import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from segkd.datasets.data import Data
from segkd.datasets.loader import SegmentationDataset, train_loader
from segkd.datasets.opening import open_data, splits_of
from segkd.datasets.packing import write_shards
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.shards import find_shards
from segkd.datasets.transforms import Augment, Transform
from segkd.types import InputError

PARTED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def opened(data, wanted=("train", "val")):
    return open_data(data, wanted, lambda n: None)


def shards_of(root, folder, **settings):
    write_shards(splits_of(Data(root=str(root), **settings)).members, folder)
    return str(folder)


def write(path, rows, kind=PARTED, columns=("image", "mask")):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(rows, kind) for name in columns}), path)


def png(array, **options):
    content = io.BytesIO()
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.save(content, "PNG", **options)
    return content.getvalue()


def test_shards_give_what_the_files_give(make_folder, tmp_path):
    root = make_folder(n=7)
    files, _ = opened(Data(root=str(root)))
    packed, findings = opened(Data(parquet=shards_of(root, tmp_path / "shards"), cache_gb=0.0))
    assert findings.about.startswith("2 Parquet shards: 6 train, 1 val images") and "read from disk" in findings.about
    for name, records in files.items():
        assert packed[name].ids == records.ids and packed[name].digests == records.digests
        for i in range(len(records)):
            for one, other in zip(records.load(i), packed[name].load(i)):
                np.testing.assert_array_equal(one, other)


def test_a_palette_mask_keeps_its_classes_and_a_photo_its_orientation(tmp_path):
    """Reading the column as grey, as Hugging Face's Image(mode="L") does, would make 0, 15, 38, ... of 0..4."""
    root = tmp_path / "folder"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    index = np.arange(5, dtype=np.uint8).repeat(48).reshape(12, 20)
    mask = Image.fromarray(index, "P")
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128])
    exif = Image.Exif()
    exif[274] = 6
    lying = Image.fromarray(np.zeros((20, 12, 3), np.uint8)).transpose(Image.Transpose.ROTATE_90)
    for i in range(3):
        lying.rotate(0).save(root / "images" / f"{i}.jpg", exif=exif)
        turned = mask.transpose(Image.Transpose.ROTATE_90)
        turned.save(root / "masks" / f"{i}.png")
    assert set(np.unique(np.asarray(mask.convert("L")))) != set(range(5))
    names = ["ground", "one", "two", "three", "four"]
    data = Data(parquet=shards_of(root, tmp_path / "shards"), classes=names, cache_gb=0.0)
    image, label = opened(data)[0]["train"].load(0)
    assert image.shape == (20, 12, 3)
    np.testing.assert_array_equal(np.unique(label), np.arange(5))
    coloured = {name: list(colour) for name, colour in zip(names, np.array(mask.getpalette()).reshape(-1, 3).tolist())}
    np.testing.assert_array_equal(
        opened(Data(parquet=data.parquet, classes=names, colours=coloured))[0]["train"].load(0)[1], label
    )


def test_faults_name_the_shard_and_the_file(make_folder, tmp_path):
    root = make_folder(n=4)
    (root / "masks" / "photo1.png").write_bytes(b"broken")
    folder = shards_of(root, tmp_path / "shards")
    with pytest.raises(InputError, match=r"val-00000\.parquet:mask/photo1\.png"):
        opened(Data(parquet=folder))


def test_a_resumed_epoch_is_the_same_with_any_workers(make_folder, tmp_path):
    data = Data(parquet=shards_of(make_folder(n=9), tmp_path / "shards"), size=32, cache_gb=0.0)
    dataset = SegmentationDataset(opened(data)[0]["train"], Transform(data.shape, Augment(), 2, soft=False), seed=3)

    def batches(start, workers, number):
        stream = iter(train_loader(dataset, EpochBatches(len(dataset), 2, 3, start=start), workers))
        found = [next(stream) for _ in range(number)]
        stream.close()
        return found

    for one, other in zip(batches(0, 0, 7)[3:], batches(3, 2, 4), strict=True):
        assert one.ids == other.ids and one.image.equal(other.image) and one.label.equal(other.label)


@pytest.mark.parametrize(
    "name, split",
    [
        ("train-00000-of-00002", "train"),
        ("validation", "val"),
        ("test/0000", "test"),
        ("data/0001", "train"),
        ("cars_val", "val"),
        ("cars-test-00001", "test"),
        ("default/partial-validation/0000", "val"),
        ("test/train-00000", "train"),
        ("crash-test/0000", "train"),
    ],
)
def test_names_say_the_split(name, split, tmp_path):
    write(tmp_path / f"{name}.parquet", [{"bytes": b"", "path": f"{i}.png"} for i in range(1)])
    assert list(find_shards(str(tmp_path)).members) == [split]


def test_plain_bytes_and_doubled_names_are_numbered_and_columns_are_named(tmp_path):
    content = [png(np.full((8, 8), i, np.uint8)) for i in range(2)]
    write(tmp_path / "train.parquet", content, pa.binary(), ("photo", "annotation"))
    write(tmp_path / "val.parquet", content, pa.binary(), ("photo", "annotation"))
    found = find_shards(str(tmp_path), "photo", "annotation").members
    assert [pair.stem for pair in found["train"] + found["val"]] == [
        "train000000", "train000001", "val000000", "val000001",
    ]  # fmt: skip
    assert found["val"][1].mask.read_bytes() == content[1]
    with pytest.raises(InputError, match=r"a column image of bytes .* found photo \(binary\), annotation \(binary\)"):
        find_shards(str(tmp_path), "images", "masks")


def test_val_is_carved_and_groups_stay_whole(tmp_path):
    rows = [{"bytes": b"", "path": f"patient{i // 4}_{i}.png"} for i in range(40)]
    write(tmp_path / "train.parquet", rows)
    splits = find_shards(str(tmp_path), val_share=0.2, group=r"patient(\d+)")
    homes = [{pair.stem.split("_")[0] for pair in splits.members[name]} for name in ("train", "val")]
    assert splits.carved and len(splits.members["val"]) == 8 and not homes[0] & homes[1]


def test_what_is_no_shard_is_said(tmp_path):
    with pytest.raises(InputError, match=r"expected Parquet shards \(\*\.parquet\) in .*found none"):
        find_shards(str(tmp_path))
    (tmp_path / "train.parquet").write_bytes(b"no such thing")
    with pytest.raises(InputError, match=r"train\.parquet: expected Parquet shards that can be read, found: .*magic"):
        find_shards(str(tmp_path))
    (tmp_path / "train.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InputError, match=r"train\.parquet: a pointer of Git LFS, whose shard.*git lfs pull"):
        find_shards(str(tmp_path))
    for name in ("nowhere", "nowhere.parquet"):
        with pytest.raises(InputError, match=rf"{name}: .*found nothing there\. Correct the path; .*--to parquet"):
            find_shards(str(tmp_path / name))
    with pytest.raises(InputError, match=r"data\.val: lists of files"):
        opened(Data(parquet=str(tmp_path), val="val.txt"))
    with pytest.raises(InputError, match=r"give one of data\.root"):
        opened(Data(parquet=str(tmp_path), root=str(tmp_path)))
