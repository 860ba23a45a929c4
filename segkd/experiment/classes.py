"""Which configuration keys name a class, what may stand there, and what a stranger's configuration may not name."""

import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from segkd.datasets.sampler import Draw
from segkd.disk import load_yaml
from segkd.distill.base import Knowledge, Teacher
from segkd.frequency.rounding import Rounding
from segkd.frequency.tables import Table
from segkd.losses import TaskLoss
from segkd.models.network import Network
from segkd.models.trust import (
    NETWORKS,
    WRAPPED,
    foreign,
    importable,
    is_plain_encoder,
    refuse_foreign_network,
    seek_beside,
)
from segkd.types import Disturbance, InputError

BASES: dict[str, type] = {
    "model": Network,
    "disturbance.table": Table,
    "disturbance.rounding": Rounding,
    "disturbance": Disturbance,
    "distiller.task": TaskLoss,
    "distiller.teachers": Teacher,
    "distiller.terms": Knowledge,
    "draw": Draw,
}
"""Configuration keys that name a class, and the base it must have; a key comes before the one that it begins with."""

ROOMS = ("distill.teachers", "distill.knowledge", "frequency", "models", "datasets.draws")
"""Their modules are imported, which is what lets a configuration name their classes without the path."""

for _room in ROOMS:
    for _module in pkgutil.iter_modules(import_module(f"segkd.{_room}").__path__, f"segkd.{_room}."):
        import_module(_module.name)

BRANCHES = tuple(dict.fromkeys(key.split(".")[0] for key in BASES))
"""The branches of the tree in which classes are named."""

MAPS = ("data", "data.embedded", "data.augment", "data.domains", "optim", "engine", "evaluation", *BRANCHES)
"""Keys whose values are maps: a text there would be taken for a class or for another file."""

DOMAIN = re.compile(r"data\.domains\.[^.]+(\.embedded)?")
"""Likewise of each domain."""

OF_THE_COMMAND = ("config", "out", "resume", "data_changed", "trust")
"""What the command line of `segkd train` says beside the configuration; `config` in a file would open another."""

OURS = {"class_path", "init_args", "dict_kwargs", "trust", "encoder"}
"""Keys that say what is built."""

HIDING = re.compile(r"[{[:?!&\n]|^\s*-")
"""What keys and values, or a list, need in YAML."""

PARQUET = re.compile(r"data\.(domains\.[^.]+\.)?parquet")
"""Keys of addresses."""

PLAIN_ADDRESS = re.compile(r"(file|s3|gs|gcs)://[^?@]*|hf://[^?]*")
"""An address in one of the well-known stores; parameters and names of users may lead a key of ours to any host."""

IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def base_of(key: str) -> type | None:
    """The base that the class at a configuration key must have; None where no class is named."""
    key = key.replace(".init_args", "")
    return next((base for name, base in BASES.items() if key == name or key.startswith(name + ".")), None)


def subclasses(base: type) -> list[type]:
    """The subclasses of a base that can be built, its children's children included."""
    children: list[type] = base.__subclasses__()
    below = [c for child in children for c in [child, *subclasses(child)]]
    return [c for c in below if not inspect.isabstract(c)]


def choices(base: type) -> list[str]:
    """The names of segkd's own subclasses of a base; of networks, those that can be trained."""
    own = [c for c in subclasses(base) if c.__module__.startswith("segkd.")]
    if base is Network:
        own = [c for c in own if f"{c.__module__}.{c.__qualname__}" in NETWORKS]
    return sorted(c.__name__ for c in own) or ["none yet"]


def seek_classes(texts: Iterable[str]) -> None:
    """Lets classes that are named in `texts` and found nowhere else be found in the working directory."""
    for text in texts:
        for path in IMPORT_PATH.findall(text):
            seek_beside(path)


def named_in(layer: Mapping[str, Any]) -> Iterator[str]:
    """Every text in the branches of a layer in which classes are named."""
    for branch in BRANCHES:
        yield from _texts(layer.get(branch))


def refuse_foreign(tree: Mapping[str, Any], where: str) -> None:
    """Raises InputError unless a configuration names segkd's own classes alone, and networks that may be built.

    Read before anything of it is parsed: jsonargparse imports what a text names before it knows whether it fits.
    `where` names the file in the message.
    """
    own = {name: f"{c.__module__}.{c.__qualname__}"
           for base in BASES.values() for c in subclasses(base) if c.__module__.startswith("segkd.")
           for name in (c.__name__, f"{c.__module__}.{c.__qualname__}")}  # fmt: skip
    for name in OF_THE_COMMAND:
        if name in tree:
            raise foreign(f"{name}: {tree[name]!r}", where)
    _walk(tree, "", own, where)


