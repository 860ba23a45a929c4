"""Files that are written whole or not at all and survive a power cut, and files that are read without being trusted."""

import csv
import hashlib
import io
import json
import math
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import yaml

from segkd.types import InputError, reason_of

DEEPEST = 64
"""Levels of nesting beyond which a YAML or JSON file is refused: nobody writes so by hand, and parsers overflow."""

MOST_NODES = 200_000
"""Values of a YAML file, aliases unfolded, beyond which it is refused ("billion laughs")."""

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Opening a link fails: what lies in a stranger's folder must not lead our writing elsewhere."""

LONGEST = 255
"""Bytes of a file's name, by nearly all file systems."""

PART = re.compile(r"\.([0-9a-f]{8})-([1-9]\d{0,9})\.part$")
"""How the names of files end that are being written: computer and process."""


def write_whole(path: Path, content: str | bytes | Callable[[IO[bytes]], None]) -> None:
    """Writes a file whole or not at all, its folder made when missing; what is named is on the disk when this returns.

    File and folder are flushed to the disk around the renaming, so that not even a power cut leaves an empty or a
    half file under `path`. The file gets the permissions of any new file.

    Args:
        path: the file; an older one is replaced.
        content: text (UTF-8, newlines as they are), bytes, or what writes into the open file it is given.

    Raises:
        InputError: the disk is full, read-only, gone, ...; names the path and says what to do. The older file stays.
    """
    part = part_of(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path.parent.absolute())
        try:
            part.unlink(missing_ok=True)
            with open(part, "wb", opener=_new) as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        flush_folder(path.parent)


def part_of(path: Path) -> Path:
    """Where this process writes a file before it is whole: under a name of its own, as others may write it, too."""
    end = f".{_host()}-{os.getpid()}.part"
    return path.with_name(os.fsdecode(os.fsencode(path.name)[: LONGEST - len(end)]) + end)


def is_part(name: str) -> bool:
    """Whether a file's name is one that `part_of` gives."""
    return PART.search(name) is not None


@lru_cache(maxsize=256)
def _remove_left(folder: Path) -> None:
    """Removes the parts that processes of this computer left in a folder when they were killed; looks there once."""
    with suppress(OSError):
        for name in os.listdir(folder):
            found = PART.search(name)
            if found is not None and found[1] == _host() and _is_gone(int(found[2])):
                (folder / name).unlink()


def _is_gone(process: int) -> bool:
    try:
        if os.name != "nt":  # there signal 0 is no question
            os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)
    return False


@lru_cache(maxsize=1)
def _host() -> str:
    """Where numbers of processes mean the same, in eight letters: this computer, since it started, and container."""
    known = [platform.node()]
    with suppress(OSError):
        known += [Path("/proc/sys/kernel/random/boot_id").read_text("ascii"), os.readlink("/proc/self/ns/pid")]
    return hashlib.blake2b("\n".join(known).encode(), digest_size=4).hexdigest()


def open_to_append(path: Path) -> IO[str]:
    """A text file that is written on at its end, made when missing.

    Raises:
        InputError: it is a link, which may lead anywhere.
    """
    if path.is_symlink():
        raise InputError(f"{path}: expected a file, found a link, through which would be written elsewhere. Remove it.")
    return open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | NO_LINK, 0o666))


def _new(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_EXCL | NO_LINK, 0o666)


def flush_folder(folder: Path) -> None:
    """Puts the names of a folder on the disk; systems that cannot flush a folder need no such thing."""
    with suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system says when `path` cannot be written into a paragraph (InputError)."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot write there: {error.strerror or error}. Make room, or give a folder that "
            "exists and may be written to; nothing that was complete is lost."
        ) from error


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file that should be `what`. Raises InputError naming the file."""
    try:
        return read_bytes(path, what).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected {what}, found: {_reason(error)}.") from error


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file that should be `what`; not of a device or a pipe. Raises InputError naming the file."""
    try:
        if path.exists() and not path.is_file():
            raise OSError("not a regular file")
        return path.read_bytes()
    except (OSError, ValueError, MemoryError) as error:
        raise InputError(f"{path}: expected {what}, found: {_reason(error)}.") from error


def read_json(path: Path, kind: Any, what: str) -> Any:
    """The content of a JSON file, checked to be of `kind` (a dataclass, TypedDict, or any type pydantic knows).

    Numbers must be finite (NaN and Infinity are no JSON) and types strict: no text for a number.

    Raises:
        InputError: no such file, no JSON, or another kind; names the file, the place, what was expected and found.
    """
    return parse_json(read_text(path, what), kind, f"{path}: expected {what}")


def parse_json(text: str, kind: Any, expected: str) -> Any:
    """As `read_json`, for text; `expected` begins the sentence of the error."""
    from pydantic import ValidationError  # slow to import

    try:
        json.loads(text, parse_float=_finite, parse_constant=_finite)
        return _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise InputError(f"{expected}, found {f'at {place}: ' if place else ''}{first['msg']}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{expected}, found: {_reason(error)}.") from error


@lru_cache(maxsize=64)
def _adapter(kind: Any) -> Any:
    """pydantic's reader of `kind`: slow to build, and lines are many."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def dump_json(content: Any, indent: int | None = 2) -> str:
    """`content` as JSON text; what JSON has no word for (NaN, infinity) is refused rather than written."""
    return json.dumps(content, indent=indent, allow_nan=False)


def dump_csv(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV text; a number that is not finite, which is one that is not defined, leaves its cell empty."""
    text = io.StringIO()
    shown = ([("" if isinstance(one, float) and not math.isfinite(one) else one) for one in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(shown)
    return text.getvalue()


def load_yaml(text: str, expected: str) -> Any:
    """The plain data (no tags) of YAML text.

    Raises:
        InputError: no YAML, a key twice in one map, deeper than `DEEPEST`, or larger than `MOST_NODES` values;
            `expected` begins its sentence.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_wild(node)
        return loader.construct_document(node)
    except Exception as error:  # a tag that its value does not fit (`!!int x`) can raise anything
        raise InputError(f"{expected}, found: {_reason(error)}") from error


def _refuse_wild(root: yaml.Node) -> None:
    """Raises ValueError for a key twice, too deep nesting, or aliases that unfold to too much."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} levels{node.start_mark}.")
        if id(node) in sizes:
            if sizes[id(node)] == 0:
                raise ValueError(f"an alias inside what it names{node.start_mark}.")
            return sizes[id(node)]
        sizes[id(node)] = 0
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _refuse_double_keys(node)
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        total = 1 + sum(size(child, depth + 1) for child in children)
        if total > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES} values, aliases unfolded{node.start_mark}.")
        sizes[id(node)] = total
        return total

    size(root, 0)


def _refuse_double_keys(node: yaml.MappingNode) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        name, line = (key.tag, key.value), key.start_mark.line + 1
        if name in lines:
            raise ValueError(
                f"the key {key.value!r} twice in one map, in lines {lines[name]} and {line}: the first would be lost. "
                "Join the two."
            )
        lines[name] = line


def is_deep(picture: Any) -> bool:
    """Whether a picture that Pillow has opened, but not loaded yet, has colours of 16 bits, of which Pillow gives 8."""
    if picture.mode not in ("RGB", "RGBA", "RGBX", "LA") or getattr(picture, "format", None) not in ("PNG", "TIFF"):
        return False
    given = picture.tile[0][3] if getattr(picture, "tile", None) else None
    raw = given[0] if isinstance(given, tuple) else given
    return isinstance(raw, str) and ";16" in raw


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text}, which is no finite number")
    return value


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nesting too deep to read."
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return reason_of(error, 400)
