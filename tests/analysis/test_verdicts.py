"""What is said of groups of runs, worked out once more from the arrays of their images: intervals, orders, words."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata, t

from segkd.analysis.evidence import Condition
from segkd.analysis.learning import half_epochs
from segkd.analysis.sentences import compared, control, learned, relies, wrong
from segkd.analysis.summary import group

RESAMPLES = 60
"""Enough to be an interval, and few enough to be walked through."""

NAMES = ("0-.01562", ".01562-.03125", ".03125-.0625", ".0625-.125", ".125-.1875", ".1875-.25", ".25-.375", ".375-.5")
BANDS = range(8)


def runs_of(make_evidence, number):
    """Two groups that differ by little, some bands this way and some that; an image has no score."""
    draw = np.random.default_rng(number)
    seeds = [(0, 1, 2), (0, 1, 2, 3), (0, 1), (5, 3, 4)][number % 4]
    base = [make_evidence("base", seed, n=12 if number != 5 else 8) for seed in (0, 1, 2)]
    gap, cost = draw.uniform(-0.12, 0.12, 8), draw.uniform(-0.03, 0.03, 8)
    tilt = np.linspace(-1, 1, 8) * draw.uniform(-0.05, 0.05)
    by_image, found = 0.9 * np.exp(np.random.default_rng(9).normal(0, 0.5, 12)), []
    for seed, name in [*((one, "base") for one in (0, 1, 2)), *((one, "other") for one in seeds)]:
        run, ours = base[seed % 3], name == "other"
        n, spread = len(run.ids), 0.03 if ours else 0.0
        energy = {key: value * (1 + spread * draw.normal(size=(n, 8))) for key, value in run.energy.items()}
        energy["error"] = energy["error"] * (1 + ours * gap + 0.02 * draw.normal(size=8))
        if ours:  # in two bands images differ by much, and all seeds alike: over seeds it is sure, over images not
            energy["error"][:, 2:4] = run.energy["error"][:, 2:4] * by_image[:n, None] * [1, 0.8]
        ceiling = [0.1, 0.2, 0.3, 0.4, 0.45, 0.49, 0.3, 0.55 if ours else 0.3]
        energy["ceiling"] = energy["label"] * np.square(ceiling)
        scores = {condition: values.copy() for condition, values in run.scores["miou_image"].items()}
        clean = scores[Condition("clean")]
        for band in BANDS:
            lost = 0.2 + tilt[band] + ours * cost[band] + 0.01 * draw.normal(size=n) + 0.004 * draw.normal()
            scores[Condition("noise", band)] = clean - lost
            scores[Condition("stop", band)] = clean - lost * (1 - 8 * tilt[band])
        for values in scores.values():
            values[3] = np.nan
        blank = run.sensitivity ** (1 if number % 3 else -1) * draw.lognormal(0, 0.1, (n, 8))
        learning = replace(run.learning, errors=run.learning.errors + 0.01 * draw.normal(size=(7, 8)))
        found.append(replace(run, name=name, seed=seed, energy=energy, scores={"miou_image": scores},
                             learning=learning, untrained_sensitivity=blank))  # fmt: skip
    return found


def weights(n):
    """How often each image counts in each resample, after once in the whole."""
    return [np.ones(n), *np.random.default_rng(0).multinomial(n, [1 / n] * n, RESAMPLES)]


def quantile(values, share):
    found = sorted(one for one in values if not math.isnan(one))
    at = share * (len(found) - 1)
    low = math.floor(at)
    return found[low] + (at - low) * (found[min(low + 1, len(found) - 1)] - found[low])


def over_images(draws, level=0.95):
    """The ends of each band's resamples [r 8]; none of few images."""
    return [[quantile(draws[:, b], share) for b in BANDS] for share in ((1 - level) / 2, (1 + level) / 2)]


