"""A grid resolved into cells: every configuration parsed, every class built once, every data list read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from segkd.ablation.identity import code_digests, data_digests, plain_config, user_code
from segkd.ablation.plan import Grid
from segkd.datasets.sampler import EpochBatches
from segkd.experiment.folder import resolved_text
from segkd.experiment.layers import found_layer
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.types import InputError


@dataclass(frozen=True)
class Cell:
    """One training of a grid.

    Attributes:
        option: its number in `Grid.tune`; None when there is nothing to tune.
        config: its whole resolved configuration as YAML.
        steps: optimiser steps it takes.
        images: images it sees, repeats included.
        identity: what its result depends on (`segkd.ablation.identity`).
    """

    arm: str
    dataset: str
    seed: int
    option: int | None
    config: str
    steps: int
    images: int
    identity: dict[str, Any]

    @property
    def name(self) -> str:
        """Path of its folder below GRID/cells."""
        option = [] if self.option is None else [f"option-{self.option}"]
        return "/".join([self.dataset, self.arm, *option, f"seed-{self.seed}"])


@dataclass(frozen=True)
class Place:
    """Where a grid is read and run: the folder of its file, threads of a cell, the folder of data sets by name."""

    folder: Path
    threads: int
    data_root: str | None = None


def resolve(grid: Grid, place: Place) -> list[Cell]:
    """Every cell of the grid, each option of `tune` with each seed, checked before anything runs.

    Raises:
        InputError: a layer, a setting, a class or a data list is at fault, or the budgets of the arms differ.
    """
    parser, code = training_parser(), code_digests()
    splits: dict[str, dict[str, Any]] = {}
    built: set[tuple[str, int]] = set()
    cells = []
    for arm, dataset, seed, option in _combinations(grid):
        try:
            config = parse(parser, _arguments(grid, place, (arm, dataset, seed, option)))
            if dataset not in splits:
                splits[dataset] = data_digests(instantiate(parser, Namespace(data=config.data)).data)
                _refuse_missing(grid, splits[dataset])
            if (arm, len(config.data.classes)) not in built:
                instantiate(parser, config)  # a misfit of teacher and knowledge speaks now, not after a day
                built.add((arm, len(config.data.classes)))
        except InputError as error:
            raise InputError(f"arm {arm}, data set {dataset}: {error}") from error
        text = resolved_text(parser, config)
        plain = plain_config(text)
        steps, images = _budget(config, splits[dataset]["train"]["pairs"])
        identity = {"config": plain, "data": splits[dataset], "code": code | user_code(plain)}
        cells.append(Cell(arm, dataset, seed, option, text, steps, images, identity))
    if grid.budget == "equal":
        _refuse_unequal(cells, grid)
    return cells


def _combinations(grid: Grid) -> Iterator[tuple[str, str, int, int | None]]:
    """Seeds outermost: a grid that is stopped halfway holds whole comparisons."""
    for seed in grid.seeds:
        for dataset in grid.datasets:
            for arm in grid.arms:
                for option in range(len(grid.tune)) if grid.tune else [None]:
                    yield arm, dataset, seed, option


def _arguments(grid: Grid, place: Place, which: tuple[str, str, int, int | None]) -> list[str]:
    arm, dataset, seed, option = which
    parts = [grid.base, grid.datasets[dataset], grid.arms[arm]]
    layers = [_layer(place.folder, name) for part in parts for name in part.layers]
    settings = {key: value for part in parts for key, value in part.set.items()}
    settings |= grid.tune[option] if option is not None else {}
    root = None if place.data_root is None else Path(place.data_root).expanduser().resolve() / dataset
    if root is not None and root.is_dir():  # a generated data set has none
        settings["data.root"] = str(root)
    settings |= {"seed": seed, "engine.threads": place.threads}
    texts = [f"--{key}={v if isinstance(v, str) else json.dumps(v)}" for key, v in settings.items()]
    return [*(word for layer in layers for word in ("--config", layer)), *texts]


def _layer(folder: Path, name: str) -> str:
    beside = folder / Path(name).expanduser()
    if beside.is_file():
        return str(beside)
    found = found_layer(name)
    if not Path(found).is_file():
        raise InputError(f"layers: expected a YAML file or a layer of segkd, found no {name} below {folder}.")
    return found


def _budget(config: Namespace, pairs: int) -> tuple[int, int]:
    """Optimiser steps and images of a training on one device."""
    accumulate = config.engine.accumulate
    micros = config.engine.epochs * EpochBatches(pairs, config.data.batch_size, 0, accumulate=accumulate).per_epoch
    return micros // accumulate, micros * config.data.batch_size


def _refuse_missing(grid: Grid, splits: dict[str, Any]) -> None:
    absent = [name for name in grid.splits if not splits.get(name, {}).get("pairs")]
    if absent:
        raise InputError(f"no {absent[0]} split to score on. Give its list, or leave it out of the grid's splits.")


def _refuse_unequal(cells: list[Cell], grid: Grid) -> None:
    """Arms are compared at the same number of optimiser steps and images, none of them ending early."""
    for cell in cells:
        patience = cell.identity["config"].get("engine.patience")
        if patience is not None:
            raise InputError(
                f"arm {cell.arm}: engine.patience {patience} ends trainings early, so that arms get unequal budgets. "
                "Set it to null, or write `budget: free` in the grid."
            )
        first = next(c for c in cells if c.dataset == cell.dataset and c.arm == grid.baseline)
        if (cell.steps, cell.images) != (first.steps, first.images):
            raise InputError(
                f"unequal budgets on {cell.dataset}: {first.arm} takes {first.steps} steps and sees {first.images} "
                f"images, {cell.arm} takes {cell.steps} and sees {cell.images}. Make data.batch_size, engine.epochs "
                "and engine.accumulate agree, or write `budget: free` in the grid."
            )
