import numpy as np
import pytest
import torch

from segkd.distill.knowledge.enhanced import Decoupled, TargetEnhanced, decoupled, target_enhanced
from segkd.distill.knowledge.response import response
from segkd.types import InputError, Prediction
from tests.distill.knowledge.maps import maps, over_pixels, softmax


def test_decoupled_is_the_paper_s_formula_pixel_by_pixel():
    student, teacher, label, valid = maps(5)
    t, alpha, beta = 2.0, 0.7, 3.0

    def one(s, q, y):
        p, q = softmax(s / t), softmax(q / t)
        tckd = q[y] * np.log(q[y] / p[y]) + (1 - q[y]) * np.log((1 - q[y]) / (1 - p[y]))
        rest = np.arange(5) != y
        p_rest, q_rest = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
        return t * t * (alpha * tckd + beta * (q_rest * np.log(q_rest / p_rest)).sum())

    found = decoupled(student, teacher, label, valid, alpha, beta, t)
    assert float(found) == pytest.approx(over_pixels(one, student, teacher, label, valid), rel=1e-5)


def test_the_plain_divergence_is_its_two_parts_weighted_by_what_the_teacher_leaves():
    """KL = TCKD + (1 - q_y) NCKD (the paper's point), here where the teacher leaves the same everywhere."""
    student, _, label, valid = maps(4)
    shares = torch.tensor([0.6, 0.2, 0.15, 0.05])
    teacher = torch.stack([shares.roll(int(c)).log() for c in range(4)])[label.clamp_max(3)].permute(0, 3, 1, 2)
    parts = decoupled(student, teacher, label, valid, 1.0, 0.4, 1.0)
    torch.testing.assert_close(parts, response(student, teacher, valid, 1.0, True))


def test_decoupled_is_a_divergence_in_half_precision_too():
    student, _, label, valid = (one if one.dtype != torch.float32 else one.bfloat16() for one in maps(4))
    near = student + 0.02
    exact = decoupled(student.float(), near.float(), label, valid, 1.0, 8.0, 4.0)
    torch.testing.assert_close(decoupled(student, near, label, valid, 1.0, 8.0, 4.0), exact)


def test_decoupled_is_refused_for_two_classes():
    seen = Prediction(torch.zeros(1, 2, 4, 4))
    with pytest.raises(InputError, match="Write Response instead"):
        Decoupled().meet(seen, seen)
    Decoupled().meet(Prediction(torch.zeros(1, 3, 4, 4)), Prediction(torch.zeros(1, 3, 4, 4)))


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_target_enhanced_is_the_formula_pixel_by_pixel(variant):
    student, teacher, label, valid = maps(5)
    epsilon = 1.5

    def one(s, q, y):
        p, q = softmax(s), softmax(q)
        loss = 0.0
        for i in range(5):
            if variant == "paper":
                loss -= ((1 + q[i]) ** epsilon if i == y else q[i]) * np.log(p[i])
            else:
                loss -= ((q[i] + (i == y)) ** epsilon - (i == y)) * np.log(p[i])
        return loss

    found = target_enhanced(student, teacher, label, valid, epsilon, variant)
    assert float(found) == pytest.approx(over_pixels(one, student, teacher, label, valid), rel=1e-5)


def test_epsilon_one_is_plain_distillation():
    student, teacher, label, valid = maps(5)
    entropy = over_pixels(lambda s, q, y: -(softmax(q) * np.log(softmax(q))).sum(), student, teacher, label, valid)
    found = target_enhanced(student, teacher, label, valid, 1.0, "code")
    assert float(found) == pytest.approx(float(response(student, teacher, valid, 1.0, True)) + entropy, rel=1e-5)
    with pytest.raises(InputError, match="epsilon must be a finite number of 1 or more"):
        TargetEnhanced(0.5)
