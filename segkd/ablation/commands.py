"""`segkd ablate` and `segkd compare`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from segkd.ablation.comparison import report, split_of
from segkd.ablation.engines import default_processes
from segkd.ablation.grid import describe, plan_lines, run_grid
from segkd.ablation.plan import Grid, grid_parser, narrowed, read_grid
from segkd.ablation.resolve import Cell, Place, resolve
from segkd.ablation.runner import Run, Task, take_stock
from segkd.ablation.sources import gather, rows_of_grid
from segkd.experiment.arguments import refuse_unwritable
from segkd.experiment.commands import TRUST
from segkd.experiment.console import make_console, ticking
from segkd.experiment.layers import apart, found_layer
from segkd.experiment.settings import parse
from segkd.types import InputError


def ablate(arguments: list[str]) -> int:
    """`segkd ablate`: runs a grid, or goes on with it; 1 when a cell failed."""
    config, whole = read_grid(_parser(), arguments)
    grid = narrowed(whole, config.only)
    processes = default_processes(max(config.threads, 1)) if config.processes is None else config.processes
    if min(config.threads, processes) < 1:
        raise InputError(f"--processes and --threads must be at least 1, found {processes}, {config.threads}.")
    run = Run(Path(config.out), processes, config.threads, config.engine, config.keep_code, whole.baseline)
    files, _ = apart(arguments, "--config")
    folder = Path(found_layer(files[0])).resolve().parent if files else Path.cwd()
    console = make_console(True)
    place = Place(folder, config.threads, config.data_root, Path(config.out))
    with ticking(console, "resolving the grid"):
        cells = resolve(grid, place)
        run = replace(run, rest=tuple(_rest(whole, cells, place, run, console)))
    for line in describe(grid, cells, run):
        console.print(line)
    if grid.tune and config.only:
        console.print("cells.csv and the report are of this part alone, as options are chosen for all arms at once")
    if config.dry_run:
        for line in plan_lines(take_stock(cells, run, list(grid.splits))):
            console.print(line)
        return 0
    status = run_grid(grid, cells, run, console)
    rows = rows_of_grid(run.out) if status <= 1 else []
    if len({row.arm for row in rows}) > 1 or (rows and len(grid.arms) > 1):
        # where no cell of the baseline succeeded, the first arm that has one takes its place
        split = split_of(rows, None)
        baseline = whole.baseline if any((row.arm, row.split) == (whole.baseline, split) for row in rows) else None
        report(rows, Namespace(split=None, scores=None, baseline=baseline), run.out / "report", console)
    if status > 1:
        console.print(f"stopped; go on with the same command. Cells so far: {run.out / 'cells.csv'}")
    return status


def _parser() -> ArgumentParser:
    parser = grid_parser()
    add = parser.add_argument
    add("--out", type=str, required=True, metavar="GRID", help="the grid's folder; again to go on")
    add("--processes", type=int, default=None, help="cells side by side (GPUs, or cores by threads)")
    add("--threads", type=int, default=1, help="CPU threads of each cell")
    add("--engine", choices=["local", "ray"], default="local", help="ray: a cluster, or a local ray")
    add("--data-root", type=str, default=None, metavar="DIR", help="folder of the data sets by name")
    add("--only", type=str, nargs="+", default=[], metavar="NAME", help="these arms or data sets only, and the arms "
        "whose runs they read")  # fmt: skip
    add("--keep-code", action="store_true", help="keep finished cells when the code alone changed")
    add("--dry-run", action="store_true", help="say what would run and why, and stop")
    return parser


def _rest(whole: Grid, cells: Sequence[Cell], place: Place, run: Run, console: Console) -> list[Task]:
    """What lies in the grid's folder beside `cells`, a part of it, as the whole grid is written today."""
    names = {cell.name for cell in cells}
    there = [path.parent for path in place.out.glob("cells/*/*/seed-*/cell.json")]
    others = [path.parent for path in there if str(path.relative_to(place.out / "cells")) not in names]
    arms = {path.name for path in others} & set(whole.arms)
    datasets = {path.parent.name for path in others} & set(whole.datasets)
    if whole.tune or not arms or not datasets:
        return []
    try:
        found = resolve(narrowed(whole, sorted(arms | datasets)), place)
    except InputError as error:
        console.print(f"cells.csv and the report are of this part alone: {error}")
        return []
    return take_stock([cell for cell in found if cell.name not in names], run, list(whole.splits))


def compare(arguments: list[str]) -> int:
    """`segkd compare`: tables, tests and plots for runs, grids, or CSV files of cells."""
    parser = ArgumentParser(
        prog="segkd compare",
        description="Compare arms: mean, spread, paired gain over a baseline with interval and test; tables and plots. "
        "Runs whose configurations agree but for seed and data are one arm.",
        exit_on_error=False,
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="runs, grids, cells.csv, scores.json")
    parser.add_argument(
        "--split", choices=["train", "val", "test"], default=None, help="default: test of cells, val of runs"
    )
    parser.add_argument("--scores", type=list[str], default=None, help="e.g. [miou_image,f_mean]; default: by classes")
    parser.add_argument("--baseline", type=str, default=None, help="the arm the others are compared with; the first")
    parser.add_argument("--trust", action="store_true", help=f"where a run is scored now: {TRUST}")
    parser.add_argument(
        "--out", type=str, default=None, metavar="DIR", help="for tables, plots, learning curves, cells.csv"
    )
    config = parse(parser, arguments)
    out = None if config.out is None else Path(config.out)
    if out is not None and ((out / "cells").is_dir() or (out / "config.yaml").is_file()):
        raise InputError(
            f"--out {out}: expected a folder for tables, found that of a grid or a run, whose own files they would "
            f"replace. Write --out {out / 'tables'}."
        )
    refuse_unwritable(config.out)  # before runs are scored, not after it
    console = make_console(True)
    rows, apart = gather(config.sources, config.split, config.trust)
    for line in apart:
        console.print(line)
    report(rows, config, out, console)
    return 0
