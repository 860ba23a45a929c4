import json

import pyarrow.parquet as pq
import pytest

from segkd.datasets import packing
from segkd.datasets.data import Data
from segkd.datasets.opening import splits_of
from segkd.datasets.packing import write_shards
from segkd.types import InputError


def test_rows_hold_the_files_byte_for_byte_in_groups_and_shards_of_a_size(make_folder, tmp_path, monkeypatch):
    root = make_folder(n=9)
    splits = splits_of(Data(root=str(root))).members
    monkeypatch.setattr(packing, "GROUP", 1)
    told = []
    written = write_shards(splits, tmp_path / "out", lambda: told.append(1), shard=3000)
    assert [path.name for path in written] == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written[0].name == "train-00000.parquet" and written[-1].name == "val-00000.parquet" and len(written) > 3
    assert len(told) == 9
    for name, pairs in splits.items():
        files = [pq.ParquetFile(path) for path in written if path.name.startswith(name)]
        rows = [row for file in files for row in file.read().to_pylist()]
        assert [row["image"] for row in rows] == [
            {"bytes": pair.image.read_bytes(), "path": f"{pair.stem}.jpg"} for pair in pairs
        ]
        assert [row["mask"]["bytes"] for row in rows] == [pair.mask.read_bytes() for pair in pairs]
        assert sum(file.num_row_groups for file in files) == len(pairs)
        features = json.loads(files[0].schema_arrow.metadata[b"huggingface"])["info"]["features"]
        assert features == {"image": {"_type": "Image"}, "mask": {"_type": "Image"}}
    monkeypatch.setattr(packing, "GROUP", 10**9)
    (whole,) = write_shards({"train": splits["train"]}, tmp_path / "whole")
    assert pq.ParquetFile(whole).num_row_groups == 1


def test_a_folder_in_use_and_a_file_that_is_gone_are_refused(make_folder, tmp_path):
    root = make_folder(n=3)
    splits = splits_of(Data(root=str(root))).members
    with pytest.raises(InputError, match="expected a new or an empty folder"):
        write_shards(splits, root)
    (root / "images" / "photo1.jpg").unlink()
    with pytest.raises(InputError, match=r"photo1\.jpg: expected a file to pack, found: No such file"):
        write_shards(splits, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
