import numpy as np
import pytest
import torch

from segkd.distill.knowledge.enhanced import target_enhanced
from segkd.distill.knowledge.one_for_all import OneForAll, one_for_all
from segkd.distill.knowledge.response import response
from segkd.types import IGNORE, InputError, Prediction
from tests.distill.knowledge.maps import softmax


def sides(*sizes: int) -> tuple[Prediction, Prediction]:
    exits = tuple(torch.randn(2, 3, size, size, requires_grad=True) for size in sizes)
    return Prediction(torch.randn(2, 3, 32, 32, requires_grad=True), exits=exits), Prediction(torch.randn(2, 3, 32, 32))


def slowly(exit_, teacher, label, epsilon: float, variant: str) -> float:
    """Cell by cell: the target is the mean of the teacher's probabilities over the cell's valid pixels."""
    step, values = 32 // exit_.shape[-1], []
    for b, i, j in np.ndindex(2, *exit_.shape[2:]):
        y = int(label[b, i * step + step // 2, j * step + step // 2])
        if y == IGNORE:
            continue
        cell = [
            softmax(teacher[b, :, u, v].double().numpy())
            for u in range(i * step, (i + 1) * step)
            for v in range(j * step, (j + 1) * step)
            if label[b, u, v] != IGNORE
        ]
        q, p = np.mean(cell, axis=0), softmax(exit_[b, :, i, j].detach().double().numpy())
        hit = np.arange(3) == y
        share = np.where(hit, (1 + q) ** epsilon, q) if variant == "paper" else (q + hit) ** epsilon - hit
        values.append(-(share * np.log(p)).sum())
    return float(np.mean(values))


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_every_exit_meets_the_teacher_s_shrunk_probabilities_with_its_own_epsilon(variant, make_batch):
    batch, (student, target) = make_batch(3, ignored=0.3), sides(16, 8)
    knowledge = OneForAll([1.2, 1.5, 2.0], variant)
    knowledge.meet(student, target)
    parts = [slowly(one, target.logits, batch.label, e, variant) for one, e in zip(student.exits, (1.2, 1.5))]
    output = target_enhanced(student.logits, target.logits, batch.label, batch.valid, 2.0, variant).item()
    assert knowledge(student, target, batch).item() == pytest.approx(np.mean(parts) + output, rel=1e-5)


def test_with_epsilon_one_it_is_distillation_with_cross_entropy_at_every_level(make_batch):
    """The gradient is that of KL(q || p); the value is KL and the entropy of q, which no student depends on."""
    batch, (student, target) = make_batch(3, ignored=0.0), sides(16)
    found = OneForAll(1.0)(student, target, batch)
    q = [torch.nn.functional.avg_pool2d(target.logits.softmax(dim=1), 2), target.logits.softmax(dim=1)]
    everywhere = [torch.ones(2, side, side, dtype=torch.bool) for side in (16, 32)]
    outputs = (student.exits[0], student.logits)
    plain = sum(response(one, t.log(), v, 1.0, True) for one, t, v in zip(outputs, q, everywhere))
    entropy = sum(-(t * t.log()).sum(dim=1).mean() for t in q)
    torch.testing.assert_close(found, plain + entropy)
    torch.testing.assert_close(torch.autograd.grad(found, outputs), torch.autograd.grad(plain, outputs))


def test_ignored_pixels_count_neither_in_target_nor_in_gradient(make_batch):
    batch, (student, target) = make_batch(3, ignored=0.4), sides(16)
    found = OneForAll(1.5)(student, target, batch)
    wild = target.logits.masked_fill(~batch.valid.unsqueeze(1), float("nan"))
    assert torch.equal(OneForAll(1.5)(student, Prediction(wild), batch), found)
    exit_, output = torch.autograd.grad(found, (student.exits[0], student.logits))
    assert (output.movedim(1, -1)[~batch.valid] == 0).all() and (output != 0).any()
    assert (exit_.movedim(1, -1)[batch.label[:, 1::2, 1::2] == IGNORE] == 0).all() and (exit_ != 0).any()


def test_the_exits_count_as_a_mean_whatever_their_number(make_batch):
    batch, (student, target) = make_batch(3), sides(16)
    arguments = target.logits, batch, [1.5, 1.5], "code"
    once = one_for_all(student.exits, student.logits, *arguments)
    again = one_for_all(student.exits * 3, student.logits, target.logits, batch, [1.5] * 4, "code")
    torch.testing.assert_close(once, again)


def test_epsilons_that_do_not_fit_are_refused():
    student, target = sides(16, 8)
    with pytest.raises(InputError, match=r"expected 3 numbers .* 2 exits, finest first, and one for its output, found"):
        OneForAll([1.5, 1.5]).meet(student, target)
    for wrong in (0.5, [], [1.5, 0.9], float("nan")):
        with pytest.raises(InputError, match=r"epsilon .* 1 or more"):
            OneForAll(wrong)
