import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.frequency.budget import (
    along,
    passed_through,
    refuse_unreachable,
    reversed_gradient,
    with_distortion,
    with_mean,
)
from segkd.frequency.disturb import DctQuantization
from segkd.frequency.tables import AnnexK
from segkd.types import InputError


def draw(seed: int, p: int = 40):
    generator = torch.Generator().manual_seed(seed)
    theta = 4 * torch.randn(3, p, generator=generator)
    low, high = -3 - torch.rand(p, generator=generator), 2 + torch.rand(p, generator=generator)
    return theta, low, high, 0.01 + torch.rand(p, generator=generator)


def draw_weight(seed: int, p: int = 40):
    weight = 0.25 + torch.rand(p, generator=torch.Generator().manual_seed(seed))
    return weight / weight.mean()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), mean=st.floats(-2.5, 1.5))
def test_the_mean_is_held_within_the_bounds_exactly(seed, mean):
    theta, low, high, _ = draw(seed)
    weight = draw_weight(seed)
    held = with_mean(theta, low, high, weight, mean)
    assert (held >= low).all() and (held <= high).all()
    torch.testing.assert_close((weight * held).mean(dim=1), torch.full((3,), mean), rtol=0, atol=4e-6)
    torch.testing.assert_close(with_mean(held, low, high, weight, mean), held, rtol=0, atol=4e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_other_table_with_that_mean_is_nearer(seed):
    theta, low, high, _ = draw(seed)
    weight = draw_weight(seed)
    held = with_mean(theta, low, high, weight, 0.0)
    other, *_ = draw(seed + 1)

    def distance(to):
        return (weight * (to - theta).square()).sum(dim=1).sqrt()

    for share in (0.01, 0.5):
        rival = with_mean(held + share * other, low, high, weight, 0.0)
        assert (distance(held) <= distance(rival) + 1e-4).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), level=st.floats(-1.5, 1.0))
def test_the_distortion_is_held_within_the_bounds_exactly(seed, level):
    theta, low, high, power = draw(seed)
    wanted = float(power.mean()) * 4**level
    held = with_distortion(theta, low, high, power, wanted)
    assert (held >= low).all() and (held <= high).all()
    torch.testing.assert_close((power * 4**held).mean(dim=1), torch.full((3,), wanted), rtol=1e-5, atol=0)


def test_the_gradient_along_the_budget_changes_nothing_of_it():
    theta, _, _, power = draw(0)
    for normal in (torch.ones_like(theta), power * 4**theta):
        free = theta.clone().requires_grad_()
        (grad,) = torch.autograd.grad((along(free, normal) * torch.randn(theta.shape)).sum(), free)
        torch.testing.assert_close((grad * normal).sum(dim=1) / normal.norm(dim=1), torch.zeros(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("objective", ["cooperative", "adversarial"])
def test_the_gradient_of_a_table_that_has_moved_leaves_its_budget_as_it_is(objective):
    """A chroma entry stands for a quarter of what one of luma does."""
    stage = DctQuantization(AnnexK(50.0), objective)
    with torch.no_grad():
        stage.theta.add_(torch.randn(stage.theta.shape))
    stage.follow(0.0)
    octaves = stage.octaves(1)
    (grad,) = torch.autograd.grad((octaves * torch.randn(octaves.shape)).sum(), stage.theta)
    theta = stage.theta.detach().clone().requires_grad_()
    luma, chroma = stage.layout.tables(theta.unsqueeze(0))
    one = torch.log2 if objective == "cooperative" else torch.square
    (normal,) = torch.autograd.grad(one(luma).sum() + one(chroma).sum() / 4, theta)
    assert abs(torch.cosine_similarity(grad, normal, dim=0)) < 1e-5


def test_reversed_and_passed_through():
    x = torch.randn(5, requires_grad=True)
    assert torch.equal(reversed_gradient(x), x)
    assert torch.equal(torch.autograd.grad(reversed_gradient(x).sum(), x)[0], -torch.ones(5))
    value = torch.full((5,), 7.0)
    assert torch.equal(passed_through(value, 2 * x), value)
    assert torch.equal(torch.autograd.grad(passed_through(value, 2 * x).sum(), x)[0], torch.full((5,), 2.0))


def test_a_budget_out_of_reach_is_named():
    refuse_unreachable("mean", 0.5, -1.0, 1.0)
    with pytest.raises(InputError, match=r"mean 3 is out of reach.*-1\.\.1"):
        refuse_unreachable("mean", 3.0, -1.0, 1.0)
