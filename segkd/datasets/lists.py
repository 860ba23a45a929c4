"""List files: the names of a split, as people, tools and systems write them."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segkd.datasets.naming import composed
from segkd.datasets.walk import ARRAYS, pictures, what_is
from segkd.types import InputError, listed

LARGEST = 64_000_000
"""Bytes beyond which a file is no list of names."""

HEADINGS = frozenset(
    {"image", "images", "img", "file", "filename", "file_name", "name", "path", "id", "image_id", "stem"}
)
"""Words (lower case) that head the first column of a table."""


@dataclass(frozen=True)
class Entry:
    """One thing that a list can name: its stem, and the files that belong to it, below the root."""

    stem: str
    files: tuple[str, ...] = ()


@dataclass
class Chosen:
    """The stems that a list names, in its order and each once, and notes on how it was read."""

    stems: list[str]
    notes: list[str] = field(default_factory=list)


class Names:
    """Finds the stem that a line of a list means.

    A line may be a stem, a file's name, or a path (absolute, from another machine, with backslashes): the longest
    ending that is a stem or the end of a file's path counts. When no letter-by-letter comparison fits, names are
    compared in Unicode's composed form, since macOS stores "é" as two signs.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.exact: dict[str, str] = {entry.stem: entry.stem for entry in entries}
        self.ends: dict[str, str | None] = {}  # None where several files end so
        for entry in entries:
            for file in {tail for name in entry.files for end in _tails(name) for tail in (end, _plain(end))}:
                self.ends[file] = entry.stem if self.ends.get(file, entry.stem) == entry.stem else None
        self.composed = {composed(stem): stem for stem in self.exact}

    def find(self, text: str, most: int | None = None) -> str | None:
        """The stem that `text` means, None if it means none or several; `most` ends of the path are looked at."""
        for spelt in _spellings(text):
            for tail in _tails(spelt)[:most]:
                for name in (tail, _plain(tail)):
                    found = self.exact.get(name) or self.ends.get(name) or self.composed.get(composed(name))
                    if found is not None:
                        return found
        return None


def choose(path: Path, owner: str, entries: Sequence[Entry], what: str = "image") -> Chosen:
    """What the list at `path` names among `entries`; `owner` is the option that gave it, for errors.

    Each line is a name (see `Names`), alone or as the first column of a table (commas, tabs, spaces). Blank lines and
    lines that begin with # are passed over.

    Raises:
        InputError: the file is no list, or lines of it name nothing.
    """
    lines = read_lines(path, owner)
    names = Names(entries)
    found = {line: _first_found(names, line) for line in lines}
    if lines and found[lines[0]] is None and _is_heading(lines[0]):
        del found[lines[0]]
    missing = [f"{path}: {line}" for line, stem in found.items() if stem is None]
    crossed = [f"{path}: {line}" for line, stem in found.items() if stem is not None and _crossed(names, line, stem)]
    if crossed:
        raise InputError(
            f"{len(crossed)} lines of {path} put an image beside another image's mask; segkd pairs files by name. "
            f"Rename the masks like their images, or correct the lines:\n{listed(crossed)}"
        )
    if missing:
        raise InputError(
            f"{len(missing)} of {len(found)} lines of {path} name no {what}: correct the list or add the files:\n"
            + listed(missing)
        )
    notes = []
    if any(_flag(line) and names.find(line) is None for line in found):
        notes.append(f"{path}: the numbers after the names are not read")
    return Chosen([stem for stem in dict.fromkeys(found.values()) if stem is not None], notes)


def read_lines(path: Path, owner: str) -> list[str]:
    """The lines of a list file without blank ones and comments, in UTF-8, UTF-16 or any encoding of one byte.

    Bytes that are no UTF-8 are kept as Python keeps them in file names, so that such names can still be found.

    Raises:
        InputError: there is no such file, it is not regular, holds other things than text, or is huge.
    """
    expected = f"{owner}: {path}: expected a text file with one stem per line"
    if not path.is_file():
        raise InputError(f"{expected}, found {what_is(path)} there.")
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{expected}, found one of {path.stat().st_size / 1e6:.0f} MB.")
        content = path.read_bytes()
        text = _decoded(content)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{expected}, found: {error}.") from error
    if "\0" in text:
        raise InputError(f"{expected}, found bytes that are no text.")
    lines = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def columns(line: str) -> list[str]:
    """The columns of a line: at commas, tabs, semicolons, or blanks; quotes hold a column together."""
    for sign in ("\t", ",", ";"):
        if sign in line:
            cells = next(csv.reader([line], delimiter=sign, skipinitialspace=True))
            return [cell.strip() for cell in cells]
    return line.split()


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if content[1:200:2].count(0) > len(content[:200]) // 4:  # PowerShell's, without its mark
        return content.decode("utf-16-le")
    return content.decode("utf-8-sig", "surrogateescape")


def _first_found(names: Names, line: str) -> str | None:
    cells = columns(line)
    whole = names.find(line, most=len(_tails(cells[0])) if len(cells) > 1 else None)  # a name may hold blanks, commas
    if whole is not None or not cells:
        return whole
    counted = len(cells) > 1 and cells[0].isdigit()  # a table that counts its rows
    first = next((stem for cell in cells[: 1 + counted] if (stem := names.find(cell)) is not None), None)
    return names.find(line) if first is None and sum(map(_is_file, cells)) == 1 else first


def _crossed(names: Names, line: str, stem: str) -> bool:
    """Whether the second column names a file of another stem."""
    cells = [cell for cell in columns(line) if _is_file(cell)]
    return len(cells) == 2 and names.find(cells[0]) == stem and names.find(cells[1]) not in (stem, None)


def _is_file(cell: str) -> bool:
    return _plain(cell) != cell


def _spellings(text: str) -> Iterator[str]:
    """`text`, with backslashes turned, and with bytes that are no UTF-8 read as Windows' western letters."""
    text = text.strip("\"'")
    yield text
    if "\\" in text:
        yield text.replace("\\", "/")
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        western = text.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
        yield western.replace("\\", "/")


def _tails(text: str) -> list[str]:
    """The ends of a path, longest first: "a/b/c", "b/c", "c"."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _plain(name: str) -> str:
    extension = PurePosixPath(name).suffix
    return name.removesuffix(extension) if extension.lower() in pictures() | ARRAYS else name


def _is_heading(line: str) -> bool:
    return columns(line)[0].strip("\"'").lower() in HEADINGS


def _flag(line: str) -> bool:
    cells = columns(line)
    return len(cells) > 1 and cells[-1] in ("1", "-1", "0")


def entries_of(files: Mapping[str, Sequence[Path]], root: Path) -> list[Entry]:
    """Entries for files by stem; their paths below `root` where they lie there."""
    return [Entry(stem, tuple(_below(path, root) for path in paths)) for stem, paths in files.items()]


def _below(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
