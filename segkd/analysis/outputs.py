"""What a spectral analysis writes for other programs: spectra.json, bands.csv and images.csv."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segkd.analysis.evidence import Condition, Evidence, Sentence
from segkd.analysis.summary import Curve, Group
from segkd.disk import dump_csv, write_whole
from segkd.engine.record import jsonable
from segkd.frequency.rings import EDGES
from segkd.metrics.boundary import WIDTHS

KINDS = ("clean", "stop", "noise", "low", "high")
"""The order of the conditions in images.csv."""


def write_outputs(
    groups: Sequence[Group], sentences: Sequence[Sentence], folder: Path, about: Mapping[str, Any]
) -> list[Path]:
    """Writes the three files, each whole or not at all; the same input gives the same bytes.

    Args:
        groups: what was summarised.
        sentences: in the order in which they are read.
        folder: made when missing.
        about: what a reader needs to repeat it, e.g. {"command": [...], "data": ..., "split": ...}; anything that
            JSON cannot hold is written as its text.

    Returns:
        `spectra.json` (everything but the single images), `bands.csv` (a row per group, quantity and band) and
        `images.csv` (a row per run, image and condition).
    """
    texts = {
        "spectra.json": json.dumps(describe(groups, sentences, about), indent=1, allow_nan=False, default=str) + "\n",
        "bands.csv": bands_table(groups),
        "images.csv": images_table(groups),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def describe(groups: Sequence[Group], sentences: Sequence[Sentence], about: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was summarised, as what JSON can hold: NaN is None."""
    first = groups[0].runs[0]
    return {
        "about": jsonable(about),
        "sentences": [{"text": one.text, "verdict": one.verdict} for one in sentences],
        "size": list(first.size),
        "images": len(first.ids),
        "band_edges": list(EDGES),
        "boundary_widths": list(WIDTHS),
        "groups": [_of_group(one) for one in groups],
    }


def first_band(name: str) -> int | None:
    """The band that the first value of a curve stands for; None for a curve that is not by band."""
    if name in ("boundary", "interior", "aliasing") or name.startswith("clean/"):
        return None
    return 1 if name.startswith("high/") else 0


def bands_table(groups: Sequence[Group]) -> str:
    """A row per group, quantity and band, as CSV; a column per run of the largest group, in the order of its runs.

    The rows of "low/<score>" name the last band that was kept, those of "high/<score>" the first.
    """
    members = max(len(one.runs) for one in groups)
    runs = [f"run_{i + 1}" for i in range(members)]
    rows: list[list[Any]] = [["group", "quantity", "band", "low_edge", "high_edge", "mean", "low", "high", *runs]]
    for one in groups:
        for name, curve in one.curves.items():
            start = first_band(name)
            if start is None:
                continue
            for i, b in enumerate(range(start, start + len(curve.mean))):
                values = [curve.mean[i], curve.low[i], curve.high[i], *curve.seeds[:, i]]
                rest = [""] * (members - len(curve.seeds))
                rows.append([one.name, name, b, EDGES[b], EDGES[b + 1], *map(float, values), *rest])
    return dump_csv(rows)


def images_table(groups: Sequence[Group]) -> str:
    """A row per run, image and condition with all scores, as CSV; what is not defined is left empty."""
    names = list(dict.fromkeys(name for one in groups for name in one.scores))
    rows: list[list[Any]] = [["group", "seed", "run", "id", "condition", *names]]
    for run in (run for one in groups for run in one.runs):
        for condition in _conditions(run):
            columns = [run.scores.get(name, {}).get(condition) for name in names]
            for i, id in enumerate(run.ids):
                cells = ("" if column is None else float(column[i]) for column in columns)
                rows.append([run.name, run.seed, run.run, id, condition, *cells])
    return dump_csv(rows)


def _of_group(one: Group) -> dict[str, Any]:
    return {
        "name": one.name,
        "classes": list(one.runs[0].classes),
        "scores": list(one.scores),
        "representable": one.representable.tolist(),
        "aliasing_levels": [{"name": name, "stride": stride} for name, stride, _ in one.runs[0].aliasing],
        "curves": {name: _of_curve(curve) for name, curve in one.curves.items()},
        "runs": [_of_run(run) for run in one.runs],
    }


def _of_curve(curve: Curve) -> dict[str, Any]:
    return {key: jsonable(getattr(curve, key)) for key in ("mean", "low", "high", "seeds", "seed_interval")}


def _of_run(run: Evidence) -> dict[str, Any]:
    return {
        "run": str(run.run),
        "seed": run.seed,
        "stride": run.stride,
        "noise_rms": run.noise,
        "forwards_per_image": run.forwards,
        "seconds": run.seconds,
        "notes": list(run.notes),
        "learning": None if run.learning is None else jsonable(vars(run.learning)),
        "heatmap": None if run.heatmap is None else jsonable(vars(run.heatmap)),
        "dct_mean_square": jsonable(run.dct.mean(axis=0)),
    }


def _conditions(run: Evidence) -> list[Condition]:
    found = {condition for scores in run.scores.values() for condition in scores}
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.band))
