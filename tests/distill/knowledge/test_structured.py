import numpy as np
import pytest
import torch

from segkd.distill.knowledge.feature import attention_distance
from segkd.distill.knowledge.structured import StructuredAttention, channel_attention, channel_divergence
from segkd.types import IGNORE, InputError, Prediction
from tests.distill.knowledge.maps import maps, softmax
from tests.distill.knowledge.test_feature import levels


def test_channels_are_compared_by_the_divergence_of_their_strengths():
    student, target, _, valid = maps(4)
    gaps = []
    for b in range(2):
        shares = []
        for x in (student, target):
            strength = x[b].abs()[:, valid[b]].mean(dim=1).double().numpy()
            shares.append(softmax(strength / strength.mean()))
        gaps.append((shares[1] * np.log(shares[1] / shares[0])).sum())
    assert channel_divergence(student, target, valid).item() == pytest.approx(np.mean(gaps), rel=1e-4)
    assert channel_divergence(7 * target, target, valid).item() == pytest.approx(0.0, abs=1e-6)  # whatever the scale
    torch.testing.assert_close(channel_attention(target, valid).exp().sum(dim=1), torch.ones(2))


def test_both_parts_count_by_their_weights_at_every_level(make_batch):
    batch, student, teacher = make_batch(3, ignored=0.3), levels(4, 6), levels(4, 6)
    knowledge = StructuredAttention(2.0, 3.0)
    knowledge.meet(student, teacher)
    assert not list(knowledge.parameters())
    losses = []
    for one, goal, step in zip(student.features, teacher.features, (2, 4)):
        valid = batch.label[:, step // 2 :: step, step // 2 :: step] != IGNORE
        losses.append(2 * attention_distance(one, goal, valid) + 3 * channel_divergence(one, goal, valid))
    torch.testing.assert_close(knowledge(student, teacher, batch), torch.stack(losses).mean())


def test_other_channels_go_through_a_projector_and_other_sizes_are_fitted(make_batch):
    batch, student, teacher = make_batch(3), levels(4, 6, grows=True), levels(4, 9, size=8)
    knowledge = StructuredAttention()
    knowledge.meet(student, teacher)
    assert [p.shape for p in knowledge.parameters()] == [(9, 6, 1, 1), (9,)]
    knowledge(student, teacher, batch).backward()
    assert all(p.grad is not None for p in knowledge.parameters())
    assert all(level.grad.norm() > 0 for level in student.features)
    alone = StructuredAttention(channel=0.0)  # a projector that nothing reads would keep other processes waiting
    alone.meet(student, teacher)
    assert not list(alone.parameters())


def test_ignored_pixels_count_nothing_and_what_does_not_fit_is_named(make_batch):
    batch, student, teacher = make_batch(3, ignored=0.4), levels(4, grows=True), levels(4)
    knowledge = StructuredAttention()
    knowledge.meet(student, teacher)
    (grad,) = torch.autograd.grad(knowledge(student, teacher, batch), student.features)
    hidden = batch.label[:, 1::2, 1::2] == IGNORE
    assert (grad.movedim(1, -1)[hidden] == 0).all() and (grad != 0).any()
    with pytest.raises(InputError, match="the student has 1 levels of features, the teacher 2"):
        StructuredAttention().meet(Prediction(torch.zeros(2, 3, 32, 32), student.features), levels(4, 4))
    with pytest.raises(InputError, match="one of them above 0"):
        StructuredAttention(0.0, 0.0)
