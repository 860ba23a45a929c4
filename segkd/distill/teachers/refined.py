"""A teacher that sees what the student sees and thinks further: a neck on the student's features (FRSKD, Rocket)."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from segkd.distill.base import Look, Scene, Teacher
from segkd.models.decoder import FusionDecoder, deep_head, resize, summed
from segkd.types import Batch, InputError, Lesson, Prediction


@final
class Refined(Teacher):
    """A self-teacher network on the student's features: FRSKD (Ji et al., CVPR 2021); with `distiller.features:
    [encoder]` and a larger width, the booster of Rocket launching (Zhou et al., AAAI 2018).

    It learns from the labels, and its task loss is not blocked: it goes back into the student's trunk, as in FRSKD's
    segmentation code. Departure: the neck is a fusion decoder like the student's own instead of BiFPN layers.

    Args:
        width: channels of the neck; the student's finest features' when null.
    """

    gives = frozenset({"logits", "features"})
    learns = frozenset({"label"})

    def __init__(self, width: int | None = None) -> None:
        super().__init__()
        if width is not None and width < 1:
            raise InputError(f"Refined: width is a number of channels, at least 1, or null, found {width}.")
        self.width = width

    def meet(self, scene: Scene) -> None:
        """Makes neck and head. Raises InputError for fewer than two levels."""
        channels = [level.shape[1] for level in scene.seen.features]
        if len(channels) < 2:
            raise InputError(
                f"Refined refines a pyramid, and the student has {len(channels)} levels of features. Name two or more, "
                "finest first: distiller.features: [path.of.a.layer, ...]."
            )
        width = self.width or channels[0]
        self.neck = FusionDecoder(channels, width)
        self.head = deep_head(width, width, scene.classes)

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """Logits at the image's size and the refined pyramid, with their gradient."""
        levels = self.neck(list(student.features))
        return Lesson(Prediction(self._logits(levels, student.logits), tuple(levels)))

    def _logits(self, levels: list[Tensor], like: Tensor) -> Float[Tensor, "b k h w"]:
        return resize(self.head(summed(levels)).contiguous(), like)
