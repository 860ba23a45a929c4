"""Response knowledge: the teacher's and the student's class probabilities per pixel."""

from typing import final

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.losses import global_mean, hushed
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
    student = hushed(student, valid)
    softened = student / temperature if soften_student else student
    log_p = F.log_softmax(softened, dim=1)
    log_t = F.log_softmax(teacher / temperature, dim=1)
    values = F.kl_div(log_p, log_t, reduction="none", log_target=True).sum(dim=1)
    return (temperature**2 if soften_student else 1.0) * global_mean(values, valid)


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
