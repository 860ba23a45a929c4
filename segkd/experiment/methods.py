"""`segkd methods`: the recipes that come with segkd, and the card of each, made from its layer and the docstrings."""

import csv
import difflib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich.table import Table
from rich.text import Text

from segkd.datasets.sampler import Draw
from segkd.distill.base import Knowledge, Teacher
from segkd.experiment.classes import subclasses
from segkd.experiment.console import make_console
from segkd.experiment.layers import packaged_layers, read_layer
from segkd.experiment.settings import parse
from segkd.losses import TaskLoss
from segkd.types import Disturbance, InputError

FIELDS = ("family", "source", "learns", "departs")
"""What a recipe's header says, a line `# field: text` each, after the sentence that says what it is."""


@dataclass(frozen=True)
class Recipe:
    """A recipe of `configs/methods`.

    Attributes:
        name: of the file, without its ending.
        path: of the file.
        about: the sentence that says what it is.
        fields: family, source, what learns beside the student, how it departs from the source.
        cost: time and memory of a training step over the plain baseline's, as benchmarks/recipes.py measured them.
    """

    name: str
    path: Path
    about: str
    fields: dict[str, str]
    cost: dict[str, float]


def recipes() -> list[Recipe]:
    """All recipes, by name."""
    folder = packaged_layers() / "methods"
    costs = read_costs(folder / "costs.csv")
    return [_recipe(path, costs.get(path.stem, {})) for path in sorted(folder.glob("*.yaml"))]


def read_costs(path: Path) -> dict[str, dict[str, float]]:
    """Recipe -> {"step": ratio, "memory": ratio} of the table that benchmarks/recipes.py writes; {} without one."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["recipe"]: {"step": float(row["step"]), "memory": float(row["memory"])} for row in csv.DictReader(file)
        }


def methods(arguments: list[str]) -> int:
    """`segkd methods [NAME]`: lists the recipes, or prints the card of one."""
    parser = ArgumentParser(
        prog="segkd methods",
        description="List the recipes that come with segkd, or print the card of one: what it is, its source, how it "
        "departs from it, its parts with formulas and defaults, and the layer itself.",
        exit_on_error=False,
    )
    parser.add_argument("name", type=str, nargs="?", default=None, metavar="NAME", help="a recipe, e.g. frskd")
    config = parse(parser, arguments)
    found = {recipe.name: recipe for recipe in recipes()}
    console = make_console(True)
    if config.name is None:
        console.print(overview(list(found.values())))
        console.print(
            "\nstep and memory: a training step over the plain baseline's (benchmarks/recipes.py).    A card: segkd "
            "methods NAME    Train: segkd train --config methods/NAME.yaml ..."
        )
        return 0
    name = Path(config.name).stem
    if name not in found:
        near = difflib.get_close_matches(name, found, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"expected one of {', '.join(found)}, found {config.name!r}.{hint}")
    print(card(found[name]))
    return 0


def overview(found: list[Recipe]) -> Table:
    """A line for each recipe."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    for title in ("family", "source", "learns beside the student"):
        table.add_column(title, overflow="fold")
    for title in ("step", "memory"):
        table.add_column(title, justify="right")
    for one in found:
        cells = [one.name, *(one.fields.get(name, "") for name in ("family", "source", "learns"))]
        table.add_row(*map(Text, cells), *(f"{one.cost[n]:.2f}" if n in one.cost else "-" for n in ("step", "memory")))
    return table


def card(recipe: Recipe) -> str:
    """The card of a recipe as text."""
    lines = [f"{recipe.name}: {recipe.about}", ""]
    lines += [f"{name:<8} {recipe.fields[name]}" for name in FIELDS if name in recipe.fields]
    if recipe.cost:
        lines.append(f"{'cost':<8} a step takes {recipe.cost['step']:.2f} of the plain baseline's time and "
                     f"{recipe.cost['memory']:.2f} of its memory (benchmarks/recipes.py)")  # fmt: skip
    for title, part in parts_of(read_layer(recipe.path)):
        lines += ["", f"{title}: {part.__name__}{_defaults(part)}", *_indented(part)]
        for formula in formulas_of(part):
            lines += ["", f"    {formula.__name__}:", *_indented(formula, 8)]
    return "\n".join([*lines, "", f"{recipe.path.name}:", recipe.path.read_text(encoding="utf-8").rstrip()])


def parts_of(layer: dict[str, Any]) -> list[tuple[str, type]]:
    """The classes that a layer names, each once: where it stands, and the class."""
    known = {
        part.__name__: part for base in (Teacher, Knowledge, Disturbance, TaskLoss, Draw) for part in subclasses(base)
    }
    found: dict[type, str] = {}
    for place, name in _named(layer, ""):
        part = known.get(name.rpartition(".")[2])
        if part is not None and not place.startswith("distiller.task"):
            found.setdefault(part, place)
    return [(place, part) for part, place in found.items()]


def formulas_of(part: type) -> list[Callable]:
    """The functions of a part's own module that its docstring names in backticks: its mathematics."""
    module = inspect.getmodule(part)
    names = dict.fromkeys(re.findall(r"`(\w+)`", part.__doc__ or ""))
    found = [getattr(module, name, None) for name in names]
    return [one for one in found if inspect.isfunction(one)]


def _defaults(part: type) -> str:
    settings = [one for one in inspect.signature(part).parameters.values() if one.kind is not one.VAR_KEYWORD]
    return f"({', '.join(one.name if one.default is one.empty else f'{one.name}={one.default!r}' for one in settings)})"


def _indented(part: object, width: int = 4) -> list[str]:
    return [f"{' ' * width}{line}".rstrip() for line in inspect.cleandoc(part.__doc__ or "").rstrip().splitlines()]


def _named(tree: Any, place: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if key == "class_path":
            yield place, str(value)
        else:
            where = place if key in ("init_args", "knowledge") else f"{place}.{key}".lstrip(".")
            yield from _named(value, where)


def _recipe(path: Path, cost: dict[str, float]) -> Recipe:
    about: list[str] = []
    fields: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        name, colon, rest = text.partition(": ")
        if colon and name in FIELDS:
            fields[name] = rest
        elif not fields:
            about.append(text)
    return Recipe(path.stem, path, " ".join(about), fields, cost)
