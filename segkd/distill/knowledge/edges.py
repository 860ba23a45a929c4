"""Nodes and edges on feature maps: which there are, and a fixed number of them drawn in each step.

A node is a position of a map, or a square region of positions; nodes of one image are numbered row by row. All is made
from numbers, so that what is kept grows with the number of edges and not with the image, and nothing of a device is
read.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from segkd.types import IGNORE

STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""From a position to the neighbours that come after it; the other four are its edges from their side."""


def drawn(total: int, chance: Float[Tensor, "b e"]) -> Int64[Tensor, "b e"]:
    """e different numbers below `total` in each row, in rising order: one from each of e equal parts of the range, by
    `chance` in 0..1. Where e is `total`, that is all of them, whatever the chance."""
    bounds = torch.arange(chance.shape[1] + 1, device=chance.device) * total // chance.shape[1]
    return bounds[:-1] + below(bounds.diff(), chance)


def below(limit: Int64[Tensor, "*e"] | int, chance: Float[Tensor, "*b"]) -> Int64[Tensor, "*b"]:
    """Numbers in 0..limit-1 by `chance` in 0..1."""
    numbers = (chance * limit).long()
    return numbers.clamp(max=limit - 1) if isinstance(limit, int) else torch.minimum(numbers, limit - 1)


def grid_edges(h: int, w: int) -> int:
    """How many edges a grid of h x w nodes has where each is joined with its eight neighbours."""
    return sum(_along(down, right, h, w) for down, right in STEPS)


def grid_ends(edges: Int64[Tensor, "b e"], h: int, w: int) -> tuple[Int64[Tensor, "b e"], Int64[Tensor, "b e"]]:
    """The two nodes of each edge, by its number below `grid_edges`."""
    first, second = torch.zeros_like(edges), torch.zeros_like(edges)
    for down, right in STEPS:
        wide = max(w - abs(right), 1)
        start = edges // wide * w + edges % wide + (right < 0)
        count = _along(down, right, h, w)
        here = (edges >= 0) & (edges < count)
        first, second = torch.where(here, start, first), torch.where(here, start + down * w + right, second)
        edges = edges - count
    return first, second


def nearest(features: Float[Tensor, "b n c"], counts: Bool[Tensor, "b n"], near: int) -> Int64[Tensor, "b n near"]:
    """For each row of an image, the `near` others of it that are closest, in Euclidean distance, and after those that
    count any that do not."""
    apart = torch.cdist(features.float(), features.float())
    apart = apart.masked_fill(~counts.unsqueeze(1), torch.finfo(apart.dtype).max)
    itself = torch.eye(apart.shape[1], dtype=torch.bool, device=apart.device)
    return apart.masked_fill(itself, torch.inf).topk(near, dim=2, largest=False).indices


@final
@dataclass(frozen=True)
class Nodes:
    """What is known at n nodes of each image: features, the student's logits, and the class (`IGNORE` where it has
    none, or more than one)."""

    features: Float[Tensor, "b n c"]
    logits: Float[Tensor, "b n k"]
    label: Int64[Tensor, "b n"]

    def joined(self, other: "Nodes") -> "Nodes":
        """These nodes, then the others."""
        return Nodes(
            torch.cat([self.features, other.features], dim=1),
            torch.cat([self.logits, other.logits], dim=1),
            torch.cat([self.label, other.label], dim=1),
        )


def nodes_at(
    numbers: Int64[Tensor, "b n"],
    side: int,
    features: Float[Tensor, "b c h w"],
    logits: Float[Tensor, "b k _h _w"],
    label: Int64[Tensor, "b _h _w"],
) -> Nodes:
    """Means of features and logits over the labelled positions of each node, a square of `side` positions of the
    features. Logits and label are read at the pixel in the middle of each position, so that no ignored one leaks in."""
    h, w = features.shape[-2:]
    inner = torch.arange(side * side, device=numbers.device)
    row = (numbers // (w // side) * side).unsqueeze(2) + inner // side
    column = (numbers % (w // side) * side).unsqueeze(2) + inner % side
    seen = _read(label.unsqueeze(1), row, column, (h, w))[..., 0]
    void = seen == IGNORE
    share = (~void).float() / (~void).sum(dim=2, keepdim=True).clamp_min(1)
    means = [
        (_read(maps, row, column, (h, w)).float().masked_fill(void.unsqueeze(3), 0.0) * share.unsqueeze(3)).sum(dim=2)
        for maps in (features, logits)
    ]
    lowest, highest = seen.amin(dim=2), seen.masked_fill(void, -1).amax(dim=2)  # IGNORE is above every class
    return Nodes(means[0], means[1], torch.where(lowest == highest, lowest, IGNORE))


def _along(down: int, right: int, h: int, w: int) -> int:
    """How many edges of one direction there are."""
    return max(h - down, 0) * max(w - abs(right), 0)


def _read(
    maps: Shaped[Tensor, "b c _h _w"],
    row: Int64[Tensor, "b n s"],
    column: Int64[Tensor, "b n s"],
    size: tuple[int, int],
) -> Shaped[Tensor, "b n s c"]:
    """Maps of any size at positions of a grid of `size`, by nearest-exact."""
    (h, w), (high, wide) = size, maps.shape[-2:]
    image = torch.arange(len(maps), device=maps.device).view(-1, 1, 1)
    return maps[image, :, (2 * row + 1) * high // (2 * h), (2 * column + 1) * wide // (2 * w)]
