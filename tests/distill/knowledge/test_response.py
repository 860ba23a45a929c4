import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.distill.knowledge.response import Response, response
from segkd.distill.teachers.label import LabelTeacher, confidence_rows
from segkd.losses import cross_entropy
from segkd.types import IGNORE, InputError, Prediction

KINDS = ["constant", "boundary", "window", "antialiased"]
EVERYWHERE = torch.ones(2, 4, 5, dtype=torch.bool)
seeds = st.integers(0, 10_000)
temperatures = st.floats(0.5, 20)


def no_look(image: torch.Tensor) -> Prediction:
    raise AssertionError("a label teacher reads labels and nothing else")


def pair(seed: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 2, classes, 4, 5, generator=draw, dtype=torch.float64)
    return student, teacher


@settings(max_examples=30, deadline=None)
@given(seed=seeds, t=temperatures, classes=st.sampled_from([2, 11]), soften_student=st.booleans())
def test_it_is_the_naive_sum_over_pixels_and_classes(seed, t, classes, soften_student):
    student, teacher = pair(seed, classes)
    valid = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(seed)) < 0.7
    valid[0, 0, 0] = True
    p = (student / (t if soften_student else 1)).exp()
    q = (teacher / t).exp()
    p, q = p / p.sum(dim=1, keepdim=True), q / q.sum(dim=1, keepdim=True)
    total = sum((q * (q / p).log())[b, :, y, x].sum() for b, y, x in valid.nonzero().tolist()) / int(valid.sum())
    expected = total * (t**2 if soften_student else 1)
    torch.testing.assert_close(response(student, teacher, valid, t, soften_student), expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, t=temperatures, shift=st.floats(-5, 5))
