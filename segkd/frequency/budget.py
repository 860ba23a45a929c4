"""Learnable tables within bounds and on a budget, held exactly.

A table is learned as octaves: theta = log2(step / start step), one number per entry. Two budgets keep a table from
the trivial answers. A table that descends the loss would refine every entry (nothing it is asked for gains by
coarsening): the mean of log2(step) is held, so what is refined here is paid for there. A table that ascends the loss
would coarsen every entry: the distortion is held, mean(step^2) / 12, the squared error of a fine quantiser. Both are
means over the coefficients of an image, so an entry counts as many of them as it stands for (`Layout.weights`).

Both are held by projection: all entries move by one common shift, each stopping at its bounds. The gradient passes
straight through it, less its part along the budget's normal, which the shift would take away again anyway (but which
an optimiser that normalises, such as Adam, would first blow up). An entry at its bound keeps its gradient, so it can
always come back; `DctQuantization.follow` puts the entries themselves back after a step, so none winds up beyond.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.device import at_once
from segkd.types import InputError

NEWTON = 6
"""Attempts before the bracket is halved instead."""

HALVINGS = 32
"""Of the bracket of the shift, some octaves wide: down to the last bits of float32."""

HELD = 2e-6
"""A table this near to its budget (in octaves, or as a share of the distortion) is left as it is."""


def with_mean(
    theta: Float[Tensor, "*b p"],
    low: Float[Tensor, " p"],
    high: Float[Tensor, " p"],
    weight: Float[Tensor, " p"],
    mean: float,
) -> Float[Tensor, "*b p"]:
    """clip(theta + s, low, high) with the one shift s for which mean(weight theta) = mean: of the box's points with
    that mean the nearest one (KKT), distances weighted alike. `weight` is 1 on average."""

    def measure(moved: Tensor) -> tuple[Tensor, Tensor]:
        return (weight * moved).mean(dim=-1, keepdim=True), weight.expand_as(moved)

    return _shifted(theta, (low, high), measure, mean, HELD)


def with_distortion(
    theta: Float[Tensor, "*b p"],
    low: Float[Tensor, " p"],
    high: Float[Tensor, " p"],
    power: Float[Tensor, " p"],
    distortion: float,
) -> Float[Tensor, "*b p"]:
    """clip(theta + s, low, high) with the one shift s for which mean(power 4^theta) = distortion.

    `power` is weight start step^2 / 12 per entry: the squared error of a uniform quantiser where steps are small beside
    the coefficients; where they are not, more than most images lose (a zeroed coefficient costs its own square), but
    up to three times less than one whose coefficients lie just below half a step.
    """

    def measure(moved: Tensor) -> tuple[Tensor, Tensor]:
        squares = power * torch.exp2(2 * moved)
        return squares.mean(dim=-1, keepdim=True), squares * (2 * math.log(2))

    return _shifted(theta, (low, high), measure, distortion, HELD * distortion)


def along(theta: Float[Tensor, "*b p"], normal: Float[Tensor, "*b p"]) -> Float[Tensor, "*b p"]:
    """theta less its part along `normal`; so is its gradient."""
    normal = normal.detach()
    return theta - normal * (theta * normal).sum(-1, keepdim=True) / normal.square().sum(-1, keepdim=True)


def passed_through(value: Float[Tensor, "*s"], gradient: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """`value`, with the gradient of `gradient`."""
    return value.detach() + (gradient - gradient.detach())


def reversed_gradient(x: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """x, with its gradient negated (Ganin & Lempitsky, ICML 2015): one loss, one backward, and this part ascends."""
    return passed_through(x, -x)


def refuse_unreachable(name: str, value: float, low: float, high: float) -> None:
    """Raises InputError for a budget that no table within its bounds meets."""
    if not low <= value <= high:
        raise InputError(
            f"DctQuantization: {name} {value:.4g} is out of reach: with every step at its bounds it lies in "
            f"{low:.4g}..{high:.4g}. Widen `bounds` or move `strength` nearer to 1."
        )


def _shifted(
    theta: Tensor,
    bounds: tuple[Tensor, Tensor],
    measure: Callable[[Tensor], tuple[Tensor, Tensor]],
    target: float,
    near: float,
) -> Float[Tensor, "*b p"]:
    """clip(theta + s) with measure = target; `measure` gives its value [*b 1] and n times its slope in each entry."""
    low, high = bounds
    shift = torch.zeros_like(theta[..., :1])
    for _ in range(NEWTON):  # a step of training leaves little to put back: one or two of these do
        moved = (theta + shift).clamp(low, high)
        value, slope = measure(moved)
        there = (value - target).abs() <= near
        if at_once(theta.device) and bool(there.all()):  # an accelerator goes all the way sooner than it is asked
            return moved
        free = (slope * ((moved > low) & (moved < high))).mean(dim=-1, keepdim=True)
        shift = torch.where(there, shift, shift + (target - value) / free.clamp_min(1e-12))
    least = (low - theta).amin(dim=-1, keepdim=True)  # with this shift every entry is at its lower bound
    most = (high - theta).amax(dim=-1, keepdim=True)
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        above = measure((theta + middle).clamp(low, high))[0] > target
        least, most = torch.where(above, least, middle), torch.where(above, middle, most)
    found = (measure((theta + shift).clamp(low, high))[0] - target).abs() <= near
    return (theta + torch.where(found, shift, (least + most) / 2)).clamp(low, high)
