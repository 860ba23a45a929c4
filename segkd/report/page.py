"""`report.html`: one file that holds everything, opens from disk, and fetches nothing."""

import json
import math
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from segkd.datasets.corruptions import JPEG, SETTINGS
from segkd.engine.record import read_lines
from segkd.experiment.folder import surroundings
from segkd.metrics.meter import Meter
from segkd.report.charts import Axis, line_chart
from segkd.report.gallery import Piece, chosen, pieces
from segkd.report.judging import Judged, emptiness
from segkd.report.tables import MEANINGS, class_key, confusions, domains, headline, scores
from segkd.report.text import escape, table
from segkd.types import printable

GROUPS = {"worst": "Worst", "median": "In the middle", "best": "Best"}

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The browser itself refuses to fetch anything for the page."""


def page(judged: Judged, command: Sequence[str], number: int = 4) -> str:
    """The page of one judgement, with `number` images of each kind in the gallery."""
    meter = judged.meter
    parts = [
        head(judged.title),
        f"<h1>{escape(judged.title)}</h1>",
        f"<p>{escape(', '.join(f'{key} {value}' for key, value in judged.result['fingerprint'].items()))}</p>",
        _warnings(judged),
        _doubts(meter),
        headline(meter),
        domains(meter),
        class_key(meter),
        _gallery(judged, number),
        confusions(meter),
        "<h2>Scores</h2>",
        scores(meter),
        _charts(meter),
        _corruptions(judged),
        _table(meter),
        _learning(judged.run),
        _settings(judged, command),
        f"<script>{_asset('page.js')}</script></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def head(title: str) -> str:
    """The start of a page up to its body: what it may do (`POLICY`), its title and its looks."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body>"
    )


def _warnings(judged: Judged) -> str:
    lines = [*judged.skipped.values(), *judged.surplus]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines[:50])
    rest = f"<li>and {len(lines) - 50} more</li>" if len(lines) > 50 else ""
    counts = f"Images without scores: {len(judged.skipped)}. Predictions without a label: {len(judged.surplus)}."
    shown = " open" if len(lines) <= 5 else ""
    return f'<details class="warning"{shown}><summary>{counts}</summary><ul>{items}{rest}</ul></details>'


