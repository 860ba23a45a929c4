"""Knowledges of logits against their formulas, with their slopes: images without a label, a class that is nowhere,
holes, and sizes that divide nowhere."""

import math
from itertools import product

import numpy as np
import pytest

from segkd.distill.knowledge.channel import ChannelWise, Correlation
from segkd.distill.knowledge.enhanced import Decoupled, TargetEnhanced
from segkd.distill.knowledge.logits import LogitHint
from segkd.distill.knowledge.masks import SoftMasks
from segkd.distill.knowledge.response import Response
from segkd.distill.knowledge.universal import Universal
from segkd.types import IGNORE, Prediction
from tests.distill.knowledge.slowly import CASES, agrees, bilinear, double, log_softmax, mean, softmax

every_case = pytest.mark.parametrize("case", CASES, ids=str)
several = pytest.mark.parametrize("case", CASES[1:], ids=str)


def agree_on_logits(case, knowledge, slow, rel=1e-4):
    """`slow(ours, theirs, label)` of arrays."""
    batch, student, teacher = case.batch(), case.seen((4, 3, 2)), case.seen((4, 3, 2), theirs=True)
    knowledge.meet(student, teacher)
    label, theirs = batch.label.numpy(), double(teacher.logits)
    agrees(lambda x: knowledge(Prediction(x, exits=student.exits), teacher.detached(), batch),
           lambda x: slow(x, theirs, label), (student.logits,), rel)  # fmt: skip


def at_pixels(one):
    """The mean over the pixels that have a label."""
    return lambda ours, theirs, label: mean(
        [one(ours[b, :, i, j], theirs[b, :, i, j], label[b, i, j]) for b, i, j in np.argwhere(label != IGNORE)]
    )


def pearson(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum())


@every_case
def test_a_hint_of_logits(case):
    agree_on_logits(case, LogitHint(), at_pixels(lambda s, t, y: (((s - s.mean()) - (t - t.mean())) ** 2).mean()))


@several
def test_decoupled(case):
    def one(s, t, y):
        p, q = softmax(s / 3), softmax(t / 3)
        rest = np.arange(len(p)) != y
        tckd = q[y] * math.log(q[y] / p[y]) + (1 - q[y]) * math.log((1 - q[y]) / (1 - p[y]))
        a, b = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
        return 9 * (0.7 * tckd + 2.5 * (b * np.log(b / a)).sum())

    agree_on_logits(case, Decoupled(0.7, 2.5, 3.0), at_pixels(one))


@every_case
@pytest.mark.parametrize("variant", ["paper", "code"])
def test_target_enhanced(case, variant):
    def one(s, t, y):
        q, total = softmax(t), 0.0
        for c, log_p in enumerate(log_softmax(s)):
            own = (1 + q[c]) ** 1.7 if variant == "paper" else (1 + q[c]) ** 1.7 - 1
            other = q[c] if variant == "paper" else q[c] ** 1.7
            total -= (own if c == y else other) * log_p
        return total

    agree_on_logits(case, TargetEnhanced(1.7, variant), at_pixels(one))


