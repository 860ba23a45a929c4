"""Logits themselves compared."""

from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.losses import global_mean, hushed
from segkd.types import Batch, Prediction


def logit_hint(
    student: Float[Tensor, "b k h w"], teacher: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """mean_V mean_k (s - t)^2 of logits without their mean over the classes, which no probability depends on (Ba and
    Caruana, NeurIPS 2014; the hint of Rocket launching, Zhou et al., AAAI 2018)."""
    s, t = (hushed(logits, valid).float() for logits in (student, teacher))
    gap = (s - s.mean(dim=1, keepdim=True)) - (t - t.mean(dim=1, keepdim=True))
    return global_mean(gap.square().mean(dim=1), valid)


@final
class LogitHint(Knowledge):
    """The teacher's logits, by their squared difference: `logit_hint`."""

    reads = needs = frozenset({"logits"})

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the valid pixels of all processes."""
        return logit_hint(student.logits, target.logits, batch.valid)
