"""A run folder: made, refused, resumed, described."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace

from segkd.disk import dump_json, is_part, read_json, write_whole
from segkd.engine.checkpoint import circumstances, read_checkpoint
from segkd.engine.step import Engine
from segkd.experiment.classes import OF_THE_COMMAND, refuse_unsaid
from segkd.experiment.layers import read_layer
from segkd.experiment.lock import LOCK
from segkd.experiment.settings import parse
from segkd.types import InputError

PACKAGES = (
    "segkd", "torch", "torchvision", "timm", "segmentation-models-pytorch", "albumentations",
    "opencv-python-headless", "kornia", "accelerate", "jsonargparse", "numpy", "pillow",
)  # fmt: skip


NOT_BEGUN = (
    "config.yaml", "config.yaml.part", "environment.json", "data.json", "metrics.jsonl", "tensorboard",
    "trained_on.txt", LOCK,
)  # fmt: skip
"""What a run folder may hold when there was no checkpoint yet: nothing that starting over would lose."""

MAY_CHANGE = (
    "engine.save_every", "engine.log_every", "engine.threads", "engine.device", "data.workers", "data.cache_gb",
)  # fmt: skip
"""Settings that a resumed run may change: the weights do not depend on them, or in the last bits alone."""

PLACES = re.compile(r"data\.(root|parquet)|data\.domains\..+\.root")
"""Settings that say where the data lie: that they are the same is seen by their digests (`same_data`)."""


def checkpoint_of(folder: Path) -> Path:
    """Where the training state of a run lies."""
    return folder / "checkpoints" / "last.pt"


def claim_folder(
    folder: Path,
    parser: ArgumentParser,
    text: str,
    resume: bool,
    *,
    sources: Mapping[str, str] | None = None,
    known: bool = False,
) -> dict[str, list[Any]]:
    """Makes a run folder and writes its whole resolved configuration, `text`, or opens it to go on with that.

    `segkd train --config RUN/config.yaml --out ANOTHER` reruns it.

    Returns:
        settings that a resumed run changes: key -> [then, now]. They are not written: more may be refused.

    Raises:
        InputError: the folder is in use and `resume` is off, or the configuration is not the run's own.
    """
    if resume:
        return changes(folder, parser, text, sources=sources, known=known)
    refuse_used(folder)
    write_whole(folder / "config.yaml", text)
    return {}


def refuse_used(folder: Path) -> None:
    """Raises InputError unless a new run may begin in `folder`."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"--out {folder}: expected a folder that is new or empty, found a file. Give another path.")
    names = {path.name for path in folder.iterdir() if not is_part(path.name)}
    # its data or its settings may have been at fault, or a kill came before the first checkpoint: then a lock is there
    begun = LOCK in names or os.name == "nt"  # there the lock goes with its process
    if names - set(NOT_BEGUN) or (names and not begun):
        raise InputError(
            f"--out {folder}: expected a folder that is new or empty, found one in use. "
            f"Give another, or go on with it: segkd train --resume {folder}"
        )


def changes(
    folder: Path, parser: ArgumentParser, text: str, *, sources: Mapping[str, str] | None = None, known: bool = False
) -> dict[str, list[Any]]:
    """What a resolved configuration, `text`, has other than the run's own: key -> [then, now]. A setting that segkd did
    not have when the run began was its default then. Unless it is `known` what the run's names, it may name no more.
    Its data, and what it reads beside them (`sources`, path -> digest), may lie elsewhere by now.

    Raises:
        InputError: something differs that the weights depend on. More epochs may follow, fewer not.
    """
    path = folder / "config.yaml"
    said = yaml.safe_load(text)
    if not known:
        refuse_unsaid(read_layer(path), said, str(path))  # parsing imports what it names
    own = parse(parser, own_arguments(path))
    then, now = flat(yaml.safe_load(resolved_text(parser, own))), flat(said)
    changed = {key: [then.get(key), now.get(key)] for key in sorted(then.keys() | now.keys())
               if then.get(key) != now.get(key)}  # fmt: skip
    longer = int(now["engine.epochs"]) > int(then.get("engine.epochs") or 0)
    fine = (*MAY_CHANGE, *(["engine.epochs"] if longer else []))
    first = first_sources(folder)
    bad = [
        f"{key}: {before} then, {after} now"
        for key, (before, after) in changed.items()
        if key not in fine and not _moved(key, before, after, first, sources or {})
    ]
    if bad:
        raise InputError(
            f"--resume {folder}: a run goes on as it was configured, but these settings differ: "
            f"{'; '.join(bad[:5])}. Leave them out, or start a new run with --out. May change: engine.epochs (more of "
            f"them), {', '.join(MAY_CHANGE)}, and where data and teachers lie that are the same."
        )
    return changed


