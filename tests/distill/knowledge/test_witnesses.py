"""Knowledges of features and exits against their formulas, position by position, at sizes that divide nowhere."""

import numpy as np
import pytest
import torch

from segkd.distill.knowledge.across import HintAcross
from segkd.distill.knowledge.exits import AllPairs, AtExits
from segkd.distill.knowledge.feature import Hint, MeanFeatures
from segkd.distill.knowledge.graph import GraphEdges
from segkd.distill.knowledge.one_for_all import OneForAll
from segkd.distill.knowledge.response import Response
from segkd.types import IGNORE, Prediction
from tests.distill.knowledge.slowly import (
    CASES,
    Case,
    agrees,
    bilinear,
    cell_mean,
    divergence,
    log_softmax,
    mean,
    middle,
    shrunk_label,
    unit,
)

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def projectors(knowledge) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (one.weight.detach().double().numpy()[:, :, 0, 0], one.bias.detach().double().numpy())
        for one in knowledge.projectors
    ]


@every_case
@pytest.mark.parametrize("normalise", [True, False])
def test_a_hint(case, normalise):
    batch, student, teacher = case.batch(), case.seen((4, 3, 2)), case.seen((5, 2, 4), theirs=True)
    hint, n, label = Hint(normalise=normalise), len(student.features), batch.label.numpy()
    hint.meet(student, teacher)
    goals = [one.detach().double().numpy() for one in teacher.features]

    def slow(*levels):
        losses = []
        for level, given, (weight, bias) in zip(levels, goals, projectors(hint)):
            size, gaps = level.shape[2:], []
            at, goal = shrunk_label(label, size), bilinear(given, size)
            for b, i, j in np.argwhere(at != IGNORE):
                ours, theirs = weight @ level[b, :, i, j] + bias, goal[b, :, i, j]
                gaps.append(((unit(ours) - unit(theirs)) ** 2).sum() if normalise else ((ours - theirs) ** 2).mean())
            losses.append(mean(gaps))
        return sum(losses) / n

    agrees(lambda *x: hint(Prediction(student.logits, x), teacher.detached(), batch), slow, student.features)


@every_case
def test_a_hint_across(case):
    batch, student = case.batch(), case.seen((4, 3, 2))
    hint, label = HintAcross(), batch.label.numpy()
    hint.meet(student, student)
    finest = student.features[0].detach().double().numpy()

    def slow(*levels):
        losses = []
        for level, (weight, bias) in zip(levels[1:], projectors(hint)):
            at, counts, gaps = shrunk_label(label, level.shape[2:]), shrunk_label(label, finest.shape[2:]) != IGNORE, []
            for b, i, j in np.argwhere(at != IGNORE):
                goal = cell_mean(finest, counts, level.shape[2:], b, i, j)
                if goal is not None:
                    gaps.append(((unit(weight @ level[b, :, i, j] + bias) - unit(goal)) ** 2).sum())
            losses.append(mean(gaps))
        return sum(losses) / len(losses)

    agrees(lambda *x: hint(Prediction(student.logits, x), student.detached(), batch), slow, student.features)


@every_case
@pytest.mark.parametrize("adapt", [True, False])
def test_mean_features(case, adapt):
    batch, student = case.batch(), case.seen((4, 3, 2))
    teacher, label = case.seen((2, 5, 3) if adapt else (4, 3, 2), theirs=True), batch.label.numpy()
    knowledge = MeanFeatures(adapt)
    knowledge.meet(student, teacher)
    goals = [one.detach().double().numpy() for one in teacher.features]

    def slow(*levels):
        losses = []
        maps = projectors(knowledge) if adapt else [(np.eye(x.shape[1]), np.zeros(x.shape[1])) for x in levels]
        for level, given, (weight, bias) in zip(levels, goals, maps):
            at, goal, gaps = shrunk_label(label, level.shape[2:]), bilinear(given, level.shape[2:]), []
            for b in range(case.b):
                inside = np.argwhere(at[b] != IGNORE)
                if len(inside):
                    ours = np.mean([weight @ level[b, :, i, j] + bias for i, j in inside], axis=0)
                    gaps.append(((ours - np.mean([goal[b, :, i, j] for i, j in inside], axis=0)) ** 2).sum())
            losses.append(mean(gaps))
        return sum(losses) / len(losses)

    agrees(lambda *x: knowledge(Prediction(student.logits, x), teacher.detached(), batch), slow, student.features)


