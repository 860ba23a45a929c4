"""Tables of the league's pages, each a list of lines of cells, the titles first, from the files of results/league."""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.corruptions import GROUPS, read, rows_of
from segkd.ablation.rows import Row, read_rows
from segkd.ablation.statistics import Gain, compare, student_interval
from segkd.ablation.tables import dataset_table

RESULTS = Path(__file__).parent / "results"
SETS = ("ecssd", "camo", "cvc_clinicdb", "sd_saliency_900", "horses", "camvid")
SCORES = ("miou_image", "f_mean")


def cells(names: str) -> list[Row]:
    """The rows of files of results/league, their names with blanks between."""
    return [row for name in names.split() for row in read_rows(RESULTS / "league" / f"{name}.csv")]


def means(name: str, arms: Sequence[str], sets: Sequence[str]) -> list[list[str]]:
    """On test, the mean of each score over the seeds of a set, and the time beside the baseline's."""
    tables = []
    for score in SCORES:
        table = dataset_table(cells(name), compare(cells(name), "test", score, "baseline"))
        tables.append({line[0].text: dict(zip(table.columns[1:], line[1:])) for line in table.body})
    lines = []
    for arm in arms:
        found = [f"{_short(tables[0][arm][s].text)} {_short(tables[1][arm][s].text)}" for s in sets]
        lines.append([arm, *found, tables[0][arm]["/ baseline"].text])
    return [["arm", *sets, "time"], *lines]


def gains(
    name: str, arms: Sequence[str], baselines: Sequence[str], split: str = "test", *, p: bool = True
) -> list[list[str]]:
    """For each arm, over each baseline, pairs and the gain in each score."""
    rows = cells(name)
    found = {(b, s): {a.name: a.gain for a in compare(rows, split, s, b).arms} for b in baselines for s in SCORES}
    lines = []
    for arm in arms:
        own = [found[key][arm] for key in found]
        line = [arm, str(max(len(gain.units) for gain in own if gain))]
        for gain in own:
            line += [_gain(gain), *([_p(gain.p_holm) if gain else ""] if p else [])]
        lines.append(line)
    titles = [[f"{s} over {b}", *(["p (Holm)"] if p else [])] for b, s in found]
    return [["arm", "pairs", *(title for pair in titles for title in pair)], *lines]


def pairs(name: str, arm: str, baseline: str, split: str, scores: Sequence[str] = SCORES) -> list[list[str]]:
    """For each pair of set and seed both scores of the baseline and of the arm, and the difference; its mean below."""
    theirs, ours = (_by_unit(name, who, split) for who in (baseline, arm))
    lines = []
    for unit in sorted(theirs.keys() & ours.keys(), key=lambda unit: (SETS.index(unit[0]), unit[1])):
        line = [f"{unit[0]} {unit[1]}"]
        for score in scores:
            two = [theirs[unit].scores[score], ours[unit].scores[score]]
            line += ["", "", ""] if math.isnan(two[1]) else [*map(_figure, two), _signed(two[1] - two[0])]
        lines.append(line)
    found = [gain_of(cells(name), split, score, baseline, arm) for score in scores]
    lines.append(["**mean**", *(text for gain in found for text in ("", "", f"**{_gain(gain)}**"))])
    titles = [[f"{score}: {baseline}", arm, "difference"] for score in scores]
    return [["set, seed", *(title for three in titles for title in three)], *lines]


def summary(asked: Iterable[tuple[str, str, str, str]]) -> list[list[str]]:
    """A line for each (words, files, arm, baseline): pairs, and of both scores on test the gain, how many of the pairs
    lie above, and p of this comparison alone."""
    lines = []
    for words, name, arm, baseline in asked:
        rows = [row for row in cells(name) if row.arm in (arm, baseline)]
        found = [gain_of(rows, "test", score, baseline, arm) for score in SCORES]
        told = ([_gain(gain), str(sum(one > 0 for one in gain.gains)), _p(gain.p)] for gain in found if gain)
        lines.append([words, str(len(found[0].units) if found[0] else 0), *(text for three in told for text in three)])
    return [["", "pairs", *(title for score in SCORES for title in (score, "above", "p"))], *lines]


def across(scores: Sequence[str], looks: Sequence[tuple[str, str, str]], arm: str, baseline: str) -> list[list[str]]:
    """A line for each score: for each look (words, files, split) the gain of an arm, and how many pairs lie above."""
    lines = []
    for score in scores:
        found = [gain_of(cells(name), split, score, baseline, arm) for _, name, split in looks]
        told = ((_gain(gain), f"{sum(one > 0 for one in gain.gains)} of {len(gain.units)}") for gain in found if gain)
        lines.append([score, *(text for two in told for text in two)])
    return [["score", *(title for words, _, _ in looks for title in (words, "above"))], *lines]


def readings(name: str, baseline: str) -> list[list[str]]:
    """What each arm has above the baseline, on average and on test in each pair of set and seed.

    The baseline's own scores stand on top, then the arms that have all pairs, the best on val first.
    """
    scores = {(row.arm, row.split, row.unit): row.scores for row in cells(name)}
    units = sorted({unit for *_, unit in scores}, key=lambda unit: (SETS.index(unit[0]), unit[1]))
    keys = [(split, score) for split in ("val", "test") for score in SCORES]
    lines = {}
    for arm in {arm for arm, *_ in scores} - {baseline}:
        own = {key: {unit: scores[arm, key[0], unit][key[1]] - scores[baseline, key[0], unit][key[1]]
                     for unit in units if (arm, key[0], unit) in scores} for key in keys}  # fmt: skip
        on_test = own["test", SCORES[0]]
        averages = [fmean(own[key].values()) for key in keys]
        singles = (_signed(on_test[unit]) if unit in on_test else "" for unit in units)
        lines[-len(on_test), -averages[0], arm] = [arm, *map(_signed, averages), *singles]
    theirs = {key: [scores[baseline, key[0], unit][key[1]] for unit in units] for key in keys}
    first = [baseline, *map(_figure, [*map(fmean, theirs.values()), *theirs["test", SCORES[0]]])]
    titles = [*(f"{split}, {score}" for split, score in keys), *(f"{dataset} {seed}" for dataset, seed in units)]
    return [["recipe", *titles], first, *(line for _, line in sorted(lines.items()))]


