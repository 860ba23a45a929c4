"""The configuration tree: YAML layers and command-line overrides read into typed classes."""

import difflib
import inspect
import os
import pkgutil
import re
from dataclasses import dataclass, fields
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from jsonargparse.typing import register_type

from segkd.datasets.data import Data, height_and_width
from segkd.distill.base import Knowledge, Teacher
from segkd.distill.distiller import Distiller
from segkd.engine.optim import Optim
from segkd.frequency.rounding import Rounding
from segkd.frequency.tables import Table
from segkd.losses import TaskLoss
from segkd.models.network import Network
from segkd.types import Disturbance, InputError, LayerPath

BASES: dict[str, type] = {
    "model": Network,
    "disturbance.table": Table,
    "disturbance.rounding": Rounding,
    "disturbance": Disturbance,
    "distiller.task": TaskLoss,
    "distiller.teachers": Teacher,
    "distiller.terms": Knowledge,
}
"""Configuration keys that name a class, and the base it must have; a key comes before the one that it begins with."""

ROOMS = ("distill.teachers", "distill.knowledge", "frequency", "models")
"""Their modules are imported, which is what lets a configuration name their classes without the path."""

for _room in ROOMS:
    for _module in pkgutil.iter_modules(import_module(f"segkd.{_room}").__path__, f"segkd.{_room}."):
        import_module(_module.name)

register_type(LayerPath, serializer=str, deserializer=LayerPath)


@dataclass
class EngineSettings:
    """How training runs.

    Args:
        epochs: passes over the training split.
        precision: "bf16" or "fp16" autocast where the device has it; "no" is float32.
        accumulate: micro-batches per optimiser step.
        device: "auto" takes an accelerator if there is one.
        threads: CPU threads of torch; null leaves torch's choice. The last bits of a result depend on it. Where other
            programs keep a core busy, give one less than there are cores: threads wait for each other at every layer.
        log_every: optimiser steps between two lines of metrics.jsonl.
        save_every: optimiser steps between two checkpoints within an epoch; every epoch and validation ends with one.
        patience: validations (not epochs: see `evaluation.every`) without a better score after which training stops;
            null never stops early.
    """

    epochs: int = 30
    precision: Literal["no", "bf16", "fp16"] = "no"
    accumulate: int = 1
    device: Literal["auto", "cpu"] = "auto"
    threads: int | None = None
    log_every: int = 10
    save_every: int = 500
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"engine.{name} must be at least 1, found {getattr(self, name)}.")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise InputError(f"engine.threads is 1 to 1024, or null for torch's choice, found {self.threads}.")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"engine.patience must be at least 1, or null to never stop early, found {self.patience}.")


@dataclass
class Evaluation:
    """How validation runs.

    Args:
        every: epochs between two validations; .25 validates four times per epoch, each at the end of an optimiser
            step. The training always ends with one.
        select: the score on val that decides which weights are kept; null is miou_image for two classes and
            miou_dataset for more.
        threshold: for two classes, foreground is p >= threshold in all IoU scores.
        band_errors: before the first step and at every validation, the relative error of the probabilities in each
            band of spatial frequency on val, as lines of kind "spectrum" in metrics.jsonl and in TensorBoard.
    """

    every: float = 1.0
    select: str | None = None
    threshold: float = 0.5
    band_errors: bool = True

    def __post_init__(self) -> None:
        if not self.every > 0:
            raise InputError(f"evaluation.every is a number of epochs above 0, found {self.every}.")
        if not 0 < self.threshold < 1:
            raise InputError(f"evaluation.threshold is a probability in 0..1, found {self.threshold}.")


def training_parser() -> ArgumentParser:
    """The parser of `segkd train`, whose tree is the whole configuration."""
    parser = _parser("Train a segmentation network; with a distiller, against its teacher too.", "segkd train")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data order and augmentation")
    parser.add_class_arguments(Data, "data")
    parser.add_subclass_arguments(Network, "model", required=False, help="the network to train; FusionNet if not said")
    parser.add_subclass_arguments(Disturbance, "disturbance", required=False, help="changes images while training")
    parser.add_class_arguments(Distiller, "distiller")
    parser.add_class_arguments(Optim, "optim")
    parser.add_class_arguments(EngineSettings, "engine")
    parser.add_class_arguments(Evaluation, "evaluation")
    parser.add_argument(
        "--overfit-one-batch", action="store_true", help="train on one batch until it is known by heart: a check"
    )
    parser.link_arguments("data.size", "disturbance.init_args.size", compute_fn=height_and_width)
    parser.link_arguments("data.classes", "model.init_args.classes", compute_fn=len)
    return parser


def data_parser(description: str, command: str) -> ArgumentParser:
    """A parser with the `data` tree alone, for commands that read a data layer (`--data FILE`)."""
    parser = _parser(description, command)
    parser.add_class_arguments(Data, "data")
    return parser


def _parser(description: str, command: str) -> ArgumentParser:
    parser = ArgumentParser(prog=command, description=description, exit_on_error=False)
    parser.add_argument(
        "--config",
        action="config",
        metavar="LAYER.yaml",
        help="a layer of the configuration; may be repeated, later layers win. A layer that comes with segkd "
        "is found by its name, e.g. methods/virtual_teacher.yaml",
    )
    return parser


