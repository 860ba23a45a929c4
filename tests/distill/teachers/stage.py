"""A small student, and the moment at which a teacher meets it."""

import torch
from torch import nn

from segkd.distill.base import Scene, Teacher
from segkd.models.network import Network
from segkd.types import Batch, Prediction


class Tiny(Network):
    """Two levels of features and logits, in a few hundred numbers; BatchNorm shows how it looked."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 6, 3, 2, 1)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, image: torch.Tensor) -> Prediction:
        a = self.first(image)
        logits = nn.functional.interpolate(self.head(a), size=image.shape[-2:], mode="bilinear")
        return Prediction(logits, (a, self.second(a)))


class Pointwise(Network):
    """Logits from the colours of each pixel alone."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, classes, 1)

    def forward(self, image: torch.Tensor) -> Prediction:
        return Prediction(self.mix(image))


def met(teacher: Teacher, student: Network, batch: Batch, steps_per_epoch: int = 4) -> Teacher:
    with torch.no_grad():
        seen = student.eval()(batch.clean)
    student.train()
    teacher.meet(Scene(student, batch, seen, steps_per_epoch, type(student)))
    return teacher.train()


def shaken(student: Network) -> Network:
    """The student after something like a step."""
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return student