def met_at(maps, label, size):
    """Maps at a size, None where nothing is known: means over the valid positions, or bilinear where they grow."""
    b, c, h, w = maps.shape
    found = np.full((b, *size), None)
    if size[0] > h or size[1] > w:
        maps, (h, w) = bilinear(maps, size), size
    counts = shrunk_label(label, (h, w)) != IGNORE
    for n, i, j in np.ndindex(b, *size):
        found[n, i, j] = maps[n, :, i, j] if (h, w) == tuple(size) else cell_mean(maps, counts, size, n, i, j)
    return found


@every_case
@pytest.mark.parametrize("target", ["logits", "exits"])
def test_a_response_at_exits(case, target):
    batch, student, teacher = case.batch(), case.seen(()), case.seen((), theirs=True)
    label = batch.label.numpy()
    goals = [one.detach().double().numpy() for one in (teacher.exits if target == "exits" else [teacher.logits] * 9)]

    def slow(*exits):
        losses = []
        for one, given in zip(exits, goals):
            size = one.shape[2:]
            at, goal = shrunk_label(label, size), met_at(given, label, size)
            losses.append(mean([divergence(one[b, :, i, j], goal[b, i, j], 3.0)
                                for b, i, j in np.argwhere(at != IGNORE) if goal[b, i, j] is not None]))  # fmt: skip
        return sum(losses) / len(losses)

    knowledge = AtExits(Response(3.0), target)
    knowledge.meet(student, teacher)
    agrees(lambda *x: knowledge(Prediction(student.logits, exits=x), teacher.detached(), batch), slow, student.exits)


@every_case
def test_all_pairs(case):
    batch, student = case.batch(), case.seen(())
    label, teach = batch.label.numpy(), [one.detach().double().numpy() for one in (student.logits, *student.exits)]

    def slow(*learn):
        losses = []
        for j, one in enumerate(learn):
            for k, goal in enumerate(teach):
                if j == k:
                    continue
                size = min(one.shape[2:], goal.shape[2:], key=lambda side: side[0] * side[1])
                ours, theirs, at = met_at(one, label, size), met_at(goal, label, size), shrunk_label(label, size)
                losses.append(mean([divergence(ours[p], theirs[p], 2.0) for p in map(tuple, np.argwhere(at != IGNORE))
                                    if ours[p] is not None and theirs[p] is not None]))  # fmt: skip
        return sum(losses) / len(losses)

    agrees(lambda *x: AllPairs(2.0)(Prediction(x[0], exits=x[1:]), student.detached(), batch), slow,
           (student.logits, *student.exits))  # fmt: skip


@every_case
@pytest.mark.parametrize("variant", ["paper", "code"])
def test_one_for_all(case, variant):
    batch, student, teacher = case.batch(), case.seen(()), case.seen(())
    label, epsilons = batch.label.numpy(), [1.3, 1.7, 2.2, 1.1][: len(student.exits) + 1]
    goal = teacher.logits.detach().double().numpy()
    shares = np.empty_like(goal)
    for b, y, x in np.ndindex(label.shape):
        shares[b, :, y, x] = np.exp(log_softmax(goal[b, :, y, x]))

    def slow(*outputs):
        losses = []
        for one, epsilon in zip(outputs, epsilons):
            at, values = shrunk_label(label, one.shape[2:]), []
            for b, i, j in np.argwhere(at != IGNORE):
                q = cell_mean(shares, label != IGNORE, one.shape[2:], b, i, j)
                log_p, y = log_softmax(one[b, :, i, j]), at[b, i, j]
                if variant == "paper":
                    value = -((1 + q[y]) ** epsilon) * log_p[y]
                    value -= sum(q[c] * log_p[c] for c in range(case.classes) if c != y)
                else:
                    value = -sum(((q[c] + (c == y)) ** epsilon - (c == y)) * log_p[c] for c in range(case.classes))
                values.append(value)
            losses.append(mean(values))
        return losses[-1] + sum(losses[:-1]) / len(losses[:-1])

    knowledge = OneForAll(epsilons, variant)
    knowledge.meet(student, teacher)
    agrees(lambda *x: knowledge(Prediction(x[-1], exits=x[:-1]), teacher.detached(), batch), slow,
           (*student.exits, student.logits))  # fmt: skip


