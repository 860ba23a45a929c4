"""A teacher for training alone that sees the label beside the student's features: label-guided distillation."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segkd.distill.base import Look, Scene, Teacher
from segkd.losses import one_hot
from segkd.models.decoder import Head, resize, separable, summed
from segkd.types import Batch, InputError, Lesson, Prediction


@final
class Guided(Teacher):
    """A module that reads the label beside the student's features, and teaches features and logits (LGD, Zhang et al.,
    AAAI 2022, for detectors; LAD, ECCV 2024): the virtual teacher that knows more than a smoothed label.

    At each level the label's class shares, of which some cells are hidden, are embedded and joined with the student's
    features, which it takes as given; the joined levels go through convolutions of their own, and their sum through a
    head. It learns from the whole label, so that it must read the hidden cells out of the features and their
    neighbours: a teacher that saw all of the label would answer with the label.

    Departures from LGD: class shares per pixel instead of boxes, convolutions instead of attention, a head of its own.

    Args:
        hide: share of the cells whose label is hidden, drawn anew in each step; none in evaluation mode.
        cell: side of a cell in pixels of the image.
        width: channels of the module; the student's finest features' when null.
    """

    gives = frozenset({"logits", "features"})
    learns = frozenset({"label"})

    def __init__(self, hide: float = 0.5, cell: int = 16, width: int | None = None) -> None:
        super().__init__()
        if not 0 <= hide < 1:
            raise InputError(f"Guided: hide is a share of cells, 0 <= hide < 1, found {hide}.")
        if cell < 1:
            raise InputError(f"Guided: cell is a side in pixels, at least 1, found {cell}.")
        if width is not None and width < 1:
            raise InputError(f"Guided: width is a number of channels, at least 1, or null, found {width}.")
        self.hide, self.cell, self.width = hide, cell, width

    def meet(self, scene: Scene) -> None:
        """Makes the module. Raises InputError for a student without features."""
        if not scene.seen.features:
            raise InputError(
                "Guided joins the label with the student's features, and there are none. Name layers, finest first: "
                "distiller.features: [path.of.a.layer, ...]."
            )
        channels = [level.shape[1] for level in scene.seen.features]
        width = self.width or channels[0]
        # one plane more than classes: where the label is hidden or ignored
        self.embed = nn.ModuleList(nn.Conv2d(scene.classes + 1, width, 1) for _ in channels)
        self.join = nn.ModuleList(separable(c + width, width) for c in channels)
        self.think = nn.ModuleList(separable(width, c) for c in channels)
        self.gather = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.head = Head(width, scene.classes)

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """Logits at the image's size and features with the student's channels, with the module's gradient."""
        seen = self._seen_label(batch, student.logits.shape[1])
        levels = []
        for level, embed, join, think in zip(student.features, self.embed, self.join, self.think):
            hint = embed(F.interpolate(seen, size=level.shape[-2:], mode="area"))
            levels.append(think(join(torch.cat([level.detach(), hint], dim=1))))
        x = summed([gather(level) for gather, level in zip(self.gather, levels)])
        return Lesson(Prediction(resize(self.head(x).contiguous(), student.logits), tuple(levels)))

    def _seen_label(self, batch: Batch, classes: int) -> Float[Tensor, "b c h w"]:
        """One plane per class, and one for what is not seen."""
        planes = one_hot(batch.label, classes)
        if self.training and self.hide:
            b, h, w = batch.label.shape
            cells = torch.rand(b, 1, -(-h // self.cell), -(-w // self.cell), device=planes.device) >= self.hide
            shown = F.interpolate(cells.float(), scale_factor=self.cell, mode="nearest")[..., :h, :w]
            planes = planes * shown
        return torch.cat([planes, 1 - planes.sum(dim=1, keepdim=True)], dim=1)
