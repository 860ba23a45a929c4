"""Response knowledge: the teacher's and the student's class probabilities per pixel."""

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkd.distill.base import Knowledge
from segkd.losses import global_mean
from segkd.types import Batch, InputError, Prediction


def response(
    student: Float[Tensor, "b k h w"],
    teacher: Float[Tensor, "b k h w"],
    valid: Bool[Tensor, "b h w"],
    temperature: float,
    soften_student: bool,
) -> Float[Tensor, ""]:
    """T^2 mean_V KL(softmax(t / T) || softmax(s / T)): Hinton et al. 2015; Tf-KD (Yuan et al., CVPR 2020, eq. 9).

    Eq. 9 has no T^2; with it, as in Hinton, the size of the gradient does not depend on T. Departures from
    the official Tf-KD code: a mean over valid pixels, not over pixels and classes; ignored pixels are left out.
    With `soften_student=False` the student stays at temperature 1, as in the official code, and no T^2 is
    needed: mixed with cross-entropy, that is label smoothing under another name.
    """
    values = DivergencePerPixel.apply(student, teacher, valid, temperature, temperature if soften_student else 1.0)
    return (temperature**2 if soften_student else 1.0) * global_mean(values, valid)


class DivergencePerPixel(torch.autograd.Function):
    """KL(softmax(t / T_t) || softmax(s / T_s)) at each valid pixel, 0 elsewhere; the gradient goes to s alone.

    Written out because it runs in every step: d KL / d s = (softmax(s / T_s) - softmax(t / T_t)) / T_s is at hand once
    the value is, so nothing else is kept, and three passes of autograd over [b k h w] are saved.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, valid: Tensor, temperature_t: float, temperature_s: float
    ) -> Tensor:
        """Values [b h w]."""
        # torch's softmax over dimension 1 is fast on contiguous planes only
        log_p = F.log_softmax(student.detach().contiguous() / temperature_s, dim=1)
        log_t = F.log_softmax(teacher.detach().contiguous() / temperature_t, dim=1)
        t = log_t.exp()
        values = log_t.sub_(log_p).mul_(t).sum(dim=1).masked_fill_(~valid, 0.0)
        # masked after the softmax, so that a pixel without a label has a gradient of 0 even where it is inf
        ctx.save_for_backward(log_p.exp_().sub_(t).masked_fill_(~valid.unsqueeze(1), 0.0))
        ctx.temperature = temperature_s
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of `student`, [b k h w]."""
        (difference,) = ctx.saved_tensors
        return difference * (grad / ctx.temperature).unsqueeze(1), None, None, None, None


@final
class Response(Knowledge):
    """The teacher's class probabilities per pixel, softened by a temperature.

    Args:
        temperature: T >= 1 flattens teacher and student alike; for two classes keep it at 4 or below.
        soften_student: False leaves the student at T = 1, as the official Tf-KD code does.
    """

    needs = frozenset({"logits"})

    def __init__(self, temperature: float = 2.0, soften_student: bool = True) -> None:
        super().__init__()
        if temperature <= 0:
            raise InputError(f"Response: temperature must be above 0, found {temperature}.")
        self.temperature, self.soften_student = temperature, soften_student

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the valid pixels of all processes."""
        return response(student.logits, target.logits, batch.valid, self.temperature, self.soften_student)