def first_sources(folder: Path) -> dict[str, str]:
    """The digests of what a run read beside its data, by path, as each was first noted."""
    found: dict[str, str] = {}
    for session in reversed(read_environment(folder)):
        found |= session.get("sources") or {}
    return found


def _moved(key: str, before: Any, after: Any, first: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether a setting says where the data lie, which are compared later, or names the same sources in the same order,
    of which some lie elsewhere `now`."""
    if PLACES.fullmatch(key) and isinstance(before, str) and isinstance(after, str):
        return True
    old, new = ([one] if isinstance(one, str) else one for one in (before, after))
    if not (isinstance(old, list) and isinstance(new, list) and len(old) == len(new)):
        return False
    return all(a == b or (str(a) in first and first[str(a)] == now.get(str(b))) for a, b in zip(old, new))


def as_it_began(path: Path) -> dict[str, str]:
    """Settings by dotted key that a run's configuration, of an older version, does not name, and whose default has
    changed since: crops had the shape of the output."""
    named = [key for key in flat(read_layer(path)) if key.startswith("data.augment.")]
    return {"data.augment.ratio_of": "output"} if named and "data.augment.ratio_of" not in named else {}


def own_arguments(path: Path) -> list[str]:
    """The arguments that say a run's configuration again, as it began."""
    return ["--config", str(path), *(f"--{key}={value}" for key, value in as_it_began(path).items())]


def restore_config(folder: Path) -> str:
    """Puts the configuration back that a power cut took, from the checkpoint, which keeps a copy; says so.

    Returns:
        the sentence to say; "" when nothing was missing.

    Raises:
        InputError: there is neither a configuration nor a checkpoint, or a student alone: nothing was trained there.
    """
    path = folder / "config.yaml"
    if path.is_file() and path.read_bytes().strip(b"\0 \r\n\t"):
        _refuse_pulled(folder)
        return ""
    found = "an empty one" if path.is_file() else "none"
    if not checkpoint_of(folder).is_file():
        raise InputError(
            f"--resume {folder}: expected a run folder with a config.yaml, found {found} and no checkpoint: nothing "
            f"was trained there yet. Start it: segkd train ... --out {folder}"
        )
    text = read_checkpoint(checkpoint_of(folder)).get("promises", {}).get("config")
    if not text:
        raise InputError(f"{path}: expected the run's configuration, found {found}. Restore it from a copy.")
    write_whole(path, text)
    return f"{path}: found {found} (a power cut?); restored from the checkpoint."


def _refuse_pulled(folder: Path) -> None:
    """Raises InputError where a student lies without a trace of its training: the first validation would replace it."""
    trained = checkpoint_of(folder).is_file() or (folder / "metrics.jsonl").is_file()
    if (folder / "student.safetensors").is_file() and not trained:
        raise InputError(
            f"--resume {folder}: expected a run that was trained there, found a student without its training, as segkd "
            "pull fetches it, which a training from the beginning would replace. To start from it: segkd train ... "
            f"--init {folder} --out ANOTHER"
        )


def save_environment(folder: Path, engine: Engine, about: dict[str, Any]) -> None:
    """Adds what this session of the run depends on beside its configuration: a resumed run has several."""
    environment = {
        "command": sys.argv,
        **surroundings(),
        **circumstances(engine),
        **about,
    }
    _write_environment(folder, [*(read_environment(folder) if engine.step else []), environment])


def surroundings() -> dict[str, Any]:
    """The machine, the commit and the versions that a result was made with."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def note_session(folder: Path, content: dict[str, Any]) -> None:
    """Adds what is known of the running session at its end; one that was killed has no such entries."""
    sessions = read_environment(folder)
    if sessions:
        sessions[-1] |= content
        _write_environment(folder, sessions)


def read_environment(folder: Path) -> list[dict[str, Any]]:
    """What each session of a run depended on, the first one first; [] when there is nothing to read."""
    try:
        return read_json(folder / "environment.json", list[dict[str, Any]], "the sessions of a run")
    except InputError:
        return []


def resolved_text(parser: ArgumentParser, config: Namespace) -> str:
    """The whole configuration as YAML, every default said; it reruns the run."""
    plain = config.clone()
    for name in OF_THE_COMMAND:
        plain.pop(name, None)
    return parser.dump(plain, skip_validation=True, skip_unset=False)


def commit() -> str:
    """The commit of segkd's code, with "+" when tracked files differ from it; its version when it is no checkout."""
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)  # installed inside someone else's checkout?
        head = _git(folder, "rev-parse", "--short=10", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        found = _version("segkd")
        return f"v{found}" if found else ""


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """A tree of dictionaries as one: dotted key -> leaf."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {key: leaf for name, part in tree.items()
            for key, leaf in flat(part, f"{prefix}.{name}" if prefix else str(name)).items()}  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _write_environment(folder: Path, sessions: list[dict[str, Any]]) -> None:
    write_whole(folder / "environment.json", dump_json(sessions))


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
