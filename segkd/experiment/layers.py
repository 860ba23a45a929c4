"""YAML layers: found, read without being trusted, and checked key by key before they are joined."""

import argparse
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from segkd.disk import load_yaml, read_text
from segkd.experiment.classes import BASES
from segkd.experiment.mistakes import unknown_key
from segkd.types import InputError, expanded

OF_FILE = "# of "
"""How YAML as text begins that was read from a file, which comes next: a mistake in it is the file's."""


def packaged_layers() -> Path:
    """The folder of layers that comes with the package."""
    return Path(str(files("segkd"))) / "configs"


def found_layer(name: str) -> str:
    """The path of a layer that comes with the package, when `name` is one, with or without .yaml, and no file of that
    name exists."""
    if "\n" in name or os.path.exists(name):
        return name
    inside = packaged_layers() / name.removeprefix("configs/")
    both = inside, inside.with_name(f"{inside.name}.yaml")
    return str(next((path for path in both if os.path.isfile(path)), name))  # YAML as text may be too long for a name


def read_layer(path: Path) -> dict[str, Any]:
    """A YAML file as a dictionary.

    Raises:
        InputError: it is missing, no YAML, names a key twice, or is deeper or larger than anyone writes.
    """
    content = load_yaml(read_text(path, "a YAML file"), f"{path}: expected a readable YAML file")
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys and values, found {type(content).__name__}.")
    wrong = [key for key in content if not isinstance(key, str)]
    if wrong:
        raise InputError(f"{path}: unknown key {wrong[0]}: keys at the root are words.")
    return content


def apart(arguments: Sequence[str], flag: str) -> tuple[list[str], list[str]]:
    """The values of each `flag` of a command line, and the line without them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(flag, dest="values", action="append", default=[])
    try:
        found, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise InputError(f"{flag}: {error.message}.") from error
    return found.values, rest


def layers_of(arguments: Sequence[str]) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Name and content of each `--config` of a command line (a file, a layer that comes with segkd, or YAML as text),
    and the line with their paths, which come first: what else is said wins over all layers."""
    given, rest = apart(arguments, "--config")
    texts = [found_layer(text) for text in given]
    return [_layer(text) for text in texts], [*(word for text in texts for word in ("--config", text)), *rest]


def _layer(text: str) -> tuple[str, dict[str, Any]]:
    """Name and content of one of them. Raises InputError, with the layers of segkd that look like it, for none."""
    path = expanded(text)
    if os.path.exists(path):
        return text, read_layer(path)
    inline = load_yaml(text, "--config: expected YAML") if ":" in text else None
    if isinstance(inline, dict):
        return text.partition("\n")[0].removeprefix(OF_FILE) if text.startswith(OF_FILE) else "--config", inline
    ours = [one.relative_to(packaged_layers()).as_posix() for one in sorted(packaged_layers().rglob("*.yaml"))]
    near = difflib.get_close_matches(f"{path.with_suffix('')}.yaml", ours, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else "segkd methods lists the recipes of segkd."
    raise InputError(f"{path}: expected a YAML file, found nothing there. {hint}")


def check_keys(where: str, layer: Mapping[str, Any], parser: ArgumentParser) -> None:
    """Raises InputError for a key at the root or in a plain group of `layer` that the parser does not have.

    jsonargparse says so as well, but neither in which file nor what was meant.
    """
    keys = [action.dest for action in parser._actions]
    groups = {key.split(".")[0] for key in keys if "." in key}
    for name, value in layer.items():
        known = any(key == name or key.startswith(f"{name}.") for key in keys) or "." in str(name)
        if not known:
            raise InputError(f"{where}: {unknown_key(str(name), '', parser)}")
        if name not in groups or name in BASES:
            continue
        if not isinstance(value, Mapping):
            raise InputError(
                f"{where}: {name}: expected keys and values, found {value!r}. Write some, or leave it out."
            )
        inner = {key.split(".")[1] for key in keys if key.startswith(f"{name}.")}
        for key in value:
            if str(key).split(".")[0] not in inner:
                raise InputError(f"{where}: {unknown_key(f'{name}.{key}', '', parser)}")


def place_of(sentence: str, layers: Sequence[tuple[str, Mapping[str, Any]]], said: Sequence[str] = ()) -> str:
    """`sentence`, which begins with a key, after the name of the last layer that has the key; as it is where the
    command line (`said`) has it."""
    begin = re.match(r"(?:unknown key )?([\w.]+)", sentence)
    if begin is None or any(one.partition("=")[0] == f"--{begin[1]}" for one in said):
        return sentence
    for where, layer in reversed(layers):
        first, last = begin[1].split(".")[0], begin[1].split(".")[-1]
        if where not in sentence and (last == first or last in _keys(layer.get(first))) and first in layer:
            return f"{where}: {sentence}"
    return sentence


def _keys(tree: Any) -> set[str]:
    """Every key below."""
    parts = list(tree.values()) if isinstance(tree, Mapping) else tree if isinstance(tree, list) else []
    below = {str(key) for key in tree} if isinstance(tree, Mapping) else set()
    return below.union(*map(_keys, parts))
