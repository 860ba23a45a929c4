"""What a run reads beside its data: the runs and files of weights that its configuration names."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segkd.disk import load_yaml
from segkd.experiment.folder import first_sources, flat
from segkd.models.weights import student_of
from segkd.types import InputError

ONCE = ("init", "data")
"""Branches that are read when a run begins, or looked at elsewhere."""

WEIGHTS = (".onnx", ".safetensors", ".pth", ".pt")


def source_digests(text: str) -> dict[str, str]:
    """SHA-256 of every run's student and of every file of weights that a resolved configuration names, by its path."""
    leaves = flat(load_yaml(text, "expected a configuration as YAML"))
    paths = {path for key, leaf in leaves.items() if key.split(".")[0] not in ONCE for path in _paths(leaf)}
    found = {}
    for path in sorted(paths):
        file = student_of(path)
        if file.suffix in WEIGHTS and os.path.isfile(file):
            with file.open("rb") as content:
                found[path] = hashlib.file_digest(content, "sha256").hexdigest()
    return found


def refuse_other_sources(folder: Path, now: dict[str, str]) -> None:
    """Raises InputError where a run's sources are not those that it began with."""
    changed = [path for path, digest in first_sources(folder).items() if now.get(path, digest) != digest]
    if changed:
        raise InputError(
            f"--resume {folder}: {changed[0]} is not what this run has learned from so far: its weights changed since. "
            "Restore them, or train anew with --out."
        )


def _paths(leaf: Any) -> Iterator[str]:
    if isinstance(leaf, str):
        yield leaf
    for part in leaf if isinstance(leaf, list) else ():
        yield from _paths(part)
