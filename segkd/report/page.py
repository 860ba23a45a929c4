"""`report.html`: one file that holds everything, opens from disk, and fetches nothing."""

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from segkd.engine.record import read_lines
from segkd.experiment.folder import surroundings
from segkd.metrics.meter import LOWER_IS_BETTER, Meter, score_names
from segkd.report.charts import Axis, line_chart
from segkd.report.gallery import Piece, chosen, pieces
from segkd.report.judging import Judged
from segkd.report.text import escape
from segkd.types import printable

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
        "<h2>Scores</h2>",
        _tiles(meter),
        _charts(meter),
        _gallery(judged, number),
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


def _tiles(meter: Meter) -> str:
    tiles = []
    for name, value in meter.scores().items():
        arrow = "lower is better" if name in LOWER_IS_BETTER else "higher is better"
        tiles.append(f'<div class="tile" title="{arrow}"><dt>{escape(name)}</dt><dd>{_number(name, value)}</dd></div>')
    for name, value in meter.per_class().items():
        text = f'<div class="tile"><dt>IoU {escape(name)}</dt><dd>{_number("iou", value)}</dd></div>'
        tiles.append(text)
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


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


def _gallery(judged: Judged, number: int) -> str:
    rows, classes = judged.meter.rows, len(judged.meter.classes)
    name = "iou_fg_image" if classes == 2 else "miou_image"
    scores = {id: row[name] for id, row in rows.items()}
    text = []
    for group, ids in chosen(rows, name, number).items():
        cards = "".join(_card(piece, name) for piece in pieces(ids, scores, judged.show, classes))
        if cards:
            text.append(f'<h2>{group.capitalize()} by {name}</h2><div class="gallery">{cards}</div>')
    legend = "<p>Error: blue is missed, orange is a false alarm.</p>" if classes == 2 else ""
    return "".join(text) + (legend if text else "")


def _card(piece: Piece, name: str) -> str:
    last = len(piece.layers) - 1
    images = "".join(
        f'<img src="{url}" width="{piece.width}" height="{piece.height}" alt="{caption} of {escape(piece.id)}">'
        for caption, url in piece.layers
    )
    stops = "".join(f'<button type="button" aria-pressed="false">{caption}</button>' for caption, _ in piece.layers)
    said = escape(f"{piece.id}  {name} {piece.score:.4f}")
    return (
        f'<figure class="piece"><figcaption>{said}</figcaption><div class="stack">{images}</div>'
        f'<input class="slider" type="range" min="0" max="{last}" step="0.02" value="0" '
        f'aria-label="from image to error, {escape(piece.id)}"><div class="stops">{stops}</div></figure>'
    )


def _table(meter: Meter) -> str:
    rows = meter.rows
    given = {name for row in rows.values() for name in row}
    names = [name for name in score_names(len(meter.classes)) if name in given]
    table = [[printable(id), *(_rounded(row.get(name, math.nan)) for name in names)] for id, row in rows.items()]
    # "<" must not end the script element, whatever a file is called
    data = json.dumps({"names": ["id", *names], "rows": table}, ensure_ascii=True).replace("<", "\\u003c")
    heads = "".join(
        f'<th aria-sort="none" scope="col"><button type="button">{escape(name)}</button></th>'
        for name in ["id", *names]
    )
    return (
        '<h2>Images</h2><div class="tools"><label>Name <input type="search" id="filter"></label>'
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
    for names in (("miou_image", "f_mean", "s_measure", "e_mean"), ("mae", "ber", "ece")):
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
        values.append(math.nan if value is None else float(value))
    return [float(line["step"]) for line in lines], values


def _settings(judged: Judged, command: Sequence[str]) -> str:
    texts = {"Command": " ".join(command)}
    for name in ("config.yaml", "environment.json"):
        path = judged.run / name if judged.run is not None else None
        if (
            path is not None and path.is_file() and not path.is_symlink()
        ):  # a link may lead to what is nobody's business
            texts[name] = path.read_text(encoding="utf-8", errors="replace")
    texts["Environment of this evaluation"] = json.dumps(surroundings(), indent=1)
    texts["scores.json"] = json.dumps(judged.result, indent=1)
    blocks = "".join(
        f"<details><summary>{escape(k)}</summary><pre>{escape(v)}</pre></details>" for k, v in texts.items()
    )
    return f"<h2>Configuration and environment</h2>{blocks}"


def _number(name: str, value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}" if name == "hd95" else f"{value:.4f}"


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _asset(name: str) -> str:
    return (files("segkd") / "report" / name).read_text(encoding="utf-8")
