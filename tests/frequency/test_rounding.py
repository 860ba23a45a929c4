"""Surrogates against the truth: the derivative of the expected loss of the *hard* quantiser, by finite differences."""

import math
from functools import partial

import pytest
import torch

from segkd.frequency.rounding import (
    Cubic,
    Fourier,
    Noise,
    StraightThrough,
    Tanh,
    cubic,
    fourier,
    noise,
    straight_through,
    tanh,
)
from segkd.types import InputError

SCALE = 10.0
"""Mean magnitude b of the Laplace coefficients, the form that DCT coefficients of photographs have."""

LOSSES = {
    "square": lambda y, c: (y - c).square(),
    "cos": lambda y, c: torch.cos(y / SCALE),
    "tanh": lambda y, c: (torch.tanh(y / SCALE) - 0.3).square(),
}
DIFFERENTIABLE = {
    "tanh": partial(tanh, sharpness=6.0),
    "fourier": partial(fourier, terms=5),
    "cubic": cubic,
}


def laplace() -> torch.Tensor:
    """400 000 quantiles of the Laplace distribution: a deterministic sample, so that differences are smooth."""
    p = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    return -SCALE * (p - 0.5).sign() * torch.log1p(-2 * (p - 0.5).abs())


def truth(loss, step: float) -> float:
    c, h = laplace(), 1e-2 * step
    ends = [loss((t * (c / t).round()), c).mean() for t in (step + h, step - h)]
    return float(ends[0] - ends[1]) / (2 * h)


def estimate(loss, step: float, rounding) -> float:
    """dL/dT with dy/dT = R - u R', as `quantize` computes it."""
    c = laplace()
    u = c / step
    value, slope = rounding(u)
    y = (step * value).requires_grad_()
    (dy,) = torch.autograd.grad(loss(y, c).mean(), y)
    return float((dy * (value - u * (1.0 if slope is None else slope))).sum())


@pytest.mark.parametrize("share", [0.25, 0.5])
@pytest.mark.parametrize("name", LOSSES)
def test_straight_through_is_within_a_factor_of_1_5_up_to_half_the_scale(name, share):
    ratio = estimate(LOSSES[name], share * SCALE, straight_through) / truth(LOSSES[name], share * SCALE)
    assert 1 / 1.5 < ratio < 1.5


def test_straight_through_fails_where_its_docstring_says():
    def linear(y, c):
        return y * torch.tanh(c / SCALE)

    for share in (0.25, 0.5):
        assert 0 < estimate(linear, share * SCALE, straight_through) / truth(linear, share * SCALE) < 0.3
    step = 2 * SCALE
    assert estimate(LOSSES["cos"], step, straight_through) / truth(LOSSES["cos"], step) < 0


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", LOSSES)
def test_fourier_is_within_a_fifth_of_the_truth(name, share):
    ratio = estimate(LOSSES[name], share * SCALE, partial(fourier, terms=10)) / truth(LOSSES[name], share * SCALE)
    assert 0.8 < ratio < 1.2


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", LOSSES)
def test_a_sharp_tanh_has_the_right_sign(name, share):
    ratio = estimate(LOSSES[name], share * SCALE, partial(tanh, sharpness=10.0)) / truth(LOSSES[name], share * SCALE)
    assert 0.3 < ratio < 1.2


def test_noise_is_right_only_while_steps_are_small():
    def ratio(share: float) -> float:
        """Its expectation over the noise, T / 6 for the squared error."""
        return share * SCALE / 6 / truth(LOSSES["square"], share * SCALE)

    torch.manual_seed(0)
    assert estimate(LOSSES["square"], 2.5, noise) == pytest.approx(2.5 / 6, rel=0.01)
    assert ratio(0.25) == pytest.approx(1, abs=0.05) and ratio(4.0) > 2


def test_cubic_is_far_from_the_truth():
    """Why it is there only to compare with."""
    step = 0.5 * SCALE
    assert estimate(LOSSES["cos"], step, cubic) / truth(LOSSES["cos"], step) > 15
    assert cubic(torch.tensor([1.0, 7.0]))[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rounding", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_the_stated_slope_is_the_derivative_of_the_value(rounding):
    u = torch.linspace(-3.3, 3.3, 400, dtype=torch.float64)
    u = u[((u - u.round()).abs() < 0.49) & ((u - u.floor()) > 0.01) & ((u - u.floor()) < 0.99)]
    h = 1e-6
    difference = (rounding(u + h)[0] - rounding(u - h)[0]) / (2 * h)
    torch.testing.assert_close(rounding(u)[1], difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rounding", "mean"), [(DIFFERENTIABLE["tanh"], 1), (DIFFERENTIABLE["fourier"], 1), (cubic, 0.25)]
)
def test_the_mean_slope_is_what_the_docstring_says(rounding, mean):
    u = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    assert float(rounding(u)[1].mean()) == pytest.approx(mean, abs=1e-3)


def test_tanh_is_continuous_and_advdrop_s_for_its_alpha():
    alpha = 0.1
    u = torch.linspace(-2.5, 2.5, 1001, dtype=torch.float64)
    k, s = math.log(2 / alpha - 1), 1 / (1 - alpha)
    advdrop = u.floor() + (s * torch.tanh(k * (u - u.floor() - 0.5)) + 1) / 2
    torch.testing.assert_close(tanh(u, k)[0], advdrop)
    edge = torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=torch.float64)
    assert float(tanh(edge, k)[0].diff()) < 1e-7


def test_fourier_with_many_terms_is_rounding():
    u = torch.linspace(-2.4, 2.4, 97, dtype=torch.float64)
    u = u[(u - u.round()).abs() < 0.4]
    torch.testing.assert_close(fourier(u, 400)[0], u.round(), rtol=0, atol=5e-3)


def test_noise_is_uniform_and_follows_the_seed():
    u = torch.zeros(50_000)
    torch.manual_seed(1)
    one, _ = noise(u)
    torch.manual_seed(1)
    assert torch.equal(one, noise(u)[0])
    assert one.abs().max() <= 0.5 and float(one.var()) == pytest.approx(1 / 12, rel=0.02)


def test_sharpness_follows_its_schedule():
    u = torch.tensor([0.4])
    rounding = Tanh({0.0: 2.0, 1.0: 20.0})
    assert torch.equal(rounding(u, 0.5)[0], tanh(u, 11.0)[0])
    assert rounding(u, 0.0)[0] > rounding(u, 1.0)[0]


def test_classes_call_their_functions():
    u = torch.randn(64)
    assert torch.equal(StraightThrough()(u, 0.0)[0], u.round())
    assert torch.equal(Fourier(3)(u, 0.0)[1], fourier(u, 3)[1])
    assert torch.equal(Cubic()(u, 0.0)[0], cubic(u)[0])
    assert (Noise()(u, 0.0)[0] - u).abs().max() <= 0.5


def test_impossible_settings_are_named():
    with pytest.raises(InputError, match="sharpness must be above 0"):
        Tanh({0.0: 2.0, 1.0: 0.0})
    with pytest.raises(InputError, match="found 0"):
        Fourier(0)
