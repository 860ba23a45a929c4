"""Levels of the student compared with each other, or with a teacher's next deeper ones."""

from collections.abc import Iterator
from typing import final

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from segkd.distill.base import Knowledge
from segkd.distill.knowledge.feature import cell_means, label_at, mean_over_levels
from segkd.losses import global_mean, refuse_weights
from segkd.models.decoder import resize
from segkd.types import IGNORE, Batch, InputError, Prediction


def soft_attention(energy: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b n"]:
    """softmax over the valid positions of sum_c F^2 (SAD, Hou et al., ICCV 2019): sums to 1 in each image."""
    return energy.masked_fill(~valid, -1e4).flatten(1).softmax(dim=1).masked_fill(~valid.flatten(1), 0.0)


def attention_across(
    finer: Float[Tensor, "b _c h w"],
    deeper: Float[Tensor, "b _d _h _w"],
    valid: Bool[Tensor, "b h w"],
    below: Bool[Tensor, "b _h _w"],
) -> Float[Tensor, ""]:
    """h w mean_b sum_hw (psi(F_m) - psi(F_{m+1}))^2, psi = `soft_attention` at the size of the finer level (SAD).

    Departures: SAD takes the mean over positions, whose size falls with the square of their number; here the value
    does not depend on it. The deeper level is enlarged from its own valid positions, `below`, alone.
    """
    energy = finer.float().square().sum(dim=1)
    deep = deeper.float().square().sum(dim=1).masked_fill(~below, 0.0)
    enlarged, share = (resize(one.float().unsqueeze(1), energy.unsqueeze(1)).squeeze(1) for one in (deep, below))
    valid = valid & (share > 0)
    gap = soft_attention(energy, valid) - soft_attention(enlarged / share.clamp_min(1e-6), valid)
    return valid[0].numel() * global_mean(gap.square().sum(dim=1), valid.flatten(1).any(dim=1))


def halves(level: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """mean_b mean_c ||weak_c - sg strong_c||^2 of the channels' maps of unit length, sorted in each image by their mean
    response and cut into a strong and a weak half (TF-FD's term within a level, whose order is that of the batch)."""
    unit = F.normalize(level.float().masked_fill(~valid.unsqueeze(1), 0.0).flatten(2), dim=2)
    order = unit.mean(dim=2).argsort(dim=1, descending=True)
    ranked = unit.gather(1, order.unsqueeze(2).expand_as(unit))
    half = ranked.shape[1] // 2
    strong, weak = ranked[:, :half].detach(), ranked[:, half : 2 * half]
    gap = (strong - weak).square().sum(dim=2).mean(dim=1)
    return global_mean(gap, valid.flatten(1).any(dim=1))


@final
class AttentionAcross(Knowledge):
    """Every level looks where the next deeper one looks: `attention_across` (SAD, Hou et al., ICCV 2019, with the
    deeper side as a given, as in later implementations). Departure: a mean over the pairs of levels, not a sum."""

    reads = needs = frozenset({"features"})
    across = True

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError for fewer than two levels, or for fewer of the teacher."""
        refuse_one_level(self, student)
        refuse_fewer(self, student, target)

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over pairs of levels and images of all processes."""
        return mean_over_levels(attention_across(*pair) for pair in next_deeper(student, target, batch))


@final
class HintAcross(Knowledge):
    """Every deeper level, through a 1x1 convolution, holds what the finest fused level holds: mean_V (r(F_i) - F_0)^2
    of unit vectors (BYOT, Zhang et al., ICCV 2019, third term).

    Departures: unit length at each pixel instead of a weight of 1e-6; the finest fused level is the teacher, which has
    the output's resolution, not the deepest.
    """

    reads = needs = frozenset({"features"})
    across = True

    def __init__(self) -> None:
        super().__init__()
        self.projectors = nn.ModuleList()

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Makes r for each deeper level. Raises InputError for fewer than two levels."""
        refuse_one_level(self, student)
        channels = target.features[0].shape[1]
        self.projectors.extend(nn.Conv2d(level.shape[1], channels, 1) for level in student.features[1:])

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over levels and valid positions of all processes."""
        finest = target.features[0].float()
        losses, counts = [], label_at(batch, finest) != IGNORE
        for level, project in zip(student.features[1:], self.projectors):
            goal, there = cell_means(finest, counts, level.shape[-2:])
            gap = (F.normalize(project(level).float(), dim=1) - F.normalize(goal, dim=1)).square().sum(dim=1)
            losses.append(global_mean(gap, there & (label_at(batch, level) != IGNORE)))
        return mean_over_levels(losses)


@final
class TeacherFree(Knowledge):
    """TF-FD (Li, ECCV 2022), `halves` and `levels_apart`: within a level, the half of the channels that respond less
    resembles the half that responds more; between levels, a finer level, averaged down, resembles the next deeper one
    in their first common channels.

    Departures: sums over positions of maps of unit length instead of means of raw squares, so that the weights do not
    depend on size and scale; channels in an order of each image; the next deeper level alone, where the official code
    has every deeper one; means over levels for sums; the stronger half is a given, as the deeper level is there too.

    Args:
        within: weight of the first part.
        between: weight of the second part.
    """

    reads = needs = frozenset({"features"})
    across = True

    def __init__(self, within: float = 1.0, between: float = 1.0) -> None:
        super().__init__()
        refuse_weights("TeacherFree: within and between", (within, between))
        self.within, self.between = within, between

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError for fewer than two levels, or for fewer of the teacher, or one without two halves."""
        refuse_one_level(self, student)
        refuse_fewer(self, student, target)
        fewest = min(level.shape[1] for level in student.features)
        if self.within and fewest < 2:
            raise InputError(
                f"TeacherFree compares halves of a level's channels, and a level has {fewest}. Write within: 0, or "
                "name wider layers in distiller.features."
            )

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over levels and images of all processes."""
        loss = student.logits.new_zeros(())
        if self.within:
            inside = [label_at(batch, level) != IGNORE for level in student.features]
            loss = loss + self.within * mean_over_levels(map(halves, student.features, inside))
        if self.between:
            pairs = next_deeper(student, target, batch)
            loss = loss + self.between * mean_over_levels(levels_apart(*pair) for pair in pairs)
        return loss


def levels_apart(
    finer: Float[Tensor, "b _c _h _w"],
    deeper: Float[Tensor, "b _d h w"],
    counts: Bool[Tensor, "b _h _w"],
    valid: Bool[Tensor, "b h w"],
) -> Float[Tensor, ""]:
    """mean_b mean_c ||F_c / |F_c| - D_c / |D_c|||^2 over the first common channels, the finer level averaged over its
    own valid positions to the deeper one's size (TF-FD's term between levels)."""
    common = min(finer.shape[1], deeper.shape[1])
    small, there = cell_means(finer.float(), counts, deeper.shape[-2:])
    valid = valid & there
    maps = [
        F.normalize(level[:, :common].float().masked_fill(~valid.unsqueeze(1), 0.0).flatten(2), dim=2)
        for level in (small, deeper)
    ]
    gap = (maps[0] - maps[1]).square().sum(dim=2).mean(dim=1)
    return global_mean(gap, valid.flatten(1).any(dim=1))


def next_deeper(
    student: Prediction, target: Prediction, batch: Batch
) -> Iterator[
    tuple[Float[Tensor, "b _c h w"], Float[Tensor, "b _d _h _w"], Bool[Tensor, "b h w"], Bool[Tensor, "b _h _w"]]
]:
    """Each level of the student, the target's next deeper one, and where they count, each at its own size."""
    for finer, deeper in zip(student.features[:-1], target.features[1:]):
        yield finer, deeper, label_at(batch, finer) != IGNORE, label_at(batch, deeper) != IGNORE


def refuse_one_level(owner: Knowledge, student: Prediction) -> None:
    """Raises InputError unless the student has two levels of features or more."""
    if len(student.features) < 2:
        raise InputError(
            f"{type(owner).__name__} compares levels of features, and the student has {len(student.features)}. Name "
            "two or more: distiller.features: [path.of.a.layer, ...]."
        )


def refuse_fewer(owner: Knowledge, student: Prediction, target: Prediction) -> None:
    """Raises InputError where the teacher has fewer levels of features than the student."""
    ours, theirs = len(student.features), len(target.features)
    if theirs < ours:
        raise InputError(
            f"{type(owner).__name__} compares levels with the teacher's next deeper ones: the student has {ours} "
            f"levels of features, the teacher {theirs}. Name as many layers of the teacher where it has a setting for "
            "them (Frozen: features), or fewer of the student: distiller.features: [path.of.a.layer, ...]."
        )
