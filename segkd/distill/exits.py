"""Side logits on the student's features, for training alone: deep supervision, and what methods in depth compare."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.distill.base import Knowledge, named
from segkd.losses import TaskLoss, resize_label, resize_shares
from segkd.models.decoder import Head, deep_head
from segkd.types import Batch, InputError, Prediction, Schedule, schedule_values


@final
class Exits(nn.Module):
    """A head on every level of the student's features; none of it is in the student's file.

    Args:
        weight: of the task loss on their logits (a mean over the levels): a number, or {progress 0..1: weight}.
        width: channels between features and logits, a 3x3 convolution with BatchNorm and ReLU; null for a 1x1
            convolution alone.
    """

    def __init__(self, weight: Schedule = 1.0, width: int | None = None) -> None:
        super().__init__()
        schedule_values("distiller.exits.weight", weight, least=0.0)
        if width is not None and width < 1:
            raise InputError(f"distiller.exits.width is a number of channels, at least 1, or null, found {width}.")
        self.weight, self.width = weight, width
        self.heads = nn.ModuleList()

    def meet(self, features: Sequence[Float[Tensor, "b _c _h _w"]], classes: int) -> None:
        """Makes a head for each level. Raises InputError if there is none."""
        if not features:
            raise InputError(
                "distiller.exits: the network gives no features to put exits on. Name layers of it: "
                "distiller.features: [path.of.a.layer, ...]."
            )
        self.heads.extend(self._head(level.shape[1], classes) for level in features)
        self.heads.to(features[0].device)

    def forward(self, features: Sequence[Float[Tensor, "b _c _h _w"]]) -> tuple[Float[Tensor, "b k _h _w"], ...]:
        """Logits of every level at its own size, in the order of the features."""
        return tuple(head(level) for head, level in zip(self.heads, features))

    def _head(self, channels: int, classes: int) -> nn.Module:
        if self.width is None:
            return Head(channels, classes)
        return deep_head(channels, self.width, classes)


def exit_loss(task: TaskLoss, student: Prediction, batch: Batch) -> Float[Tensor, ""]:
    """The task loss of side logits at their own sizes, mean over the levels: deep supervision (Lee et al., AISTATS
    2015; the sum there is a mean here, so that its weight does not depend on the number of levels)."""
    return torch.stack([task(logits, shrunk(batch, logits)) for logits in student.exits]).mean()


def shrunk(batch: Batch, like: Float[Tensor, "b _k h w"]) -> Batch:
    """The batch's label and class shares at the size of `like`.

    Fields of a batch agree on their size, and no loss reads the images or asks where pixels lay: of the images the top
    left corner of that size is kept, a view that costs nothing, and `source` is dropped.
    """
    size = like.shape[-2:]
    if size == batch.label.shape[-2:]:
        return batch
    soft = None
    if batch.soft is not None:  # shares of the valid part alone, as the loader's are
        soft = resize_shares(batch.soft.masked_fill(~batch.valid.unsqueeze(1), 0.0), size)
    image = batch.image[..., : size[0], : size[1]]
    return replace(batch, image=image, clean=image, label=resize_label(batch.label, size), soft=soft, source=None)


def refuse_untaught(exits: Exits | None, own: Mapping[str, Knowledge]) -> None:
    """Raises InputError where one of the terms `own`, whose teacher the student is itself, listens to the student's
    exits, which no term teaches, and the labels do not either."""
    if exits is None or any(schedule_values("distiller.exits.weight", exits.weight)):
        return
    heard = [name for name, compare in own.items() if "exits" in compare.needs]
    if heard:
        raise InputError(
            f"distiller.terms.{heard[0]} ({named(own[heard[0]])}) listens to the student's exits, and with "
            "distiller.exits.weight: 0 nobody teaches them. Write a weight above 0, as methods/uskd.yaml does (0.1)."
        )
