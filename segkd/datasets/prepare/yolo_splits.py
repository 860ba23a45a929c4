"""Which images are for what, as YOLO's data.yaml says: train and val are folders, or texts that name images."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from segkd.datasets.lists import Names, entries_of, read_lines
from segkd.datasets.pairing import Paired
from segkd.datasets.prepare.yolo import files_of_names
from segkd.types import InputError


def splits_of_yolo(root: Path, paired: Paired) -> tuple[dict[str, list[str]], str]:
    """The stems of each split by the nearest YAML file that names classes, and the sentence on them.

    {} where it does not say train and val, and, with a sentence on that, where what it says is not there, or one image
    is in two splits.
    """
    with suppress(InputError):
        for path, content in files_of_names(root)[:1]:
            known = Names(entries_of({pair.stem: pair.paths for pair in paired.pairs}, root))
            found = {name: _stems(path, content, name, paired, known) for name in ("train", "val", "test")}
            stems = {name: some for name, some in found.items() if some}
            every = [stem for some in stems.values() for stem in some]
            if {"train", "val"} <= stems.keys() and len({*every}) == len(every):
                return stems, f"splits are those of {path}"
            if content.get("train") and content.get("val"):
                lacking = " and ".join(name for name in ("train", "val") if name not in stems)
                why = f"none of the images is in its {lacking}" if lacking else "some images are in two splits"
                return {}, f"train and val of {path} are not followed, as {why}; correct it if its splits are meant"
    return {}, ""


def _stems(path: Path, content: Mapping[str, Any], split: str, paired: Paired, known: Names) -> list[str]:
    """The stems of one split, [] where nothing is said, or a place is not there."""
    said = content.get(split) or []
    stems: list[str] = []
    for text in said if isinstance(said, list) else [said]:
        place = _place(path, str(content.get("path") or ""), str(text))
        if place is None:
            return []
        if place.is_dir():
            home = place.resolve()
            stems += [pair.stem for pair in paired.pairs if pair.paths[0].resolve().is_relative_to(home)]
        else:
            found = map(known.find, read_lines(place, split))  # those without a text are in no pair
            stems += [stem for stem in found if stem is not None]
    return list(dict.fromkeys(stems))


def _place(path: Path, base: str, text: str) -> Path | None:
    """Where a folder or text lies that the file at `path` names: below its `path`, beside it, or beside it though it
    says one folder above."""
    plain = text.replace("\\", "/")
    ways: Sequence[Path] = (path.parent / base / plain, path.parent / plain, path.parent / plain.removeprefix("../"))
    return next((way for way in ways if way.is_dir() or (os.path.isfile(way) and way.suffix == ".txt")), None)
