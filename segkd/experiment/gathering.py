"""Which images a user means (files, folders, patterns, a list), and which file each result becomes."""

import codecs
import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from segkd.datasets.dicom import find_dicom
from segkd.datasets.walk import walk
from segkd.experiment.console import warn
from segkd.types import InputError, listed


@dataclass
class Gathered:
    """What is to be done.

    Attributes:
        targets: for each image the file that its result becomes, without its extension.
        faults: what was named and is no image, a sentence each.
    """

    targets: dict[Path, Path] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def gather(given: Sequence[str], out: Path, console: Console) -> Gathered:
    """The images of the files, folders and patterns `given`; "-" stands for a list, a line each, on standard input.

    A result has its image's name and place below the folder that was given. Where two folders hold the same name, all
    results lie one level deeper, in folders with the names of those given. What is passed over is said.

    Raises:
        InputError: there is no image at all, results would lie among the images, or two would be one file.
    """
    found = Gathered()
    folders: dict[Path, Path] = {}
    known: set[str] = set()
    whole: set[Path] = set()
    for text in _places(given, found.faults):
        place = Path(text)
        try:
            folder = place if place.is_dir() else place.parent
            if place.is_dir():
                whole.add(place.resolve())
            walked = walk(place) if place.exists() else None
        except OSError as error:
            found.faults.append(f"{text}: {error.strerror}.")
            continue
        if walked is None:
            found.faults.append(f"{text}: expected an image or a folder of images, found nothing there.")
            continue
        if walked.sentence:
            warn(console, f"{text}: {walked.sentence}")
        if not walked.files:
            scans = find_dicom(place)
            found.faults.append(f"{text}: expected a folder with images, found none.{f' {scans}.' if scans else ''}")
        fresh = {os.path.abspath(path): path for path in walked.files if os.path.abspath(path) not in known}
        known |= fresh.keys()
        folders |= dict.fromkeys(fresh.values(), folder)
    if not folders:
        raise InputError("\n".join(found.faults) or "expected images to predict, found none: name files or folders.")
    deeper = _shared(folders)
    found.targets = _targets(folders, out, deeper)
    _refuse_among(folders.values(), whole, found.targets.values(), out)
    if deeper:
        console.print("two folders hold the same names: results lie in a folder for each")
    return found


def _places(given: Sequence[str], faults: list[str]) -> Iterator[str]:
    """Every path that is meant, patterns and the list spelled out."""
    for text in given:
        if text == "-":
            lines = os.fsdecode(sys.stdin.buffer.read().removeprefix(codecs.BOM_UTF8)).splitlines()
            yield from (line.strip() for line in lines if line.strip())
        elif glob.has_magic(text) and not os.path.lexists(text):
            fitting = sorted(glob.glob(text, recursive=True))
            yield from fitting
            if not fitting:
                faults.append(f"{text}: expected a pattern that fits images, found none that does.")
        else:
            yield text


def _refuse_among(folders: Iterable[Path], whole: Set[Path], targets: Iterable[Path], out: Path) -> None:
    """Raises InputError where a result would lie beside images, or below a folder that was given `whole`."""
    own = {folder.resolve() for folder in set(folders)}
    for place in {target.parent for target in targets}:
        lies = place.resolve()
        if hit := own & {lies, out.resolve()} or whole & {lies, *lies.parents}:
            raise InputError(
                f"--out {out}: expected a folder outside {min(hit)}, or predictions would mix with images."
            )


def _targets(folders: dict[Path, Path], out: Path, deeper: bool) -> dict[Path, Path]:
    targets = {
        path: out / (folder.resolve().name if deeper else "") / path.relative_to(folder).with_suffix("")
        for path, folder in folders.items()
    }
    times = Counter(targets.values())
    double = sorted(str(path) for path, target in targets.items() if times[target] > 1)
    if double:
        raise InputError(
            "these would give the same result file; rename one of each, or choose by a pattern such as "
            f"'photos/*.jpg':\n{listed(double)}"
        )
    return targets


def _shared(folders: dict[Path, Path]) -> bool:
    """Whether images of two folders that were given have one name."""
    places: dict[Path, set[Path]] = {}
    for path, folder in folders.items():
        places.setdefault(path.relative_to(folder).with_suffix(""), set()).add(folder)
    return any(len(some) > 1 for some in places.values())
