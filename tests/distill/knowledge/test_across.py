from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkd.distill.knowledge.across import (
    AttentionAcross,
    HintAcross,
    TeacherFree,
    attention_across,
    halves,
    levels_apart,
    soft_attention,
)
from segkd.distill.knowledge.feature import label_at
from segkd.types import IGNORE, InputError, Prediction
from tests.distill.knowledge.maps import maps, softmax


def two_levels(grows: bool = True) -> Prediction:
    made = (torch.randn(2, 6, 16, 16, requires_grad=grows), torch.randn(2, 8, 8, 8, requires_grad=grows))
    return Prediction(torch.zeros(2, 3, 32, 32), made)


def test_soft_attention_is_a_distribution_over_the_valid_positions():
    level, _, _, valid = maps(4)
    found = soft_attention((level / 2).square().sum(dim=1), valid)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))
    assert (found[~valid.flatten(1)] == 0).all()
    for b in range(2):
        energy = (level[b].double().numpy() ** 2).sum(axis=0)[valid[b].numpy()] / 4
        np.testing.assert_allclose(found[b].numpy()[valid[b].flatten().numpy()], softmax(energy), rtol=1e-4)


def test_attention_across_is_the_squared_distance_times_the_positions():
    finer, deeper, _, valid = maps(4)
    psi = [soft_attention(level.square().sum(dim=1), valid) for level in (finer, deeper)]
    gap = (psi[0] - psi[1]).square().sum(dim=1).mean()
    torch.testing.assert_close(attention_across(finer, deeper, valid, valid), 30 * gap)


def test_of_three_levels_each_looks_where_the_next_deeper_one_looks(make_batch):
    batch, (fine, middle) = make_batch(3, ignored=0.3), two_levels(grows=False).features
    deep = torch.randn(2, 5, 4, 4)
    counts = [label_at(batch, level) != IGNORE for level in (fine, middle, deep)]
    pairs = [attention_across(fine, middle, *counts[:2]), attention_across(middle, deep, *counts[1:])]
    three = Prediction(torch.zeros(2, 3, 32, 32), (fine, middle, deep))
    torch.testing.assert_close(AttentionAcross()(three, three, batch), torch.stack(pairs).mean())


def test_the_attention_is_enlarged_and_not_the_features():
    """Features of opposite sign, enlarged, would look nowhere between them."""
    deeper = torch.ones(1, 4, 3, 4)
    deeper[..., ::2] = -1.0
    everywhere = torch.ones(1, 6, 8, dtype=torch.bool), torch.ones(1, 3, 4, dtype=torch.bool)
    assert attention_across(torch.ones(1, 2, 6, 8), deeper, *everywhere) == 0


@pytest.mark.parametrize("knowledge", [AttentionAcross(), HintAcross(), TeacherFree()])
def test_what_stands_on_ignored_positions_is_seen_nowhere(knowledge, make_batch):
    """Neither does it leak into its neighbours when a level is enlarged or averaged down."""
    student, batch = two_levels(grows=False), make_batch(3, ignored=0.5)
    knowledge.meet(student, student)
    hidden = [label_at(batch, level).unsqueeze(1) == IGNORE for level in student.features]
    other = replace(student, features=tuple(
        level.masked_fill(where, 30.0) for level, where in zip(student.features, hidden)))  # fmt: skip
    torch.testing.assert_close(knowledge(student, student, batch), knowledge(other, other, batch))


def test_the_deeper_level_is_a_given_and_the_finer_learns(make_batch):
    student, batch = two_levels(), make_batch(3)
    AttentionAcross()(student, student.detached(), batch).backward()
    assert student.features[0].grad.abs().sum() > 0 and student.features[1].grad is None


def test_a_hint_across_teaches_the_deeper_levels_what_the_finest_holds(make_batch):
    student, batch, hint = two_levels(), make_batch(3, ignored=0.0), HintAcross()
    hint.meet(student, student.detached())
    goal = F.normalize(F.avg_pool2d(student.features[0].detach(), 2), dim=1)
    naive = (F.normalize(hint.projectors[0](student.features[1]), dim=1) - goal).square().sum(dim=1).mean()
    found = hint(student, student.detached(), batch)
    torch.testing.assert_close(found, naive)
    found.backward()
    assert student.features[0].grad is None and student.features[1].grad.abs().sum() > 0


