"""A teacher that learns alongside: another network (deep mutual learning)."""

from collections.abc import Callable
from typing import final

from segkd.distill.base import Look, Scene, Teacher
from segkd.models.network import Network
from segkd.models.taps import tapped
from segkd.types import Batch, Lesson, Prediction


@final
class Peer(Teacher):
    """A second network that sees the same images and learns from the labels and from the student (deep mutual learning,
    Zhang et al., CVPR 2018). Only the student is kept.

    Args:
        network: the peer, with features of its own; one more of the student's kind, with a random start of its own and
            the student's features, when null. `--init` is the student's alone: two networks of one start would stay
            one. Layers that `optim.freeze` names for the whole training are frozen in a peer of the student's kind;
            those of a schedule, and in a network of another kind, are not.
        mutual: whether it learns of the student too, not of the labels alone.
    """

    gives = frozenset({"logits", "features"})

    def __init__(self, network: Callable[[int], Network] | None = None, mutual: bool = True) -> None:
        super().__init__()
        self.make = network
        self.learns = frozenset({"label", "student"} if mutual else {"label"})

    def meet(self, scene: Scene) -> None:
        """Makes the peer."""
        self.network = scene.another() if self.make is None else self.make(scene.classes)
        self.features = scene.features if self.make is None else None

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the peer predicts of the same images, with its gradient."""
        return Lesson(tapped(self.network, batch.image, self.features))
