"""List files: the names of a split, as people, tools and systems write them."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segkd.datasets.naming import composed
from segkd.datasets.walk import ARRAYS, pictures, what_is
from segkd.types import InputError, listed

LARGEST = 64_000_000
"""Bytes beyond which a file is no list of names."""

HEADINGS = re.compile(r"((image|img|picture|photo|rgb|sat|file|name|path|id|stem)s?[ _-]?)+", re.IGNORECASE)
"""What heads the first column of a table: image, file_name, ImageId, sat_image_path."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Words (lower case) that say in a table which split a line is of; names of folders (`split_of`) say more, but a cell
`train2017` may be where an image comes from, and `test_0001` its name."""

FLAGS = ("1", "-1", "0")
"""Numbers after a name that say whether a class is there, as Pascal VOC's lists have them."""


@dataclass(frozen=True)
class Entry:
    """One thing that a list can name: its stem, and the files that belong to it, below the root."""

    stem: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Line:
    """A line as it is read: the stem that it names, and the cells beside that name by their columns, counted from 1."""

    stem: str | None
    beside: Mapping[int, str] = field(default_factory=dict)


@dataclass
class Chosen:
    """The stems that a list names, in its order and each once, and notes on how it was read."""

    stems: list[str]
    notes: list[str] = field(default_factory=list)


class Names:
    """Finds the stem that a line of a list means.

    A line may be a stem, a file's name, or a path (absolute, from another machine, with backslashes): the longest
    ending that is a stem or the end of a file's path counts, unless what stands before it is another folder of the
    files: with seq1/0001 and seq2/0002, seq1/0002 means neither. When no letter-by-letter comparison fits, names are
    compared in Unicode's composed form, since macOS stores "é" as two signs.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.exact: dict[str, str] = {entry.stem: entry.stem for entry in entries}
        self.ends: dict[str, str | None] = {}  # None where several files end so
        for entry in entries:
            for file in {tail for name in entry.files for end in _tails(name) for tail in (end, _plain(end))}:
                self.ends[file] = entry.stem if self.ends.get(file, entry.stem) == entry.stem else None
        self.composed: dict[str, str | None] = {}
        for end, stem in self.ends.items():
            if not end.isascii():
                self.composed[composed(end)] = stem if self.composed.get(composed(end), stem) == stem else None
        self.composed |= {composed(stem): stem for stem in self.exact}
        self.files = {entry.stem: entry.files for entry in entries}
        self.folders = {folder for entry in entries for file in entry.files for folder in file.split("/")[:-1]}

    def find(self, text: str, most: int | None = None) -> str | None:
        """The stem that `text` means, None if it means none or several; `most` ends of the path are looked at."""
        for spelt in _spellings(text):
            tails = _tails(spelt)[:most]
            for tail, longer in zip(tails, ["", *tails]):
                for name in (tail, _plain(tail)):
                    found = self.exact.get(name) or self.ends.get(name) or self.composed.get(composed(name))
                    if found is not None:
                        return None if self._lies_elsewhere(found, longer.partition("/")[0]) else found
        return None

    def _lies_elsewhere(self, stem: str, folder: str) -> bool:
        return folder in self.folders and not any(folder in file.split("/")[:-1] for file in self.files[stem])

    def are_several(self, text: str) -> bool:
        """Whether `text`, which means no stem, is what several files are called, each in a folder of its own."""
        tails = (tail for spelt in _spellings(text) for tail in _tails(spelt))
        return any(self.ends.get(name, "") is None for tail in tails for name in (tail, _plain(tail)))


def choose(path: Path, owner: str, entries: Sequence[Entry], what: str = "image", cure: str = "") -> Chosen:
    """What the list at `path` names among `entries`; `owner` is the option that gave it, for errors, and `cure` what
    helps where nothing is named.

    Each line is a name (see `Names`), alone or in a table (commas, tabs, semicolons, blanks): there the first cell that
    is a file's name, else the first column. Other columns are told of, but for those that name the same once more.
    Blank lines and lines that begin with # are passed over.

    Raises:
        InputError: the file is no list, has a column of other splits, or lines of it name nothing or several.
    """
    lines = read_lines(path, owner)
    names = Names(entries)
    read = {line: _read(names, line) for line in lines}
    heading = []
    if lines and read[lines[0]].stem is None and _is_heading(lines[0]):
        heading = columns(lines[0])
        del read[lines[0]]
    _refuse_splits(path, owner, read.values())
    missing = [line for line, one in read.items() if one.stem is None]
    several = [f"{path}: {line}" for line, one in read.items() if _names_several(names, one)]
    if several:
        raise InputError(
            f"{len(several)} lines of {path} name more than one {what}. segkd reads one name a line, and pairs files "
            "by name: put each name on a line of its own, leave out columns of other numbers, or, where an image "
            f"stands beside another image's mask, rename the masks like their images:\n{listed(several)}"
        )
    if missing:
        doubled = any(names.are_several(text) for line in missing for text in (line, columns(line)[0]))
        plain = cure or "add the files"
        cure = "write the folders too, as several files are called so (train/NAME)" if doubled else plain
        raise InputError(
            f"{len(missing)} of {len(read)} lines of {path} name no {what}: correct the list or {cure}:\n"
            + listed([f"{path}: {line}" for line in missing])
        )
    unread = _unread(names, read.values(), heading)
    notes = [f"{path}: only the names are read, not {', '.join(unread)}"] if unread else []
    return Chosen([stem for stem in dict.fromkeys(one.stem for one in read.values()) if stem is not None], notes)


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
    if path.suffix.lower() == ".json":
        raise InputError(f"{expected}, found {_what_json(text)}. Write the name of each image as a line of its own.")
    lines = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def _what_json(text: str) -> str:
    """What a file of JSON holds, in words."""
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        if isinstance(content, list):
            return f"JSON, a list of {len(content)} entries"
        if isinstance(content, dict):
            return f"JSON with {', '.join(list(content)[:4]) or 'no entries'}"
    return "a file called after JSON"


def columns(line: str) -> list[str]:
    """The columns of a line: at commas, tabs, semicolons, or blanks; quotes hold a column together."""
    csv.field_size_limit(LARGEST)  # a table of run lengths has a whole mask in one cell
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


def _read(names: Names, line: str) -> _Line:
    cells = columns(line)
    whole = names.find(line, most=len(_tails(cells[0])) if len(cells) > 1 else None)  # a name may hold blanks, commas
    if whole is not None or not cells:
        return _Line(whole)
    at = _place_of_name(names, cells, by_sign=cells != line.split())
    if at is None and sum(map(_is_file, cells)) == 1:
        return _Line(names.find(line))  # a path with blanks
    stem = None if at is None else names.find(cells[at])
    return _Line(stem, {number: cell for number, cell in enumerate(cells, 1) if number - 1 != at})


def _place_of_name(names: Names, cells: Sequence[str], by_sign: bool) -> int | None:
    """Which cell names the stem: the first that is a file's name, unless blanks cut the line, which a path may hold."""
    counted = len(cells) > 1 and cells[0].isdigit()  # a table that counts its rows
    if by_sign or counted or cells[0].lower() in SPLITS:
        for place, cell in enumerate(cells):
            if _is_file(cell) and names.find(cell) is not None:
                return place
    return next((place for place in range(1 + counted) if names.find(cells[place]) is not None), None)


