"""A run folder: made, refused, resumed, described."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace

from segkd.engine.checkpoint import circumstances
from segkd.engine.step import Engine
from segkd.experiment.settings import read_layer
from segkd.types import InputError

PACKAGES = (
    "segkd", "torch", "torchvision", "timm", "segmentation-models-pytorch", "albumentations",
    "opencv-python-headless", "kornia", "accelerate", "jsonargparse", "numpy", "pillow",
)  # fmt: skip


def checkpoint_of(folder: Path) -> Path:
    """Where the training state of a run lies."""
    return folder / "checkpoints" / "last.pt"


def claim_folder(folder: Path, parser: ArgumentParser, config: Namespace, resume: bool) -> None:
    """Makes a run folder and writes its whole resolved configuration, or opens it to go on.

    `segkd train --config RUN/config.yaml --out ANOTHER` reruns it.

    Raises:
        InputError: the folder is in use and `resume` is off, or the configuration is not the run's own.
    """
    if resume:
        _refuse_changes(folder, parser, config)
        return
    used = (not folder.is_dir()) if folder.exists() else False
    # a folder that holds a configuration alone never began: its data may have been at fault
    if used or (folder.is_dir() and any(path.name != "config.yaml" for path in folder.iterdir())):
        raise InputError(
            f"--out {folder}: expected a folder that is new or empty, found one in use. "
            f"Give another, or go on with it: segkd train --resume {folder}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "config.yaml.part"
        part.write_text(resolved_text(parser, config), encoding="utf-8")
        os.replace(part, folder / "config.yaml")
    except OSError as error:
        raise InputError(f"--out {folder}: cannot write there: {error}.") from error


def _refuse_changes(folder: Path, parser: ArgumentParser, config: Namespace) -> None:
    then, now = flat(read_layer(folder / "config.yaml")), flat(yaml.safe_load(resolved_text(parser, config)))
    changed = [f"{key}: {then.get(key)} then, {now.get(key)} now" for key in sorted(then.keys() | now.keys())
               if then.get(key) != now.get(key)]  # fmt: skip
    if changed:
        raise InputError(
            f"--resume {folder}: a run goes on as it was configured, but these settings differ: "
            f"{'; '.join(changed[:5])}. Leave them out, or start a new run with --out."
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


def note_seconds(folder: Path, seconds: float) -> None:
    """Adds how long the running session took; one that was killed has no such entry."""
    sessions = read_environment(folder)
    if sessions:
        sessions[-1]["seconds"] = round(seconds, 1)
        _write_environment(folder, sessions)


def read_environment(folder: Path) -> list[dict[str, Any]]:
    """What each session of a run depended on, the first one first; [] when there is nothing to read."""
    try:
        sessions = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return sessions if isinstance(sessions, list) else []


def resolved_text(parser: ArgumentParser, config: Namespace) -> str:
    """The whole configuration as YAML, every default said; it reruns the run."""
    plain = config.clone()
    for name in ("config", "out", "resume"):
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
    part = folder / "environment.json.part"
    part.write_text(json.dumps(sessions, indent=2), encoding="utf-8")
    os.replace(part, folder / "environment.json")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