def refuse_unsaid(tree: Mapping[str, Any], said: Mapping[str, Any], where: str) -> None:
    """As `refuse_foreign`, but a branch that stands word for word in `said`, the user's own words, is allowed."""
    refuse_foreign({name: part for name, part in tree.items() if name not in BRANCHES or part != said.get(name)}, where)


def _walk(value: Any, key: str, own: Mapping[str, str], where: str) -> None:
    if isinstance(value, str):
        unfolded = _unfolded(value, key, where)
        if PARQUET.fullmatch(key):
            _refuse_address(value, key, where)
        if not isinstance(unfolded, str):
            _walk(unfolded, key, own, where)
        elif (key in MAPS or DOMAIN.fullmatch(key)) and unfolded not in own:
            raise foreign(f"{unfolded} at {key}", where)
        elif key.startswith(BRANCHES) and _importable(value) and value not in own and value not in WRAPPED:
            raise foreign(value, where)
    elif isinstance(value, Mapping):
        if "class_path" in value:
            _refuse_class(value, own, where)
        elif key == "model":
            raise foreign("a model without its class_path", where)
        for name, part in value.items():
            _refuse_key(name, part, key, value, where)
            step = "*" if key == "data.domains" else name  # a name of the user's, whatever it holds
            _walk(part, f"{key}.{step}".strip("."), own, where)
    elif isinstance(value, list):
        for part in value:
            _walk(part, key, own, where)


def _refuse_key(name: Any, part: Any, key: str, beside: Mapping[Any, Any], where: str) -> None:
    """Raises InputError for what would get past the list of classes and of their arguments: `part` at `key.name`."""
    if key and not key.startswith(BRANCHES):
        return
    # jsonargparse unfolds dots after this was read; names of teachers and classes (`vehicle.car`) are no keys of ours
    ours = not key or "class_path" in beside or key.endswith("init_args") or OURS & set(str(name).split("."))
    if isinstance(name, str) and IMPORT_PATH.fullmatch(name) and ours:
        raise foreign(f"the key {f'{key}.{name}'.strip('.')}", where)
    if name == "dict_kwargs" or (name == "init_args" and "class_path" not in beside):
        raise foreign(f"{name} at {key} without a class of its own", where)
    if name == "trust" and part not in (None, False):
        raise foreign(f"trust: {part} at {key}", where)
    if name == "encoder" and not is_plain_encoder(part):
        raise foreign(f"the encoder {part!r}", where)


def _refuse_address(address: str, key: str, where: str) -> None:
    if "://" in address and not PLAIN_ADDRESS.fullmatch(address):
        raise InputError(
            f"{where}: {key}: expected a folder, or an address of hf, s3 or gs without parameters, found {address!r}: "
            f"a file must not say which host is asked with your keys. If it may, say --data.parquet yourself (of "
            "a run that goes on: --trust)."
        )


def _refuse_class(value: Mapping[str, Any], own: Mapping[str, str], where: str) -> None:
    name, arguments = value["class_path"], value.get("init_args") or {}
    if not isinstance(name, str) or name not in own:
        raise foreign(str(name), where)
    if not isinstance(arguments, Mapping):
        raise InputError(f"{where}: expected keys and values as init_args of {name}, found {arguments!r}.")
    if own[name].startswith("segkd.models."):
        refuse_foreign_network(own[name], arguments, where)


def _unfolded(text: str, key: str, where: str) -> Any:
    """What jsonargparse makes of a text where it expects keys and values; a text that stands for itself stays.

    Raises:
        InputError: it is no YAML of ours where classes are named; jsonargparse may still read keys and values there.
    """
    try:
        found = load_yaml(text, "")
    except InputError:
        if key.startswith(BRANCHES) and HIDING.search(text):
            raise foreign(f"{text!r} at {key}, a text that may hide keys and values", where) from None
        return text
    return found if isinstance(found, dict | list) else text


def _importable(text: str) -> bool:
    return bool(IMPORT_PATH.fullmatch(text)) and importable(text)


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    for part in tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ():
        yield from _texts(part)
