"""Logits at several depths compared: every exit with the output, or everybody with everybody."""

from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.distill.exits import shrunk
from segkd.distill.knowledge.feature import cell_means
from segkd.distill.knowledge.response import response
from segkd.models.decoder import resize
from segkd.types import Batch, InputError, Prediction, refuse_number


def at_size(
    logits: Float[Tensor, "b k _h _w"], like: Float[Tensor, "b _k h w"], batch: Batch
) -> Float[Tensor, "b k h w"]:
    """Logits at the size of `like`: means over the valid pixels of each cell where they shrink (0 where a cell has
    none), bilinearly where they grow."""
    size = like.shape[-2:]
    if logits.shape[-2:] == size:
        return logits
    if logits.shape[-2] < size[0] or logits.shape[-1] < size[1]:
        return resize(logits, like)
    return cell_means(logits, shrunk(batch, logits).valid, size)[0]


@final
class AtExits(Knowledge):
    """A knowledge about logits, at every exit of the student: mean over the exits.

    Without a teacher the student's output teaches its exits (BYOT, Zhang et al., ICCV 2019; the
    sum over exits there is a mean here). The target is shrunk by area to each exit, never the exit enlarged.

    Args:
        knowledge: what is compared at each exit; it must read logits alone and learn nothing itself.
        target: "logits" compares every exit with the target's output, "exits" with the target's own exit there.
    """

    reads = frozenset({"exits"})

    def __init__(self, knowledge: Knowledge, target: Literal["logits", "exits"] = "logits") -> None:
        super().__init__()
        if knowledge.reads != {"logits"} or knowledge.needs != {"logits"}:
            raise InputError(
                f"AtExits: expected a knowledge about logits, found {type(knowledge).__name__}, which compares "
                f"{sorted(knowledge.reads | knowledge.needs)}."
            )
        self.knowledge, self.target = knowledge, target
        self.needs = frozenset({target})
        self.across = target == "logits"  # an exit's own goal is the exit itself where nobody teaches

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError unless the target has an exit for each of the student's, if that is asked for."""
        self.knowledge.meet(student, target)
        if self.target == "exits" and len(student.exits) != len(target.exits):
            raise InputError(
                f"AtExits: the student has {len(student.exits)} exits, the teacher {len(target.exits)}. Write target: "
                "logits, or choose a teacher with an exit for each."
            )

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the exits, each a mean over the valid pixels of all processes."""
        goals = target.exits if self.target == "exits" else (target.logits,) * len(student.exits)
        losses = [
            self.knowledge(Prediction(one), Prediction(at_size(goal, one, batch)), shrunk(batch, one))
            for one, goal in zip(student.exits, goals)
        ]
        return torch.stack(losses).mean()


@final
class AllPairs(Knowledge):
    """Output and exits all teach each other: T^2 sum_{j != l} KL(sg p_l || p_j) over ordered pairs of outputs (DHM, Li
    and Chen, CVPR 2020; DKS, Sun et al., CVPR 2019). Departure: a mean over the pairs instead of a sum, so
    that the weight does not depend on the number of exits; each pair meets at the smaller of its two sizes.

    Args:
        temperature: of both sides.
    """

    reads, needs, across = frozenset({"logits", "exits"}), frozenset({"logits", "exits"}), True

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        refuse_number("AllPairs: temperature", temperature, above=True)
        self.temperature = temperature

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the ordered pairs, each a mean over the valid pixels of all processes."""
        learn, teach = (student.logits, *student.exits), (target.logits, *target.exits)
        losses = []
        for j, one in enumerate(learn):
            for goal in (*teach[:j], *teach[j + 1 :]):
                smaller = one if one.shape[-1] <= goal.shape[-1] else goal
                sides = (at_size(one, smaller, batch), at_size(goal, smaller, batch))
                losses.append(response(*sides, shrunk(batch, smaller).valid, self.temperature, True))
        return torch.stack(losses).mean()
