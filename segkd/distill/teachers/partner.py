"""Teachers in view: the student itself, looking at the clean image, at another disturbance, or at another image."""

from dataclasses import replace
from typing import final

import torch

from segkd.distill.base import Look, Scene, Teacher, learning, moved
from segkd.distill.knowledge.feature import class_centres
from segkd.losses import hushed
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, Disturbance, InputError, Lesson, Prediction


@final
class Clean(Teacher):
    """What the student predicts of the undisturbed images, its pixels moved where the disturbance put them: whoever was
    pasted into another image is taught by what it looks like at home (intra-class patch swap, Choi et al.,
    Neurocomputing 2025, in our form: the paper's exact losses were not at hand)."""

    gives = frozenset({"logits", "features"})

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """The student's look at `batch.clean`."""
        return Lesson(moved(look(batch.clean), batch))


@final
class Twin(Teacher):
    """The student under a second disturbance of the same images; both views learn from the labels and from each other
    (DDGSD, Xu and Liu, AAAI 2019).

    Args:
        disturbance: of the second view; it must not move pixels, nor have a table that learns. The size that tables per
            pixel or block need is to be said: data.size does not set it here.
    """

    gives = frozenset({"logits", "features"})
    learns = frozenset({"label", "student"})

    def __init__(self, disturbance: Disturbance) -> None:
        super().__init__()
        self.disturbance = disturbance

    def meet(self, scene: Scene) -> None:
        """Raises InputError for a disturbance that learns or moves pixels."""
        if learning(self.disturbance) or self.disturbance.learns:
            raise InputError(
                f"Twin: {type(self.disturbance).__name__} has a table that learns, and nobody would teach it. Choose a "
                "disturbance without one, such as RandomJpeg, or objective: fixed or random."
            )
        if self.disturbance.train()(scene.batch).source is not None:
            raise InputError(
                f"Twin: {type(self.disturbance).__name__} moves pixels, so that the two views no longer show the same. "
                "Choose one that changes values alone, such as RandomJpeg."
            )

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """The student's look at the second view, with its gradient; at the undisturbed one in evaluation mode."""
        other = replace(batch, image=batch.clean, source=None)
        image = self.disturbance(other).image if self.training else batch.clean
        return Lesson(moved(look(image), batch))

    def arrive(self, progress: float) -> None:
        """The disturbance's schedules move on too."""
        self.disturbance.progress = progress

    def follow(self, student: Network, step: int) -> None:
        """The disturbance follows, as the one of the training does."""
        self.disturbance.follow(self.disturbance.progress)


@final
class SameClass(Teacher):
    """At each pixel, what the student predicts on average for pixels of that class in the next image of the batch
    (CS-KD, Yun et al., CVPR 2020, whose second image of the same class becomes pixels of the same class; our choice).

    Departure: the mean is of probabilities at temperature 1, and `Response` softens it, where CS-KD softens what one
    image says; a mean is softer already.

    Where the next image lacks the class, nothing is taught. Needs batches of two images or more.
    """

    gives = frozenset({"logits"})

    def meet(self, scene: Scene) -> None:
        """Raises InputError for a batch of one image."""
        if len(scene.batch.label) < 2:
            raise InputError("SameClass looks at the next image of the batch: set data.batch_size to 2 or more.")

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """log of the mean probabilities, [b k h w], and where the next image holds the class."""
        shares = hushed(student.logits, batch.valid).float().softmax(dim=1)
        shares, there = class_centres(shares, batch.label, shares.shape[1])
        table, known = shares.roll(-1, dims=0), there.roll(-1, dims=0)
        label = batch.label.masked_fill(batch.label == IGNORE, 0)
        image = torch.arange(len(label), device=label.device).view(-1, 1, 1)
        target = table[image, label].permute(0, 3, 1, 2)
        return Lesson(Prediction(target.clamp_min(1e-6).log()), known[image, label])