def test_it_is_positive_and_zero_only_between_equal_distributions(seed, t, shift):
    student, teacher = pair(seed)
    assert response(student, teacher, EVERYWHERE, t, True) > 0
    same = student + shift  # logits are defined up to a constant
    assert float(response(student, same, EVERYWHERE, t, True)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("soften_student", [True, False])
def test_gradients_agree_with_finite_differences(soften_student):
    student, teacher = pair(1)
    valid = torch.rand(2, 4, 5) < 0.8
    check = torch.autograd.gradcheck
    assert check(lambda s: response(s, teacher, valid, 3.0, soften_student), student.requires_grad_())


def test_the_squared_temperature_keeps_the_size_of_the_gradient():
    """Hinton et al. 2015: without it the gradient fades as 1 / T^2; its limit is logit matching, (s - t) / k."""
    student, teacher = pair(2)
    student, teacher = student - student.mean(dim=1, keepdim=True), teacher - teacher.mean(dim=1, keepdim=True)
    student.requires_grad_()
    norms = []
    for t in (50.0, 100.0, 200.0):
        (grad,) = torch.autograd.grad(response(student, teacher, EVERYWHERE, t, True), student)
        norms.append(float(grad.norm()))
    assert norms == pytest.approx([norms[-1]] * 3, rel=0.03)
    torch.testing.assert_close(grad, (student - teacher).detach() / 3 / EVERYWHERE.sum(), rtol=0.1, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(
    seed=seeds, alpha=st.floats(0.05, 0.95), a=st.floats(0.5, 0.99), t=temperatures, classes=st.sampled_from([2, 11])
)
def test_an_unsoftened_student_makes_it_label_smoothing(seed, alpha, a, t, classes):
    """METHODS 1.5, finding 2: (1 - alpha) CE + alpha KL = CE against the mixture, up to a constant."""
    student, _ = pair(seed, classes)
    student.requires_grad_()
    label = torch.randint(0, classes, (2, 4, 5), generator=torch.Generator().manual_seed(seed))
    logits = confidence_rows(a, classes).double().log()[label].permute(0, 3, 1, 2)
    mixed = (1 - alpha) * cross_entropy(student, label, EVERYWHERE)
    mixed = mixed + alpha * response(student, logits, EVERYWHERE, t, False)
    hard = F.one_hot(label, classes).permute(0, 3, 1, 2)
    smoothed = (1 - alpha) * hard + alpha * (logits / t).softmax(dim=1)
    against = -(smoothed * student.log_softmax(dim=1)).sum(dim=1).mean()
    grads = [torch.autograd.grad(loss, student)[0] for loss in (mixed, against)]
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-9)


def test_a_softened_student_makes_it_something_else():
    student, _ = pair(3)
    student.requires_grad_()
    logits = confidence_rows(0.9, 3).double().log()[torch.zeros(2, 4, 5, dtype=torch.long)].permute(0, 3, 1, 2)
    plain, soft = (
        torch.autograd.grad(response(student, logits, EVERYWHERE, 4.0, option), student)[0] for option in (False, True)
    )
    assert not torch.allclose(plain / plain.norm(), soft / soft.norm(), atol=0.05)


@pytest.mark.parametrize("a", [0.7, 0.95])
@pytest.mark.parametrize("t", [1.0, 2.0, 4.0, 20.0])
def test_with_power_softening_the_optimum_is_the_teacher_at_every_temperature(a, t):
    """A temperature shapes gradients, not the optimum: p = a, and sigmoid(2 a - 1) where p itself is the logit."""
    label = torch.zeros(1, 1, 1, dtype=torch.long)
    here = torch.ones(1, 1, 1, dtype=torch.bool)
    rows = confidence_rows(a, 2)[0].view(1, 2, 1, 1).double()
    grid = torch.linspace(0.501, 0.999, 499).double()

    def best(teacher: torch.Tensor) -> float:
        students = torch.stack([grid.log(), (1 - grid).log()]).T.view(-1, 1, 2, 1, 1)
        return float(grid[int(torch.stack([response(s, teacher, here, t, True) for s in students]).argmin())])

    assert best(rows.log()) == pytest.approx(a, abs=1e-3)
    assert best(rows) == pytest.approx(1 / (1 + math.exp(1 - 2 * a)), abs=1e-3)
    # cross-entropy pulls p towards 1: the optimum of the sum lies between, and the mixture is a smoothed label
    mixture = torch.tensor(0.5 + 0.5 * a).double()
    student = torch.stack([mixture.log(), (1 - mixture).log()]).view(1, 2, 1, 1).requires_grad_()
    loss = 0.5 * cross_entropy(student, label, here) + 0.5 * response(student, rows.log(), here, 1.0, True)
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-6


@pytest.mark.parametrize("soften", ["power", "softmax_prob"])
@pytest.mark.parametrize("classes", [2, 11])
@pytest.mark.parametrize("kind", KINDS)
def test_an_ignored_pixel_is_in_neither_side(kind, classes, soften, make_batch):
    """Exactly no gradient and no say, whatever stands there: other logits, infinite ones, other class shares."""
    batch, teacher, compare = make_batch(classes, ignored=0.3), LabelTeacher(kind, soften=soften), Response()
    hidden = ~batch.valid.unsqueeze(1).expand(-1, classes, -1, -1)
    plain = torch.randn(2, classes, 32, 32)
    wild = plain.clone()
    wild[:, 0].masked_fill_(~batch.valid, float("inf"))
    other = replace(batch, soft=batch.soft.masked_fill(hidden, 0.123))
    values = []
    for logits, seen in ((plain, batch), (plain.masked_fill(hidden, 7.0), batch), (wild, batch), (plain, other)):
        student = Prediction(logits.requires_grad_())
        values.append(compare(student, teacher(seen, student, no_look).target, seen))
        (grad,) = torch.autograd.grad(values[-1], logits)
        assert (grad[hidden] == 0).all() and grad.isfinite().all() and (grad[~hidden] != 0).any()
    assert all(value == values[0] for value in values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_a_valid_pixel_teaches_nothing(kind, make_batch):
    batch = make_batch(3)
    batch = replace(batch, label=torch.full_like(batch.label, IGNORE))
    student = Prediction(torch.randn(2, 3, 32, 32, requires_grad=True))
    loss = Response()(student, LabelTeacher(kind)(batch, student, no_look).target, batch)
    (grad,) = torch.autograd.grad(loss, student.logits)
    assert loss == 0 and (grad == 0).all()


def test_a_confident_student_far_from_the_teacher_stays_finite():
    """log softmax, never the log of a softmax: p underflows here."""
    student = torch.tensor([400.0, -400.0]).view(1, 2, 1, 1).requires_grad_()
    loss = response(student, -student.detach(), torch.ones(1, 1, 1, dtype=torch.bool), 1.0, True)
    assert loss.item() == pytest.approx(800) and torch.autograd.grad(loss, student)[0].isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_is_above_zero(temperature):
    with pytest.raises(InputError, match=f"above 0, found {temperature}"):
        Response(temperature)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_ignored_pixels_have_a_gradient_of_zero_whatever_stands_there(bad):
    student = torch.randn(1, 3, 2, 2, requires_grad=True)
    label = torch.tensor([[[0, IGNORE], [2, 1]]])
    spoilt = torch.where((label == IGNORE).unsqueeze(1), bad, student)
    loss = response(spoilt, torch.randn(1, 3, 2, 2), label != IGNORE, 2.0, True)
    (grad,) = torch.autograd.grad(loss, spoilt)
    assert torch.isfinite(loss) and torch.isfinite(grad).all() and not grad[0, :, 0, 1].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_compared_in_single(dtype):
    student = torch.randn(1, 3, 4, 4).to(dtype).requires_grad_()
    teacher = torch.randn(1, 3, 4, 4)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    loss = response(student, teacher, valid, 2.0, True)
    loss.backward()
    assert student.grad.dtype == dtype
    torch.testing.assert_close(loss, response(student.detach().float(), teacher, valid, 2.0, True))
