"""Comparisons as text: a verdict for each arm, and tables for the console, for Markdown and for LaTeX.

Figures have four decimals and a leading zero, gains a sign; positive gains are better for every score.
"""

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from segkd.ablation.escaping import escape_latex, escape_markdown
from segkd.ablation.rows import Row
from segkd.ablation.statistics import ALPHA, Arm, Comparison, Gain, Unit, cells_of, time_ratio


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class TextTable:
    """A table before it is printed.

    Attributes:
        sentence: what was compared; stands above.
        groups: title and number of columns of each group, after the first column.
        columns: titles, the first one's included.
        body: rows of cells, the first of them the name of the arm.
        notes: sentences that stand below.
    """

    sentence: str
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    body: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


def verdict(arm: Arm, comparison: Comparison) -> str:
    """What the numbers of an arm allow to be said, in one sentence that names it, and which pairs it lacks."""
    if arm.name == comparison.baseline:
        text = "the baseline"
    elif arm.gain is None:
        text = "no pair with the baseline, nothing to compare"
    else:
        text = _judged(arm.gain)
    holes = [f"no row for {_units(arm.missing)}"] if arm.missing else []
    holes += [f"no {comparison.score} for {_units(arm.undefined)}"] if arm.undefined else []
    return f"{arm.name}: {'; '.join([text, *holes])}."


def summary(rows: Sequence[Row], split: str, baseline: str) -> str:
    """One sentence: split if there is one, data sets, seeds, baseline, and the budget of the arms."""
    units = {row.unit for row in rows if row.split == split}
    datasets, seeds = sorted({dataset for dataset, _ in units}), sorted({seed for _, seed in units})
    of = f"Split {split}, " if split else ""
    return (
        f"{of}{counted(len(datasets), 'data set')} ({', '.join(datasets)}), {counted(len(seeds), 'seed')} "
        f"({', '.join(map(str, seeds))}); baseline {baseline}; {_budget(rows, split, baseline)}."
    )


