from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from segkd.distill.exits import Exits, exit_loss, shrunk
from segkd.losses import CrossEntropy, resize_label
from segkd.types import IGNORE, InputError, Prediction


@pytest.mark.parametrize("width", [None, 8])
def test_every_level_gets_a_head_that_gives_logits_at_its_size(width):
    features = (torch.randn(2, 6, 16, 12), torch.randn(2, 10, 8, 6))
    exits = Exits(width=width)
    assert not list(exits.parameters())  # a constructor draws nothing
    exits.meet(features, 5)
    assert [tuple(one.shape) for one in exits(features)] == [(2, 5, 16, 12), (2, 5, 8, 6)]


def test_a_width_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"distiller\.exits\.width"):
        Exits(width=0)


def test_exits_descend_the_task_at_their_own_sizes(make_batch):
    batch = make_batch(3)
    sizes = [(16, 16), (5, 7)]
    exits = tuple(torch.randn(2, 3, *size, requires_grad=True) for size in sizes)
    loss = exit_loss(CrossEntropy(), Prediction(torch.zeros(2, 3, 32, 32), exits=exits), batch)
    labels = [resize_label(batch.label, size) for size in sizes]
    naive = sum(F.cross_entropy(e, y, ignore_index=IGNORE) for e, y in zip(exits, labels)) / 2
    torch.testing.assert_close(loss, naive)
    for grad, label in zip(torch.autograd.grad(loss, exits), labels):
        hidden = (label == IGNORE).unsqueeze(1).expand_as(grad)
        assert hidden.any() and (grad[hidden] == 0).all()


def test_exits_read_soft_targets_by_area_over_the_valid_part(make_batch):
    """What stands on ignored pixels reaches no coarse one: half of every 2 x 2 block is ignored here."""
    batch = make_batch(3, ignored=0.0)
    label = batch.label.clone()
    label[..., ::2] = IGNORE
    side = torch.randn(2, 3, 16, 16)
    seen = Prediction(torch.zeros(2, 3, 32, 32), exits=(side,))
    losses = []
    for noise in (0.0, 5.0):
        soft = batch.soft.clone()
        soft[..., ::2] += noise
        losses.append(exit_loss(CrossEntropy("soft"), seen, replace(batch, label=label, soft=soft)))
    blocks = batch.soft[..., 1::2].unfold(2, 2, 2).mean(dim=-1)
    torch.testing.assert_close(losses[0], -(blocks * side.log_softmax(dim=1)).sum(dim=1).mean())
    assert torch.equal(losses[0], losses[1])


def test_a_batch_at_its_own_size_stays_what_it_is(make_batch):
    batch = make_batch(3)
    assert shrunk(batch, torch.zeros(2, 3, 32, 32)) is batch
