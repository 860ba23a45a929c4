"""Losses pixel by pixel."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from segkd.losses import (
    CrossEntropy,
    Focal,
    SoftDice,
    SoftIoU,
)
from segkd.types import IGNORE
from tests.distill.knowledge.slowly import CASES, agrees, log_softmax


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_losses_pixel_by_pixel_where_labels_are_few(case, soft):
    """With slopes; a class, or an image, that has no label has no overlap to lose."""
    batch, (h, w), k = case.batch(), case.size, case.classes
    logits = case.seen(()).logits
    shares = torch.rand(case.b, k, h, w, generator=torch.Generator().manual_seed(1)).double().numpy() ** 3
    label, shares = batch.label.numpy(), shares / shares.sum(axis=1, keepdims=True)
    batch, weights = replace(batch, soft=torch.from_numpy(shares).float()), [0.3 + c for c in range(k)]
    inside = [tuple(one) for one in np.argwhere(label != IGNORE)]
    target = {(b, i, j): shares[b, :, i, j] if soft else np.eye(k)[label[b, i, j]] for b, i, j in inside}

    def weighted(x):
        above = [sum(weights[c] * -t * lp for c, (t, lp) in enumerate(zip(goal, log_softmax(x[b, :, i, j]))))
                 for (b, i, j), goal in target.items()]  # fmt: skip
        return sum(above) / sum(float(np.dot(weights, goal)) for goal in target.values())

    def faded(x):
        total = 0.0
        for (b, i, j), goal in target.items():
            log_p = log_softmax(x[b, :, i, j])
            total -= (abs(goal - np.exp(log_p)) ** 1.5 * goal * log_p).sum()
        return total / len(target)

    def overlap(measure):
        def slow(x):
            losses = []
            for b in range(case.b):
                here = [(i, j) for n, i, j in inside if n == b]
                for c in range(k):
                    p = [np.exp(log_softmax(x[b, :, i, j]))[c] for i, j in here]
                    t = [target[b, i, j][c] for i, j in here]
                    losses += [1 - measure(p, t)] if sum(t) > 0 else []
            return sum(losses) / len(losses)

        return slow

    def apart(p, t):
        return sum(abs(a - b) for a, b in zip(p, t))

    def both(p, t):
        return sum(a * b for a, b in zip(p, t))

    kind, whole = "soft" if soft else "hard", lambda p, t: sum(p) + sum(t)
    for loss, slow in (
        (CrossEntropy(kind, weights), weighted),
        (Focal(kind, 1.5), faded),
        (SoftIoU(kind), overlap(lambda p, t: (whole(p, t) - apart(p, t)) / (whole(p, t) + apart(p, t)))),
        (SoftIoU(kind, "product"), overlap(lambda p, t: both(p, t) / (whole(p, t) - both(p, t)))),
        (SoftDice(kind), overlap(lambda p, t: (whole(p, t) - apart(p, t)) / whole(p, t))),
        (SoftDice(kind, "product"), overlap(lambda p, t: 2 * both(p, t) / whole(p, t))),
    ):
        agrees(partial(loss, batch=batch), slow, (logits,))
