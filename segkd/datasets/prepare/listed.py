"""Lists that come with a data set: which of several are those of its masks, and lists of folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkd.datasets.lists import Entry, choose, entries_of, read_lines
from segkd.datasets.pairing import Paired
from segkd.datasets.prepare.written import write_lists
from segkd.datasets.splits import LISTS
from segkd.datasets.walk import walk
from segkd.types import InputError

TRAINVAL = ("trainval", "train_val")
"""Names of a list for both, of which val is carved out where only one of test lies beside it."""


@dataclass(frozen=True)
class _Lists:
    """The lists of one folder by split, the stems that each names, and whether their lines are folders."""

    paths: dict[str, Path]
    stems: Mapping[str, list[str]]
    folders: bool

    @property
    def every(self) -> set[str]:
        return {stem for some in self.stems.values() for stem in some}


def find_lists(root: Path, paired: Paired, folder: Path) -> tuple[dict[str, Path], str]:
    """Lists of splits by their names (`LISTS`) in one folder below the root, all of whose lines are pairs, or folders.

    Of several such folders, one with val or test, and of these that whose lists name the most. Lists of folders are
    written anew into `folder`.

    Returns:
        the list of each split, {} without any, and the sentence on them and on the pairs that none names.
    """
    entries = entries_of({pair.stem: pair.paths for pair in paired.pairs}, root)
    beside: dict[Path, list[Path]] = {}
    for path in walk(root, {".txt"}).files:
        if path.parent != root:
            beside.setdefault(path.parent, []).append(path)
    found = [lists for paths in beside.values() if (lists := _of_one_folder(root, paths, paired, entries)) is not None]
    if not found:
        return {}, ""
    best = max(found, key=lambda lists: (len(lists.paths) > 1, len(lists.every)))
    paths, home = best.paths, best.paths["train"].parent
    said = f"splits by lists below {home}"
    if best.folders:
        paths = write_lists(folder, best.stems)
        said += f", whose lines are folders: their images are listed in {folder}"
    left = {pair.stem for pair in paired.pairs} - best.every
    return paths, said + (_left_out(left, beside[home], best, entries) if left else "")


def _of_one_folder(root: Path, paths: Sequence[Path], paired: Paired, entries: Sequence[Entry]) -> _Lists | None:
    called = {path.stem: path for path in paths}
    named = {split: called[name] for split, names in LISTS.items() for name in reversed(names) if name in called}
    both = next((called[name] for name in TRAINVAL if name in called), None)
    if "train" not in named and "test" in named and "val" not in named and both is not None:
        named["train"] = both
    if "train" not in named:
        return None
    for folders in (False, True):
        found = {
            name: _names_of_folders(root, path, paired) if folders else _names(path, entries)
            for name, path in named.items()
        }
        # valid.txt may be any text
        stems = {name: some for name, some in found.items() if some or named[name].stem in (name, *TRAINVAL)}
        if all(stems.values()):
            lists = _Lists({name: named[name] for name in stems}, stems, folders)
            torn = len(lists.every) < sum(map(len, stems.values()))
            return None if torn and (folders or named["train"] == both) else lists
    return None


def _names(path: Path, entries: Sequence[Entry]) -> list[str]:
    """The stems that a list names, [] where it is none of these pairs."""
    try:
        return choose(path, "list", entries).stems
    except InputError:
        return []


def _names_of_folders(root: Path, path: Path, paired: Paired) -> list[str]:
    """The stems of the pairs whose images lie in the folders that a list names, [] where a line is no such folder."""
    homes: dict[str, list[str]] = {}
    for pair in paired.pairs:
        image = pair.paths[0]
        parts = image.relative_to(root).parts[:-1] if image.is_relative_to(root) else ()
        for name in {*parts, *("/".join(parts[at:]) for at in range(len(parts)))}:
            homes.setdefault(name, []).append(pair.stem)
    try:
        lines = [line.strip("/") for line in read_lines(path, "list")]
    except InputError:
        return []
    return [stem for line in lines for stem in homes[line]] if all(line in homes for line in lines) else []


def _left_out(left: set[str], paths: Sequence[Path], best: _Lists, entries: Sequence[Entry]) -> str:
    """The words on pairs that no list names, and on a longer list for training beside those that are used."""
    said = f"; {len(left)} images with masks are in none of them, and left out"
    held = {stem for name, some in best.stems.items() if name != "train" for stem in some}
    longer = [path for path in paths if "train" in path.stem and path not in best.paths.values()]
    others = {path: set(_names(path, entries)) for path in longer}
    more = {path: len(stems & left) for path, stems in others.items() if not stems & held}
    longest = max(more, key=lambda path: more[path], default=None)
    if longest is not None and more[longest]:
        named = f"{longest.name} beside them names {more[longest]} of these"
        said += f" ({named}: to train on them, too, write data.train: {longest.absolute()})"
    return said
