"""USKD: soft labels that the student makes for itself, from its own certainty and the order of the classes."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.distill.knowledge.exits import at_size
from segkd.losses import common_mean, global_mean, hushed, one_hot, refuse_weights
from segkd.types import Batch, InputError, Prediction


def own_target(share: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """P = s_y^2 + 1 - mean_V s_y^2: how much of the label's class to ask for, pixels of which the student is surer more
    (USKD, Yang et al., ICCV 2023, whose label there is 1, as ours is); a weight whose mean is 1."""
    square = share.square()
    return square + 1 - common_mean(square, valid)


def zipf_shares(rank_by: Float[Tensor, "b k h w"], label: Int64[Tensor, "b h w"]) -> Float[Tensor, "b k h w"]:
    """1 / rank over the classes but the label's, normalised to sum 1 (Zipf's law): the surer a class, the more."""
    hidden = one_hot(label, rank_by.shape[1]) > 0
    order = rank_by.masked_fill(hidden, -1.0).argsort(dim=1, descending=True).argsort(dim=1)
    shares = (1.0 / (order + 1)).masked_fill(hidden, 0.0)
    return shares / shares.sum(dim=1, keepdim=True)


def universal(
    logits: Float[Tensor, "b k h w"],
    weak: Float[Tensor, "b k h w"],
    label: Int64[Tensor, "b h w"],
    valid: Bool[Tensor, "b h w"],
    target: float,
    others: float,
) -> Float[Tensor, ""]:
    """mean_V (-target P log s_y - others sum_{i != y} Z_i log n_i): n the student's softmax over the classes but y, Z
    Zipf shares ranked by n plus the weak head's softmax over the classes but y (USKD, Yang et al., ICCV 2023).

    Departures: the official code divides log-probabilities of the final head, s_i / (1 - s_y), in place of
    probabilities, and ranks y too, mostly first, so that the others have 1/2, 1/3, ... before they are normalised; the
    mean of s_y^2 runs over the valid pixels of all processes.
    """
    x, at = hushed(logits, valid), label.masked_fill(~valid, 0)
    log_s = F.log_softmax(x, dim=1)
    log_y = log_s.gather(1, at.unsqueeze(1))[:, 0]
    p = own_target(log_y.detach().exp(), valid)
    log_n, log_w = (one.scatter(1, at.unsqueeze(1), -1e4).log_softmax(dim=1) for one in (x, hushed(weak, valid)))
    z = zipf_shares((log_n.exp() + log_w.exp()).detach(), at)
    rest = torch.where(z > 0, z * log_n, 0.0).sum(dim=1)
    return global_mean(-target * p * log_y - others * rest, valid)


@final
class Universal(Knowledge):
    """The student's own certainty and ranking of classes as its target, with the coarsest exit as the weak head:
    `universal`, `own_target`, `zipf_shares`. The weak head learns by `distiller.exits`, as all exits do,
    by the task loss, whose weight must be above 0; USKD smooths its labels.

    Needs more than two classes: with two, the classes but the label's are one, and there is nothing to rank.

    Args:
        target: weight of the part on the label's class.
        others: weight of the part on all other classes.
    """

    reads, needs, across = frozenset({"logits"}), frozenset({"logits", "exits"}), True

    def __init__(self, target: float = 1.0, others: float = 0.1) -> None:
        super().__init__()
        refuse_weights("Universal: target and others", (target, others))
        self.target, self.others = target, others

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError for two classes."""
        if student.logits.shape[1] == 2:
            raise InputError(
                "Universal (USKD): with two classes there is one class beside the label's, and nothing to rank. It "
                "needs three classes or more; for two, methods/label_smoothing.yaml is what is left of it."
            )

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the valid pixels of all processes."""
        weak, _ = at_size(target.exits[-1], student.logits, batch)
        return universal(student.logits, weak, batch.label, batch.valid, self.target, self.others)