def test_within_a_level_the_weak_half_follows_the_strong():
    level = torch.rand(1, 4, 2, 2) + torch.tensor([0.0, 30.0, 0.0, 30.0]).view(1, 4, 1, 1)
    level[0, 0, 0, 0] = level[0, 2, 1, 1] = 9.0  # peaked maps have the smaller mean at unit length
    level.requires_grad_()
    loss = halves(level, torch.ones(1, 2, 2, dtype=torch.bool))
    unit = F.normalize(level.detach().flatten(2), dim=2)[0]
    order = unit.mean(dim=1).argsort(descending=True)
    naive = sum(float((unit[order[i]] - unit[order[i + 2]]).square().sum()) for i in range(2)) / 2
    assert loss.item() == pytest.approx(naive, rel=1e-5)
    loss.backward()
    strong = set(order[:2].tolist())
    assert strong == {1, 3} and all((level.grad[0, c] == 0).all() == (c in strong) for c in range(4))


def test_between_levels_the_first_common_channels_are_compared():
    finer, deeper = torch.randn(2, 6, 8, 8), torch.randn(2, 4, 4, 4)
    small = F.avg_pool2d(finer, 2)[:, :4].flatten(2)
    naive = (F.normalize(small, dim=2) - F.normalize(deeper.flatten(2), dim=2)).square().sum(dim=2).mean()
    everywhere = torch.ones(2, 8, 8, dtype=torch.bool), torch.ones(2, 4, 4, dtype=torch.bool)
    torch.testing.assert_close(levels_apart(finer, deeper, *everywhere), naive)


def test_between_levels_a_finer_position_that_does_not_count_has_neither_value_nor_gradient():
    deeper, counts = torch.randn(1, 3, 2, 2), torch.ones(1, 4, 4, dtype=torch.bool)
    counts[0, 0, 0] = counts[0, 2:, 2:] = False  # one of four in the first cell, all four in the last
    finer = torch.randn(1, 3, 4, 4).masked_fill(~counts, torch.inf).requires_grad_()
    found = levels_apart(finer, deeper, counts, torch.ones(1, 2, 2, dtype=torch.bool))
    small = torch.zeros(1, 3, 2, 2)
    for y, x in ((0, 0), (0, 1), (1, 0)):
        rows, columns = slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2)
        small[0, :, y, x] = finer.detach()[0, :, rows, columns][:, counts[0, rows, columns]].mean(dim=1)
    goal = deeper.clone()
    goal[0, :, 1, 1] = 0
    naive = (F.normalize(small.flatten(2), dim=2) - F.normalize(goal.flatten(2), dim=2)).square().sum(dim=2).mean()
    torch.testing.assert_close(found, naive)
    found.backward()
    assert ((finer.grad[0, 0] != 0) == counts[0]).all()


def test_a_level_of_one_channel_has_no_halves():
    student = Prediction(torch.zeros(2, 3, 32, 32), (torch.zeros(2, 4, 8, 8), torch.zeros(2, 1, 4, 4)))
    with pytest.raises(InputError, match="halves of a level's channels, and a level has 1"):
        TeacherFree().meet(student, student)
    TeacherFree(within=0.0).meet(student, student)


@pytest.mark.parametrize("knowledge", [AttentionAcross(), HintAcross(), TeacherFree()])
def test_one_level_is_not_enough(knowledge):
    one = Prediction(torch.zeros(2, 3, 32, 32), (torch.zeros(2, 4, 8, 8),))
    with pytest.raises(InputError, match="compares levels of features, and the student has 1"):
        knowledge.meet(one, one)


@pytest.mark.parametrize("knowledge", [AttentionAcross(), TeacherFree()])
def test_levels_of_a_teacher_may_have_other_sizes_and_may_be_more_but_not_fewer(knowledge, make_batch):
    student, batch = two_levels(), make_batch(3)
    for sizes in ((24, 12), (4, 2), (16, 8, 4)):
        target = Prediction(torch.zeros(2, 3, 32, 32), tuple(torch.randn(2, 8, side, side) for side in sizes))
        knowledge.meet(student, target)
        grads = torch.autograd.grad(knowledge(student, target, batch), student.features, allow_unused=True)
        assert grads[0].isfinite().all() and grads[0].abs().sum() > 0
    same = Prediction(target.logits, (target.features[0], target.features[1]))
    torch.testing.assert_close(knowledge(student, target, batch), knowledge(student, same, batch))
    with pytest.raises(InputError, match=r"the student has 2 levels of features, the teacher 1\. Name as many"):
        knowledge.meet(student, Prediction(target.logits, target.features[:1]))


def test_weights_that_are_none_are_refused():
    with pytest.raises(InputError, match="one of them above 0"):
        TeacherFree(0.0, 0.0)