def _doubts(meter: Meter) -> str:
    """What makes the scores of little worth, as the console says it: a page is read without one."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in emptiness(meter))
    return f'<ul class="warning">{items}</ul>' if items else ""


def _charts(meter: Meter) -> str:
    if len(meter.classes) != 2:
        return ""
    curves = {name: values.tolist() for name, values in meter.mean_curves.items()}
    t = (np.arange(256) / 255).tolist()
    unit, share = Axis("threshold", 0.0, 1.0), Axis("", 0.0, 1.0)
    charts = [
        line_chart("F-beta and E-measure", unit, share, {"F (beta2 .3)": (t, curves["f"]), "E": (t, curves["e"])}),
        line_chart("Precision over recall", Axis("recall", 0.0, 1.0), Axis("precision", 0.0, 1.0),
                   {"": (curves["recall"], curves["precision"])}),
        line_chart("Precision and recall", unit, share,
                   {"precision": (t, curves["precision"]), "recall": (t, curves["recall"])}),
    ]  # fmt: skip
    return f'<h2>Curves</h2><div class="charts">{"".join(charts)}</div>'


def _corruptions(judged: Judged) -> str:
    found = judged.robustness
    if found is None:
        return ""
    rows = [
        (one.name, one.setting, f"{score:.4f}", f"{found.clean - score:z.4f}") for one, score in found.readings.items()
    ]
    means = [("mean, without JPEG", found.mean()), ("mean, JPEG", found.mean(JPEG))]
    rows += [(name, "", f"{score:.4f}", f"{found.clean - score:z.4f}") for name, score in means]
    cells = (
        f'<tr><th scope="row">{name}</th><td>{setting}</td><td class="number">{score}</td><td>{drop}</td></tr>'
        for name, setting, score, drop in rows
    )
    lines = {
        name: ([0.0, 1.0, 2.0, 3.0], [found.clean, *(s for one, s in found.readings.items() if one.name == name)])
        for name in SETTINGS
    }
    # from 0: an axis of the readings' own range would make the least drop look like a fall to nothing
    chart = line_chart("Mean IoU, by image", Axis("severity, 0 is clean", 0.0, 3.0), Axis("", 0.0), lines)
    shown = table("Scores under corruptions", ("corruption", "setting", "mean IoU", "drop"), cells, "scores")
    return f'<h2>Under corruptions</h2><div class="charts">{chart}</div>{shown}'


def _gallery(judged: Judged, number: int) -> str:
    rows, classes = judged.meter.rows, len(judged.meter.classes)
    name = "iou_fg_image" if classes == 2 else "miou_image"
    by_image = {id: row[name] for id, row in rows.items()}
    text: list[str] = []
    layers: list[str] = []
    for group, ids in chosen(rows, name, number, judged.meter.without_foreground).items():
        cut = judged.result.get("threshold", 0.5)
        shown = pieces(ids, by_image, judged.show, classes, cut, judged.meter.protocol)
        if shown:
            cards = "".join(_card(piece) for piece in shown)
            text.append(f'<h3>{GROUPS[group]}</h3><div class="gallery">{cards}</div>')
            # an image may be missing for some: the buttons are those of the piece with the most layers
            layers = max([layers, *([caption for caption, _ in piece.layers] for piece in shown)], key=len)
    if not text:
        return ""
    switch = "".join(f'<button type="button">{caption}</button>' for caption in layers)
    if classes == 2:
        rule = escape(judged.result["fingerprint"]["threshold"])
        colours = (
            'Outlines: <span class="key missed">label</span> <span class="key alarm">prediction</span>. Error, as the '
            f"scores count it ({rule}): blue is missed, orange a false alarm."
        )
    else:
        colours = "Tints: prediction; white lines: label. Error: orange where the class is wrong."
    return (
        f"<section><h2>Images, by {MEANINGS[name][0]}</h2><p>{colours}</p>"
        f'<div class="all" role="group" aria-label="Layer of all images">All show {switch}</div>'
        f"{''.join(text)}</section>"
    )


def _card(piece: Piece) -> str:
    last = len(piece.layers) - 1
    images = "".join(
        f'<img src="{url}" width="{piece.width}" height="{piece.height}" alt="{caption} of {escape(piece.id)}">'
        for caption, url in piece.layers
    )
    stops = "".join(f'<button type="button" aria-pressed="false">{caption}</button>' for caption, _ in piece.layers)
    return (
        f'<figure class="piece"><figcaption><b>{piece.score:.3f}</b> <span>{escape(piece.id)}</span></figcaption>'
        f'<div class="stack">{images}</div>'
        f'<input class="slider" type="range" min="0" max="{last}" step="0.02" value="0" '
        f'aria-label="from answer to error, {escape(piece.id)}"><div class="stops">{stops}</div></figure>'
    )


def _table(meter: Meter) -> str:
    names = meter.row_names
    cells = [[printable(id), *(_rounded(row.get(name, math.nan)) for name in names)] for id, row in meter.rows.items()]
    # "<" must not end the script element, whatever a file is called
    data = json.dumps({"names": ["id", *names], "rows": cells}, ensure_ascii=True).replace("<", "\\u003c")
    heads = "".join(
        f'<th aria-sort="none" scope="col"><button type="button">{escape(name)}</button></th>'
        for name in ["id", *names]
    )
    return (
        '<h2>All images</h2><div class="tools"><label>Name <input type="search" id="filter"></label>'
        '<span id="count" class="faint" aria-live="polite"></span></div>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Scores of the images">'
        f'<table id="images"><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>'
        '<p><button type="button" class="more" id="more" hidden>Show more</button></p>'
        f'<script type="application/json" id="rows">{data}</script>'
    )


def _learning(run: Path | None) -> str:
    lines = read_lines(run / "metrics.jsonl") if run is not None else []
    train = [line for line in lines if line.get("kind") == "train"]
    val = [line for line in lines if line.get("kind") == "val"]
    step = Axis("step")
    charts = []
    if train:
        terms = {name: _series(train, "terms", name) for name in train[-1]["terms"]}
        charts.append(line_chart("Training loss", step, Axis(""), terms | {"sum": _series(train, "loss")}))
        charts.append(line_chart("Learning rate", step, Axis(""), {"lr": _series(train, "lr")}))
    for names in (("miou_image", "miou_dataset", "f_mean", "s_measure", "e_mean"), ("mae", "ber", "ece")):
        found = {name: _series(val, name) for name in names if any(line.get(name) is not None for line in val)}
        if found:
            charts.append(line_chart(f"Validation: {', '.join(found)}", step, Axis(""), found))
    return f'<h2>Learning</h2><div class="charts">{"".join(charts)}</div>' if any(charts) else ""


def _series(lines: Sequence[dict], *path: str) -> tuple[list[float], list[float]]:
    """Steps and the values at a path of keys; NaN where a line has none."""
    values = []
    for line in lines:
        value: Any = line
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        values.append(_float(value))
    return [_float(line["step"]) for line in lines], values


def _float(value: Any) -> float:
    """A number of a file; NaN where it is none, or larger than any."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.nan


def _settings(judged: Judged, command: Sequence[str]) -> str:
    texts = {"Command": shlex.join(command)}
    for name in ("config.yaml", "environment.json"):
        path = judged.run / name if judged.run is not None else None
        # a link may lead to what is nobody's business
        if path is not None and path.is_file() and not path.is_symlink():
            texts[name] = path.read_text(encoding="utf-8", errors="replace")
    texts["Environment of this evaluation"] = json.dumps(surroundings(), indent=1)
    texts["scores.json"] = json.dumps(judged.result, indent=1)
    blocks = "".join(
        f"<details><summary>{escape(k)}</summary><pre>{escape(v)}</pre></details>" for k, v in texts.items()
    )
    return f"<h2>Configuration and environment</h2>{blocks}"


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _asset(name: str) -> str:
    return (files("segkd") / "report" / name).read_text(encoding="utf-8")
