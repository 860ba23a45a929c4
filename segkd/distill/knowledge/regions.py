"""Regions compared as they are scored: by how much the student's and the teacher's overlap."""

from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from segkd.distill.base import Knowledge
from segkd.losses import hushed, one_hot, soft_iou
from segkd.types import IGNORE, Batch, Prediction


def regions(
    student: Float[Tensor, "b k h w"], teacher: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """1 - (|p| + |q| - |p - q|) / (|p| + |q| + |p - q|) of the student's probabilities p and the teacher's q, sums over
    the valid pixels of an image, mean over the (image, class) pairs that occur: the Jaccard metric loss (Wang et al.,
    NeurIPS 2023, eq. 4) with a teacher's soft labels, minimal at p = q.

    A class occurs in an image where it is the teacher's likeliest at a valid pixel. Departure: that mean, where the
    official code averages over a batch.
    """
    shares = hushed(teacher.detach(), valid).softmax(dim=1)
    likeliest = one_hot(shares.argmax(dim=1).masked_fill(~valid, IGNORE), shares.shape[1])
    return soft_iou(student, shares * likeliest.amax(dim=(2, 3), keepdim=True), valid, "l1")


@final
class Regions(Knowledge):
    """The teacher's regions, by their overlap with the student's: `regions`. Beside `Response` it is to a teacher what
    the soft IoU is beside the cross-entropy to a label."""

    reads = needs = frozenset({"logits"})

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the images and classes of all processes."""
        return regions(student.logits, target.logits, batch.valid)
