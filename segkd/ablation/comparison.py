"""`segkd compare`: runs, grids and CSV files to rows, and rows to tables and plots."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from segkd.ablation.identity import plain_config
from segkd.ablation.rows import SCORES, Row, read_rows, write_rows
from segkd.ablation.statistics import Comparison, compare
from segkd.ablation.tables import arm_table, dataset_table, to_latex, to_markdown, to_rich
from segkd.engine.record import read_lines
from segkd.experiment.folder import checkpoint_of, flat, read_environment
from segkd.experiment.scoring import score_student
from segkd.experiment.settings import instantiate, parse, read_layer, training_parser
from segkd.experiment.training import make_accelerator
from segkd.models.store import load_model
from segkd.types import InputError

PREFERRED = (("miou_image", "f_mean"), ("miou_dataset",))
"""The scores to compare when none is named: those of two classes, else that of several."""


def gather(sources: Sequence[str], split: str) -> tuple[list[Row], list[str]]:
    """Rows of all sources, and sentences on what tells the arms apart that are made of runs.

    A source is a CSV file of cells, the folder of a grid, or a run folder. Runs whose configurations agree but for
    seed and data are one arm, named after what their folders' names share.

    Raises:
        InputError: a source is none of these, or two rows are the same arm, data set and seed.
    """
    rows: list[Row] = []
    runs: list[Path] = []
    for source in map(Path, sources):
        if source.is_file():
            rows += read_rows(source)
        elif (source / "cells.csv").is_file():
            rows += read_rows(source / "cells.csv")
        elif (source / "config.yaml").is_file():
            runs.append(source)
        else:
            raise InputError(f"{source}: expected a run folder, the folder of a grid, or a CSV file of cells.")
    names = arm_names({run: _method(run) for run in runs})
    rows += [replace(_row_of(run, split), arm=names[run]) for run in runs]
    return rows, what_differs({names[run]: _method(run) for run in runs})


def report(rows: Sequence[Row], wanted: Namespace, out: Path | None, console: Console) -> None:
    """Prints tables, and writes them with plots and `cells.csv` to `out` if given.

    `wanted` has `split`, `scores` and `baseline`, each None for a choice by what there is.
    """
    split = wanted.split or ("test" if any(row.split == "test" for row in rows) else "val")
    chosen = [row for row in rows if row.split == split]
    if not chosen:
        raise InputError(f"--split {split}: no cell has scores of it. There are: {', '.join({r.split for r in rows})}.")
    scores = wanted.scores or _defined(chosen)
    baseline = wanted.baseline or chosen[0].arm
    comparisons = [compare(chosen, split, score, baseline) for score in scores]
    for comparison in comparisons:  # one score at a time fits a narrow console
        console.print(to_rich(arm_table(chosen, [comparison])), "")
    tables = [arm_table(chosen, comparisons), *(dataset_table(chosen, comparison) for comparison in comparisons)]
    if len({row.seed for row in chosen}) == 1:
        console.print("one seed: these are readings, no result")
    if out is not None:
        _write(out, chosen, comparisons, tables)
        console.print(f"tables and plots: {out}", markup=False)


def arm_names(methods: dict[Path, dict[str, Any]]) -> dict[Path, str]:
    """Run -> name of its arm; runs with one configuration share a name."""
    groups: list[list[Path]] = []
    for run, method in methods.items():
        group = next((g for g in groups if methods[g[0]] == method), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    names: dict[Path, str] = {}
    for group in groups:
        shared = _beginning([run.resolve().name for run in group]) if len(group) > 1 else ""
        name = shared.rstrip("-_. ").removesuffix("seed").rstrip("-_. ") or group[0].resolve().name
        name = name if name not in names.values() else str(group[0])
        names |= dict.fromkeys(group, name)
    return names


def what_differs(methods: dict[str, dict[str, Any]], most: int = 8) -> list[str]:
    """A sentence for each setting in which arms differ."""
    keys = sorted({key for method in methods.values() for key in method})
    apart = [key for key in keys if len({repr(method.get(key)) for method in methods.values()}) > 1]
    lines = [
        f"{key}: " + ", ".join(f"{arm} {method.get(key, '-')}" for arm, method in methods.items()) for key in apart
    ]
    return lines[:most] + ([f"... and {len(lines) - most} more settings differ"] if len(lines) > most else [])


def _beginning(names: Sequence[str]) -> str:
    """The letters that all names begin with."""
    alike = [len(set(letters)) == 1 for letters in zip(*names)]
    return names[0][: alike.index(False) if False in alike else len(alike)]


def _method(run: Path) -> dict[str, Any]:
    """The configuration of a run without its seed and its data, but with what shapes the data's batches."""
    config = plain_config((run / "config.yaml").read_text(encoding="utf-8"))
    shaping = ("data.size", "data.batch_size", "data.augment")
    return {k: v for k, v in config.items() if k != "seed" and (not k.startswith("data.") or k.startswith(shaping))}


def _row_of(run: Path, split: str) -> Row:
    """The row of one run; val as it was scored in training, other splits are scored now."""
    config = flat(read_layer(run / "config.yaml"))
    lines = read_lines(run / "metrics.jsonl")
    steps = max((line["step"] for line in lines), default=0)
    sessions = read_environment(run)
    processes = sessions[-1].get("processes", 1) if sessions else 1
    images = steps * config["data.batch_size"] * config["engine.accumulate"] * processes
    scores = _val_scores(run) if split == "val" else _scored_now(run, split)
    root = config.get("data.root")
    return Row(
        arm="",
        dataset=Path(root).name if root else "embedded",
        seed=config["seed"],
        split=split,
        scores={name: math.nan if scores.get(name) is None else float(scores[name]) for name in SCORES},
        steps=steps,
        images=images,
        seconds=sum(session.get("seconds") or 0.0 for session in sessions),
        commit=sessions[-1].get("commit", "") if sessions else "",
    )


def _val_scores(run: Path) -> dict[str, Any]:
    if not (run / "model.json").is_file():
        unfinished = " It has a checkpoint; go on with segkd train --resume." if checkpoint_of(run).is_file() else ""
        raise InputError(f"{run}: expected a run that was validated at least once, found no model.json.{unfinished}")
    return load_model(run).card.scores


def _scored_now(run: Path, split: str) -> dict[str, Any]:
    parser = training_parser()
    config = parse(parser, ["--config", str(run / "config.yaml")])
    accelerator = make_accelerator(config.engine)
    data = instantiate(parser, Namespace(data=config.data)).data
    model = load_model(run, str(accelerator.device))
    return score_student(model, data, split, accelerator, config.evaluation.threshold).scores()


def _defined(rows: Sequence[Row]) -> list[str]:
    for names in PREFERRED:
        if all(not math.isnan(row.scores[name]) for row in rows for name in names):
            return list(names)
    return [name for name in SCORES if any(not math.isnan(row.scores[name]) for row in rows)][:2]


def _write(out: Path, rows: Sequence[Row], comparisons: Sequence[Comparison], tables: Sequence[Any]) -> None:
    from segkd.ablation.plots import write_plots

    try:
        out.mkdir(parents=True, exist_ok=True)
        write_rows(out / "cells.csv", rows)
        (out / "table.md").write_text("\n".join(map(to_markdown, tables)), encoding="utf-8")
        latex = [to_latex(table, f"tab:{i}") for i, table in enumerate(tables)]
        (out / "table.tex").write_text("\n".join(latex), encoding="utf-8")
        for comparison in comparisons:
            write_plots(comparison, out)
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there: {error}.") from error
