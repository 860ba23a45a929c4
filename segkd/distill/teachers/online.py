"""A teacher made of what the student itself says of each class, on average (online label smoothing)."""

from typing import final

import torch
import torch.distributed as dist
from jaxtyping import Float, Int64
from torch import Tensor

from segkd.device import processes
from segkd.distill.base import Look, Scene, Teacher
from segkd.losses import hushed, one_hot, pixel_sums
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, Lesson, Prediction


def sums_where_right(
    logits: Float[Tensor, "b k h w"], label: Int64[Tensor, "b h w"]
) -> tuple[Float[Tensor, "k k"], Float[Tensor, " k"]]:
    """Row c: the sum of the class probabilities over the pixels of class c predicted as c; and their number."""
    shares = hushed(logits, label != IGNORE).float().softmax(dim=1)
    right = one_hot(label, shares.shape[1]) * (shares.argmax(dim=1) == label).unsqueeze(1)
    return pixel_sums("bchw,bkhw->ck", right, shares), right.sum(dim=(0, 2, 3))


@final
class OnlineLabels(Teacher):
    """At each pixel, the mean of what the student said in the last epoch where it was right about that class:
    `sums_where_right` over their number (online label smoothing, Zhang et al., TIP 2021, per pixel).

    Departures: nothing is taught in the first epoch, where the paper starts from even shares; a class that was never
    predicted right keeps its row, and has none before. With two classes a row is one number, the class's mean
    confidence.
    """

    gives = frozenset({"logits"})
    remembers = True
    rows: Tensor
    known: Tensor
    sums: Tensor
    counts: Tensor

    def meet(self, scene: Scene) -> None:
        """Makes room for a row for each class."""
        k, self.every = scene.classes, scene.steps_per_epoch
        self.register_buffer("rows", torch.full((k, k), 1 / k))
        self.register_buffer("known", torch.zeros(k, dtype=torch.bool))
        self.register_buffer("sums", torch.zeros(k, k))
        self.register_buffer("counts", torch.zeros(k))

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """log of the row of each pixel's class, where it is known; in training, counts what the student says."""
        if self.training:
            sums, counts = sums_where_right(student.logits, batch.label)
            for total, part in ((self.sums, sums), (self.counts, counts)):
                if processes() > 1:
                    dist.all_reduce(part)
                total.add_(part)
        label = batch.label.masked_fill(~batch.valid, 0)
        return Lesson(Prediction(self.rows[label].permute(0, 3, 1, 2).clamp_min(1e-6).log()), self.known[label])

    def follow(self, student: Network, step: int) -> None:
        """At the end of an epoch, what was counted becomes what is taught."""
        if step % self.every == 0:
            seen = self.counts > 0
            means = self.sums / self.counts.clamp_min(1.0).unsqueeze(1)
            self.rows.copy_(torch.where(seen.unsqueeze(1), means, self.rows))
            self.known |= seen
            self.sums.zero_()
            self.counts.zero_()
