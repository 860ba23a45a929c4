"""Relations compared: between pixels (affinity) and between classes (centres)."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segkd.distill.knowledge.feature import LevelByLevel, cell_means, class_centres
from segkd.losses import global_mean, pixel_sums
from segkd.types import IGNORE, InputError


def pooled_nodes(
    level: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b h w"], nodes: int
) -> tuple[Float[Tensor, "b c n"], Bool[Tensor, "b n"]]:
    """The mean feature of the valid part of each cell of a grid of at most `nodes` x `nodes`, of unit length, and
    whether the cell has a valid part."""
    size = (min(nodes, level.shape[-2]), min(nodes, level.shape[-1]))
    cells, there = cell_means(level.float(), valid, size)
    return F.normalize(cells.flatten(2), dim=1), there.flatten(1)


def affinity(
    student: Float[Tensor, "b _c h w"], target: Float[Tensor, "b _d h w"], valid: Bool[Tensor, "b h w"], nodes: int
) -> Float[Tensor, ""]:
    """mean_{b, i, j} (cos(F_i, F_j) - cos(T_i, T_j))^2 over pairs of cells (structured distillation's pair-wise term,
    Liu et al., CVPR 2019).

    Departure: cells are averages over their valid pixels, not maxima.
    """
    maps = []
    for level in (student, target):
        cells, there = pooled_nodes(level, valid, nodes)
        maps.append(pixel_sums("bci,bcj->bij", cells, cells))
    both = there.unsqueeze(1) & there.unsqueeze(2)
    return global_mean((maps[0] - maps[1]).square(), both)


def centre_relation(
    student: Float[Tensor, "b _c h w"], target: Float[Tensor, "b _d h w"], label: Int64[Tensor, "b h w"], classes: int
) -> Float[Tensor, ""]:
    """mean over images and pairs of different classes of (cos(c_i, c_j) - cos(t_i, t_j))^2, c and t the mean features
    of classes i and j: how the classes lie to each other (prototypes as in IFVD, Wang et al., ECCV 2020, compared
    between classes instead of with their pixels; our choice)."""
    maps = []
    for level in (student, target):
        centres, there = class_centres(level, label, classes)
        unit = F.normalize(centres, dim=2)
        maps.append(pixel_sums("bic,bjc->bij", unit, unit))
    apart = ~torch.eye(classes, dtype=torch.bool, device=label.device)
    both = there.unsqueeze(1) & there.unsqueeze(2) & apart
    return global_mean((maps[0] - maps[1]).square(), both)


@final
class Affinity(LevelByLevel):
    """Which parts of an image resemble each other: `affinity`.

    Args:
        nodes: cells per side that a level is pooled to; the memory grows with its fourth power.
    """

    def __init__(self, nodes: int = 16) -> None:
        super().__init__()
        if nodes < 2:
            raise InputError(f"Affinity: nodes is a number of cells per side, at least 2, found {nodes}.")
        self.nodes = nodes

    def at_level(self, student: Tensor, target: Tensor, label: Tensor, classes: int) -> Float[Tensor, ""]:
        """As `affinity`."""
        return affinity(student, target, label != IGNORE, self.nodes)


@final
class Prototypes(LevelByLevel):
    """How the classes lie to each other in the features: `centre_relation`."""

    def at_level(self, student: Tensor, target: Tensor, label: Tensor, classes: int) -> Float[Tensor, ""]:
        """As `centre_relation`."""
        return centre_relation(student, target, label, classes)
