"""Response knowledge that treats the label's class apart: decoupled (DKD) and target-enhanced (OFA-KD)."""

from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.losses import global_mean, hushed, one_hot, refuse_weights
from segkd.types import Batch, InputError, Prediction, refuse_number

Variant = Literal["paper", "code"]
"""Of the target-enhanced loss: the formula of the paper, or that of its official code."""


def decoupled(
    student: Float[Tensor, "b k h w"],
    teacher: Float[Tensor, "b k h w"],
    label: Int64[Tensor, "b h w"],
    valid: Bool[Tensor, "b h w"],
    alpha: float,
    beta: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 mean_V (alpha TCKD + beta NCKD), decoupled distillation (Zhao et al., CVPR 2022).

    TCKD is the divergence of (p_y, 1 - p_y), NCKD that of the distributions over all classes but the label's y.
    Departure: a mean over valid pixels of a map instead of over a batch of images.
    """
    target = label.masked_fill(~valid, 0).unsqueeze(1)
    parts = [_split(hushed(logits, valid) / temperature, target) for logits in (student, teacher)]
    (log_s, log_s_other, s_rest), (log_t, log_t_other, t_rest) = parts
    tckd = log_t.exp() * (log_t - log_s) + log_t_other.exp() * (log_t_other - log_s_other)
    share = t_rest.exp()
    nckd = torch.where(share > 0, share * (t_rest - s_rest), 0.0).sum(dim=1)
    return temperature**2 * global_mean(alpha * tckd + beta * nckd, valid)


def _split(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p_y, log(1 - p_y) [b h w], and the log-softmax over the other classes [b k h w] (0 share at y)."""
    others = x.scatter(1, target, -1e4)  # a share of exactly 0, without the NaN of inf - inf
    log_others = others.logsumexp(dim=1)
    log_all = x.logsumexp(dim=1)
    return x.gather(1, target)[:, 0] - log_all, log_others - log_all, others - log_others.unsqueeze(1)


def target_enhanced(
    student: Float[Tensor, "b k h w"],
    teacher: Float[Tensor, "b k h w"],
    label: Int64[Tensor, "b h w"],
    valid: Bool[Tensor, "b h w"],
    epsilon: float,
    variant: Variant,
) -> Float[Tensor, ""]:
    """`towards` the probabilities of a teacher's logits."""
    return towards(student, hushed(teacher, valid).softmax(dim=1), label, valid, epsilon, variant)


def towards(
    student: Float[Tensor, "b k h w"],
    shares: Float[Tensor, "b k h w"],
    label: Int64[Tensor, "b h w"],
    valid: Bool[Tensor, "b h w"],
    epsilon: float,
    variant: Variant,
) -> Float[Tensor, ""]:
    """OFA-KD's target-enhanced loss (Hao et al., NeurIPS 2023), mean over valid pixels, q = `shares` the teacher's and
    p the student's probabilities, y the label's class.

    "paper": -(1 + q_y)^epsilon log p_y - sum_{i != y} q_i log p_i. "code": -sum_i ((q_i + [i = y])^epsilon - [i = y])
    log p_i, as the official code computes it: the exponent reaches the other classes too, and epsilon = 1 is plain
    distillation, -sum_i q_i log p_i.
    """
    log_p = F.log_softmax(hushed(student, valid), dim=1)
    q, hit = hushed(shares, valid), one_hot(label, student.shape[1])
    share = torch.where(hit > 0, (1 + q) ** epsilon, q) if variant == "paper" else (q + hit) ** epsilon - hit
    return global_mean(-(share * log_p).sum(dim=1), valid)


@final
class Decoupled(Knowledge):
    """The teacher's certainty about the label's class, and its opinion on all others, each with a weight of its own:
    `decoupled`.

    Needs more than two classes: with two there is one other class, and nothing to say about it.

    Args:
        alpha: weight of the certainty about the label's class.
        beta: weight of the opinion on the other classes.
        temperature: T of both.
    """

    reads = needs = frozenset({"logits"})

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0) -> None:
        super().__init__()
        refuse_number("Decoupled: temperature", temperature, above=True)
        refuse_weights("Decoupled: alpha and beta", (alpha, beta))
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Raises InputError for two classes."""
        if student.logits.shape[1] == 2:
            raise InputError(
                "Decoupled: with two classes its part on the other classes is always 0. Write Response instead."
            )

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the valid pixels of all processes."""
        return decoupled(
            student.logits, target.logits, batch.label, batch.valid, self.alpha, self.beta, self.temperature
        )


@final
class TargetEnhanced(Knowledge):
    """The teacher's class probabilities with more weight on the label's class: made for teachers of another
    architecture, whose opinion on the other classes fits less: `target_enhanced`.

    Args:
        epsilon: 1 is plain distillation in the "code" form; larger trusts the label's class more.
        variant: the formula of the "paper" or of the official "code".
    """

    reads = needs = frozenset({"logits"})

    def __init__(self, epsilon: float = 1.5, variant: Variant = "code") -> None:
        super().__init__()
        refuse_number("TargetEnhanced: epsilon", epsilon, least=1.0)
        self.epsilon = epsilon
        self.variant: Variant = variant

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the valid pixels of all processes."""
        return target_enhanced(student.logits, target.logits, batch.label, batch.valid, self.epsilon, self.variant)
