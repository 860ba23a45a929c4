"""Learnable tables within bounds and on a budget, held exactly.

A table is learned as octaves: theta = log2(step / start step), one number per entry. Two budgets keep a table from
the trivial answers. A table that descends the loss would refine every entry (nothing it is asked for gains by
coarsening): the mean of log2(step) is held, so what is refined here is paid for there. A table that ascends the loss
would coarsen every entry: the distortion is held, mean(step^2) / 12, the squared error of a fine quantiser.

Both are held by projection: all entries move by one common shift, each stopping at its bounds. The gradient passes
straight through it, less its part along the budget's normal, which the shift would take away again anyway (but which
an optimiser that normalises, such as Adam, would first blow up). An entry at its bound keeps its gradient, so it can
always come back; `DctQuantization.follow` puts the entries themselves back after a step, so none winds up beyond.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.types import InputError

HALVINGS = 32
"""Of the bracket of the shift, some octaves wide: down to the last bits of float32."""

HELD = 2e-6
"""A table this near to its budget (in octaves, or as a share of the distortion) is left as it is."""


def with_mean(
    theta: Float[Tensor, "*b p"], low: Float[Tensor, "p"], high: Float[Tensor, "p"], mean: float
) -> Float[Tensor, "*b p"]:
    """clip(theta + s, low, high) with the one shift s that gives it this mean: the nearest point (KKT) of the box
    with that mean."""
    return _shifted(theta, (low, high), lambda moved: moved.mean(dim=-1, keepdim=True), mean, HELD)


def with_distortion(
    theta: Float[Tensor, "*b p"],
    low: Float[Tensor, "p"],
    high: Float[Tensor, "p"],
    power: Float[Tensor, "p"],
    distortion: float,
) -> Float[Tensor, "*b p"]:
    """clip(theta + s, low, high) with the one shift s for which mean(power 4^theta) = distortion.

    `power` is start step^2 / 12 per entry: the squared error of a uniform quantiser where steps are small beside the
    coefficients, an upper estimate where they are not (a zeroed coefficient costs its own square, and that is less).
    """

    def measure(moved: Tensor) -> Tensor:
        return (power * torch.exp2(2 * moved)).mean(dim=-1, keepdim=True)

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
    theta: Tensor, bounds: tuple[Tensor, Tensor], measure: Callable[[Tensor], Tensor], target: float, near: float
) -> Float[Tensor, "*b p"]:
    low, high = bounds
    inside = theta.clamp(low, high)
    if (measure(inside) - target).abs().max() <= near:
        return inside
    least = (low - theta).amin(dim=-1, keepdim=True)  # with this shift every entry is at its lower bound
    most = (high - theta).amax(dim=-1, keepdim=True)
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        above = measure((theta + middle).clamp(low, high)) > target
        least, most = torch.where(above, least, middle), torch.where(above, middle, most)
    return (theta + (least + most) / 2).clamp(low, high)