def classes(name: str, score: str, arms: Sequence[str], baselines: Sequence[str]) -> list[list[str]]:
    """Of each arm, pairs, the mean of one score on val and test, and its gain over each baseline on test."""
    found = {b: {arm.name: arm for arm in compare(cells(name), "test", score, b).arms} for b in baselines}
    on_val = {arm.name: arm.mean for arm in compare(cells(name), "val", score, baselines[0]).arms}
    lines = [
        [arm, str(found[baselines[0]][arm].n), _figure(on_val[arm]), _figure(found[baselines[0]][arm].mean),
         *(_gain(found[b][arm].gain) for b in baselines)]
        for arm in arms if arm in on_val
    ]  # fmt: skip
    return [["arm", "pairs", "val", "test", *(f"over {b}" for b in baselines)], *lines]


def by_class(name: str, arm: str, baseline: str) -> list[list[str]]:
    """Of each class the mean IoU of the baseline and of the arm, the gain, and the seeds above."""
    with (RESULTS / "league" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        found = {(row["arm"], row["class"], row["seed"]): float(row["iou"]) for row in csv.DictReader(file)}
    seeds = sorted({seed for *_, seed in found})
    lines = []
    for label in dict.fromkeys(label for _, label, _ in found):
        theirs, ours = ([found[who, label, seed] for seed in seeds] for who in (baseline, arm))
        gains_ = [our - their for our, their in zip(ours, theirs)]
        text = _written(fmean(gains_), student_interval(gains_), _signed)
        lines.append([label, _figure(fmean(theirs)), _figure(fmean(ours)), text, str(sum(gain > 0 for gain in gains_))])
    return [["class", baseline, arm, "gain", f"seeds above, of {len(seeds)}"], *lines]


def beside(arms: Sequence[str], sets: Sequence[str]) -> list[list[str]]:
    """On val, seed 0 of the search, what each arm gains on the old baseline in miou_image, f_mean and f_max."""
    base = _by_unit("search", "baseline", "val")
    lines = []
    for arm in arms:
        own = _by_unit("search", arm, "val")
        line = [arm]
        for unit in ((name, 0) for name in sets):
            shown = (*SCORES, "f_max") if unit in own else ()
            line.append(" ".join(_signed(own[unit].scores[s] - base[unit].scores[s]) for s in shown))
        lines.append(line)
    return [["arm", *sets], *lines]


def corrupted(name: str, arm: str, baselines: Sequence[str]) -> list[list[str]]:
    """In points of miou_image, by corruption, the gain of an arm with its p."""
    rows = corrupted_rows(name)
    lines = []
    for baseline in baselines:
        found = [gain_of(rows, column, "miou_image", baseline, arm) for column in GROUPS]
        texts = (f"{points(gain, 1)}, p {_p(gain.p_holm)}" if gain else "" for gain in found)
        lines.append([f"over {baseline}", *texts])
    return [[arm, *("mean of the four" if column == "mean" else column for column in GROUPS)], *lines]


def splits(name: str, arm: str, baselines: Sequence[str]) -> list[list[str]]:
    """The gain of an arm over each baseline on val and on test."""
    keys = [("val", "miou_image"), ("val", "f_mean"), ("test", "miou_image"), ("test", "f_mean")]
    lines = []
    for baseline in baselines:
        found = (gain_of(cells(name), split, score, baseline, arm) for split, score in keys)
        lines.append([f"over {baseline}", *map(_gain, found)])
    return [[arm, *(f"{split}, {score}" for split, score in keys)], *lines]


def gain_of(rows: Sequence[Row], split: str, score: str, baseline: str, arm: str) -> Gain | None:
    """What an arm gains over a baseline in one score of a split; None without a pair."""
    return next(one.gain for one in compare(rows, split, score, baseline).arms if one.name == arm)


def corrupted_rows(name: str) -> list[Row]:
    """The rows of a file of scores under corruptions."""
    return rows_of(read(RESULTS / "frequency" / f"{name}.csv"))


def _by_unit(name: str, arm: str, split: str) -> dict[tuple[str, int], Row]:
    """The rows of an arm by set and seed."""
    return {row.unit: row for row in cells(name) if (row.arm, row.split) == (arm, split)}


def _figure(value: float) -> str:
    """Four decimals without the zero in front."""
    return f"{value:.4f}".replace("0.", ".", 1)


def _p(p: float) -> str:
    return _figure(p) if p >= 0.0001 else "< .0001"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)


def _short(text: str) -> str:
    """The mean of a cell alone."""
    return "" if text == "none" else text.split(" ", maxsplit=1)[0].replace("0.", ".", 1)


def _gain(gain: Gain | None) -> str:
    return "" if gain is None else _written(gain.mean, gain.interval, _signed)


def points(gain: Gain, decimals: int) -> str:
    """A gain and its interval in points."""
    return _written(gain.mean, gain.interval, lambda value: f"{100 * value:+.{decimals}f}")


def _written(mean: float, ends: tuple[float, float] | None, number: Callable[[float], str]) -> str:
    return number(mean) + (f" [{number(ends[0])}, {number(ends[1])}]" if ends else "")