def arm_table(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> TextTable:
    """For each arm and score: mean and standard deviation over the units, gain, p and pairs; verdicts below.

    The best mean is marked among the arms that have every unit: means over different units do not compare.

    Args:
        rows: those that were compared.
        comparisons: of the same split and baseline, one for each score.
    """
    first = comparisons[0]
    titles = (f"mean ± sd {_arrow(c)}" for c in comparisons)
    columns = [title for spread in titles for title in (spread, "gain [95 %]", "p (Holm)", "pairs")]
    best = [_best({arm.name: arm.mean for arm in c.arms if not _incomplete(arm, c)}, c.sign) for c in comparisons]
    body = []
    for arms in zip(*(comparison.arms for comparison in comparisons), strict=True):
        cells = [Cell(arms[0].name)]
        for arm, comparison, names in zip(arms, comparisons, best):
            mark = " †" if _incomplete(arm, comparison) else ""
            cells += [Cell(_spread(arm.mean, arm.sd) + mark, arm.name in names), *_gain_cells(arm, first.baseline)]
        body.append(tuple(cells))
    told = [(c, arm) for c in comparisons for arm in c.arms if arm.name != first.baseline or _incomplete(arm, c)]
    notes = [f"{c.score}, {verdict(arm, c)}" if len(comparisons) > 1 else verdict(arm, c) for c, arm in told]
    if any(_incomplete(arm, c) for c in comparisons for arm in c.arms):
        notes.append("† lacks pairs that other arms have; its mean does not compare with theirs, its gain does.")
    groups = tuple((comparison.score, 4) for comparison in comparisons)
    return TextTable(summary(rows, first.split, first.baseline), groups, ("arm", *columns), tuple(body), tuple(notes))


def dataset_table(rows: Sequence[Row], comparison: Comparison) -> TextTable:
    """For each arm and data set the mean and standard deviation over the seeds, the best mean of a set marked among the
    arms that have all of its seeds, and at the end the wall-clock time of its trainings over the baseline's, where both
    are known."""
    cells = cells_of(rows, comparison.split, comparison.baseline)
    datasets = sorted({dataset for units in cells.values() for dataset, _ in units})
    values = {(name, dataset): _over_seeds(units, dataset, comparison.score)
              for name, units in cells.items() for dataset in datasets}  # fmt: skip
    most = {dataset: len({seed for name in cells for seed in values[name, dataset]}) for dataset in datasets}
    full = {key: statistics.fmean(found.values()) for key, found in values.items() if 0 < len(found) == most[key[1]]}
    body = []
    for name in cells:
        line = [Cell(name)]
        for dataset in datasets:
            names = _best({arm: full[arm, dataset] for arm in cells if (arm, dataset) in full}, comparison.sign)
            line.append(Cell(_seeds_text([*values[name, dataset].values()], most[dataset]), name in names))
        body.append((*line, Cell(_time(cells[name], cells[comparison.baseline]))))
    groups = ((f"{comparison.score} {_arrow(comparison)}", len(datasets)), ("time", 1))
    sentence = summary(rows, comparison.split, comparison.baseline)
    return TextTable(sentence, groups, ("arm", *datasets, "/ baseline"), tuple(body), ())


def to_rich(table: TextTable) -> Group:
    """For the console: the sentence, the table, the notes; a group is named above the first of its columns alone."""
    printed = Table(show_edge=False, pad_edge=False)
    named = [title if i == 0 else "" for title, n in table.groups for i in range(n)]
    titles = [table.columns[0], *(f"{group}\n{title}" for group, title in zip(named, table.columns[1:], strict=True))]
    for i, title in enumerate(titles):
        printed.add_column(Text(title), justify="right" if i else "left", overflow="fold")
    for line in table.body:
        printed.add_row(*(Text(cell.text, style="bold" if cell.best else "") for cell in line))
    return Group(Text(table.sentence), "", printed, "", *map(Text, table.notes))


def to_markdown(table: TextTable) -> str:
    """The sentence, the table with its best means in bold, and the notes as a list."""
    groups = [title for title, n in table.groups for _ in range(n)]
    titles = [table.columns[0], *(f"{group} {title}" for group, title in zip(groups, table.columns[1:], strict=True))]
    head = [f" {escape_markdown(title)} " for title in titles]
    lines = [escape_markdown(table.sentence), "", f"|{'|'.join(head)}|", f"|---|{'---:|' * (len(head) - 1)}"]
    for line in table.body:
        cells = [f"**{escape_markdown(cell.text)}**" if cell.best else escape_markdown(cell.text) for cell in line]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def to_latex(table: TextTable, label: str) -> str:
    r"""A `table` for booktabs, the sentence as its caption above it and the notes below; refer to it by `label`."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(table.sentence)}}}", rf"\label{{{label}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}", r"\toprule"]
    lines += [" & " + " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{escape_latex(title)}}}" for title, n in table.groups)
              + r" \\"]  # fmt: skip
    start = 2
    for _, n in table.groups:
        lines.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
        start += n
    lines += [" & ".join(map(escape_latex, table.columns)) + r" \\", r"\midrule"]
    for line in table.body:
        cells = [escape_latex(line[0].text), *(_latex_figure(cell.text) for cell in line[1:])]
        lines.append(" & ".join(rf"\textbf{{{t}}}" if c.best else t for t, c in zip(cells, line)) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.notes:
        lines += ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {_paragraphs(table.notes)}}}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _judged(gain: Gain) -> str:
    """The gain in words, never more than the numbers carry."""
    pairs = counted(len(gain.units), "pair")
    if gain.seeds == 1:
        return f"one seed: a reading, no result (gain {gain.mean:+.4f} over {pairs})"
    pairs = f"{pairs} ({sum(one > 0 for one in gain.gains)} above 0)"
    p = _p(gain.p_holm)
    numbers = f"gain {with_ends(gain.mean, gain.interval)} over {pairs}, p {'' if p[0] == '<' else '= '}{p} after Holm"
    low, high = gain.interval or (-math.inf, math.inf)
    shown = low > 0 or high < 0
    holds = f"the interval lies {'above' if low > 0 else 'below'} 0" if shown else "the interval holds 0"
    if gain.interval is None:
        holds = "too few pairs for an interval"
    if gain.floor > ALPHA:
        reach = f"with so few pairs p cannot fall below {_p(gain.floor)}, so the test cannot reach {ALPHA}"
        return f"{numbers}: {holds}, but {reach}: {'a hint, no result' if shown else 'open'}"
    if gain.p_holm <= ALPHA:
        word = "better" if gain.mean > 0 else "worse"
        return f"{numbers}: {word}" if shown else f"{numbers}: {holds}, unsettled"
    doubt = "but the test does not confirm it: a hint, no result" if shown else "no difference shown"
    return f"{numbers}: {holds}, {doubt}"


def _budget(rows: Sequence[Row], split: str, baseline: str) -> str:
    cells = cells_of(rows, split, baseline)
    budgets: dict[Unit, set[tuple[int, int]]] = {}
    for unit, row in (item for units in cells.values() for item in units.items()):
        budgets.setdefault(unit, set()).add((row.steps, row.images))
    if any(steps == 0 for found in budgets.values() for steps, _ in found):
        return "budgets of the trainings unknown"
    if all(len(found) == 1 for found in budgets.values()):
        budget = [next(iter(found)) for found in budgets.values()]
        text = f"{_range(steps for steps, _ in budget)} steps and {_range(images for _, images in budget)} images"
        return f"budget of a training {text}, equal for all arms"
    each = []
    for name, units in cells.items():
        steps, images = _range(row.steps for row in units.values()), _range(row.images for row in units.values())
        each.append(f"{name} {steps} steps and {images} images")
    return f"BUDGETS DIFFER: {', '.join(each)}"


def _gain_cells(arm: Arm, baseline: str) -> list[Cell]:
    if arm.name == baseline:
        return [Cell("baseline"), Cell(""), Cell("")]
    if arm.gain is None:
        return [Cell("none"), Cell(""), Cell("0")]
    pairs = f"{len(arm.gain.units)}{' (one seed)' if arm.gain.seeds == 1 else ''}"
    return [Cell(with_ends(arm.gain.mean, arm.gain.interval)), Cell(_p(arm.gain.p_holm)), Cell(pairs)]


def _incomplete(arm: Arm, comparison: Comparison) -> bool:
    return arm.n < comparison.units


def _best(means: dict[str, float], sign: int) -> set[str]:
    """The names whose mean is the best to the four decimals that are printed."""
    rounded = {name: sign * round(mean, 4) for name, mean in means.items() if not math.isnan(mean)}
    return {name for name, value in rounded.items() if value == max(rounded.values())}


def _p(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def with_ends(mean: float, interval: tuple[float, float] | None) -> str:
    """A gain with its sign, and the ends of its interval where there is one."""
    return f"{mean:+.4f}" + ("" if interval is None else f" [{interval[0]:+.4f}, {interval[1]:+.4f}]")


def _spread(mean: float, sd: float) -> str:
    if math.isnan(mean):
        return "none"
    return f"{mean:.4f} (n = 1)" if math.isnan(sd) else f"{mean:.4f} ± {sd:.4f}"


def _over_seeds(units: dict[Unit, Row], dataset: str, score: str) -> dict[int, float]:
    found = {row.seed: row.scores.get(score, math.nan) for row in units.values() if row.dataset == dataset}
    return {seed: value for seed, value in found.items() if not math.isnan(value)}


def _seeds_text(values: list[float], most: int) -> str:
    if not values:
        return "none"
    text = _spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan)
    return text if len(values) in (1, most) else f"{text} ({len(values)} of {most})"


def _time(units: dict[Unit, Row], base: dict[Unit, Row]) -> str:
    ratio = time_ratio(units, base)
    return "none" if math.isnan(ratio) else f"{ratio:.2f}"


def _units(units: Sequence[Unit]) -> str:
    """Data sets with their seeds: 'ecssd seeds 2 to 4, camo seed 3'."""
    seeds: dict[str, list[int]] = {}
    for dataset, seed in sorted(units, key=lambda unit: unit[1]):
        seeds.setdefault(dataset, []).append(seed)
    return ", ".join(f"{dataset} {_seeds(seeds[dataset])}" for dataset in dict.fromkeys(d for d, _ in units))


def _seeds(found: list[int]) -> str:
    first, last = found[0], found[-1]
    if len(found) == 1:
        return f"seed {first}"
    if len(found) > 2 and last - first == len(found) - 1:
        return f"seeds {first} to {last}"
    return f"seeds {', '.join(map(str, found[:-1]))} and {last}"


def counted(n: int, noun: str) -> str:
    """A number and what it counts: 1 pair, 2 pairs."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _range(values: Iterable[int]) -> str:
    found = sorted(values)
    return str(found[0]) if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def _arrow(comparison: Comparison) -> str:
    return "↑" if comparison.sign > 0 else "↓"


def _latex_figure(text: str) -> str:
    """Escaped, and with a minus for the hyphen before a figure, not for one within a name."""
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", escape_latex(text))


def _paragraphs(notes: Iterable[str]) -> str:
    return r" \par ".join(map(_latex_figure, notes))
