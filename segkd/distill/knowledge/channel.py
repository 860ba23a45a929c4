"""Whole planes of class probabilities compared: channel-wise (CWD) and by correlation (DIST)."""

from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.losses import global_mean, hushed, refuse_weights
from segkd.types import Batch, InputError, Prediction, refuse_number


def channel_wise(
    student: Float[Tensor, "b k h w"],
    teacher: Float[Tensor, "b k h w"],
    valid: Bool[Tensor, "b h w"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 mean_{b, k} KL(softmax_hw(t / T) || softmax_hw(s / T)): where each class lies (Shu et al., ICCV 2021).

    Departure: each plane is normalised over its valid pixels.
    """
    hidden = ~valid.unsqueeze(1)
    logs = [
        (hushed(logits, valid) / temperature).masked_fill(hidden, -1e4).flatten(2).log_softmax(dim=2)
        for logits in (student, teacher)
    ]
    log_s, log_t = (log.masked_fill(hidden.flatten(2), 0.0) for log in logs)
    values = (log_t.exp() * (log_t - log_s)).sum(dim=2)
    return temperature**2 * global_mean(values, valid.flatten(1).any(dim=1).unsqueeze(1).expand_as(values))


def correlation(
    a: Float[Tensor, "*n m"], b: Float[Tensor, "*n m"], where: Bool[Tensor, "*n m"] | None = None
) -> Float[Tensor, "*n"]:
    """Pearson's correlation along the last dimension, over `where`; 0, with a gradient of 0, where one side is constant
    up to rounding."""
    count = torch.ones_like(a) if where is None else where.to(a.dtype)
    total = count.sum(dim=-1, keepdim=True).clamp_min(1.0)
    apart, spreads, varies = [], [], []
    for side in (a, b):
        gap = (side - (side * count).sum(dim=-1, keepdim=True) / total) * count
        spread, size = gap.square().sum(dim=-1), (side.square() * count).sum(dim=-1)
        apart.append(gap)
        spreads.append(spread)
        # the slope is 1 / the spread: of what rounding leaves of a constant, millions in the direction of noise
        varies.append(spread > (8 * torch.finfo(side.dtype).eps) ** 2 * size)
    rho = (apart[0] * apart[1]).sum(dim=-1) / (spreads[0] * spreads[1] + 1e-16).sqrt()
    return torch.where(varies[0] & varies[1], rho, 0.0)


def relations(
    student: Float[Tensor, "b k h w"],
    teacher: Float[Tensor, "b k h w"],
    valid: Bool[Tensor, "b h w"],
    between: float,
    within: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 (between mean_V (1 - rho over the classes of a pixel) + within mean_{b, k} (1 - rho over the pixels of a
    class)), rho of softened probabilities (DIST, Huang et al., NeurIPS 2022).

    Departure: the second correlation runs over the valid pixels of an image, not of a batch, which keeps the mean
    additive over processes.
    """
    p, q = ((hushed(logits, valid) / temperature).softmax(dim=1) for logits in (student, teacher))
    loss = student.new_zeros(())
    if between:
        loss = loss + between * global_mean(1 - correlation(p.movedim(1, -1), q.movedim(1, -1)), valid)
    if within:
        inside = valid.flatten(1).unsqueeze(1).expand(-1, p.shape[1], -1)
        values = 1 - correlation(p.flatten(2), q.flatten(2), inside)
        loss = loss + within * global_mean(values, inside.any(dim=2))
    return temperature**2 * loss


@final
class ChannelWise(Knowledge):
    """Where in the image the teacher sees each class, whatever its certainty: `channel_wise`.

    Args:
        temperature: T flattens each plane.
    """

    reads = needs = frozenset({"logits"})

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        refuse_number("ChannelWise: temperature", temperature, above=True)
        self.temperature = temperature

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the planes of all processes."""
        return channel_wise(student.logits, target.logits, batch.valid, self.temperature)


@final
class Correlation(Knowledge):
    """The order of classes at a pixel, and of pixels in a class, rather than their exact probabilities: `relations`.

    Args:
        between: weight of the correlation over the classes of a pixel; must be 0 for two classes, where it is +1 or -1
            whatever the logits are.
        within: weight of the correlation over the pixels of a class.
        temperature: of both sides.
    """

    reads = needs = frozenset({"logits"})

    def __init__(self, between: float = 1.0, within: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__()
        refuse_number("Correlation: temperature", temperature, above=True)
        refuse_weights("Correlation: between and within", (between, within))
        self.between, self.within, self.temperature = between, within, temperature

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError for a correlation between two classes."""
        if student.logits.shape[1] == 2 and self.between:
            raise InputError(
                "Correlation: between two classes it is +1 or -1 whatever the logits are. Write between: 0."
            )

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Means over the valid pixels, and over the planes, of all processes."""
        return relations(student.logits, target.logits, batch.valid, self.between, self.within, self.temperature)
