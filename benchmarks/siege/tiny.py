"""The training that is attacked: twelve optimiser steps, eight validations, each of them the best so far."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

SETTINGS = {
    "data.embedded.train": 12,
    "data.embedded.val": 3,
    "data.embedded.test": 2,
    "data.embedded.side": 40,
    "data.size": 32,
    "data.batch_size": 2,
    "data.workers": 0,
    "model.encoder": "test_efficientnet",
    "model.weights": "null",
    "model.width": 8,
    "optim.average": 0.9,
    "optim.warmup": 0,
    "engine.epochs": 4,
    "engine.accumulate": 2,
    "engine.log_every": 1,
    "engine.save_every": 2,
    "engine.threads": 1,
    "engine.device": "cpu",
    "evaluation.every": 0.5,
    "evaluation.select": "s_measure",
}
LAYERS = ("--config", "quickstart.yaml", "--config", "methods/virtual_teacher_frequency.yaml")
TIMED = ("images_per_second", "seconds")
"""Fields of a line of metrics.jsonl that no two runs share."""


def training(run: Path, **other: object) -> list[object]:
    """The arguments of the tiny training into `run`; `other` settings have "__" for each dot."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in other.items()}
    return ["train", *LAYERS, *(part for k, v in settings.items() for part in (f"--{k}", v)), "--out", run]


def differences(run: Path, other: Path) -> list[str]:
    """What differs between two finished runs; [] when they are the same to the last bit."""
    found = []
    for name, read in (
        ("student.safetensors", _tensors), ("checkpoints/last.pt", _state), ("model.json", _card),
        ("metrics.jsonl", _lines),
    ):  # fmt: skip
        try:
            one, two = read(run / name), read(other / name)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            found.append(f"{name} cannot be read: {str(error)[:100]}")
            continue
        found += [f"{name} differs in {', '.join(where[:3])}" for where in [_where(one, two)] if where]
    return found


def _tensors(path: Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return flatten(load_file(path))


def _state(path: Path) -> dict[str, object]:
    state = torch.load(path, map_location="cpu", weights_only=True)
    kept = ("learner", "optimizer", "schedule", "micro", "step", "best", "since_best")
    return flatten({name: state[name] for name in kept if name in state})


def _card(path: Path) -> dict[str, object]:
    return flatten(json.loads(path.read_text()))


def _lines(path: Path) -> dict[str, object]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return flatten([{k: v for k, v in line.items() if k not in TIMED} for line in lines])


def _where(one: dict[str, object], two: dict[str, object]) -> list[str]:
    missing = object()
    return [key for key in one.keys() | two.keys() if not equal(one.get(key, missing), two.get(key, missing))]


def flatten(tree: object, name: str = "") -> dict[str, object]:
    """A tree of maps and lists as one map: path -> leaf."""
    if isinstance(tree, dict):
        return {k: v for key, part in tree.items() for k, v in flatten(part, f"{name}.{key}").items()}
    if isinstance(tree, list | tuple):
        return {f"{name}.len": len(tree)} | {
            k: v for i, p in enumerate(tree) for k, v in flatten(p, f"{name}.{i}").items()
        }
    return {name: tree}


def equal(one: object, two: object) -> bool:
    """Whether two leaves are the same to the last bit (NaN equals NaN)."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return one.dtype == two.dtype and one.shape == two.shape and torch.equal(one, two)
    return type(one) is type(two) and (one == two or repr(one) == repr(two) == "nan")


@dataclass(frozen=True)
class Unbroken:
    """The run that nobody attacked: where it is, another that was killed halfway, and how many seconds of processor
    time, file operations and bytes it took."""

    folder: Path
    half: Path
    seconds: float
    operations: int
    bytes: int
