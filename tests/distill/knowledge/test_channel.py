from dataclasses import replace

import numpy as np
import pytest
import torch

from segkd.distill.knowledge.channel import ChannelWise, Correlation, channel_wise, relations
from segkd.types import InputError, Prediction
from tests.distill.knowledge.maps import maps, over_pixels, softmax


def test_channel_wise_is_the_formula_plane_by_plane(make_batch):
    student, teacher, label, valid = maps(3)
    t, values = 3.0, []
    for b in range(2):
        inside = valid[b].numpy()
        for c in range(3):
            p, q = (softmax(x[b, c].double().numpy()[inside] / t) for x in (student, teacher))
            values.append(t * t * (q * np.log(q / p)).sum())
    loss = ChannelWise(t)(Prediction(student), Prediction(teacher), replace(make_batch(3, size=(6, 5)), label=label))
    assert float(loss) == pytest.approx(np.mean(values), rel=1e-5)


def test_channel_wise_does_not_see_the_certainty_of_a_class():
    student, teacher, _, valid = maps(3)
    louder = teacher + torch.tensor([3.0, -1.0, 0.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(channel_wise(student, teacher, valid, 4.0), channel_wise(student, louder, valid, 4.0))
    with pytest.raises(InputError, match="temperature must be a finite number above 0"):
        ChannelWise(0.0)


@pytest.mark.parametrize("t", [1.0, 3.0])
def test_relations_are_pearson_s_correlations_of_softened_probabilities(t, make_batch):
    student, teacher, label, valid = maps(4)
    batch = replace(make_batch(4, size=(6, 5)), label=label)

    def apart(s, q, y) -> float:
        return t * t * (1 - np.corrcoef(softmax(s / t), softmax(q / t))[0, 1])

    between, within = over_pixels(apart, student, teacher, label, valid), []
    p, q = ((x.double() / t).softmax(dim=1).numpy() for x in (student, teacher))
    for b in range(2):
        inside = valid[b].numpy()
        within += [t * t * (1 - np.corrcoef(p[b, c][inside], q[b, c][inside])[0, 1]) for c in range(4)]
    for weights, expected in (
        ((1.0, 0.0), between),
        ((0.0, 1.0), np.mean(within)),
        ((2.0, 3.0), 2 * between + 3 * np.mean(within)),
    ):
        loss = Correlation(*weights, temperature=t)(Prediction(student), Prediction(teacher), batch)
        assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_a_map_has_nothing_to_learn_from_itself_however_rare_a_class_is():
    logits, _, _, valid = maps(3)
    logits[:, 2] -= 8  # probabilities of a few thousandths
    assert float(relations(logits, logits, valid, 0.0, 1.0, 1.0)) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("loss", [lambda *x: channel_wise(*x, 4.0), lambda *x: relations(*x, 1.0, 1.0, 1.0)])
def test_in_half_precision_near_sides_differ_by_as_much_and_pull_as_far(loss):
    """A log-softmax over thousands of pixels in bfloat16 knows two digits; two sides that are near lose both."""
    teacher = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)).bfloat16()
    student = (teacher + 0.1 * torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))).bfloat16()
    found, pulls = [], []
    for kind in (torch.bfloat16, torch.float32):
        own = student.detach().to(kind, copy=True).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
            found.append(loss(own, teacher.to(kind), torch.ones(1, 96, 96, dtype=torch.bool)))
        found[-1].backward()
        pulls.append(own.grad.float())
    assert found[0].item() == pytest.approx(found[1].item(), rel=1e-3)
    assert (pulls[0] - pulls[1]).norm() < 0.01 * pulls[1].norm()


def test_a_class_that_is_almost_nowhere_has_nothing_to_learn_from_itself_either():
    logits, _, _, valid = maps(3)
    logits[:, 2] -= 12
    assert float(relations(logits, logits, valid, 0.0, 1.0, 1.0)) < 0.02


@pytest.mark.parametrize("logit", [0.0, 0.3, 1.7])
@pytest.mark.parametrize("part", [(1.0, 0.0), (0.0, 1.0)])
def test_what_is_the_same_everywhere_has_no_order_to_pull_at(logit, part):
    """Of a constant student rounding alone is left, by whose spread the slope would be divided: a gradient of
    millions."""
    teacher = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    flat = torch.tensor([0.0, logit, 0.0] if part[1] else [logit] * 3).view(1, 3, 1, 1)
    student = flat.repeat(2, 1, 32, 32).requires_grad_()
    loss = relations(student, teacher, torch.ones(2, 32, 32, dtype=torch.bool), *part, temperature=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(1.0)
    assert student.grad.norm() < 1.0


def test_between_two_classes_there_is_no_correlation_to_learn():
    two = Prediction(torch.randn(1, 2, 4, 4))
    with pytest.raises(InputError, match="Write between: 0"):
        Correlation().meet(two, two)
    Correlation(between=0.0).meet(two, two)
    with pytest.raises(InputError, match="one of them above 0"):
        Correlation(0.0, 0.0)
