"""Logits at several depths compared: every exit with the output, or everybody with everybody."""

from typing import Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from segkd.distill.base import Knowledge, only
from segkd.distill.exits import shrunk
from segkd.distill.knowledge.feature import cell_means, label_at
from segkd.distill.knowledge.response import response
from segkd.models.decoder import resize
from segkd.types import IGNORE, Batch, InputError, Prediction, refuse_number


def at_size(
    logits: Float[Tensor, "b k _h _w"], like: Float[Tensor, "b _k h w"], batch: Batch
) -> tuple[Float[Tensor, "b k h w"], Bool[Tensor, "b h w"]]:
    """Logits at the size of `like`, means over the valid pixels of each cell where they shrink, bilinearly where they
    grow; and where they count: at valid pixels, but for cells of which no logit has a valid one."""
    size, valid = like.shape[-2:], label_at(batch, like) != IGNORE
    if logits.shape[-2:] == size:
        return logits, valid
    if logits.shape[-2] < size[0] or logits.shape[-1] < size[1]:
        return resize(logits, like), valid
    # a cell of an exit reads its label in its middle: all of them may be ignored where the larger cell's middle is not
    small, there = cell_means(logits, label_at(batch, logits) != IGNORE, size)
    return small, valid & there


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
        losses = []
        for one, goal in zip(student.exits, goals):
            small, counts = at_size(goal, one, batch)
            losses.append(self.knowledge(Prediction(one), Prediction(small), only(shrunk(batch, one), counts)))
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
                smaller = min(one, goal, key=lambda side: side.shape[-2:].numel())
                (ours, here), (theirs, there) = (at_size(side, smaller, batch) for side in (one, goal))
                losses.append(response(ours, theirs, here & there, self.temperature, True))
        return torch.stack(losses).mean()
