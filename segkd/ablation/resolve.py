"""A grid resolved into cells: every configuration parsed, every class built once, every data list read."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from segkd.ablation.identity import code_digests, data_digests, digest_of, plain_config, user_code
from segkd.ablation.plan import SEED, Grid, named
from segkd.ablation.standing import needed, refuse_named_in_layers, runs_of, with_runs
from segkd.datasets.sampler import EpochBatches
from segkd.experiment.folder import resolved_text
from segkd.experiment.layers import found_layer, read_layer
from segkd.experiment.meeting import rehearse
from segkd.experiment.planning import plan_length, settle
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.metrics.protocol import READING
from segkd.types import InputError, expanded


@dataclass(frozen=True)
class Cell:
    """One training of a grid.

    Attributes:
        option: its number in `Grid.tune`; None when there is nothing to tune.
        config: its whole resolved configuration as YAML.
        steps: optimiser steps it takes.
        images: images it sees, repeats included.
        identity: what its result depends on (`segkd.ablation.identity`).
        needs: names of the cells whose runs it reads, which come first.
    """

    arm: str
    dataset: str
    seed: int
    option: int | None
    config: str
    steps: int
    images: int
    identity: dict[str, Any]
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Path of its folder below GRID/cells."""
        option = [] if self.option is None else [f"option-{self.option}"]
        return "/".join([self.dataset, self.arm, *option, f"seed-{self.seed}"])


@dataclass(frozen=True)
class Place:
    """Where a grid is read and run: the folder of its file, threads of a cell, the folder of data sets by name, and the
    grid's own folder, where the runs lie that `$ARM` stands for."""

    folder: Path
    threads: int
    data_root: str | None = None
    out: Path = Path("grid")


def resolve(grid: Grid, place: Place) -> list[Cell]:
    """Every cell of the grid, each option of `tune` with each seed, checked before anything runs.

    Raises:
        InputError: a layer, a setting, a class or a data list is at fault, or the budgets of the arms differ.
    """
    look = _Look(grid)
    known: dict[tuple[str, ...], Cell] = {}
    cells = []
    for arm, dataset, seed, option in _combinations(grid):
        try:
            arguments = _arguments(grid, place, (arm, dataset, seed, option))
            said = (arm, dataset, *arguments)
            if said not in known:  # cells of other seeds differ in nothing else, unless a setting names the seed
                known[said] = look.cell(arm, dataset, arguments)
        except InputError as error:
            raise InputError(f"arm {arm}, data set {dataset}: {error}") from error
        needs = tuple(f"{dataset}/{run}" for one in needed(grid, arm, dataset) for run in runs_of(one, grid, seed))
        cells.append(replace(_of_seed(known[said], seed), option=option, needs=needs))
    cells = [_with_needs(cell, {one.name: one for one in cells}, place) for cell in cells]
    _refuse_unlike(cells, grid)
    if grid.budget == "equal":
        _refuse_unequal(cells, grid)
    return cells


class _Look:
    """Looks at arms on data sets: every configuration parsed, every class built once, every data list read."""

    def __init__(self, grid: Grid) -> None:
        self.grid, self.parser, self.code = grid, training_parser(), code_digests()
        self.splits: dict[str, dict[str, Any]] = {}
        self.built: set[tuple[str, int]] = set()

    def cell(self, arm: str, dataset: str, arguments: list[str]) -> Cell:
        """The cell of one seed. Raises InputError as `resolve`."""
        config = parse(self.parser, arguments)
        text = resolved_text(self.parser, config)
        plain = plain_config(text)
        refuse_named_in_layers(self.grid, plain)
        part = _files(dataset, plain, config.data)
        if part not in self.splits:
            self.splits[part] = data_digests(instantiate(self.parser, Namespace(data=config.data)).data)
            _refuse_missing(self.grid, self.splits[part])
        if (arm, len(config.data.classes)) not in self.built:
            self._build(arm, dataset, config)
            self.built.add((arm, len(config.data.classes)))
        pairs = self.splits[part]["train"]["pairs"]
        if not all((config.data.batch_size, config.engine.epochs, config.evaluation.every)):
            _plan(config, pairs)
            text = resolved_text(self.parser, config)
            plain = plain_config(text)
        identity = {"config": plain, "data": self.splits[part], "code": self.code | user_code(plain)}
        return Cell(arm, dataset, config.seed, None, text, *_budget(config, pairs), identity)

    def _build(self, arm: str, dataset: str, config: Namespace) -> None:
        """A misfit of teacher and knowledge speaks now, not after a day."""
        waits = needed(self.grid, arm, dataset)  # for runs that are still to come
        objects = instantiate(self.parser, _without_reading(self.grid, arm, config) if waits else config)
        if not waits:
            rehearse(objects)