def _refuse_splits(path: Path, owner: str, read: Iterable[_Line]) -> None:
    """Refuses a table that says of its lines which split they are of, unless that is always the split of `owner`."""
    words = {cell.lower() for line in read for cell in line.beside.values() if cell.lower() in SPLITS}
    if {SPLITS[word] for word in words} - {owner.removeprefix("data.")}:
        raise InputError(
            f"{owner}: {path}: expected the names of one split, found a table with a column of splits "
            f"({', '.join(sorted(words))}), which is not read. Make one list per split, train.txt, val.txt and "
            "test.txt, each with the names of its own lines alone."
        )


def _names_several(names: Names, line: _Line) -> bool:
    """Whether another cell names another stem; a number before a file's name counts lines, and flags name nothing."""
    others = [
        cell for number, cell in line.beside.items() if cell not in FLAGS and not (number == 1 and cell.isdigit())
    ]
    return line.stem is not None and any(names.find(cell) not in (line.stem, None) for cell in others)


def _unread(names: Names, read: Iterable[_Line], heading: Sequence[str]) -> list[str]:
    """The columns that say something else than the names: "column 2 (sunny)", by its heading or its first cell."""
    first: dict[int, str] = {}
    for line in read:
        for number, cell in line.beside.items():
            if number not in first and cell and (cell in FLAGS or names.find(cell) != line.stem):
                first[number] = heading[number - 1] if number <= len(heading) else cell
    return [f"column {number} ({first[number][:24]})" for number in sorted(first)]


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
    words = [cell.strip("\"'") for cell in columns(line)]
    if any(_is_file(word) or (word.isdigit() and words == line.split()) for word in words):
        return False  # "photo 7", "Image 7.jpg": the name of a picture that is not there
    first = next((word for word in words if word), "")  # pandas leaves the head of its count empty
    return HEADINGS.fullmatch(first) is not None


def entries_of(files: Mapping[str, Sequence[Path]], root: Path) -> list[Entry]:
    """Entries for files by stem; their paths below `root` where they lie there."""
    return [Entry(stem, tuple(_below(path, root) for path in paths)) for stem, paths in files.items()]


def _below(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
