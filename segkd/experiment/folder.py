"""A run folder: made, refused, resumed, described."""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace

from segkd.engine.checkpoint import circumstances
from segkd.engine.step import Engine
from segkd.experiment.settings import read_layer
from segkd.types import InputError

PACKAGES = (
    "segkd", "torch", "torchvision", "timm", "segmentation-models-pytorch", "albumentations",
    "opencv-python-headless", "kornia", "accelerate", "jsonargparse", "numpy", "pillow",
)  # fmt: skip


def open_folder(folder: Path, resume: bool) -> Path | None:
    """Makes a run folder, or opens it to resume; returns the checkpoint to go on from, None to start.

    Raises:
        InputError: the folder is in use and `resume` is off, or there is nothing to resume.
    """
    checkpoint = folder / "checkpoints" / "last.pt"
    if resume:
        if not (folder / "config.yaml").is_file():
            raise InputError(f"--resume {folder}: expected a run folder with config.yaml, found none.")
        return checkpoint if checkpoint.is_file() else None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"--out {folder}: expected a folder that is new or empty, found one in use. "
            f"Give another, or go on with it: segkd train --resume {folder}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot make the folder: {error}.") from error
    return None


def refuse_changes(folder: Path, parser: ArgumentParser, config: Namespace) -> None:
    """Raises InputError if `config` is not the one that the run in `folder` was started with."""
    then, now = _flat(read_layer(folder / "config.yaml")), _flat(_tree(parser, config))
    changed = [f"{key}: {then.get(key)} then, {now.get(key)} now" for key in sorted(then.keys() | now.keys())
               if then.get(key) != now.get(key)]  # fmt: skip
    if changed:
        raise InputError(
            f"--resume {folder}: a run goes on as it was configured, but {len(changed)} settings differ: "
            f"{'; '.join(changed[:5])}. Leave them out, or start a new run with --out."
        )


def save_config(folder: Path, parser: ArgumentParser, config: Namespace) -> None:
    """Writes the whole resolved configuration; `segkd train --config RUN/config.yaml` reruns it."""
    part = folder / "config.yaml.part"
    part.write_text(_dump(parser, config), encoding="utf-8")
    os.replace(part, folder / "config.yaml")


def save_environment(folder: Path, engine: Engine, about: dict[str, Any]) -> None:
    """Writes what the run depends on beside its configuration."""
    environment = {
        "command": sys.argv,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: _version(name) for name in PACKAGES},
        **circumstances(engine),
        **about,
    }
    (folder / "environment.json").write_text(json.dumps(environment, indent=2), encoding="utf-8")


def _dump(parser: ArgumentParser, config: Namespace) -> str:
    plain = config.clone()
    for name in ("config", "out", "resume", "overfit_one_batch"):
        plain.pop(name, None)
    return parser.dump(plain, skip_validation=True, skip_none=False)


def _tree(parser: ArgumentParser, config: Namespace) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(_dump(parser, config))


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {key: leaf for name, part in tree.items()
            for key, leaf in _flat(part, f"{prefix}.{name}" if prefix else str(name)).items()}  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
