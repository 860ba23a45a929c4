"""Knowledge of a teacher of another architecture, in the one space that both share: that of the logits."""

from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.distill.exits import shrunk
from segkd.distill.knowledge.enhanced import Variant, towards
from segkd.losses import hushed
from segkd.types import Batch, InputError, Prediction, refuse_number


def one_for_all(
    exits: tuple[Float[Tensor, "b k _h _w"], ...],
    output: Float[Tensor, "b k h w"],
    teacher: Float[Tensor, "b k h w"],
    batch: Batch,
    epsilons: list[float],
    variant: Variant,
) -> Float[Tensor, ""]:
    """L(output) + mean_i L(exit_i), L = `towards` with an epsilon of its own (OFA-KD, Hao et al., NeurIPS 2023).

    The target of all is q, the teacher's final probabilities, at an exit their mean by area over the valid pixels of
    each cell; the label of a cell is by nearest-exact. Departure: a mean over the exits instead of a sum, so that the
    weight does not depend on their number.

    Args:
        exits: the student's side logits, each at its own size.
        output: its logits.
        teacher: the teacher's logits.
        batch: label and valid pixels.
        epsilons: one for each exit in order, and the output's.
        variant: as `towards`.
    """
    shares = hushed(teacher, batch.valid).softmax(dim=1)
    whole, losses = replace(batch, soft=shares), []
    for one, epsilon in zip((*exits, output), epsilons, strict=True):
        there = shrunk(whole, one)
        assert there.soft is not None
        losses.append(towards(one, there.soft, there.label, there.valid, epsilon, variant))
    return losses[-1] + torch.stack(losses[:-1]).mean()


@final
class OneForAll(Knowledge):
    """The teacher's final probabilities, more weight on the label's class, at the student's output and at all its
    exits: nothing of its features is read, so that it may be of any architecture: `one_for_all`.

    Args:
        epsilon: 1 is plain distillation in the "code" form; larger trusts the label's class more. One number for all,
            or a list: one for each exit, finest first, and then the output's.
        variant: the formula of the "paper" or of the official "code".
    """

    reads, needs = frozenset({"logits", "exits"}), frozenset({"logits"})

    def __init__(self, epsilon: float | list[float] = 1.5, variant: Variant = "code") -> None:
        super().__init__()
        given = epsilon if isinstance(epsilon, list) else [epsilon]
        if not given:
            raise InputError("OneForAll: epsilon is a number of 1 or more, or a list of them, found none.")
        for one in given:
            refuse_number("OneForAll: epsilon", one, least=1.0)
        self.epsilon, self.several = given, isinstance(epsilon, list)
        self.variant: Variant = variant

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError unless there is an epsilon for each exit and one for the output."""
        wanted = len(student.exits) + 1
        if self.several and len(self.epsilon) != wanted:
            raise InputError(
                f"OneForAll: expected {wanted} numbers in epsilon, one for each of the student's {wanted - 1} exits, "
                f"finest first, and one for its output, found {len(self.epsilon)}. Write {wanted} of them, or one "
                "number for all."
            )

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """A sum of means over the valid pixels of all processes."""
        epsilons = self.epsilon if self.several else self.epsilon * (len(student.exits) + 1)
        return one_for_all(student.exits, student.logits, target.logits, batch, epsilons, self.variant)