def student(values, level=0.95):
    half = t.ppf((1 + level) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return np.mean(values) - half, np.mean(values) + half


def welch(a, b, level):
    va, vb = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = t.ppf((1 + level) / 2, freedom) * math.sqrt(va + vb)
    return np.mean(a) - np.mean(b) - half, np.mean(a) - np.mean(b) + half


def table(runs, of):
    """Of each run the value in the whole and in each resample [s r 8]: `of` of a run and the weights of its images."""
    return np.array([[of(run, w) for w in weights(len(run.ids))] for run in runs])


def relative(key):
    return lambda run, w: np.sqrt((w @ run.energy[key]) / (w @ run.energy["label"]))


def lost(kind):
    def of(run, w):
        scores = run.scores["miou_image"]
        gaps = np.array([scores[Condition("clean")] - scores[Condition(kind, b)] for b in BANDS]).T
        known = ~np.isnan(gaps[:, 0])  # an image without a score has none under any condition
        return w[known] @ gaps[known] / w[known].sum()

    return of


def said(low, high):
    return "supported" if low > 0 else "not supported" if high < 0 else "cannot be told"


def spearman(a, b):
    a, b = rankdata(a) - rankdata(a).mean(), rankdata(b) - rankdata(b).mean()
    return (a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum())


def drawn(runs):
    return [np.mean([relative("ceiling")(run, np.ones(len(run.ids)))[b] for run in runs]) <= 0.5 for b in BANDS]


@pytest.fixture(autouse=True)
def resampled(monkeypatch):
    monkeypatch.setattr("segkd.analysis.summary.RESAMPLES", RESAMPLES)


ANSWERS = {
    1: ({"cannot be told", "supported"}, "supported", "not supported"),
    2: ({"cannot be told"}, "not supported", "cannot be told"),
    3: ({"cannot be told", "not supported"}, "supported", "cannot be told"),
    4: ({"cannot be told", "not supported"}, "not supported", "supported"),
    5: ({"cannot be told", "not supported"}, "cannot be told", "cannot be told"),
    7: ({"cannot be told"}, "not supported", "cannot be told"),
}
"""Of two groups, of one, and of the order of learning: all of them come up."""

every = pytest.mark.parametrize("number", ANSWERS)


@every
def test_two_groups(number, make_evidence):
    runs = runs_of(make_evidence, number)
    base, other = ([run for run in runs if run.name == name] for name in ("base", "other"))
    base, other = sorted(base, key=lambda run: run.seed), sorted(other, key=lambda run: run.seed)
    found, few, level = set(), min(len(base), len(other)) < 3, 1 - 0.05 / 8
    asked = [("OUTPUT", "learned earlier", None), ("OUTPUT", "got wrong less", relative("error")),
             ("INPUT", "relied on less (noise)", lost("noise"))]  # fmt: skip
    for sentence, (side, what, of) in zip(compared(*reversed(group(runs))), asked, strict=True):
        sides = [np.array([half_epochs(run.learning)[0] for run in one]) if of is None else table(one, of)
                 for one in (other, base)]  # fmt: skip
        wholes = sides if of is None else [one[:, 0] for one in sides]
        less, more = [], []
        for b in BANDS:
            if few or (side == "OUTPUT" and not (drawn(base)[b] and drawn(other)[b])):
                continue
            a, c = wholes[0][:, b], wholes[1][:, b]
            paired = [run.seed for run in base] == [run.seed for run in other]
            ends = [student(a - c, level) if paired else welch(a, c, level)]
            if of is not None and len(base[0].ids) >= 10:
                gaps = sides[0][:, 1:, b].mean(axis=0) - sides[1][:, 1:, b].mean(axis=0)
                ends.append((quantile(gaps, (1 - level) / 2), quantile(gaps, (1 + level) / 2)))
            by = f"{NAMES[b]} ({a.mean() - c.mean():+.2g})"
            less += [by] if all(high < 0 for _, high in ends) else []
            more += [by] if all(low > 0 for low, _ in ends) else []
        lists = [", ".join(one) or "no band" for one in (less, more)]
        why = " Fewer than 3 seeds are no result." if few else ""
        assert sentence.text == f"{side}, other against base: {what} in {lists[0]}; the opposite in {lists[1]}.{why}"
        verdict = "cannot be told" if bool(less) == bool(more) else "supported" if less else "not supported"
        assert sentence.verdict == verdict
        found.add(verdict)
    assert found == ANSWERS[number][0]


@every
def test_one_group(number, make_evidence):
    runs = [run for run in runs_of(make_evidence, number) if run.name == "other"]
    (found,), n, many = group(runs), len(runs[0].ids), len(runs) >= 3
    leans = {}
    for kind in ("noise", "stop"):
        values = table(runs, lost(kind))
        lean = values[:, :, :4].mean(axis=2) - values[:, :, 4:].mean(axis=2)
        ends = [(quantile(lean[:, 1:].mean(axis=0), share)) for share in (0.025, 0.975)] if n >= 10 else [math.nan] * 2
        if many:
            low, high = student(lean[:, 0])
            ends = [min(ends[0], low), max(ends[1], high)] if n >= 10 else [math.nan] * 2
        leans[kind] = lean[:, 0].mean(), *ends
    first, *rest = relies(found)
    gap, low, high = leans["noise"]
    interval = f" [{low:+.4f}, {high:+.4f}]" if n >= 10 else ""
    assert f"costs {abs(gap):.4f} miou_image {'more' if gap > 0 else 'less'} in" in first.text
    assert f"(difference {gap:+.4f}{interval});" in first.text and first.verdict == said(low, high)
    removal = said(*leans["stop"][1:])
    assert bool(rest) == ({first.verdict, removal} == {"supported", "not supported"})
    power = np.mean([np.sqrt(run.sensitivity.mean(axis=0) / run.margin.mean()) for run in runs], axis=0)
    assert first.text.endswith(f"the gradient is largest in {NAMES[int(power.argmax())]} cycles per pixel.")
    blank = np.mean([np.sqrt(run.untrained_sensitivity.mean(axis=0) / run.untrained_margin.mean()) for run in runs],
                    axis=0)  # fmt: skip
    rho = spearman(power, blank)
    own = "; the profile may be the architecture's" if rho >= 0.9 else ""
    ended = f"random weights; Spearman of the two profiles {rho:.2f}{own}."
    assert control(found).text.endswith(f"{blank.max() / blank.min():.1f} times in the same network with {ended}")
    assert first.verdict == ANSWERS[number][1] and bool(own) == (number % 3 > 0)
    errors, there = table(runs, relative("error")), [b for b in BANDS if drawn(runs)[b]]
    ends, told = over_images(errors[:, 1:].mean(axis=0)), []
    for b in (there[0], there[len(there) // 2], there[-1]):
        interval = f" [{ends[0][b]:.2f}, {ends[1][b]:.2f}]" if n >= 10 else ""
        told.append(f"{NAMES[b]}: {errors[:, 0, b].mean():.2f}{interval}")
    assert f"(1: knows nothing of the band) {', '.join(told)}; 1 bands lie beyond" in wrong(found).text


@every
def test_the_order_of_learning(number, make_evidence):
    runs = sorted((run for run in runs_of(make_evidence, number) if run.name == "other"), key=lambda run: run.seed)
    if number % 2:  # highest first, or in one seed too early to be told
        for at, run in enumerate(runs if number % 4 == 1 else runs[:1]):
            early = np.where(run.learning.epochs[:, None] < 1, 1.0, 0.1) + np.zeros(8)
            errors = run.learning.errors[:, ::-1] if number % 4 == 1 else early
            runs[at] = replace(run, learning=replace(run.learning, errors=errors))
    (found,) = group(runs)
    when = np.array([half_epochs(run.learning)[1] for run in runs])
    usable = [b for b in BANDS if drawn(runs)[b] and not np.isnan(when[:, b]).any()]
    sentence = learned(found)
    early = min(len(set(row[usable].tolist())) for row in when) < 3
    rhos = [spearman(usable, row[usable]) if np.ptp(row[usable]) else math.nan for row in when]
    verdict = "cannot be told" if early or len(runs) < 3 else said(*student(rhos))
    assert sentence.verdict == verdict and f"over {len(usable)} bands" in sentence.text
    assert ", ".join("-" if math.isnan(rho) else f"{rho:.2f}" for rho in rhos) in sentence.text
    assert verdict == ANSWERS[number][2]
