"""The teacher of SimKD: the finished run whose head its student has."""

from typing import final

import torch
from torch import Tensor

from segkd.distill.base import Look, Scene, Teacher, moved
from segkd.distill.teachers.frozen import Alone
from segkd.models.member import Member, about_classes, opened, refuse_unlike
from segkd.models.network import Network
from segkd.models.reused import ReusedHead
from segkd.types import Batch, InputError, Lesson, Prediction


@final
class Donor(Teacher):
    """The run that gave the student its head (`model: ReusedHead`), which is asked for what that head reads: SimKD
    (Chen et al., CVPR 2022). It sees the undisturbed images at its own size, lies in no checkpoint, and its score on
    val is told before the training.
    """

    gives = frozenset({"logits", "features"})

    def __init__(self) -> None:
        super().__init__()
        self.members: list[Member] = []  # a plain list: neither optimised nor saved
        self.reads = "head:in"

    def meet(self, scene: Scene) -> None:
        """Reads the run. Raises InputError where the student has no other's head, or the classes are not the same."""
        student = scene.student
        if not isinstance(student, ReusedHead) or student.run is None or student.donor is None:
            raise InputError(
                "Donor teaches a student that ends in its head, and the student has a head of its own. Write model: "
                "ReusedHead, model.run: runs/teacher, and name the network inside: model.network, model.arguments."
            )
        names = scene.class_names
        member = opened(student.run, len(names), scene.size, student.trust)
        refuse_unlike(member, names, "Donor")
        self.members, self.reads = [member], f"{student.donor['head']}:in"
        self.said = (about_classes(member, names),)
        if self.predicted(scene.batch.clean).features[0].min() < 0:
            self.said += (
                f"{member.name}: its head reads numbers below 0, which the projector's last ReLU never gives",
            )

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the run says, and what its head reads."""
        return Lesson(moved(self.predicted(batch.clean), batch))

    def predicted(self, image: Tensor) -> Prediction:
        """What it says of images in 0..1, its features those that its head reads."""
        return self.members[0](image, [self.reads])

    def alone(self) -> Network:
        """As a network, to be scored on val."""
        return Alone(self.predicted)