def _of_seed(cell: Cell, seed: int) -> Cell:
    """The same with another seed: the line of the root's key and its leaf."""
    config = re.sub(r"^seed: .*$", f"seed: {seed}", cell.config, count=1, flags=re.MULTILINE)
    return replace(cell, seed=seed, config=config, identity=cell.identity | {
        "config": cell.identity["config"] | {"seed": seed}})  # fmt: skip


def _files(dataset: str, plain: dict[str, Any], data: Namespace) -> str:
    """What tells which files a cell reads: its data set, where they lie, and all other settings of data but those of
    the batches."""
    batches = ("data.size", "data.batch_size", "data.augment")
    said = {key: value for key, value in plain.items() if key.startswith("data.") and not key.startswith(batches)}
    return str((dataset, data.root, data.parquet, data.domains, said))


def _without_reading(grid: Grid, arm: str, config: Namespace) -> Namespace:
    """A configuration without its network, if that is made of a run of the grid."""
    settings = grid.base.set | grid.arms[arm].set
    reads = any(named(value) for key, value in settings.items() if key.split(".")[0] == "model")
    return Namespace(**{key: value for key, value in vars(config).items() if not (reads and key == "model")})


def _with_needs(cell: Cell, cells: dict[str, Cell], place: Place, above: tuple[str, ...] = ()) -> Cell:
    """The cell, its identity following the content of what it needs instead of the place where that lies."""
    if cell.name in above:
        raise InputError(f"arm {cell.arm} needs its own run in the end: {' -> '.join([*above, cell.name])}.")
    config = {key: without_place(value, place.out) for key, value in cell.identity["config"].items()}
    for name in cell.needs:
        whole = _with_needs(cells[name], cells, place, (*above, cell.name))
        config[f"needs.{whole.arm}"] = content_digest(whole.identity)
    return replace(cell, identity=cell.identity | {"config": config})


def content_digest(identity: dict[str, Any]) -> str:
    """What stands for a run in the configuration of an arm that reads it; the code is in that arm's identity too."""
    content = {part: identity[part] for part in ("config", "data")}
    return digest_of(json.dumps(content, sort_keys=True, default=str).encode())


def without_place(value: Any, out: Path) -> Any:
    """A setting that does not tell where the grid's folder lies."""
    if isinstance(value, str):
        return value.replace(str(out.resolve() / "cells"), "$cells")
    return [without_place(part, out) for part in value] if isinstance(value, list) else value


