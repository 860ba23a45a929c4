"""Parquet shards written from a data set: every file as it is, byte for byte."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from segkd.datasets.packed import File, parquet
from segkd.datasets.pairing import Pair
from segkd.disk import write_whole
from segkd.types import InputError

GROUP = 2**19
"""Bytes of a row group, as far as whole rows go: the least that is read for one image."""

SHARD = 2**28
"""Bytes of a shard."""

FEATURES = {"info": {"features": {name: {"_type": "Image"} for name in ("image", "mask")}}}
"""What tells Hugging Face `datasets` that the columns are pictures."""


def write_shards(
    splits: Mapping[str, Sequence[Pair]], folder: Path, advance: Callable[[], None] = lambda: None, shard: int = SHARD
) -> list[Path]:
    """Writes `train-00000.parquet`, ... into a new folder; returns the shards.

    A row holds `image` and `mask`, each a struct of `bytes`, those of the file, and `path`, the pair's stem with the
    file's extension; so what a file tells (EXIF, palette, 16 bits) is read as before. `advance` is called for each
    pair, `shard` is the bytes after which another shard begins.

    Raises:
        InputError: the folder is not empty, or a file cannot be read or written; no shard is left then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: expected a new or an empty folder for the shards. Name another, or empty it.")
    written: list[Path] = []
    try:
        for name, pairs in splits.items():
            groups = _groups(iter(pairs), advance)
            for number, first in enumerate(groups):
                written.append(folder / f"{name}-{number:05d}.parquet")
                write_whole(written[-1], partial(_write, first=first, groups=groups, enough=shard))
    except BaseException:
        for path in written:  # some of the shards would be taken for all of them
            path.unlink(missing_ok=True)
        raise
    return written


def _write(file: IO[bytes], first: list[dict[str, Any]], groups: Iterator[list[dict[str, Any]]], enough: int) -> None:
    """Row groups into one shard until it has `enough` bytes."""
    import pyarrow as pa

    part = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", part), ("mask", part)], metadata={"huggingface": json.dumps(FEATURES)})
    # pictures are compressed already, and statistics would hold the smallest and the largest of them
    with parquet().ParquetWriter(
        file, schema, compression="none", use_dictionary=False, write_statistics=False
    ) as writer:
        rows: list[dict[str, Any]] | None = first
        while rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows = next(groups, None) if file.tell() < enough else None


def _groups(pairs: Iterator[Pair], advance: Callable[[], None]) -> Iterator[list[dict[str, Any]]]:
    """Rows, in parts of about `GROUP` bytes."""
    rows: list[dict[str, Any]] = []
    size = 0
    for pair in pairs:
        row = {"image": _file(pair.image, pair.stem), "mask": _file(pair.mask, pair.stem)}
        rows.append(row)
        size += sum(len(part["bytes"]) for part in row.values())
        advance()
        if size >= GROUP:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _file(file: File, stem: str) -> dict[str, Any]:
    try:
        return {"bytes": file.read_bytes(), "path": f"{stem}{file.suffix}"}
    except OSError as error:
        raise InputError(f"{file}: expected a file to pack, found: {error.strerror or error}.") from error
