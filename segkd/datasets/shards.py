"""Data sets larger than a memory, or elsewhere: Parquet shards whose rows hold the files of an image and its mask.

A row is reached by shard, row group and place, in any order, so draws, resumption and the share of each process are
those of files. pyarrow reads them; Hugging Face `datasets` would copy all of them to a disk first, or give them in
order only. It reads what `packing.py` writes.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from segkd.datasets.groups import group_of
from segkd.datasets.heads import no_picture
from segkd.datasets.packed import Packed, Shard, open_shard, parquet, reading, system_of
from segkd.datasets.pairing import Pair
from segkd.datasets.split_folders import split_of
from segkd.datasets.splits import SPLITS, Splits, carve_val, warn_of_torn_groups
from segkd.types import InputError

if TYPE_CHECKING:
    from pyarrow import DataType

USUAL = {"images": "image", "masks": "mask"}
"""The columns, where `data.images` and `data.masks` name none that is there."""

MAKE = "`segkd prepare FOLDER --out DATA.yaml --to parquet` makes shards of a folder of pictures"


def find_shards(
    place: str, images: str = "image", masks: str = "mask", val_share: float = 0.15, group: str | None = None
) -> Splits:
    """The splits of a data set in Parquet; of the rows, only the names are read.

    A shard belongs to the split that a word of its name tells (`train-00000.parquet`, `cars_validation.parquet`), or of
    a folder (`test/0.parquet`, Hugging Face's `partial-test/0.parquet`), else to train. Without any for val,
    `val_share` of train is carved out as for files. A row is called as its image is, without extension; where names are
    missing or doubled, rows are numbered.

    Args:
        place: folder, file, or address (`hf://datasets/OWNER/NAME`, `s3://BUCKET/FOLDER`) of the shards.
        images: the column of images: bytes, or a struct of `bytes` and `path` as Hugging Face writes.
        masks: likewise of masks.
        val_share: as `Data.val_share`.
        group: as `Data.group`.

    Raises:
        InputError: there are no shards, or not these columns; says what is there.
    """
    rows: dict[str, list[tuple[Packed, Packed]]] = {}
    paths = _shards(place)
    for path, split in paths:
        rows.setdefault(split, []).extend(_rows(place, path, images, masks))
    names = [_stem(image) for some in rows.values() for image, _ in some]
    numbered = len(set(names)) < len(names)
    splits = Splits({})
    for name in (split for split in SPLITS if rows.get(split)):
        splits.members[name] = [
            Pair(f"{name}{i:06d}" if numbered else _stem(image), image, mask)
            for i, (image, mask) in enumerate(rows[name])
        ]
    chosen = group_of(group, [pair.stem for some in splits.members.values() for pair in some], splits.warnings)
    carve_val(splits, val_share, chosen)
    if group is not None:
        warn_of_torn_groups(splits, chosen)
    splits.said = f"{len(paths)} Parquet shard{'s' * (len(paths) > 1)}: {splits.numbers}"
    return splits


def _shards(place: str) -> list[tuple[str, str]]:
    """The shards at `place`, sorted, and the split of each."""
    parquet()
    from pyarrow.fs import FileSelector, FileType

    with reading(place):
        system, root = system_of(place, os.getpid())
        only = system.get_file_info(root)
        if only.type == FileType.NotFound:
            raise InputError(f"data.parquet: {place}: expected a folder or a file of Parquet shards, found nothing "
                             f"there. Correct the path; {MAKE}.")  # fmt: skip
        files = [only] if only.is_file else system.get_file_info(FileSelector(root, recursive=True))
    found = sorted(file.path for file in files if file.is_file and file.extension == "parquet")
    if not found:
        raise InputError(
            f"data.parquet: expected Parquet shards (*.parquet) in {place}, found none. Give their folder; {MAKE}."
        )
    return [(path, _split(path[len(root.rstrip("/")) :] or PurePosixPath(path).name)) for path in found]


def _split(path: str) -> str:
    """The split that a word of its name tells, else one of the folders above it, the nearest first; of a folder all of
    the name counts, as crash-test names no split."""
    name, *folders = PurePosixPath(path).parts[::-1]
    words = [name, *re.split(r"[-_. ]", name), *(folder.removeprefix("partial-") for folder in folders)]
    return next((split for word in words if (split := split_of(word))), "train")


def _stem(file: Packed) -> str:
    return PurePosixPath(file.where).with_suffix("").as_posix()


def _rows(place: str, path: str, images: str, masks: str) -> Iterator[tuple[Packed, Packed]]:
    """Image and mask of each row of a shard."""
    if "://" not in place and (other := no_picture(Path(path), "shard")) is not None:
        raise other
    with reading(path):
        file = open_shard(place, path, os.getpid())
        schema = file.schema_arrow
        there = {name: schema.field(name).type for name in schema.names}
        columns = (_column(images, there, path), _column(masks, there, path))
        named = [f"{name}.path" for name in columns if "path" in _fields(there[name])]
        paths = file.read(columns=named, use_threads=False)
    shard, row = Shard(place, path, columns), 0
    given = {name: paths[name].combine_chunks().field("path").to_pylist() for name in paths.schema.names}
    for group in range(file.metadata.num_row_groups):
        for at in range(file.metadata.row_group(group).num_rows):
            where = [(given[name][row] if name in given else None) or f"row{row}" for name in columns]
            yield Packed(shard, group, at, columns[0], where[0]), Packed(shard, group, at, columns[1], where[1])
            row += 1


def _column(wanted: str, there: Mapping[str, "DataType"], path: str) -> str:
    """The column that a setting names; what a folder is called by default stands for the usual column."""
    name = wanted if wanted in there else USUAL.get(wanted, wanted)
    if name not in there or not (_is_binary(there[name]) or "bytes" in _fields(there[name])):
        found = ", ".join(f"{one} ({kind})" for one, kind in there.items())
        raise InputError(
            f"{path}: expected a column {name} of bytes (or of bytes and path, as Hugging Face writes), found {found}. "
            "Name the columns: data.images, data.masks."
        )
    return name


def _fields(kind: "DataType") -> list[str]:
    from pyarrow import types

    return [kind.field(i).name for i in range(kind.num_fields)] if types.is_struct(kind) else []


def _is_binary(kind: "DataType") -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind)
