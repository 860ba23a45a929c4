"""Knowledges of levels against their formulas, with their slopes: images without a label, a class that is nowhere,
holes, and sizes that divide nowhere."""

from itertools import product

import numpy as np
import pytest

from segkd.distill.knowledge.across import AttentionAcross, TeacherFree
from segkd.distill.knowledge.feature import Attention, IntraClass
from segkd.distill.knowledge.relation import Affinity, Prototypes
from segkd.distill.knowledge.structured import StructuredAttention
from segkd.types import IGNORE, Prediction
from tests.distill.knowledge.slowly import (
    CASES,
    agrees,
    bilinear,
    cell_mean,
    double,
    log_softmax,
    mean,
    shrunk_label,
    softmax,
    unit,
)

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def agree_on_levels(case, knowledge, slow, channels=(4, 3, 2), theirs=(5, 2, 4)):
    """`slow(level, goal, label)` of one level, the teacher's at its size; the mean over the levels."""
    batch, student, teacher = case.batch(), case.seen(channels), case.seen(theirs, theirs=True)
    knowledge.meet(student, teacher)
    label, goals = batch.label.numpy(), [double(one) for one in teacher.features]

    def whole(*levels):
        return mean([slow(one, bilinear(goal, one.shape[2:]), shrunk_label(label, one.shape[2:]))
                     for one, goal in zip(levels, goals)])  # fmt: skip

    agrees(lambda *x: knowledge(Prediction(student.logits, x), teacher.detached(), batch), whole, student.features)


def squared_attention(level, goal, label):
    gaps = []
    for b in range(len(level)):
        inside = label[b] != IGNORE
        if inside.any():
            a, t = (unit((one[b] ** 2).mean(axis=0)[inside]) for one in (level, goal))
            gaps.append(((a - t) ** 2).sum())
    return mean(gaps)


@every_case
def test_attention(case):
    agree_on_levels(case, Attention(), squared_attention)


@every_case
def test_structured_attention(case):
    def slow(level, goal, label):
        values = []
        for b in range(len(level)):
            inside = label[b] != IGNORE
            if inside.any():
                a, t = (np.abs(one[b])[:, inside].sum(axis=1) for one in (level, goal))
                log_p, log_q = log_softmax(a / a.mean()), log_softmax(t / t.mean())
                values.append((np.exp(log_q) * (log_q - log_p)).sum())
        return 0.7 * squared_attention(level, goal, label) + 1.3 * mean(values)

    agree_on_levels(case, StructuredAttention(0.7, 1.3), slow, theirs=(4, 3, 2))


def centres(level, label, b):
    return {c: level[b][:, label[b] == c].mean(axis=1) for c in np.unique(label[b]) if c != IGNORE}


@every_case
def test_the_centres_of_classes(case):
    def to_own(level, goal, label):
        gaps = []
        for b, i, j in np.argwhere(label != IGNORE):
            one, other = (unit(x[b, :, i, j]) @ unit(centres(x, label, b)[label[b, i, j]]) for x in (level, goal))
            gaps.append((one - other) ** 2)
        return mean(gaps)

    def apart(level, goal, label):
        gaps = []
        for b in range(len(level)):
            ours, theirs = centres(level, label, b), centres(goal, label, b)
            gaps += [(unit(ours[c]) @ unit(ours[d]) - unit(theirs[c]) @ unit(theirs[d])) ** 2
                     for c, d in product(ours, ours) if c != d]  # fmt: skip
        return mean(gaps)

    agree_on_levels(case, IntraClass(), to_own)
    agree_on_levels(case, Prototypes(), apart)


@every_case
def test_affinities_of_cells(case):
    def slow(level, goal, label):
        size, gaps = [min(3, side) for side in level.shape[2:]], []
        for b in range(len(level)):
            cells = [[cell_mean(one, label != IGNORE, size, b, i, j) for i, j in np.ndindex(*size)]
                     for one in (level, goal)]  # fmt: skip
            there = [n for n, one in enumerate(cells[0]) if one is not None]
            for n, m in product(there, there):
                ours, theirs = (unit(side[n]) @ unit(side[m]) for side in cells)
                gaps.append((ours - theirs) ** 2)
        return mean(gaps)

    agree_on_levels(case, Affinity(3), slow)


def agree_across(case, knowledge, slow):
    """`slow(level, the next deeper one, the labels of both)` of each pair of levels, the deeper one a given."""
    batch, student = case.batch(), case.seen((5, 4, 3))
    knowledge.meet(student, student)
    label, given = batch.label.numpy(), [double(one) for one in student.features]

    def whole(*levels):
        pairs = [(levels[n], given[n + 1], *(shrunk_label(label, given[k].shape[2:]) for k in (n, n + 1)))
                 for n in range(len(levels) - 1)]  # fmt: skip
        return mean([slow(*pair) for pair in pairs])

    agrees(lambda *x: knowledge(Prediction(student.logits, x), student.detached(), batch), whole, student.features)


@every_case
def test_attention_across_levels(case):
    def slow(level, deeper, label, below):
        gaps, (h, w) = [], level.shape[2:]
        known = (below != IGNORE)[:, None].astype(float)
        energy = bilinear((deeper**2).sum(axis=1, keepdims=True) * known, (h, w))[:, 0]
        share = bilinear(known, (h, w))[:, 0]
        for b in range(len(level)):
            inside = (label[b] != IGNORE) & (share[b] > 0)
            if inside.any():
                p, q = (
                    softmax((level[b] ** 2).sum(axis=0)[inside]),
                    softmax((energy[b] / np.maximum(share[b], 1e-9))[inside]),
                )
                gaps.append(((p - q) ** 2).sum())
        return h * w * mean(gaps)

    agree_across(case, AttentionAcross(), slow)


@every_case
def test_teacher_free_between_levels(case):
    def slow(level, deeper, label, below):
        gaps, common = [], min(level.shape[1], deeper.shape[1])
        for b in range(len(level)):
            cells = {}
            for i, j in np.argwhere(below[b] != IGNORE):
                one = cell_mean(level, label != IGNORE, deeper.shape[2:], b, i, j)
                if one is not None:
                    cells[i, j] = one
            if cells:
                ours = [unit(np.array([one[c] for one in cells.values()])) for c in range(common)]
                theirs = [unit(np.array([deeper[b, c, i, j] for i, j in cells])) for c in range(common)]
                gaps.append(mean([((a - t) ** 2).sum() for a, t in zip(ours, theirs)]))
        return mean(gaps)

    agree_across(case, TeacherFree(within=0.0), slow)


@every_case
def test_teacher_free_within_a_level(case):
    batch, student, knowledge = case.batch(), case.seen((5, 4, 3)), TeacherFree(0.8, between=0.0)
    label, given = batch.label.numpy(), [double(one) for one in student.features]

    def maps(level, b):
        inside = shrunk_label(label, level.shape[2:])[b] != IGNORE
        return [unit(one * inside) for one in level[b]] if inside.any() else []

    def slow(*levels):
        losses = []
        for level, first in zip(levels, given):
            gaps = []
            for b in range(len(level)):
                ours, strong = maps(level, b), maps(first, b)
                order = sorted(range(len(ours)), key=lambda c: -strong[c].mean())
                half = len(order) // 2
                pairs = zip(order[:half], order[half : 2 * half])
                if ours:
                    gaps.append(mean([((strong[c] - ours[d]) ** 2).sum() for c, d in pairs]))
            losses.append(mean(gaps))
        return 0.8 * mean(losses)

    agrees(lambda *x: knowledge(Prediction(student.logits, x), student.detached(), batch), slow, student.features)
