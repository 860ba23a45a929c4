"""What stands for an arm's runs in the settings of others: `$ARM`, `$ARM*`, and `$seed` for the cell's own."""

from typing import Any

from segkd.ablation.plan import Grid, named, sources
from segkd.types import InputError


def needed(grid: Grid, arm: str, dataset: str) -> list[str]:
    """The arms whose runs an arm reads, with `*` where it reads those of all seeds: its settings, or those of base and
    data sets, name them as `$ARM` and `$ARM*`.

    Raises:
        InputError: there is no such arm, or the grid tunes.
    """
    found = sources(grid, arm, [dataset])
    for name in (one.removesuffix("*") for one in found):
        if name not in grid.arms:
            raise InputError(f"arm {arm}: ${name} is no arm of the grid; arms are {', '.join(grid.arms)}.")
        if grid.tune:
            raise InputError(f"arm {arm}: ${name} cannot be told which of its tuning trials is meant. Leave out tune.")
    return found


def runs_of(one: str, grid: Grid, seed: int) -> list[str]:
    """ARM/seed-N of the runs that `ARM` or `ARM*` stands for."""
    name = one.removesuffix("*")
    return [f"{name}/seed-{number}" for number in (grid.seeds if one.endswith("*") else [seed])]


def refuse_named_in_layers(grid: Grid, plain: dict[str, Any]) -> None:
    """A layer is read alone, without the grid that knows where an arm's run lies."""
    for key, value in plain.items():
        lost = [name for name in named(value, in_paths=True) if name.removesuffix("*") in grid.arms]
        if lost:
            raise InputError(
                f"a layer names the run ${lost[0]} at {key}, but the grid alone knows where it lies. Write it in the "
                f"grid instead, in `set` of the arm: {key.replace('.init_args', '')}: [${lost[0]}]."
            )


def with_runs(value: Any, runs: dict[str, list[Any]]) -> Any:
    """A setting with what its `$ARM`, `$ARM*` and `$seed` stand for; several runs take the place of one in a list."""
    if isinstance(value, str):
        stands = runs.get(value, [value])
        return stands[0] if len(stands) == 1 else stands
    if isinstance(value, list):
        stand = [runs.get(part) if isinstance(part, str) else None for part in value]
        return [one for part, some in zip(value, stand) for one in some or [with_runs(part, runs)]]
    return {key: with_runs(part, runs) for key, part in value.items()} if isinstance(value, dict) else value
