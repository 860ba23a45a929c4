"""Runs, grids, CSV files and scores.json as rows of a comparison; what was scored differently is refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from segkd.ablation.curves import kept_curves
from segkd.ablation.resolve import without_place
from segkd.ablation.rows import EVERY, Row, read_rows, refuse_wild, scores_of
from segkd.ablation.runs import arm_names, method_of, other_images, other_students, row_of, rules_of, what_differs
from segkd.disk import read_json
from segkd.metrics.protocol import differences, rules_apart
from segkd.types import InputError, printable


@dataclass(frozen=True)
class Judged:
    """What a comparison needs of a scores.json beside the scores, by the names it has there."""

    fingerprint: dict[str, Any]
    dataset: str
    split: Literal["train", "val", "test"] | None = None
    n_images: int | None = None


Scores = make_dataclass("Scores", [(name, float | None, None) for name in EVERY], bases=(Judged,), frozen=True)
"""And the scores; one that is not defined is None."""


def gather(sources: Sequence[str], split: str | None, trust: bool = False) -> tuple[list[Row], list[str]]:
    """Rows of all sources, and sentences on what tells the arms apart that are made of runs.

    A source is a CSV file of cells, the folder of a grid, a scores.json of `segkd evaluate`, or a run folder. Runs
    whose configurations agree but for seed and data are one arm, named after what their folders' names share.

    Args:
        sources: paths.
        split: the split to score runs on; if None, that of the first scores.json which states one, test where none
            does, or val where there is no scores.json.
        trust: whether runs that are scored now may name classes that are not segkd's own.

    Raises:
        InputError: a source is none of these, or scores were made by different rules.
    """
    rows: list[Row] = []
    runs: list[Path] = []
    grids: dict[Path, list[Row]] = {}
    judged: dict[Path, dict[str, Any]] = {}
    for source in map(_source, sources):
        if source.suffix == ".json" and source.is_file():
            judged[source] = _read_scores(source)
        elif source.is_file():
            rows += read_rows(source)
        elif (source / "cells.csv").is_file():
            grids[source] = rows_of_grid(source)
            rows += grids[source]
        elif (source / "config.yaml").is_file():
            runs.append(source)
        else:
            raise InputError(
                f"{source}: expected a run folder, the folder of a grid, a CSV file of cells, or a scores.json."
            )
    rules = {str(path): (content["dataset"], content["fingerprint"]) for path, content in judged.items()}
    other_maps = _refuse_other_rules(rules | {str(run): rules_of(run) for run in runs})
    for path, content in judged.items():
        rows.append(_row_of_scores(path, content, rows))
    stated = [one["split"] for one in judged.values() if one.get("split")]
    asked, split = split, split or (stated or ["test" if judged else "val"])[0]
    methods = {run: method_of(run) for run in runs}
    names = arm_names(methods, {row.arm for row in rows})
    scored = {run: replace(row_of(run, split, trust), arm=names[run]) for run in runs}
    rows += scored.values()
    if not rows:
        raise InputError(f"{', '.join(sources)}: expected cells with scores, found none. Has a training ended yet?")
    odd = [*other_students(runs), *(other_images(scored) if split == "val" else [])]
    return _finished(rows, asked), [
        *other_maps,
        *_uneven(judged),
        *_other_settings(grids),
        *odd,
        *what_differs({names[run]: methods[run] for run in runs}),
    ]


def rows_of_grid(grid: Path) -> list[Row]:
    """The rows of a grid's folder, with the records of the trainings that are still there; or of what `segkd compare`
    wrote of some, with its `curves.csv`."""
    rows, table = [], kept_curves(grid)
    for row in read_rows(grid / "cells.csv"):
        arm = grid / "cells" / row.dataset / row.arm
        found = [path for place in ("", "option-*/") for path in arm.glob(f"{place}seed-{row.seed}/run/metrics.jsonl")]
        # of several options (`tune`) nothing says here which one the row is of
        rows.append(replace(row, record=found[0] if len(found) == 1 else None if found else table))
    return rows


def _source(name: str) -> Path:
    """The path of a source; of a folder that `segkd evaluate` wrote, its scores.json."""
    path = Path(name)
    written = (path / "scores.json").is_file() and not (path / "config.yaml").is_file()
    return path / "scores.json" if written else path


def _read_scores(path: Path) -> dict[str, Any]:
    content = asdict(read_json(path, Scores, "a scores.json of segkd evaluate"))
    refuse_wild(scores_of(content), str(path))
    return content


def _uneven(judged: dict[Path, dict[str, Any]]) -> list[str]:
    """A warning for each data set of which not all scored the same number of images."""
    sentences = []
    for dataset in dict.fromkeys(content["dataset"] for content in judged.values()):
        counts = {path: c.get("n_images") for path, c in judged.items() if c["dataset"] == dataset}
        if len(set(counts.values())) > 1:
            texts = ", ".join(f"{path} {count}" for path, count in counts.items())
            sentences.append(f"warning: unequal numbers of images were scored of {dataset}: {texts}")
    return sentences


def _other_settings(grids: Mapping[Path, Sequence[Row]]) -> list[str]:
    """A warning for each arm and data set that two grids train by different settings under one name."""
    first: dict[tuple[str, str], tuple[Path, dict[str, Any]]] = {}
    sentences = []
    for grid, rows in grids.items():
        runs = {(row.arm, row.dataset): row.record.parent for row in rows if row.record is not None}
        for key, run in runs.items() if len(grids) > 1 else ():
            if not (run / "config.yaml").is_file():  # of a table, or removed
                continue
            ours = {name: _of_any_seed(without_place(value, grid)) for name, value in method_of(run).items()}
            other, theirs = first.setdefault(key, (grid, ours))
            if ours != theirs:
                apart = "; ".join(what_differs({str(other): theirs, str(grid): ours}))
                sentences.append(
                    f"warning: {key[0]} is one arm, but was trained on {key[1]} by other settings: {apart}. Where that "
                    "is not meant, give one of them another name in its grid"
                )
    return sentences


def _of_any_seed(value: Any) -> Any:
    """A setting without the seed in the paths of runs that it reads, which are those of its own seed."""
    return re.sub(r"/seed-\d+\b", "/seed-*", value) if isinstance(value, str) else value


def _refuse_other_rules(rules: Mapping[str, tuple[str, dict[str, Any]]]) -> list[str]:
    """Refuses scores of one data set by different protocols, thresholds or looks at test, which do not compare; a
    warning for each source whose maps were scaled, or read, otherwise than the first one's: with a foreign model that
    has to be. `rules` are data set and fingerprint by source."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    sentences = []
    for source, (dataset, given) in rules.items():
        other, theirs = first.setdefault(dataset, (source, given))
        apart = rules_apart(theirs, given)
        if apart:
            raise InputError(
                f"{other} and {source} were scored by different rules, so they do not compare: {'; '.join(apart)}. "
                "Score both with the same --protocol, --threshold, looks and reading of labels (segkd evaluate)."
            )
        if maps := differences(theirs, given):
            sentences.append(f"warning: the maps of {other} and {source} came to be otherwise: {'; '.join(maps)}")
    return sentences