@every_case
@pytest.mark.parametrize("soften", [True, False])
def test_a_response_where_pixels_among_other_classes_count_more(case, soften):
    def slow(ours, theirs, label):
        total = count = 0.0
        for b, i, j in np.argwhere(label != IGNORE):
            near = label[b, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            weight = 1 + 4 * (1 - (near == label[b, i, j]).sum() / (near != IGNORE).sum())
            log_q = log_softmax(theirs[b, :, i, j] / 2)
            log_p = log_softmax(ours[b, :, i, j] / (2 if soften else 1))
            total, count = total + weight * (np.exp(log_q) * (log_q - log_p)).sum(), count + weight
        return (4 if soften else 1) * total / count

    agree_on_logits(case, Response(2.0, soften, emphasis=4.0), slow)


@several
def test_universal(case):
    batch, student = case.batch(), case.seen(())
    label, given, weak = batch.label.numpy(), double(student.logits), bilinear(double(student.exits[-1]), case.size)
    inside = [tuple(one) for one in np.argwhere(label != IGNORE)]
    squares, goals = {at: softmax(given[at[0], :, *at[1:]])[label[at]] ** 2 for at in inside}, {}
    for b, i, j in inside:
        y, known = label[b, i, j], {}
        for one in (given, weak):
            shares = softmax(one[b, :, i, j])
            for c in range(case.classes):
                known[c] = known.get(c, 0.0) + shares[c] / (1 - shares[y])
        order = sorted((c for c in known if c != y), key=lambda c: -known[c])
        zipf = {c: 1 / rank for rank, c in enumerate(order, 1)}
        own = squares[b, i, j] + 1 - mean(list(squares.values()))
        goals[b, i, j] = own, {c: share / sum(zipf.values()) for c, share in zipf.items()}

    def slow(x):
        values = []
        for (b, i, j), (own, zipf) in goals.items():
            log_p, y = log_softmax(x[b, :, i, j]), label[b, i, j]
            rest = math.log(sum(math.exp(one) for c, one in enumerate(log_p) if c != y))
            values.append(-0.8 * own * log_p[y] - 0.3 * sum(z * (log_p[c] - rest) for c, z in zipf.items()))
        return mean(values)

    agrees(lambda x: Universal(0.8, 0.3)(Prediction(x, exits=student.exits), student.detached(), batch), slow,
           (student.logits,))  # fmt: skip


@every_case
def test_channel_wise(case):
    def slow(ours, theirs, label):
        values = []
        for b, c in np.ndindex(ours.shape[:2]):
            inside = label[b] != IGNORE
            if inside.any():
                log_p, log_q = (log_softmax(one[b, c][inside] / 3) for one in (ours, theirs))
                values.append(9 * (np.exp(log_q) * (log_q - log_p)).sum())
        return mean(values)

    agree_on_logits(case, ChannelWise(3.0), slow)


@several
@pytest.mark.parametrize("weights", [(1.5, 0.0), (0.0, 0.6), (1.5, 0.6)])
def test_correlations(case, weights):
    def slow(ours, theirs, label):
        between = at_pixels(lambda s, t, y: 1 - pearson(softmax(s / 2), softmax(t / 2)))(ours, theirs, label)
        within = []
        for b, c in np.ndindex(ours.shape[:2]):
            at = np.argwhere(label[b] != IGNORE)
            if len(at):
                sides = [np.array([softmax(one[b, :, i, j] / 2)[c] for i, j in at]) for one in (ours, theirs)]
                within.append(1 - pearson(*sides))
        return 4 * (weights[0] * between + weights[1] * mean(within))

    agree_on_logits(case, Correlation(*weights, temperature=2.0), slow)


@pytest.mark.parametrize("case", CASES[::2], ids=str)
def test_soft_masks(case):
    h, w = case.size
    windows = {(i, j): np.exp(-((np.arange(h)[:, None] - i) ** 2 + (np.arange(w) - j) ** 2) / 4.5)
               * ((abs(np.arange(h)[:, None] - i) <= 5) & (abs(np.arange(w) - j) <= 5))
               for i, j in np.ndindex(h, w)}  # fmt: skip

    def slow(ours, theirs, label):
        apart, gaps = [], []
        for b in range(case.b):
            inside = label[b] != IGNORE
            p, q = (np.exp(one[b] - one[b].max()) / np.exp(one[b] - one[b].max()).sum(axis=0) for one in (ours, theirs))
            for i, j in np.argwhere(inside):
                weight = windows[i, j] * inside / (windows[i, j] * inside).sum()
                m, n = ((weight * one).sum(axis=(1, 2)) for one in (p, q))
                v, u = ((weight * (one - at[:, None, None]) ** 2).sum(axis=(1, 2)) for one, at in ((p, m), (q, n)))
                both = (weight * (p - m[:, None, None]) * (q - n[:, None, None])).sum(axis=(1, 2))
                ssim = (2 * m * n + 1e-4) * (2 * both + 9e-4) / ((m**2 + n**2 + 1e-4) * (v + u + 9e-4))
                apart.append(1 - ssim.mean())
            if inside.any():
                pairs = product(range(case.classes), repeat=2)
                gaps.append(mean([abs((p[c] * p[d])[inside].mean() - (q[c] * q[d])[inside].mean()) for c, d in pairs]))
        return 3 * mean(apart) + 5 * mean(gaps)

    agree_on_logits(case, SoftMasks(3.0, 5.0), slow, rel=3e-4)
