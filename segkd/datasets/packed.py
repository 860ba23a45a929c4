"""A file that lies in a row of a Parquet shard, read as a file of its own is."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING

from segkd.datasets.walk import MADE
from segkd.types import InputError, reason_of

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.fs import FileSystem
    from pyarrow.parquet import ParquetFile

GROUPS_KEPT = 8
"""Row groups that are kept: the audit walks through them with two feet, threads that read and one that looks ahead."""

SHARDS_OPEN = 128
"""Shards whose tables of contents are kept."""

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Shard:
    """A Parquet file: `path` in the file system that `place` names, and its columns of images and of masks."""

    place: str
    path: str
    columns: tuple[str, str]

    def group(self, number: int) -> "Table":
        """Row group `number`, both columns. Raises InputError where it cannot be read."""
        with _one_at_a_time:  # else threads that want the same group each read it
            # a process that was forked must not read through its parent's handle
            return _group(self, number, os.getpid())


@dataclass(frozen=True, slots=True)
class Packed:
    """A file within a shard, read as a `Path` is: in `column`, row `at` of row group `group`; `where` it once lay."""

    shard: Shard
    group: int
    at: int
    column: str
    where: str

    def __str__(self) -> str:
        return f"{self.shard.path}:{self.column}/{self.where}"

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return PurePosixPath(self.where).name

    @property
    def suffix(self) -> str:
        """Its extension, with the dot."""
        return PurePosixPath(self.where).suffix

    @property
    def parents(self) -> Sequence[Path]:
        """The folders that the shard lies in, the next first."""
        return Path(self.shard.path).parents

    def exists(self) -> bool:
        """It does."""
        return True

    def is_file(self) -> bool:
        """It is."""
        return True

    def read_bytes(self) -> bytes:
        """Its content. Raises InputError where the shard cannot be read, or holds none."""
        content = self.shard.group(self.group)[self.column][self.at].as_py()
        content = content["bytes"] if isinstance(content, dict) else content
        if content is None:
            raise InputError(f"{self}: expected the bytes of a file, found none. Write the shards with segkd prepare.")
        return content

    def open(self, mode: str = "rb") -> BytesIO:
        """Its content as a file that is read."""
        return BytesIO(self.read_bytes())


File = Path | Packed
"""What is read: a file of its own, or one within a shard."""


def size_on_disk(file: File) -> int:
    """Bytes of a file; of one within a shard, those of the whole shard, as nothing less is known without reading it."""
    if isinstance(file, Path):
        return file.stat().st_size
    return _shard_size(file.shard.place, file.shard.path, os.getpid())


@lru_cache(4096)
def _shard_size(place: str, path: str, process: int) -> int:
    with reading(path):
        return system_of(place, process)[0].get_file_info(path).size


def parquet() -> ModuleType:
    """The module `pyarrow.parquet`. Raises InputError where it is not installed."""
    try:
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("Parquet shards need pyarrow: pip install 'segkd[hub]'") from error
    return pyarrow.parquet


@lru_cache
def system_of(place: str, process: int) -> "tuple[FileSystem, str]":
    """The file system of an address or a path, and the path in it; each `process`, by its number, has its own."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(place if "://" in place else Path(place).absolute())


@lru_cache(SHARDS_OPEN)
def open_shard(place: str, path: str, process: int) -> "ParquetFile":
    """A shard's table of contents and handle, likewise."""
    return parquet().ParquetFile(system_of(place, process)[0].open_input_file(path))


@lru_cache(GROUPS_KEPT)
def _group(shard: Shard, number: int, process: int) -> "Table":
    with reading(shard.path):
        file = open_shard(shard.place, shard.path, process)
        return file.read_row_group(number, columns=list(shard.columns), use_threads=False)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turns what pyarrow says of files that cannot be read into a paragraph."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:  # ArrowInvalid is a ValueError
        if isinstance(error, InputError):
            raise
        reason = reason_of(error).rstrip(".")
        raise InputError(f"data.parquet: {path}: expected Parquet shards that can be read, found: {reason}. "
                         "Fetch or write it once more.") from error  # fmt: skip


def name_of(place: object) -> str:
    """What a data set is called: its folder; of shards of `segkd prepare`, which lie in NAME.prepared/shards, NAME."""
    path = Path(str(place))
    if path.name in ("", ".", ".."):  # results lie in a folder of that name
        return "data"
    return path.parent.name.removesuffix(MADE) if path.name == "shards" else path.name
