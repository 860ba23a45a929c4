from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkd.distill.knowledge.relation import Affinity, Prototypes, affinity, centre_relation
from segkd.types import IGNORE, InputError, Prediction
from tests.distill.knowledge.maps import maps


@pytest.mark.parametrize("nodes", [2, 3, 8])
def test_affinity_is_the_distance_of_cosines_of_all_pairs_of_cells(nodes, make_batch):
    student, teacher, label, _ = maps(4, ignored=0.0)
    sides = min(nodes, 6), min(nodes, 5)  # a level is never enlarged: its positions are cells enough
    gaps = []
    for b in range(2):
        cells = [F.adaptive_avg_pool2d(x[b : b + 1].double(), sides)[0].flatten(1) for x in (student, teacher)]
        units = [F.normalize(x, dim=0) for x in cells]
        gaps.append((units[0].T @ units[0] - units[1].T @ units[1]).square())
    batch = replace(make_batch(4, size=(6, 5)), label=label)
    loss = Affinity(nodes)(Prediction(student, (student,)), Prediction(teacher, (teacher,)), batch)
    assert float(loss) == pytest.approx(torch.stack(gaps).mean().item(), rel=1e-4)


def test_affinity_leaves_out_what_is_ignored():
    student, teacher, label, valid = maps(4, size=(8, 8), ignored=0.5)
    other = student.masked_fill(~valid.unsqueeze(1), 99.0)
    assert affinity(student, teacher, valid, 4) == affinity(other, teacher, valid, 4)


def test_the_relation_of_centres_is_the_distance_of_their_cosines():
    student, teacher, label, _ = maps(4)
    label[1][label[1] == 2] = IGNORE  # a class that is not there has no centre
    gaps = []
    for b in range(2):
        there = [c for c in range(4) if (label[b] == c).any()]
        centres = [{c: x[b][:, label[b] == c].double().mean(dim=1) for c in there} for x in (student, teacher)]
        for i in there:
            for j in there:
                if i != j:
                    a, t = (F.cosine_similarity(one[i], one[j], dim=0).item() for one in centres)
                    gaps.append((a - t) ** 2)
    assert len(gaps) == 12 + 6
    assert float(centre_relation(student, teacher, label, 4)) == pytest.approx(np.mean(gaps), rel=1e-4)


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match="nodes is a number of cells"):
        Affinity(1)
    one, two = (Prediction(torch.zeros(1, 2, 8, 8), (torch.zeros(1, 3, 4, 4),) * n) for n in (1, 2))
    for knowledge in (Affinity(), Prototypes()):
        with pytest.raises(InputError, match="the student has 2 levels of features, the teacher 1"):
            knowledge.meet(two, one)
