"""Response knowledge: the teacher's and the student's class probabilities per pixel."""

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkd.device import at_once
from segkd.distill.base import Knowledge
from segkd.losses import global_mean
from segkd.structure import structure_weights
from segkd.types import Batch, Prediction, refuse_number


def response(
    student: Float[Tensor, "b k h w"],
    teacher: Float[Tensor, "b k h w"],
    valid: Bool[Tensor, "b h w"],
    temperature: float,
    soften_student: bool,
    weights: Float[Tensor, "b h w"] | None = None,
) -> Float[Tensor, ""]:
    """T^2 mean_V KL(softmax(t / T) || softmax(s / T)): Hinton et al. 2015; Tf-KD (Yuan et al., CVPR 2020, eq. 9).

    Eq. 9 has no T^2; with it, as in Hinton, the size of the gradient does not depend on T. Departures from
    the official Tf-KD code: a mean over valid pixels, not over pixels and classes; ignored pixels are left out.
    With `soften_student=False` the student stays at temperature 1, as in the official code, and no T^2 is
    needed: mixed with cross-entropy, that is label smoothing under another name. With `weights`, which are 0 wherever
    `valid` is not, the mean is weighted.
    """
    compare = MapDivergence(temperature, temperature if soften_student else 1.0, teacher.detach())
    values = DivergencePerPixel.apply(student, valid, compare)
    return (temperature**2 if soften_student else 1.0) * global_mean(values, valid if weights is None else weights)


@dataclass(frozen=True)
class MapDivergence:
    """KL to a teacher's map of logits."""

    temperature_t: float
    temperature_s: float
    teacher: Float[Tensor, "b k h w"]

    def __call__(self, part: slice, x: Tensor, values: Tensor) -> Tensor:
        """Writes KL of the images `part`, [n h w], to `values`; x, [n k h w], are their softened student's logits.

        Returns p - q, the gradient with respect to x.
        """
        y = self.teacher[part].to(x.dtype) / self.temperature_t
        gap = y - x
        log_z = softmax_(x)
        torch.sub(log_z, softmax_(y), out=values)
        values.add_(gap.mul_(y).sum(dim=1))
        return x.sub_(y)


class DivergencePerPixel(torch.autograd.Function):
    """KL(teacher || softmax(s / T_s)) at each valid pixel, 0 elsewhere; the gradient goes to s alone.

    Written out because it runs in every step: d KL / d s = (p - q) / T_s is at hand once the value is, so nothing
    else is kept. On a CPU it goes image by image, which stay in the cache from one pass to the next.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, valid: Tensor, compare: MapDivergence) -> Float[Tensor, "b h w"]:
        """Values [b h w]."""
        # half precision is widened, and double stays
        s, host = student.detach(), at_once(student.device)
        dtype = torch.promote_types(s.dtype, torch.float32)
        # torch's softmax over dimension 1 is fast on contiguous planes only
        gradient = torch.empty(s.shape, dtype=dtype, device=s.device)
        values = torch.empty(valid.shape, dtype=dtype, device=s.device)
        for part in [slice(i, i + 1) for i in range(len(s))] if host else [slice(None)]:
            x = s[part].to(dtype).contiguous() / compare.temperature_s
            gradient[part] = compare(part, x, values[part])
        # masked after the softmax, so that a pixel without a label has a gradient of 0 even where it is inf
        values.masked_fill_(~valid, 0.0)
        if not host or not bool(valid.all()):  # on an accelerator, looking would wait for it
            gradient.masked_fill_(~valid.unsqueeze(1), 0.0)
        ctx.save_for_backward(gradient)
        ctx.temperature = compare.temperature_s
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of `student`, [b k h w]."""
        (gradient,) = ctx.saved_tensors
        return gradient * (grad / ctx.temperature).unsqueeze(1), None, None


def softmax_(x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n h w"]:
    """Turns logits into probabilities, in place; returns log sum_k exp(x_k)."""
    highest = x.amax(dim=1, keepdim=True)
    total = x.sub_(highest).exp_().sum(dim=1, keepdim=True)
    x.div_(total)
    return total.log_().add_(highest).squeeze(1)


@final
class Response(Knowledge):
    """The teacher's class probabilities per pixel, softened by a temperature: `response`.

    Args:
        temperature: T >= 1 flattens teacher and student alike; for two classes keep it at 4 or below.
        soften_student: False leaves the student at T = 1, as the official Tf-KD code does.
        emphasis: how much more a pixel among other classes counts (`structure_weights`); 0: all count alike.
    """

    reads = needs = frozenset({"logits"})

    def __init__(self, temperature: float = 2.0, soften_student: bool = True, emphasis: float = 0.0) -> None:
        super().__init__()
        refuse_number("Response: temperature", temperature, above=True)
        refuse_number("Response: emphasis", emphasis)
        self.temperature, self.soften_student, self.emphasis = temperature, soften_student, emphasis

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the valid pixels of all processes."""
        s, t, valid = student.logits, target.logits, batch.valid
        weights = structure_weights(batch.label, valid, s.shape[1], self.emphasis) if self.emphasis else None
        return response(s, t, valid, self.temperature, self.soften_student, weights)
