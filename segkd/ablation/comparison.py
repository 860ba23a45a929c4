"""Rows of a comparison to tables and plots."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from segkd.ablation.curves import Record, kept_curves, records_of, unfinished, write_curves
from segkd.ablation.images import over_images
from segkd.ablation.rows import EVERY, Row, write_rows
from segkd.ablation.statistics import Comparison, compare
from segkd.ablation.tables import arm_table, dataset_table, to_latex, to_markdown, to_rich
from segkd.disk import write_whole
from segkd.types import InputError

PREFERRED = (("miou_image", "f_mean"), ("miou_dataset",))
"""The scores to compare when none is named: those of two classes, else that of several."""


def report(rows: Sequence[Row], wanted: Namespace, out: Path | None, console: Console) -> None:
    """Prints tables, and writes them with plots and `cells.csv` to `out` if given.

    `wanted` has `split`, `scores` and `baseline`, each None for a choice by what there is.
    """
    split = split_of(rows, wanted.split)
    chosen = [row for row in rows if row.split == split]
    if not chosen:
        there = sorted({row.split for row in rows})
        raise InputError(f"--split {split}: no cell has scores of it. There are: {', '.join(there)}.")
    scores = wanted.scores or _defined(chosen, split)
    baseline = wanted.baseline or chosen[0].arm
    comparisons = [compare(chosen, split, score, baseline) for score in scores]
    parts = [dataset_table(chosen, comparison) for comparison in comparisons]
    for comparison, part in zip(comparisons, parts, strict=True):  # one score at a time fits a narrow console
        console.print(to_rich(arm_table(chosen, [comparison])), "")
        if len({row.dataset for row in chosen}) > 1:
            console.print(to_rich(part), "")
    tables = [arm_table(chosen, comparisons), *parts]
    if len({row.seed for row in chosen}) == 1:
        console.print("one seed: these are readings, no result")
    records = records_of(chosen)
    short = [line for comparison in comparisons for line in unfinished(records, comparison)]
    images = over_images(chosen, scores, baseline)
    for line in [*short, *images]:
        console.print(line)
    if lost := sorted({row.arm for row in rows} - {row.arm for row in chosen}):
        console.print(f"left out, without scores on {split}: {', '.join(lost)}")
    if out is not None:
        _write(out, chosen, records, comparisons, [*map(to_markdown, tables), *short, *images], tables)
        console.print(f"tables and plots: {out}")


def split_of(rows: Sequence[Row], wanted: str | None) -> str:
    """The split that is compared: the one that is wanted, else the first of test, val, none and train that has rows."""
    there = {row.split for row in rows}
    return wanted or next((name for name in ("test", "val", "") if name in there), "train")


def _defined(rows: Sequence[Row], split: str) -> list[str]:
    for names in PREFERRED:
        if all(not math.isnan(row.scores[name]) for row in rows for name in names):
            return list(names)
    known = [name for name in EVERY if any(not math.isnan(row.scores.get(name, math.nan)) for row in rows)]
    if not known:
        raise InputError(
            f"expected cells with a score on {split or 'their labels'} to compare, found none that is defined in any "
            "of them: do the labels hold a pixel that counts? segkd evaluate tells."
        )
    return known[:2]


def _write(
    out: Path,
    rows: Sequence[Row],
    records: Sequence[Record],
    comparisons: Sequence[Comparison],
    texts: Sequence[str],
    tables: Sequence[Any],
) -> None:
    from segkd.ablation.curve_plots import plot_curves
    from segkd.ablation.plots import write_plots

    write_rows(out / "cells.csv", rows)
    write_whole(out / "table.md", "\n".join(texts))
    write_whole(out / "table.tex", "\n".join(to_latex(table, f"tab:{i}") for i, table in enumerate(tables)))
    if records:
        write_curves(out / "curves.csv", records)
    elif other := kept_curves(out):  # of an earlier comparison: read again, they would be taken for these rows'
        other.replace(out / "curves.before.csv")
    for comparison in comparisons:
        write_plots(comparison, out)
        plot_curves(records, comparison, out)