def node(maps, label, size, cell, n, number):
    """What lies at a node of a grid of positions, or of squares of them: the means of its labelled positions and the
    class, None where it has none or two."""
    columns, found, classes = size[1] // cell, [], set()
    for i in range(number // columns * cell, number // columns * cell + cell):
        for j in range(number % columns * cell, number % columns * cell + cell):
            at = [(middle(i, one.shape[-2], size[0]), middle(j, one.shape[-1], size[1])) for one in (label, *maps)]
            if label[n][at[0]] != IGNORE:
                classes.add(int(label[n][at[0]]))
                found.append([one[n, :, y, x] for one, (y, x) in zip(maps, at[1:])])
    means = [np.mean([one[k] for one in found], axis=0) for k in (0, 1)] if found else None
    return means, classes.pop() if len(classes) == 1 else None


@pytest.mark.parametrize("graph", ["region", "random", "knn", "grid8"])
def test_graph_edges_as_they_are_drawn(graph):
    """Of the edges that are drawn: both directions, each end a mean over its region."""
    case = Case(3, 2, (15, 13), ((11, 9),), ((11, 9),), holes=0.02)
    batch, student = case.batch(), case.seen((4,))
    batch.label[:, :, 6:] = batch.label[:, :, 6:].where(batch.label[:, :, 6:] == IGNORE, torch.tensor(1))
    batch.label[:, :, :6] = batch.label[:, :, :6].where(batch.label[:, :, :6] == IGNORE, torch.tensor(2))
    knowledge = GraphEdges(graph, 12, "cross_boundary", "fixed", 0.7, feature=0.6, label=1.4, cell=2)
    knowledge.meet(student, student)
    torch.manual_seed(1)
    ends = knowledge._drawn(student.features[0], batch.label)
    knowledge._drawn = lambda *_: ends
    first, last = knowledge.second[0], knowledge.second[2]
    w0, b0, w1, b1 = (one.detach().double().numpy() for one in (*first.parameters(), *last.parameters()))

    def second(x):
        hidden = w0 @ x + b0
        return w1 @ np.where(hidden > 0, hidden, 0.01 * hidden) + b1

    def slow(logits, features):
        near, apart, said, drawn = [], [], [], []
        for b, e in np.ndindex(*ends[0].shape):
            both = [node((features, logits), batch.label.numpy(), (11, 9), knowledge.side, b, int(end[b, e]))
                    for end in ends]  # fmt: skip
            for (here, own), (there, other) in (both, both[::-1]):
                drawn.append(own)
                if own is None or other is None:
                    continue
                if own != other:
                    gap = np.exp(log_softmax(here[1])) - np.exp(log_softmax(second(there[0])))
                    apart.append(-(gap**2).mean())
                    continue
                z = second(0.7 * there[0] + 0.3 * here[0])
                near.append(((here[1] - z) ** 2).mean())
                said.append((own, -log_softmax(z)[own]))
        kept = [one for one, _ in said]
        weights = {one: drawn.count(one) / kept.count(one) for one in kept}
        crossed = sum(weights[one] * value for one, value in said) / sum(weights[one] for one in kept)
        assert kept and (apart or graph == "knn")
        return 0.6 * (mean(near) + mean(apart)) + 1.4 * crossed

    def found(logits, features):
        return knowledge(Prediction(logits, (features,)), student.detached(), batch)

    agrees(found, slow, (student.logits, student.features[0]))


@pytest.mark.parametrize(
    "knowledge",
    [Hint(), HintAcross(), MeanFeatures(), AtExits(Response()), AllPairs(), OneForAll()],
    ids=lambda one: type(one).__name__,
)
def test_where_nothing_has_a_label_nothing_is_taught(knowledge):
    case = CASES[2]
    batch, student, teacher = case.batch(), case.seen((4, 3, 2)), case.seen((4, 3, 2), theirs=True)
    batch.label.fill_(IGNORE)
    knowledge.meet(student, teacher)
    value = knowledge(student, teacher.detached(), batch)
    grads = torch.autograd.grad(value, (student.logits, *student.features, *student.exits), allow_unused=True)
    assert value == 0 and all(one is None or (one == 0).all() for one in grads)