def parse(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """The configuration of a command line, paths absolute; a mistake becomes an InputError of one paragraph."""
    arguments = [_found_layer(a, b) for a, b in zip(["", *arguments], arguments)]
    for before, argument in zip(["", *arguments], arguments):
        if before == "--config" and Path(argument[:255]).is_file():
            _refuse_unknown_data(Path(argument), parser)
    if any(action.dest == "model" for action in parser._actions):
        # said first, not a default: a default's own arguments would survive the change to another class
        arguments = ["--model", "FusionNet", *arguments]
    try:
        return parser.parse_args(arguments)
    except (ArgumentError, TypeError, ValueError, OSError) as error:
        raise InputError(explain(error, parser)) from error


def instantiate(parser: ArgumentParser, config: Namespace) -> Namespace:
    """The objects that a configuration describes; a mistake becomes an InputError of one paragraph."""
    try:
        return parser.instantiate(config)
    except (ArgumentError, TypeError, ValueError) as error:
        raise InputError(explain(error, parser)) from error


def packaged_layers() -> Path:
    """The folder of layers that comes with the package."""
    return Path(str(files("segkd"))) / "configs"


def read_layer(path: Path) -> dict[str, Any]:
    """A YAML file as a dictionary. Raises InputError naming the file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected a readable YAML file, found: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys and values, found {type(content).__name__}.")
    return content


def explain(error: BaseException, parser: ArgumentParser) -> str:
    """One paragraph on a mistake in a configuration: the key, what was expected, what to write."""
    cause: BaseException | None = error
    while cause is not None:  # what a constructor of ours said is the best explanation
        if isinstance(cause, InputError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    text = str(error)
    key = ".".join(dict.fromkeys(re.findall(r'[Kk]ey "([\w.\-]+)"', text)))
    unknown = re.search(
        r"Option '([\w.]+)' is not accepted|unrecognized arguments: --(\S+)|Nested key '([\w.]+)'", text
    )
    wrong_class = re.search(r"dot import path string: (\S+)|not accessible or invalid", text)
    base = _base_of(key)
    if unknown:
        name = next(group for group in unknown.groups() if group)
        return _unknown_key(f"{key}.{name}" if key and not unknown[2] else name, text, parser)
    if wrong_class and base:
        given = wrong_class[1] or next(iter(re.findall(r"but (\S+) either", text)), "")
        return (
            f"{key}: expected a class of segkd ({', '.join(_choices(base))}) or the import path of your own subclass "
            f"of {base.__module__}.{base.__qualname__} (file.Class, found from the working directory), found {given!r}."
        )
    return _plain(key, text)


def _plain(key: str, text: str) -> str:
    """jsonargparse's tree of what does not fit, as one sentence."""
    choice = re.search(r"Literal\[(.+?)\]\. Got value: (\S+)", text)
    if choice:
        return f"{key}: expected one of {choice[1]}, found {choice[2]!r}."
    wanted = re.findall(r"Expected an? (?:<class ')?([\w.]+)'?>?", text)
    given = re.findall(r"(?:Given|Got) value: (.+)", text)
    if key and wanted and given:
        kinds = [kind for kind in dict.fromkeys(wanted) if kind != "NoneType"]
        hint = f" Write [{given[-1]}]." if kinds == ["list"] and not given[-1].startswith("[") else ""
        return f"{key}: expected {' or '.join(kinds)}, found {given[-1]!r}.{hint}"
    lines = [line.strip(" -") for line in text.replace(f'Parser key "{key}":', f"{key}:").split("\n") if line.strip()]
    return " ".join(dict.fromkeys(line for line in lines if not line.startswith(("Does not", "Subtypes", "Errors"))))


def _unknown_key(name: str, text: str, parser: ArgumentParser) -> str:
    name = name.split("=", maxsplit=1)[0]
    keys = [action.dest for action in parser._actions if action.dest not in ("help",)]
    for key, base in BASES.items():
        for choice in _subclasses(base):
            keys += [f"{key}.{p}" for p in inspect.signature(choice).parameters]
    near = difflib.get_close_matches(name, keys, n=3, cutoff=0.5)
    where = re.search(r"class_path '([\w.]+)'", text)
    owner = f" of {where[1].split('.')[-1]}" if where else ""
    hint = f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else "See --help for all keys."
    return f"unknown key {name}{owner}. {hint}"


def _refuse_unknown_data(path: Path, parser: ArgumentParser) -> None:
    """jsonargparse names neither the file nor the key when a map with number keys is under a misspelt one."""
    data = read_layer(path).get("data")
    for key in data if isinstance(data, dict) else ():
        if key not in {field.name for field in fields(Data)}:
            raise InputError(f"{path}: {_unknown_key(f'data.{key}', '', parser)}")


def _base_of(key: str) -> type | None:
    key = key.replace(".init_args", "")
    return next((base for name, base in BASES.items() if key == name or key.startswith(name + ".")), None)


def _subclasses(base: type) -> list[type]:
    children: list[type] = base.__subclasses__()
    below = [c for child in children for c in [child, *_subclasses(child)]]
    return [c for c in below if not inspect.isabstract(c)]


def _choices(base: type) -> list[str]:
    return sorted(c.__name__ for c in _subclasses(base) if c.__module__.startswith("segkd.")) or ["none yet"]


def found_layer(name: str) -> str:
    """The path of a layer that comes with the package, when `name` is one and no file of that name exists."""
    if "\n" in name or os.path.exists(name):
        return name
    inside = packaged_layers() / name.removeprefix("configs/")
    return str(inside) if inside.is_file() else name


def _found_layer(before: str, argument: str) -> str:
    if before == "--config":
        return found_layer(argument)
    if argument.startswith("--config="):
        return f"--config={found_layer(argument.partition('=')[2])}"
    return argument
