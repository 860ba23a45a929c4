"""Task losses for hard and soft targets; means run over the valid pixels of all processes.

Every loss is a pure function with shapes in its signature; the classes carry parameters and call it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from segkd.device import processes
from segkd.types import Batch, InputError


def global_mean(values: Float[Tensor, "*n"], where: Bool[Tensor, "*n"] | Float[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Weighted mean of `values` over `where`, over all processes; 0 (with a gradient of 0) where nothing counts.

    Each process returns sum * world / all-reduced weight, so that the average of gradients that data-parallel
    training takes is the gradient of the mean over everything. A mean of per-process means is not, as soon as
    the processes hold unequal numbers of valid pixels.
    """
    values = wide(values)  # a float16 ends at 65504 pixels
    weight = where.to(values.dtype)
    # masked_fill, not a product: a pixel that does not count may hold inf
    total = (values.masked_fill(weight == 0, 0.0) * weight).sum()
    count = weight.sum().detach().clone()
    if processes() > 1:
        dist.all_reduce(count)
    return total * processes() / torch.where(count > 0, count, 1.0)


def common_mean(values: Float[Tensor, "*n"], where: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    """The mean of `values` over `where` itself, the same number on all processes and without gradient; 0 where nothing
    counts. (`global_mean` is right as a loss, once gradients are averaged, and not as a number.)"""
    values = wide(values.detach())
    parts = torch.stack([values.masked_fill(~where, 0.0).sum(), where.sum().to(values.dtype)])
    if processes() > 1:
        dist.all_reduce(parts)
    return parts[0] / parts[1].clamp_min(1.0)


def pixel_sums(equation: str, a: Tensor, b: Tensor) -> Tensor:
    """`torch.einsum` in the precision of its inputs: autocast would do it in half, where sums over pixels overflow."""
    with torch.autocast(a.device.type, enabled=False):
        return torch.einsum(equation, a, b)


def hushed(logits: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b k h w"]:
    """`wide` logits with 0 on ignored pixels: their gradient is exactly 0, even where they are inf or nan."""
    # a mask on the values alone is too late: the gradient of a softmax of inf is nan, and 0 * nan is nan
    return wide(logits).masked_fill(~valid.unsqueeze(1), 0.0)


def wide(values: Tensor) -> Tensor:
    """At least float32: differences of logarithms, and sums over many pixels, vanish in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def one_hot(label: Int64[Tensor, "b h w"], classes: int) -> Float[Tensor, "b k h w"]:
    """Hard targets as class shares; ignored pixels are all 0."""
    planes = torch.arange(classes, device=label.device).view(1, -1, 1, 1)
    return (label.unsqueeze(1) == planes).float()


def cross_entropy(
    logits: Float[Tensor, "b k h w"],
    target: Int64[Tensor, "b h w"] | Float[Tensor, "b k h w"],
    valid: Bool[Tensor, "b h w"],
    weights: Float[Tensor, " k"] | None = None,
) -> Float[Tensor, ""]:
    """-sum_k t_k log p_k, mean over valid pixels; with class weights a weighted mean, of hard labels as torch's."""
    logits = hushed(logits, valid)
    if target.ndim == 3:
        target = target.masked_fill(~valid, 0)
        values = F.cross_entropy(logits, target, weight=weights, reduction="none")
    else:
        target = target if weights is None else target * weights.view(1, -1, 1, 1)
        values = -(target * F.log_softmax(logits, dim=1)).sum(dim=1)
    if weights is None:
        return global_mean(values, valid)
    scale = weights[target] if target.ndim == 3 else target.sum(dim=1)
    # values already carry the weight: the mean divides by the sum of weights
    safe = torch.where(scale > 0, scale, 1.0)
    return global_mean(values / safe, scale * valid)


def focal(
    logits: Float[Tensor, "b k h w"], target: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b h w"], gamma: float
) -> Float[Tensor, ""]:
    """-sum_k |t_k - p_k|^gamma t_k log p_k, mean over valid pixels.

    Focal loss (Lin et al., ICCV 2017, eq. 4, without alpha). Departure: (1 - p) becomes |t - p| (quality focal
    loss, Li et al., NeurIPS 2020, eq. 3), which is the same for hard targets and defined for soft ones.
    """
    log_p = F.log_softmax(hushed(logits, valid), dim=1)
    # the slope of x^gamma at 0 is infinite for gamma < 1
    distance = (target - log_p.exp()).abs().clamp_min(1e-6)
    return global_mean(-(distance**gamma * target * log_p).sum(dim=1), valid)


def soft_iou(
    logits: Float[Tensor, "b k h w"],
    target: Float[Tensor, "b k h w"],
    valid: Bool[Tensor, "b h w"],
    form: Literal["l1", "product"],
) -> Float[Tensor, ""]:
    """1 - IoU of probabilities and targets per image and class, mean over the classes that occur in an image.

    "l1": 1 - (|p| + |t| - |p - t|) / (|p| + |t| + |p - t|), the Jaccard metric loss (Wang et al., NeurIPS 2023,
    eq. 4), minimal at p = t. "product": 1 - sum(pt) / sum(p + t - pt), the usual form: a class's term for
    t = .7 is minimal at p = 1, so it fights every soft target. Departure: per image instead of per batch, which
    keeps the mean additive over processes.
    """
    p, t = _masked(logits, target, valid)
    if form == "l1":
        total, apart = (p + t).sum(dim=(2, 3)), (p - t).abs().sum(dim=(2, 3))
        ratio = (total - apart) / (total + apart).clamp_min(1e-6)
    else:
        both = (p * t).sum(dim=(2, 3))
        ratio = both / ((p + t).sum(dim=(2, 3)) - both).clamp_min(1e-6)
    return global_mean(1 - ratio, t.sum(dim=(2, 3)) > 0)


def soft_dice(
    logits: Float[Tensor, "b k h w"],
    target: Float[Tensor, "b k h w"],
    valid: Bool[Tensor, "b h w"],
    form: Literal["l1", "product"],
) -> Float[Tensor, ""]:
    """1 - Dice of probabilities and targets per image and class, mean over the classes that occur in an image.

    "l1": 1 - (|p| + |t| - |p - t|) / (|p| + |t|) (Wang et al., NeurIPS 2023, eq. 6), minimal at p = t.
    "product": 1 - 2 sum(pt) / sum(p + t) (V-Net, Milletari et al., 2016, with plain sums), minimal at p in {0, 1}.
    """
    p, t = _masked(logits, target, valid)
    total = (p + t).sum(dim=(2, 3)).clamp_min(1e-6)
    both = total - (p - t).abs().sum(dim=(2, 3)) if form == "l1" else 2 * (p * t).sum(dim=(2, 3))
    return global_mean(1 - both / total, t.sum(dim=(2, 3)) > 0)


def _masked(logits: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    mask = valid.unsqueeze(1)
    return hushed(logits, valid).softmax(dim=1).masked_fill(~mask, 0.0), target.masked_fill(~mask, 0.0)


class TaskLoss(nn.Module, ABC):
    """Compares logits with the labels of a batch.

    Args:
        target: "hard" reads the label, "soft" the label's class shares per pixel (`Batch.soft`).
    """

    def __init__(self, target: Literal["hard", "soft"] = "hard") -> None:
        super().__init__()
        self.target = target

    @property
    def needs_soft(self) -> bool:
        """Whether the loader has to compute `Batch.soft`."""
        return self.target == "soft"

    @abstractmethod
    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        """The loss; 0 for a batch without a valid pixel."""

    def shares(self, batch: Batch, classes: int) -> Float[Tensor, "b k h w"]:
        """The target as class shares."""
        if self.target == "hard":
            return one_hot(batch.label, classes)
        if batch.soft is None:
            raise InputError(f"{type(self).__name__}: target: soft reads Batch.soft, but the loader gave none.")
        return batch.soft


def refuse_weights(owner: str, weights: Sequence[float]) -> None:
    """Raises InputError unless all are finite and 0 or more, and one is above 0: a negative one would be climbed."""
    if not all(math.isfinite(one) and one >= 0 for one in weights) or not any(weights):
        raise InputError(f"{owner}: expected finite numbers of 0 or more, one of them above 0, found {list(weights)}.")


class CrossEntropy(TaskLoss):
    """Cross-entropy, mean over valid pixels.

    Args:
        target: "hard" reads the label, "soft" the label's class shares per pixel.
        class_weights: one weight per class, or None for equal ones.
    """

    weights: Tensor | None

    def __init__(self, target: Literal["hard", "soft"] = "hard", class_weights: Sequence[float] | None = None) -> None:
        super().__init__(target)
        weights = torch.tensor(class_weights, dtype=torch.float32) if class_weights else None
        refuse_weights("CrossEntropy.class_weights", class_weights or [1.0])
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        """Weighted mean over valid pixels."""
        if self.weights is not None and len(self.weights) != logits.shape[1]:
            raise InputError(
                f"CrossEntropy: expected {logits.shape[1]} class_weights, one per class, found {len(self.weights)}."
            )
        target = batch.label if self.target == "hard" else self.shares(batch, logits.shape[1])
        return cross_entropy(logits, target, batch.valid, self.weights)


class Focal(TaskLoss):
    """Focal loss: cross-entropy that fades on pixels already predicted well.

    Args:
        target: "hard" reads the label, "soft" the label's class shares per pixel.
        gamma: how fast it fades; 0 is cross-entropy.
    """

    def __init__(self, target: Literal["hard", "soft"] = "hard", gamma: float = 2.0) -> None:
        super().__init__(target)
        if not 0 <= gamma < math.inf:
            raise InputError(f"Focal.gamma: expected a finite number of 0 or more, found {gamma}.")
        self.gamma = gamma

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        """Mean over valid pixels."""
        return focal(logits, self.shares(batch, logits.shape[1]), batch.valid, self.gamma)


class OverlapLoss(TaskLoss):
    """A loss on the overlap of probabilities and targets, mean over the classes that occur in each image.

    Args:
        target: "hard" reads the label, "soft" the label's class shares per pixel.
        form: "l1" is minimal at p = t for every target; "product", the usual one, only for hard ones.
    """

    def __init__(self, target: Literal["hard", "soft"] = "hard", form: Literal["l1", "product"] = "l1") -> None:
        super().__init__(target)
        self.form: Literal["l1", "product"] = form


class SoftIoU(OverlapLoss):
    """Soft IoU (`soft_iou`); arguments as `OverlapLoss`."""

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        """Mean over (image, class) pairs that occur."""
        return soft_iou(logits, self.shares(batch, logits.shape[1]), batch.valid, self.form)


class SoftDice(OverlapLoss):
    """Soft Dice (`soft_dice`); arguments as `OverlapLoss`."""

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        """Mean over (image, class) pairs that occur."""
        return soft_dice(logits, self.shares(batch, logits.shape[1]), batch.valid, self.form)


class Sum(TaskLoss):
    """A weighted sum of task losses.

    Args:
        losses: the losses.
        weights: one factor each; all 1 by default.
    """

    def __init__(self, losses: list[TaskLoss], weights: list[float] | None = None) -> None:
        super().__init__()
        factors = [1.0] * len(losses) if weights is None else weights
        if not losses or len(factors) != len(losses):
            raise InputError(f"Sum: expected as many weights as losses, found {len(factors)} for {len(losses)}.")
        refuse_weights("Sum.weights", factors)
        self.losses, self.factors = nn.ModuleList(losses), factors

    @property
    def needs_soft(self) -> bool:
        """Whether any part reads `Batch.soft`."""
        return any(loss.needs_soft for loss in self.losses)

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        """The weighted sum."""
        return torch.stack([f * loss(logits, batch) for f, loss in zip(self.factors, self.losses)]).sum()


def resize_label(label: Int64[Tensor, "b _h _w"], size: Sequence[int]) -> Int64[Tensor, "b h w"]:
    """Labels at `size` (h, w) by nearest-exact: nothing shifts (torch's plain `nearest` moves half a pixel)."""
    if tuple(label.shape[-2:]) == tuple(size):
        return label
    # class numbers up to 255 are exact in float32; int64 has no resize
    return F.interpolate(label[:, None].float(), size=tuple(size), mode="nearest-exact")[:, 0].long()


def resize_shares(shares: Float[Tensor, "b k _h _w"], size: Sequence[int]) -> Float[Tensor, "b k h w"]:
    """Class shares at `size` (h, w) by area, of the part of each cell that has any: their sum is 1 again."""
    if tuple(shares.shape[-2:]) == tuple(size):
        return shares
    small = F.interpolate(shares, size=tuple(size), mode="area")
    return small / small.sum(dim=1, keepdim=True).clamp_min(1e-6)
