"""Features compared: where they look (attention), what they hold (hint), how classes lie in them."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from segkd.distill.base import Knowledge
from segkd.losses import global_mean, one_hot, pixel_sums, resize_label
from segkd.models.decoder import resize
from segkd.types import IGNORE, Batch, InputError, Prediction


def label_at(batch: Batch, level: Float[Tensor, "b _c h w"]) -> Int64[Tensor, "b h w"]:
    """The batch's label at the size of a level, by nearest-exact."""
    return resize_label(batch.label, level.shape[-2:])


def attention(level: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b n"]:
    """phi(F) = mean_c F^2 over the valid positions, of unit length (Zagoruyko and Komodakis, ICLR 2017; FRSKD, Ji et
    al., CVPR 2021)."""
    return F.normalize(level.float().square().mean(dim=1).masked_fill(~valid, 0.0).flatten(1), dim=1)


def attention_distance(
    student: Float[Tensor, "b _c h w"], target: Float[Tensor, "b _d h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """mean_b ||phi(F) - phi(T)||^2, 0..4 whatever the size of the maps.

    Departure: FRSKD's code takes the mean over positions, h w times less, so that its weight of 50 depends on the size.
    """
    gap = (attention(student, valid) - attention(target, valid)).square().sum(dim=1)
    return global_mean(gap, valid.flatten(1).any(dim=1))


def class_centres(
    level: Float[Tensor, "b c h w"], label: Int64[Tensor, "b h w"], classes: int
) -> tuple[Float[Tensor, "b k c"], Bool[Tensor, "b k"]]:
    """The mean feature of each class in each image, and whether the class is there."""
    hits = one_hot(label, classes).flatten(2)
    count = hits.sum(dim=2)
    return pixel_sums("bkn,bcn->bkc", hits, level.float().flatten(2)) / count.clamp_min(1.0).unsqueeze(2), count > 0


def intra_class(
    student: Float[Tensor, "b _c h w"], target: Float[Tensor, "b _d h w"], label: Int64[Tensor, "b h w"], classes: int
) -> Float[Tensor, ""]:
    """mean_V (cos(F_i, centre of i's class) - cos(T_i, centre of i's class))^2: how far from the centre of its class
    each pixel lies (IFVD, Wang et al., ECCV 2020)."""
    valid = label != IGNORE
    at = label.masked_fill(~valid, 0).flatten(1)
    cosines = []
    for level in (student, target):
        centres, _ = class_centres(level, label, classes)
        own = centres.gather(1, at.unsqueeze(2).expand(-1, -1, level.shape[1]))
        cosines.append(F.cosine_similarity(level.float().flatten(2).transpose(1, 2), own, dim=2))
    return global_mean((cosines[0] - cosines[1]).square(), valid.flatten(1))


def cell_means(
    maps: Float[Tensor, "b c _h _w"], counts: Bool[Tensor, "b _h _w"], size: Sequence[int]
) -> tuple[Float[Tensor, "b c h w"], Bool[Tensor, "b h w"]]:
    """The mean of the positions that count in each cell of a grid of `size` (h, w), 0 where none does, and where any
    does."""
    share = F.interpolate(counts.unsqueeze(1).to(maps.dtype), size=tuple(size), mode="area")
    summed = F.interpolate(maps.masked_fill(~counts.unsqueeze(1), 0.0), size=tuple(size), mode="area")
    return summed / share.clamp_min(1e-6), share[:, 0] > 0


def refuse_uneven(owner: Knowledge, student: Prediction, target: Prediction) -> None:
    """Raises InputError unless both sides have equally many levels."""
    ours, theirs = len(student.features), len(target.features)
    if ours != theirs:
        raise InputError(
            f"{type(owner).__name__}: the student has {ours} levels of features, the teacher {theirs}. Name as many "
            "layers of the student as the teacher has: distiller.features: [path.of.a.layer, ...]."
        )


def mean_over_levels(losses: Iterable[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    """The mean of one loss per level."""
    return torch.stack(list(losses)).mean()


class LevelByLevel(Knowledge):
    """Compares features level by level, each of the student's with the teacher's, fitted to its size: mean over the
    levels."""

    reads = needs = frozenset({"features"})

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError unless both have equally many levels."""
        refuse_uneven(self, student, target)

    @abstractmethod
    def at_level(self, student: Tensor, target: Tensor, label: Tensor, classes: int) -> Float[Tensor, ""]:
        """The loss of one level: features [b c h w] and [b d h w], label [b h w]."""

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the levels, each a mean over all processes."""
        return mean_over_levels(
            self.at_level(one, resize(goal, one), label_at(batch, one), student.logits.shape[1])
            for one, goal in zip(student.features, target.features)
        )


@final
class Attention(LevelByLevel):
    """Where the teacher's features are strong: `attention_distance`."""

    def at_level(self, student: Tensor, target: Tensor, label: Tensor, classes: int) -> Float[Tensor, ""]:
        """As `attention_distance`."""
        return attention_distance(student, target, label != IGNORE)


@final
class Hint(Knowledge):
    """The teacher's features themselves: mean_V ||r(F) - T||^2 of unit vectors, or mean_V mean_c (r(F) - T)^2, r a 1x1
    convolution (FitNets, Romero et al., ICLR 2015), mean over the levels.

    Args:
        adapt: whether r is there; without it both sides must have the same channels.
        normalise: whether both sides get unit length at each pixel first, so that the weight does not depend on the
            scale of the features.
    """

    reads = needs = frozenset({"features"})

    def __init__(self, adapt: bool = True, normalise: bool = True) -> None:
        super().__init__()
        self.adapt, self.normalise = adapt, normalise
        self.projectors = nn.ModuleList()

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Makes r for each level. Raises InputError where the sides do not fit."""
        refuse_uneven(self, student, target)
        for one, goal in zip(student.features, target.features):
            if not self.adapt and one.shape[1] != goal.shape[1]:
                raise InputError(
                    f"Hint: the student's level has {one.shape[1]} channels, the teacher's {goal.shape[1]}. Write "
                    "adapt: true."
                )
            self.projectors.append(nn.Conv2d(one.shape[1], goal.shape[1], 1) if self.adapt else nn.Identity())

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over levels and valid positions of all processes."""
        losses = []
        for one, goal, project in zip(student.features, target.features, self.projectors):
            ours, theirs = project(one).float(), resize(goal, one).float()
            if self.normalise:
                ours, theirs = F.normalize(ours, dim=1), F.normalize(theirs, dim=1)
                gap = (ours - theirs).square().sum(dim=1)
            else:
                gap = (ours - theirs).square().mean(dim=1)
            losses.append(global_mean(gap, label_at(batch, one) != IGNORE))
        return mean_over_levels(losses)


@final
class IntraClass(LevelByLevel):
    """How far each pixel lies from the centre of its class: `intra_class`."""

    def at_level(self, student: Tensor, target: Tensor, label: Tensor, classes: int) -> Float[Tensor, ""]:
        """As `intra_class`."""
        return intra_class(student, target, label, classes)


@final
class MeanFeatures(LevelByLevel):
    """The mean feature of each image: ||mean_V r(F) - mean_V T||^2 (DDGSD, Xu and Liu, AAAI 2019: a linear-kernel
    MMD that keeps the channels), mean over the images.

    Args:
        adapt: whether r, a 1x1 convolution to the teacher's channels, is there (the channel term of OMGD, Ren et al.,
            ICCV 2021, a sum over the channels instead of a mean); without it both sides must have the same channels.
    """

    def __init__(self, adapt: bool = False) -> None:
        super().__init__()
        self.adapt, self.projectors = adapt, nn.ModuleList()

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Makes r for each level. Raises InputError unless both have as many levels and, without r, channels."""
        super().meet(student, target)
        ours, theirs = ([level.shape[1] for level in one.features] for one in (student, target))
        if self.adapt:
            self.projectors.extend(nn.Conv2d(a, b, 1) for a, b in zip(ours, theirs))
        elif ours != theirs:
            raise InputError(
                f"MeanFeatures: the student's levels have {ours} channels, the teacher's {theirs}. Choose a teacher of "
                "the student's kind, or adapt: true."
            )

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the levels and the images of all processes."""
        if self.adapt:
            student = replace(student, features=tuple(r(one) for r, one in zip(self.projectors, student.features)))
        return super().forward(student, target, batch)

    def at_level(self, student: Tensor, target: Tensor, label: Tensor, classes: int) -> Float[Tensor, ""]:
        """Mean over the images of all processes."""
        inside = (label != IGNORE).unsqueeze(1)
        count = inside.sum(dim=(2, 3)).clamp_min(1)
        gap = (student.float() - target.float()).masked_fill(~inside, 0.0).sum(dim=(2, 3)) / count
        return global_mean(gap.square().sum(dim=1), inside.flatten(1).any(dim=1))
