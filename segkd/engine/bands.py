"""Band errors: how far a network is from its labels at each spatial frequency, while it learns."""

import math
from typing import final

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float, Int64
from torch import Tensor

from segkd.frequency.rings import centred, power, ring_energy, ring_matrix
from segkd.types import Batch

ROUNDING = 1e-20
"""A band with less than this share of a label's energy holds rounding of the transform (float64), not the label."""

PLANES = 8
"""Planes that are transformed at once."""


@final
class BandErrors:
    """Relative error of the output in each radial band, E_b = (sum |P_b (p - g)|^2 / sum |P_b g|^2)^.5.

    p is the softmax at the network's input size, g the one-hot label of that size, P_b keeps the frequencies of band b
    (`segkd.frequency.rings`); both are 0 on ignored pixels. Sums are over images and classes. 0 is perfect, and 1 is
    what a constant prediction gets where no pixel is ignored. The dense analogue of the error per frequency of Xu,
    Zhang, Luo, Xiao & Ma, "Frequency Principle: Fourier Analysis Sheds Light on Deep Neural Networks" (CiCP 2020).

    A call adds a batch, `take` gives the errors and begins anew. The labels' energy is worked out once for each batch
    that is met, told by its ids: an instance serves one data set.

    Args:
        size: height and width of the predictions in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.matrix = ring_matrix(*size)
        self.labels: dict[tuple[str, ...], np.ndarray] = {}
        self.sums = np.zeros((2, self.matrix.shape[1]))  # of errors, of labels

    @torch.no_grad()
    def __call__(self, batch: Batch, logits: Float[Tensor, "b k h w"]) -> None:
        """Adds a batch; one rfft2 per image and plane."""
        if batch.ids not in self.labels:
            self.labels[batch.ids] = label_energy(batch.label.cpu(), logits.shape[1], self.matrix.cpu())
        self.matrix = self.matrix.to(logits.device)
        # a few planes at a time stay in the cache; rings are a sum too, so they come last
        parts = difference(batch.label, logits).flatten(0, 1).split(PLANES)
        squares = torch.stack([power(part).sum(dim=0) for part in parts]).flatten(1)
        energy = (squares @ self.matrix).cpu().double()  # not every device has float64
        self.sums += np.stack([energy.sum(dim=0).numpy(), self.labels[batch.ids]])

    def take(self, accelerator: Accelerator) -> list[float]:
        """E_b of what all processes saw since the last call, the same on each; NaN where no label has energy."""
        parts = gather_object([self.sums]) if accelerator.num_processes > 1 else [self.sums]
        self.sums = np.zeros_like(self.sums)
        errors, labels = np.sum(parts, axis=0).tolist()
        return [math.sqrt(error / label) if label > 0 else math.nan for error, label in zip(errors, labels)]


def difference(label: Int64[Tensor, "b h w"], logits: Float[Tensor, "b k h w"]) -> Float[Tensor, "b planes h w"]:
    """p - g without its mean over the valid pixels, 0 on the others: a plane per class, of two classes class 1 alone.

    p_0 - g_0 = (1 - p_1) - (1 - g_1) = -(p_1 - g_1) on every valid pixel, so class 0 has the same energy; so has its
    label, g_0 = 1 - g_1. A constant p is as good as knowing nothing, E_b = 1, whatever is ignored.
    """
    k, one = logits.shape[1], label.unsqueeze(1)
    valid = one < k
    if k == 2:  # the label is its own plane; 255, where it stands, is wiped out below
        p = (logits[:, 1:] - logits[:, :1]).sigmoid_().sub_(one)
    else:  # without a one-hot label: -1 at the label's class
        p = logits.softmax(dim=1)
        p.scatter_add_(1, one * valid, p.new_full((), -1.0).expand(one.shape))
    return centred(p, valid)


def label_energy(label: Int64[Tensor, "b h w"], classes: int, matrix: Float[Tensor, "hk bands"]) -> np.ndarray:
    """sum |P_b g|^2 over images and the planes of `difference`, float64 [bands]; `matrix`: of the same size."""
    total = np.zeros(matrix.shape[1])
    wanted = torch.arange(1 if classes == 2 else 0, classes).view(-1, 1, 1)
    for one in label:  # an image at a time: this runs once, and doubles of many classes are large
        g = centred((one == wanted).double(), one < classes)
        energy = ring_energy(g, matrix).sum(dim=0)
        total += torch.where(energy > ROUNDING * g.square().sum(), energy, 0).numpy()
    return total