def _flow(value: object) -> str:
    """YAML in one line: JSON would make words of the numbers that schedules have for keys."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=float("inf"))).removesuffix("...\n").strip()


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
    root = None if place.data_root is None else expanded(place.data_root).resolve()
    if root is not None and not _has_domains(layers, settings):  # which lie below it by their own names
        root = root / dataset
    if root is not None and root.is_dir():  # a generated data set has none
        settings["data.root"] = str(root)
    settings |= {"engine.threads": place.threads}
    where = place.out.resolve() / "cells" / dataset
    runs: dict[str, list[Any]] = {
        f"${one}": [str(where / run / "run") for run in runs_of(one, grid, seed)] for one in needed(grid, arm, dataset)
    } | {SEED: [seed]}
    settings = {key: with_runs(value, runs) for key, value in settings.items()}
    texts = [f"--{key}={v if isinstance(v, str) else _flow(v)}" for key, v in settings.items()]
    return [*(word for layer in layers for word in ("--config", layer)), *texts]


def _has_domains(layers: list[str], settings: dict[str, Any]) -> bool:
    data = [read_layer(Path(layer)).get("data") for layer in layers]
    return "data.domains" in settings or any("domains" in one for one in data if isinstance(one, dict))


def _layer(folder: Path, name: str) -> str:
    beside = folder / expanded(name)
    if beside.is_file():
        return str(beside)
    found = found_layer(name)
    if not Path(found).is_file():
        raise InputError(f"layers: expected a YAML file or a layer of segkd, found no {name} below {folder}.")
    return found


def _plan(config: Namespace, pairs: int) -> None:
    """Puts numbers in place of a batch size and epochs that are to be planned."""
    told = config.data.batch_size, config.engine.epochs
    settle(config, plan_length(pairs, *told, accumulate=config.engine.accumulate))


def _budget(config: Namespace, pairs: int) -> tuple[int, int]:
    """Optimiser steps and images of a training on one device."""
    accumulate = config.engine.accumulate
    micros = config.engine.epochs * EpochBatches(pairs, config.data.batch_size, 0, accumulate=accumulate).per_epoch
    return micros // accumulate, micros * config.data.batch_size


def _refuse_missing(grid: Grid, splits: dict[str, Any]) -> None:
    absent = [name for name in grid.splits if not splits.get(name, {}).get("pairs")]
    if absent:
        raise InputError(f"no {absent[0]} split to score on. Give its list, or leave it out of the grid's splits.")


def _refuse_unlike(cells: list[Cell], grid: Grid) -> None:
    """Arms are compared on the same images; one whose run another reads may have its own."""
    read = {name for cell in cells for name in cell.needs}
    first: dict[tuple[str, int, str], Cell] = {}
    for cell in (one for one in cells if one.arm == grid.baseline or one.name not in read):
        for split in (name for name in grid.splits if name != "train"):  # of which arms may see a part
            other = first.setdefault((cell.dataset, cell.seed, split), cell)
            ours, theirs = (one.identity["data"].get(split) for one in (cell, other))
            if ours != theirs:
                raise InputError(
                    f"{other.name} and {cell.name} would be scored on different {split} lists ({theirs['pairs']} and "
                    f"{ours['pairs']} images), so they do not compare. Give all arms the same one, or leave {split} "
                    "out of the grid's splits."
                )
            keys = tuple(f"data.{name}" for name in (*READING, "ignore"))
            ours, theirs = ({key: value for key, value in one.identity["config"].items() if key.startswith(keys)}
                            for one in (cell, other))  # fmt: skip
            if ours != theirs:
                raise InputError(
                    f"{other.name} and {cell.name} would be scored against labels that are read in different ways, so "
                    f"they do not compare: {theirs} against {ours}. Say it of the data set, for all arms."
                )


def _refuse_unequal(cells: list[Cell], grid: Grid) -> None:
    """Arms are compared at the same number of optimiser steps and images for each data set and seed, none of them
    ending early."""
    for cell in cells:
        patience = cell.identity["config"].get("engine.patience")
        if patience is not None:
            raise InputError(
                f"arm {cell.arm}: engine.patience {patience} ends trainings early, so that arms get unequal budgets. "
                "Set it to null, or write `budget: free` in the grid."
            )
        unit = grid.baseline, cell.dataset, cell.seed  # seeds may train on parts of different sizes (data.only_fold)
        first = next(c for c in cells if (c.arm, c.dataset, c.seed) == unit)
        if (cell.steps, cell.images) != (first.steps, first.images):
            raise InputError(
                f"unequal budgets on {cell.dataset}: {first.arm} takes {first.steps} steps and sees {first.images} "
                f"images, {cell.arm} takes {cell.steps} and sees {cell.images}. Make data.batch_size, engine.epochs "
                "and engine.accumulate agree, or write `budget: free` in the grid."
            )
