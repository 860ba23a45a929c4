"""One walk through a folder for every command: which files are read, and which are passed over and why."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from PIL import Image, features

from segkd.types import InputError

ARRAYS = frozenset({".npy", ".npz"})
"""Extensions of NumPy's files, for callers that read them."""

NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
"""Formats that Pillow names but does not decode by itself, or decodes by starting another program."""

COMPANIONS = frozenset(
    {".txt", ".json", ".jsonl", ".xml", ".csv", ".tsv", ".md", ".yaml", ".yml", ".html", ".log", ".py"}
)
"""Extensions of files that lie beside pictures in good order: lists, annotations, notes."""

PACKED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})
"""Extensions (lower case) of archives."""

HIDDEN = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"})
"""Names (lower case) that a system hides without a leading dot."""

MADE = ".prepared"
"""The end of the name of a folder that `segkd prepare` makes: its masks and contact sheet are no data of their own."""

GLANCE = 20_000
"""Files and folders to look at where a message would be better for knowing what lies there."""

MOST_REPEATS = 1000
"""Times that links may lead to a folder which was walked already: more of them is a maze, not a data set."""


@dataclass(frozen=True)
class PassedOver:
    """What a walk left alone: its name below the folder, and why, in a few words."""

    name: str
    why: str


@dataclass
class Walk:
    """What a walk found.

    Attributes:
        folder: where it began; names are relative to it.
        files: the regular files of the wanted kinds, sorted by folder and name.
        passed: everything else that a user may have meant to be read; `sentence` says it.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    passed: list[PassedOver] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """One line on what was passed over, "" when there is nothing to say."""
        return say_passed(self.passed)


@cache
def pictures() -> frozenset[str]:
    """The extensions (".jpg", ...) that Pillow can decode here."""
    Image.init()
    built = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}
    formats = {name for name in Image.OPEN if name not in NOT_DECODED}
    formats -= {name for name, feature in built.items() if not features.check(feature)}
    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in formats)


def walk(folder: Path, kinds: Collection[str] | None = None, most: int | None = None) -> Walk:
    """The files below `folder` whose extension is one of `kinds` (lower case; `pictures()` unless given).

    Links to files and folders are followed, but not back into a folder that they lie in. Hidden files and folders
    (`.ipynb_checkpoints`, `__MACOSX`, `Thumbs.db`) are left alone, and so is everything that is no regular file:
    opening a pipe would wait for ever. So are folders that `segkd prepare` made (`data.prepared`), unless `folder` is
    or lies in such a one. A path to one file is a walk that finds that file, whatever its extension.
    With `most`, a glance: folders are entered until so many files and folders were seen.

    Raises:
        InputError: there is nothing at `folder`, or its links are a maze.
    """
    if folder.is_file():
        return Walk(folder.parent, [folder])
    if not folder.is_dir():
        glob = any(letter in str(folder) for letter in "*?[")
        cure = " Leave out the quotes, so that the shell finds the files, or give the folder." if glob else ""
        raise InputError(f"{folder}: expected a folder, found {what_is(folder)} there.{cure}")
    found, wanted = Walk(folder), pictures() if kinds is None else frozenset(kinds)
    seen: set[tuple[int, int]] = set()
    repeats = entered = 0
    todo = [(folder, frozenset({_identity(folder)}))]
    while todo and (most is None or entered < most):
        here, above = todo.pop()
        entries = _entries(here, found)
        entered += len(entries)
        for entry in entries:
            path, is_folder = Path(entry.path), _answers(entry.is_dir)
            if is_hidden(entry.name):
                _pass(found, path, "hidden folder" if is_folder else "hidden")
            elif not is_folder:
                _sort_in(found, path, entry, wanted)
            elif entry.name.endswith(MADE):
                _pass(found, path, "made by segkd prepare")
            else:
                identity = _identity(entry)
                repeats += identity in seen
                seen.add(identity)
                if identity in above:
                    _pass(found, path, "a link back to a folder it lies in")
                elif repeats > MOST_REPEATS:
                    raise InputError(f"{folder}: links lead into the same folders more than {MOST_REPEATS} times.")
                else:
                    todo.append((path, above | {identity}))
                    if path.suffix.lower() in wanted:
                        _pass(found, path, "a folder")
    found.files.sort(key=lambda path: path.parts)
    found.passed.sort(key=lambda one: one.name)
    return found


def is_hidden(name: str) -> bool:
    """Whether a system hides a file or folder of this name."""
    return name.startswith(".") or name.lower() in HIDDEN


def stem_of(path: Path, folder: Path) -> str:
    """The name of a file below `folder` without its extension: "cat/0001" for folder/cat/0001.jpg."""
    return path.relative_to(folder).with_suffix("").as_posix()


def what_is(path: Path) -> str:
    """What lies at `path`, in words for an error: "nothing", "a file", "a folder", "no regular file"."""
    if path.is_symlink() and not path.exists():
        return "a broken link"
    if path.is_dir():
        return "a folder"
    return "a file" if path.is_file() else "no regular file" if path.exists() else "nothing"


def say_passed(passed: Sequence[PassedOver], most: int = 5) -> str:
    """One line with the count and the first names: "passed over 4 files: 3 .heic (no reader; a.heic, ...), ..."."""
    told = [one for one in passed if one.why not in ("hidden", "companion")]
    if not told:
        return ""
    groups: Counter[tuple[str, str]] = Counter((_kind(one), one.why) for one in told)
    parts = []
    for (kind, why), number in groups.most_common(most):
        names = [one.name for one in told if (_kind(one), one.why) == (kind, why)]
        more = ", ..." if number > 2 else ""
        parts.append(f"{names[0]} ({why})" if number == 1 else f"{number} {kind} ({why}: {', '.join(names[:2])}{more})")
    rest = [f"and {len(groups) - most} more kinds"] if len(groups) > most else []
    return f"passed over {len(told)} {'file' if len(told) == 1 else 'files'}: {', '.join([*parts, *rest])}"


def _kind(one: PassedOver) -> str:
    return PurePosixPath(one.name).suffix.lower() or "files"


def _entries(folder: Path, found: Walk) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        _pass(found, folder, f"cannot be entered: {error.strerror}")
        return []


def _identity(folder: Path | os.DirEntry[str]) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _answers(ask: Callable[[], bool]) -> bool:
    """What an entry says of itself; no, where its link leads to itself, or to where nobody may look."""
    try:
        return ask()
    except OSError:
        return False


def _sort_in(found: Walk, path: Path, entry: os.DirEntry[str], wanted: frozenset[str]) -> None:
    extension = path.suffix.lower()
    if not _answers(entry.is_file):  # as the folder tells: files are not asked one by one
        return _pass(found, path, "no regular file" if os.path.exists(path) else "a broken link")
    if extension in wanted:
        return found.files.append(path)
    known = extension in COMPANIONS
    return _pass(found, path, "companion" if known else "no reader" if extension else "no extension")


def _pass(found: Walk, path: Path, why: str) -> None:
    found.passed.append(PassedOver(path.relative_to(found.folder).as_posix(), why))
