"""Graph self-distillation without a teacher: what a second head says of a neighbour meets what the student says of a
node, along edges between positions of its features (TGS, Wu et al., TKDE 2024)."""

from typing import Literal, final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from segkd.device import processes
from segkd.distill.base import Knowledge
from segkd.distill.knowledge.edges import Nodes, below, drawn, grid_edges, grid_ends, nearest, nodes_at
from segkd.losses import global_mean, refuse_weights
from segkd.types import IGNORE, Batch, InputError, Prediction

Graph = Literal["grid8", "region", "knn", "random", "self"]
Negatives = Literal["uniform", "cross_boundary"]

SLOW = 0.01
"""The mixing learns at this share of the learning rate, as in the official code."""


def agreement(
    own: Float[Tensor, "b e k"], other: Float[Tensor, "b e k"], where: Bool[Tensor, "b e"]
) -> Float[Tensor, ""]:
    """mean over `where` of mean_k (y - z)^2 of logits: L_ne's part on neighbours."""
    return global_mean((own - other).square().mean(dim=2), where)


def contrast(own: Float[Tensor, "b e k"], far: Float[Tensor, "b e k"], where: Bool[Tensor, "b e"]) -> Float[Tensor, ""]:
    """-mean over `where` of mean_k (softmax y - softmax z)^2: L_ne's part on negatives, bounded by -2 / k. Of logits it
    would have no bound, and pushing apart would never end."""
    return -global_mean((own.softmax(dim=2) - far.softmax(dim=2)).square().mean(dim=2), where)


def degree_weights(label: Int64[Tensor, "b e"], kept: Bool[Tensor, "b e"], classes: int) -> Float[Tensor, " k"]:
    """How many ends of each class were drawn for each one whose edge is kept, over all processes; 0 where none is.
    Classes with long boundaries lose more of their edges; this gives them their share back."""
    hits = (label.unsqueeze(2) == torch.arange(classes, device=label.device)).float()
    counts = torch.stack([hits.sum(dim=(0, 1)), (hits * kept.unsqueeze(2)).sum(dim=(0, 1))])
    if processes() > 1:
        dist.all_reduce(counts)
    return torch.where(counts[1] > 0, counts[0] / counts[1].clamp_min(1.0), 0.0)


def label_level(
    other: Float[Tensor, "b e k"], label: Int64[Tensor, "b e"], kept: Bool[Tensor, "b e"]
) -> Float[Tensor, ""]:
    """mean over `kept` of w_l CE(z, l), divided by the mean of w = `degree_weights`: L_cla of the second head."""
    weights = degree_weights(label, kept, other.shape[2])
    at = label.masked_fill(label == IGNORE, 0)
    values = F.cross_entropy(other.flatten(0, 1), at.flatten(), reduction="none").view_as(at)
    return global_mean(values, weights[at] * kept)


@final
class Mixer(nn.Module):
    """m = b x_j + (1 - b) x_i for node i and its neighbour j, b = r + (1 - r) sigmoid(a^T [n(W x_j) || n(W x_i)]) in
    r..1: mostly the neighbour.

    a and W are stored a hundredfold, so that Adam, whose steps have the size of the learning rate, moves them at a
    hundredth of it. Departure: n is layer normalisation; the statistics of BatchNorm would be of one process's edges.

    Args:
        channels: of x.
        ratio: r.
    """

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.project, self.attend = nn.Linear(channels, channels, bias=False), nn.Linear(2 * channels, 1, bias=False)
        with torch.no_grad():
            self.project.weight.div_(SLOW)
            self.attend.weight.div_(SLOW)

    def forward(self, own: Float[Tensor, "b e c"], neighbour: Float[Tensor, "b e c"]) -> Float[Tensor, "b e c"]:
        """The mixed features."""
        seen = [F.linear(x, SLOW * self.project.weight) for x in (neighbour, own)]
        both = torch.cat([F.layer_norm(x.float(), x.shape[-1:]) for x in seen], dim=2)
        share = self.ratio + (1 - self.ratio) * F.linear(both, SLOW * self.attend.weight).float().sigmoid()
        return share * neighbour + (1 - share) * own


@final
class Fixed(nn.Module):
    """m = r x_j + (1 - r) x_i: the mixing that learns nothing.

    Args:
        ratio: r.
    """

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(self, own: Float[Tensor, "b e c"], neighbour: Float[Tensor, "b e c"]) -> Float[Tensor, "b e c"]:
        """The mixed features."""
        return self.ratio * neighbour + (1 - self.ratio) * own


