"""What a grid compares: base layers, arms, data sets, seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from segkd.experiment.layers import layers_of
from segkd.experiment.mistakes import explain
from segkd.types import InputError

SEED = "$seed"
"""In a setting it stands for the cell's seed."""


@dataclass
class Part:
    """Layers and settings of an arm, a data set, or the base.

    Args:
        layers: YAML layers, relative to the file that names them, or of the package (methods/baseline.yaml).
        set: settings by dotted key, as on the command line of `segkd train` (data.size: 128). `$ARM` stands for the
            run of that arm with the same data set and seed, `$ARM*` in a list for its runs with all seeds, `$seed` for
            the seed.
    """

    layers: list[str] = field(default_factory=list)
    set: dict[str, Any] = field(default_factory=dict)


@dataclass
class Grid:
    """What is compared. Later wins: base, data set, arm (layers first, then settings), seed.

    Args:
        arms: name -> what is compared; the names are the rows of every table.
        datasets: name -> its data layer, and settings such as engine.epochs.
        seeds: each arm runs with each seed on each data set; below six pairs of set and seed no test can reach .05.
        baseline: the arm that the others are compared with; the first when null.
        base: what all arms share.
        splits: where the best student (chosen on val) is scored; `train` is what it was trained on.
        tune: settings to try for every arm on every data set with the first seed; the one with the best score on val
            is the arm's setting there. Every arm gets the same number of trials.
        budget: "equal" refuses arms that differ in optimiser steps or images; "free" compares them all the same.
    """

    arms: dict[str, Part]
    datasets: dict[str, Part]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    baseline: str | None = None
    base: Part = field(default_factory=Part)
    splits: list[Literal["train", "val", "test"]] = field(default_factory=lambda: ["val", "test"])
    tune: list[dict[str, Any]] = field(default_factory=list)
    budget: Literal["equal", "free"] = "equal"

    def __post_init__(self) -> None:
        for name in ("arms", "datasets", "seeds", "splits"):
            members = getattr(self, name)
            if not members or len(set(members)) != len(members):
                raise InputError(f"{name}: expected at least one, each once, found {list(members)}.")
        for name in [*self.arms, *self.datasets]:
            if not name.replace("_", "").replace("-", "").replace("+", "").replace(".", "").isalnum():
                raise InputError(f"{name!r} names folders: expected letters, digits and - + . _ in it.")
        self.baseline = self.baseline or next(iter(self.arms))
        if self.baseline not in self.arms:
            raise InputError(f"baseline: expected one of the arms {', '.join(self.arms)}, found {self.baseline!r}.")


def named(value: Any, in_paths: bool = False) -> list[str]:
    """The names that a setting marks with `$`; with `in_paths` those that a layer made paths of too."""
    if isinstance(value, str):
        name = Path(value).name if in_paths else value
        return [name[1:]] if name.startswith("$") and name not in ("$classes", SEED) else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for part in parts for name in named(part, in_paths)]


def sources(grid: Grid, arm: str, datasets: Iterable[str]) -> list[str]:
    """What the settings of an arm, of base and of data sets mark as `$ARM` and `$ARM*`, an arm of the grid or not."""
    parts = [grid.base, grid.arms[arm], *(grid.datasets[one] for one in datasets)]
    parts += [Part(set=option) for option in grid.tune]
    return sorted({name for part in parts for value in part.set.values() for name in named(value)})


def narrowed(grid: Grid, names: Sequence[str]) -> Grid:
    """The grid with the named arms and data sets only, and the arms whose runs these read; where no arm is named all
    stay, and so with data sets.

    Raises:
        InputError: a name is neither.
    """
    unknown = [name for name in names if name not in grid.arms and name not in grid.datasets]
    if unknown:
        raise InputError(
            f"--only: expected arms ({', '.join(grid.arms)}) or data sets ({', '.join(grid.datasets)}), found "
            f"{', '.join(unknown)}."
        )
    datasets = {name: part for name, part in grid.datasets.items() if name in names} or grid.datasets
    wanted = [name for name in names if name in grid.arms]
    for arm in wanted:  # which grows
        read = [one.removesuffix("*") for one in sources(grid, arm, datasets)]
        wanted += [one for one in read if one in grid.arms and one not in wanted]
    arms = {name: part for name, part in grid.arms.items() if name in wanted} or grid.arms
    return replace(grid, arms=arms, datasets=datasets, baseline=grid.baseline if grid.baseline in arms else None)


def grid_parser() -> ArgumentParser:
    """The parser of `segkd ablate`."""
    parser = ArgumentParser(
        prog="segkd ablate",
        description="Train every arm on every data set with every seed, go on where it was stopped, and compare.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", metavar="GRID.yaml", help="what to compare (configs/ablations)")
    parser.add_class_arguments(Grid)
    return parser


def read_grid(parser: ArgumentParser, arguments: list[str]) -> tuple[Namespace, Grid]:
    """The parsed command line and the grid. Raises InputError of one paragraph."""
    _, found = layers_of(arguments)  # refuses a key twice, bombs, and depth that jsonargparse's own loader would take
    try:
        config = parser.parse_args(found)
        made = parser.instantiate(config)
        names = Grid.__dataclass_fields__
        return config, Grid(**{name: made[name] for name in names})
    except (ArgumentError, TypeError, ValueError, OSError) as error:
        raise InputError(explain(error, parser)) from error