def _row_of_scores(path: Path, content: dict[str, Any], others: Sequence[Row]) -> Row:
    """The row of a scores.json, called by its folder or its own name; by its path where one of `others` is that."""
    folder = path.resolve().parent
    # of several data sets, evaluate writes OUT/DATASET/scores.json
    folder = folder.parent if folder.name == content["dataset"] else folder
    name = folder.name if path.stem == "scores" else path.stem
    images, split = path.with_name("per_image.csv"), content.get("split") or ""
    by_image = images if path.name == "scores.json" and images.is_file() else None
    taken = {(row.arm, *row.unit) for row in others if row.split == split or "" in (row.split, split)}
    if (name, content["dataset"], 0) in taken:
        name = str(path)
    return Row(
        name,
        content["dataset"],
        0,
        split,
        scores_of(content),
        steps=0,
        images=0,
        seconds=0.0,
        commit="",
        by_image=by_image,
    )


def _finished(rows: Sequence[Row], asked: str | None) -> list[Row]:
    """Rows whose names any table, picture and CSV file can hold. Scores of a folder of labels are of no split: they
    stand beside those that were asked for, or that all others are of; beside several splits they count as of test."""
    named = sorted({row.split for row in rows} - {""})
    taken = asked or (named[0] if len(named) == 1 else "test" if named else "")
    shown = (replace(row, arm=printable(row.arm), dataset=printable(row.dataset)) for row in rows)
    return [replace(row, split=row.split or taken) for row in shown]
