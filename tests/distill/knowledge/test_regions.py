from dataclasses import replace

import numpy as np
import pytest
import torch

from segkd.distill.knowledge.regions import Regions, regions
from segkd.types import Prediction
from tests.distill.knowledge.maps import maps, softmax
from tests.distill.knowledge.slowly import agrees


def slowly(student, teacher, valid):
    (b, _, h, w), losses = student.shape, []
    for n in range(b):
        at = [(y, x) for y in range(h) for x in range(w) if valid[n, y, x]]
        ours = [softmax(student[n, :, y, x]) for y, x in at]
        theirs = [softmax(teacher[n, :, y, x]) for y, x in at]
        for c in {int(np.argmax(one)) for one in theirs}:
            both = sum(min(p[c], q[c]) for p, q in zip(ours, theirs))
            either = sum(max(p[c], q[c]) for p, q in zip(ours, theirs))
            losses.append(1 - both / either)
    return float(np.mean(losses)) if losses else 0.0


@pytest.mark.parametrize("classes", [2, 5])
def test_the_loss_is_one_minus_intersection_over_union_of_soft_regions(classes):
    """With min and max: |p| + |q| - |p - q| is twice the sum of the smaller, |p| + |q| + |p - q| of the larger."""
    student, teacher, _, valid = maps(classes)
    teacher[:, -1] -= 50  # a class that the teacher sees nowhere
    teacher[1, 0] += 50  # and an image of one class
    assert not valid.all()
    agrees(
        lambda s: regions(s, teacher, valid),
        lambda s: slowly(s, teacher.double().numpy(), valid.numpy()),
        [student.detach().double().requires_grad_()],
    )


def test_a_teacher_that_is_the_student_costs_nothing_where_every_class_is_seen_and_ignored_pixels_never_do(make_batch):
    student, teacher, label, valid = maps(2)
    seen = student.clone()
    seen[:, :, 0, 0], seen[:, :, 0, 1] = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 9.0])
    valid[:, 0, :2] = True
    assert float(regions(seen, seen, valid)) == pytest.approx(0, abs=1e-6)
    wild = torch.where(valid.unsqueeze(1), teacher, torch.inf)
    batch = replace(make_batch(2, size=label.shape[1:]), label=torch.where(valid, label.clamp(0, 1), 255))
    plain = Regions()(Prediction(student), Prediction(teacher), batch)
    assert float(Regions()(Prediction(student), Prediction(wild), batch)) == float(plain)
    nothing = regions(student.requires_grad_(), teacher, torch.zeros_like(valid))
    assert nothing.item() == 0 and torch.autograd.grad(nothing, student)[0].abs().sum() == 0