@final
class GraphEdges(Knowledge):
    """Along edges (i, j) of the finest level of features, drawn anew in each step: feature L_ne + label L_cla, in both
    directions, with y the student's logits, z a second head for training alone, m the mixed neighbour (`Mixer`) and n a
    negative: L_ne = mse(y_i, z(m)) - mse(softmax y_i, softmax z(x_n)) (`agreement`, `contrast`) and L_cla =
    CE_w(z(m), label of i) (`label_level`). Nothing is held fixed: both heads move.

    Edges count where both ends have the same class: an image is not homophilous at its boundaries. Those that touch an
    ignored pixel are dropped.

    Departures: pixels for the nodes of a graph; the student's own cross-entropy is the task loss, over all pixels;
    means over both directions for their sum; a second head without BatchNorm and dropout.

    Args:
        graph: "grid8" joins each position with its eight neighbours; "region" does so with squares of positions, their
            features and logits averaged, those cut by the label's boundary left out; "knn" draws edges / near positions
            and joins each with the `near` closest of those with a label in feature space; "random" any two positions;
            "self" draws as grid8 does and joins each end with itself, so that with `feature: 0` a second head with
            cross-entropy on the same positions is left: the control.
        edges: drawn from the graph of each image in a step; memory grows with it, not with the image.
        negatives: "uniform" is any position of the image; "cross_boundary" the other end of those drawn edges whose
            ends have different classes.
        mixer: "learned", or "fixed" at the ratio.
        ratio: r, the least share of the neighbour in m.
        feature: weight of L_ne.
        label: weight of L_cla.
        cell: side of a region, in positions.
        near: k of "knn".
    """

    reads, needs, across = frozenset({"logits", "features"}), frozenset[str](), True

    def __init__(
        self,
        graph: Graph = "grid8",
        edges: int = 128,
        negatives: Negatives = "uniform",
        mixer: Literal["learned", "fixed"] = "learned",
        ratio: float = 0.8,
        feature: float = 1.0,
        label: float = 1.0,
        cell: int = 4,
        near: int = 2,
    ) -> None:
        super().__init__()
        if edges < 1 or cell < 2 or near < 1 or (graph == "knn" and edges // near <= near):
            raise InputError(
                "GraphEdges: expected edges and near of at least 1, for knn more positions (edges / near) "
                f"than near, and a cell of at least 2 positions, found edges: {edges}, near: {near}, cell: {cell}."
            )
        if not 0 <= ratio <= 1:
            raise InputError(f"GraphEdges: ratio is a share in 0..1, found {ratio}.")
        refuse_weights("GraphEdges: feature and label", (feature, label))
        self.graph, self.edges, self.negatives, self.mixer = graph, edges, negatives, mixer
        self.ratio, self.feature, self.label, self.near = ratio, feature, label, near
        self.side = cell if graph == "region" else 1

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Makes second head and mixer. Raises InputError for a graph with fewer edges than are drawn."""
        level = student.features[0]
        there, (h, w) = self._edges_in(level), self._grid(level)
        if there < self.edges:
            what = "positions" if self.side == 1 else f"regions of {self.side} x {self.side} positions"
            cell = "" if self.side == 1 else ", a smaller cell"
            raise InputError(
                f"GraphEdges: edges: {self.edges} are to be drawn from each image, and its graph ({self.graph}: {h} x "
                f"{w} {what}) has {there}. Write edges: {there} or fewer{cell}, or a larger data.size."
            )
        channels, classes = level.shape[1], student.logits.shape[1]
        self.second = nn.Sequential(nn.Linear(channels, channels), nn.LeakyReLU(), nn.Linear(channels, classes))
        self.mix = Mixer(channels, self.ratio) if self.mixer == "learned" else Fixed(self.ratio)

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Means over the edges of all processes that count; 0 where there are none."""
        level = student.features[0]
        first, second = self._drawn(level, batch.label)
        ends = [nodes_at(one, self.side, level, student.logits, batch.label) for one in (first, second)]
        own = ends[0].joined(ends[1])
        neighbour = ends[1].joined(ends[0])
        kept = (own.label == neighbour.label) & (own.label != IGNORE)  # of "self" too, which is to differ in m alone
        joined = own if self.graph == "self" else neighbour
        said = self.second(self.mix(own.features, joined.features)).float()
        loss = self.feature * agreement(own.logits, said, kept)
        if self.feature:
            far, apart = self._far(first, own, neighbour, kept, student, batch)
            loss = loss + self.feature * contrast(own.logits, self.second(far.features).float(), apart)
        return loss + self.label * label_level(said, own.label, kept) if self.label else loss

    def _far(
        self, first: Tensor, own: Nodes, neighbour: Nodes, kept: Tensor, student: Prediction, batch: Batch
    ) -> tuple[Nodes, Bool[Tensor, "b e"]]:
        """The negative of each direction of each edge, and where it counts."""
        if self.negatives == "cross_boundary":
            both = (own.label != IGNORE) & (neighbour.label != IGNORE)
            return neighbour, both & (own.label != neighbour.label)
        h, w = self._grid(student.features[0])
        any_node = below(h * w, torch.rand(*first.shape, device=first.device))
        far = nodes_at(any_node, self.side, student.features[0], student.logits, batch.label)
        far = far.joined(far)
        return far, kept & (far.label != IGNORE)

    def _grid(self, level: Tensor) -> tuple[int, int]:
        """Nodes per column and row."""
        return level.shape[-2] // self.side, level.shape[-1] // self.side

    def _edges_in(self, level: Tensor) -> int:
        """Edges in the graph of one image."""
        h, w = self._grid(level)
        if self.graph == "random":
            return h * w * (h * w - 1) // 2
        return h * w * self.near if self.graph == "knn" else grid_edges(h, w)

    def _drawn(
        self, level: Float[Tensor, "b c h w"], label: Int64[Tensor, "b _h _w"]
    ) -> tuple[Int64[Tensor, "b e"], Int64[Tensor, "b e"]]:
        """The ends of this step's edges."""
        (h, w), b, device = self._grid(level), len(level), level.device
        if self.graph == "random":
            first = below(h * w, torch.rand(b, self.edges, device=device))
            return first, (first + 1 + below(h * w - 1, torch.rand(b, self.edges, device=device))) % (h * w)
        if self.graph == "knn":
            positions = drawn(h * w, torch.rand(b, self.edges // self.near, device=device))
            seen = nodes_at(positions, 1, level.detach(), level.detach(), label)
            closest = nearest(seen.features, seen.label != IGNORE, self.near).flatten(1)
            return positions.repeat_interleave(self.near, dim=1), positions.gather(1, closest)
        return grid_ends(drawn(self._edges_in(level), torch.rand(b, self.edges, device=device)), h, w)
