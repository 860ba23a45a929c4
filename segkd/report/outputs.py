"""What `segkd evaluate` writes: scores.json, one row per image, curves, and tables for papers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segkd.ablation.escaping import escape_latex, escape_markdown
from segkd.disk import dump_csv, dump_json, write_whole
from segkd.metrics.meter import LOWER_IS_BETTER, score_names
from segkd.report.judging import Judged
from segkd.types import printable


def write_outputs(out: Path, judged: Sequence[Judged]) -> list[Path]:
    """Writes everything; returns the folder of each data set.

    `out` is a JSON file, which gets the scores of the one data set, or a folder: `scores.json`, `per_image.csv`,
    `curves.csv`, `scores.md` and `scores.tex`, and `corruptions.csv` where corruptions were asked for (of several data
    sets, in a folder each, the tables over all).
    """
    if out.suffix == ".json":
        write_whole(out, scores_json(judged[0]))
        return [out.parent]
    folders = [out / one.name for one in judged] if len(judged) > 1 else [out]
    for one, folder in zip(judged, folders):
        write_whole(folder / "scores.json", scores_json(one))
        write_whole(folder / "per_image.csv", per_image(one))
        if len(one.meter.classes) == 2:
            write_whole(folder / "curves.csv", curves_of(one))
        if one.robustness is not None:
            write_whole(folder / "corruptions.csv", one.robustness.csv())
    write_whole(out / "scores.md", markdown(judged))
    write_whole(out / "scores.tex", latex(judged))
    return folders


def scores_json(judged: Judged) -> str:
    """The scores and what they depend on, as JSON; names that are no text (bytes that are not UTF-8) as escapes."""
    return dump_json(_shown(judged.result)) + "\n"


def _shown(content: Any) -> Any:
    if isinstance(content, dict):
        return {_shown(key): _shown(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_shown(value) for value in content]
    return printable(content) if isinstance(content, str) else content


def per_image(judged: Judged) -> str:
    """One row per image, as CSV: its scores, or why it has none. What is not defined is left empty."""
    names = judged.meter.row_names
    scored = ([printable(id), *(row[name] for name in names), ""] for id, row in judged.meter.rows.items())
    skipped = ([printable(id), *("" for _ in names), printable(why)] for id, why in sorted(judged.skipped.items()))
    return dump_csv([["id", *names, "fault"], *scored, *skipped])


def curves_of(judged: Judged) -> str:
    """Mean precision, recall, F and E at each of the 256 thresholds, as CSV."""
    curves = judged.meter.mean_curves
    points = ([t / 255, *map(float, values)] for t, values in enumerate(zip(*curves.values(), strict=True)))
    return dump_csv([["threshold", *curves], *points])


def markdown(judged: Sequence[Judged]) -> str:
    """A table with a row per data set and, below it, what must be equal to compare."""
    lines = []
    for names, group in _groups(judged):
        lines += [f"| data | images | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
        for name, number, values in _lines(group, names):
            lines.append(f"| {escape_markdown(name)} | {number} | {' | '.join(values)} |")
        lines.append("")
    prints = {", ".join(f"{key} {value}" for key, value in one.result["fingerprint"].items()) for one in judged}
    return "\n".join([*lines, *(f"Scored with: {escape_markdown(text)}." for text in sorted(prints))]) + "\n"


def latex(judged: Sequence[Judged]) -> str:
    """A booktabs table with a row per data set; arrows say which way is better."""
    lines = []
    for names, group in _groups(judged):
        arrows = ["\\downarrow" if name in LOWER_IS_BETTER else "\\uparrow" for name in names]
        heads = [f"{escape_latex(name)} ${arrow}$" for name, arrow in zip(names, arrows)]
        lines += [f"\\begin{{tabular}}{{lr{'c' * len(names)}}}", "\\toprule"]
        lines += [f"data & images & {' & '.join(heads)} \\\\", "\\midrule"]
        for name, number, values in _lines(group, names):
            cells = [escape_latex(name), str(number), *values]
            lines.append(" & ".join(cells) + " \\\\")
        lines += ["\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def _groups(judged: Sequence[Judged]) -> list[tuple[list[str], list[Judged]]]:
    """Data sets with the same kind of scores share a table."""
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged:
        groups.setdefault(tuple(score_names(len(one.meter.classes))), []).append(one)
    return [(list(names), group) for names, group in groups.items()]


def _lines(group: Sequence[Judged], names: Sequence[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Name, images and scores of each data set, its domains before their mean."""
    for one in group:
        for domain, scores in one.result.get("domains", {}).items():
            yield domain, len(one.meter.parts[domain].rows), _values(scores, names)
        mean = "mean of " * bool(one.meter.parts)
        yield f"{mean}{one.name}", len(one.meter.rows), _values(one.result, names)


def _values(result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    out = []
    for name in names:
        value = result[name]
        text = "--" if value is None else f"{value:.4f}" if name != "hd95" else f"{value:.2f}"
        out.append(text.removeprefix("0") if name != "hd95" else text)
    return out
