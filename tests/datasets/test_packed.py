import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segkd.datasets import packed
from segkd.datasets.packed import Packed, Shard, size_on_disk
from segkd.types import InputError


def shard(path, groups=20):
    part = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": f"row {i}".encode(), "path": f"cat/{i}.png"} for i in range(2 * groups)]
    pq.write_table(pa.table({"image": pa.array(rows, part), "mask": pa.array(rows, part)}), path, row_group_size=2)
    return Shard(str(path.parent), str(path), ("image", "mask"))


def test_any_row_is_read_as_a_file_in_any_order(tmp_path):
    held = shard(tmp_path / "train.parquet")
    for i in (39, 0, 17, 16, 38):
        file = pickle.loads(pickle.dumps(Packed(held, i // 2, i % 2, "image", f"cat/{i}.png")))
        assert file.read_bytes() == file.open().read() == f"row {i}".encode()
        assert (file.name, file.suffix, file.exists(), file.is_file()) == (f"{i}.png", ".png", True, True)
        assert str(file) == f"{tmp_path}/train.parquet:image/cat/{i}.png" and file.parents[0] == tmp_path
    assert size_on_disk(file) == (tmp_path / "train.parquet").stat().st_size


def test_few_groups_are_kept_and_one_is_read_once(tmp_path, monkeypatch):
    held = shard(tmp_path / "train.parquet")
    packed._group.cache_clear()
    for i in range(40):
        Packed(held, i // 2, i % 2, "mask", "").read_bytes()
    told = packed._group.cache_info()
    assert told.misses == 20 and told.currsize == packed.GROUPS_KEPT


def test_a_forked_process_reads_through_a_handle_of_its_own(tmp_path, monkeypatch):
    held = shard(tmp_path / "train.parquet")
    mine = packed.open_shard(held.place, held.path, os.getpid())
    assert packed.open_shard(held.place, held.path, os.getpid()) is mine
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert packed.open_shard(held.place, held.path, os.getpid()) is not mine


def test_shards_elsewhere_are_read_through_their_address(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    held = shard(tmp_path / "train.parquet")
    with fsspec.open("memory://bucket/train.parquet", "wb") as file:
        file.write((tmp_path / "train.parquet").read_bytes())
    there = Shard("fsspec+memory:///bucket", "/bucket/train.parquet", held.columns)
    assert Packed(there, 3, 1, "image", "").read_bytes() == b"row 7"


def test_a_row_without_bytes_and_a_shard_that_went_away_are_said(tmp_path):
    part = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": None, "path": "0.png"}], part)
    pq.write_table(pa.table({"image": rows, "mask": rows}), tmp_path / "train.parquet")
    held = Shard(str(tmp_path), str(tmp_path / "train.parquet"), ("image", "mask"))
    with pytest.raises(InputError, match=r"train\.parquet:image/0\.png: expected the bytes of a file, found none"):
        Packed(held, 0, 0, "image", "0.png").read_bytes()
    gone = Shard(str(tmp_path), str(tmp_path / "gone.parquet"), ("image", "mask"))
    with pytest.raises(InputError, match=r"gone\.parquet: expected Parquet shards that can be read"):
        Packed(gone, 0, 0, "image", "0.png").read_bytes()


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/data/ecssd", "ecssd"),
        ("leaves.prepared/shards", "leaves"),
        ("hf://datasets/owner/leaves", "leaves"),
        ("/x/my/shards/", "my"),
    ],
)
def test_a_data_set_is_called_by_its_folder_and_shards_by_what_was_prepared(place, name):
    assert packed.name_of(place) == name
