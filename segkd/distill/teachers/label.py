"""The virtual teacher: a distribution over classes for every pixel, made from the labels alone."""

from dataclasses import replace
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segkd.distill.base import Look, Teacher
from segkd.distill.exits import shrunk
from segkd.losses import one_hot
from segkd.types import Batch, InputError, Lesson, Prediction, Schedule, schedule_values, scheduled

Kind = Literal["constant", "smoothed", "boundary", "window", "antialiased"]


def confidence_rows(confidence: float, classes: int) -> Float[Tensor, "k k"]:
    """Row c is p^d for label c: `confidence` at c, (1 - confidence) / (k - 1) elsewhere (Tf-KD, eq. 8)."""
    off = (1 - confidence) / (classes - 1)
    return torch.full((classes, classes), off) + torch.eye(classes) * (confidence - off)


def boundary_pixels(label: Int64[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """Pixels with a valid 4-neighbour of another class."""
    edge = torch.zeros_like(valid)
    across = (label[:, :, 1:] != label[:, :, :-1]) & valid[:, :, 1:] & valid[:, :, :-1]
    down = (label[:, 1:] != label[:, :-1]) & valid[:, 1:] & valid[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return edge


def squared_distance(seeds: Bool[Tensor, "b h w"], radius: int) -> Float[Tensor, "b h w"]:
    """Squared Euclidean distance in pixels to the nearest seed, exact up to `radius`, and (radius + 1)^2 beyond.

    The lower envelope of parabolas is separable: one pass along columns, one along rows. Plain tensor
    arithmetic, so it runs on any device without a round trip to the host.
    """
    far = float((radius + 1) ** 2)
    field = torch.where(seeds, 0.0, far)
    for dim in (1, 2):
        nearest = field
        for shift in range(1, min(radius, field.shape[dim] - 1) + 1):
            moved = torch.full_like(field, far)
            size = field.shape[dim] - shift
            moved.narrow(dim, shift, size).copy_(field.narrow(dim, 0, size))
            back = torch.full_like(field, far)
            back.narrow(dim, 0, size).copy_(field.narrow(dim, shift, size))
            nearest = torch.minimum(nearest, torch.minimum(moved, back) + shift**2)
        field = nearest
    return field.clamp_max(far)


def boundary_confidence(
    label: Int64[Tensor, "b h w"], valid: Bool[Tensor, "b h w"], low: float, high: float, sigma: float
) -> Float[Tensor, "b h w"]:
    """low + (high - low) (1 - exp(-d^2 / 2 sigma^2)), d the distance in pixels to the label boundary.

    Our choice (no source states it): labels are least certain where classes meet.
    """
    distance2 = squared_distance(boundary_pixels(label, valid), radius=max(1, round(4 * sigma)))
    return low + (high - low) * (1 - torch.exp(-distance2 / (2 * sigma**2)))


def window_histogram(
    label: Int64[Tensor, "b h w"], valid: Bool[Tensor, "b h w"], classes: int, sigma: float
) -> Float[Tensor, "b k h w"]:
    """Class shares of the valid labels under a Gaussian window (spatially varying label smoothing,
    Islam & Glocker, IPMI 2021). Departure: normalised by the window's valid part, so borders and ignored pixels
    take nothing away."""
    radius = max(1, round(3 * sigma))
    steps = torch.arange(-radius, radius + 1, device=label.device, dtype=torch.float32)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    planes = one_hot(label.masked_fill(~valid, -1), classes).flatten(0, 1).unsqueeze(1)
    with torch.autocast(label.device.type, enabled=False):  # half precision errs by as much as smoothing moves
        planes = F.conv2d(planes, kernel.view(1, 1, -1, 1), padding=(radius, 0))
        planes = F.conv2d(planes, kernel.view(1, 1, 1, -1), padding=(0, radius))
    shares = planes.view(len(label), classes, *label.shape[1:])
    return shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-12)


@final
class LabelTeacher(Teacher):
    """The pixel-level virtual teacher generated from labels: Tf-KD_reg (Yuan et al., CVPR 2020, eq. 8) per pixel.

    It has no temperature: knowledge softens, as `Response` does. With power softening the optimum of the response is
    the teacher at every temperature, and beside cross-entropy a distribution between teacher and label, so a constant
    teacher is close to label smoothing; the other kinds say something about *where* labels are certain. `antialiased`
    is the only one that knows more than the resized label does.

    Args:
        kind: "constant": confidence `confidence` on the label's class, the rest spread evenly (Tf-KD, eq. 8).
            "smoothed": a on the label's class and (1 - a) / k on every class, the label included: label smoothing
            (Szegedy et al., CVPR 2016).
            "boundary": the confidence falls to `boundary_confidence` where classes meet, over `sigma` pixels.
            "window": class shares under a Gaussian window of `sigma` pixels, blended: a * hist + (1 - a) / k.
            "antialiased": class shares of the full-size label by area under the same warp, blended likewise.
        confidence: a in eq. 8, above 1 / k and below 1. The default is Tf-KD's .99; readings on the
            val list of ECSSD, one seed each, are in docs/results/pipeline.md.
        boundary_confidence: the lowest confidence of "boundary".
        sigma: width in pixels at the training size, for "boundary" and "window": a number, or {progress 0..1 of the
            training: width} interpolated linearly. A window that narrows teaches coarse shapes first.
        soften: "power" gives log p, so that a temperature takes p^(1/T); "softmax_prob" gives p itself, as
            the official Tf-KD code, so that it takes softmax(p / T).
        levels: a target for every exit of the student too: the label's class shares by area at the exit's own grid,
            blended as above. A coarse cell that holds two classes then says so, which no resized label can.
    """

    def __init__(
        self,
        kind: Kind = "constant",
        confidence: float = 0.99,
        boundary_confidence: float = 0.7,
        sigma: Schedule = 2.0,
        soften: Literal["power", "softmax_prob"] = "power",
        levels: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("confidence", confidence), ("boundary_confidence", boundary_confidence)):
            if not 0 < value < 1:
                raise InputError(f"LabelTeacher: {name} is a probability below 1 (0.95, say), found {value}.")
        if kind == "boundary" and boundary_confidence > confidence:
            raise InputError(
                f"LabelTeacher: boundary_confidence is the lowest confidence, found {boundary_confidence} above "
                f"confidence, {confidence}."
            )
        if min(schedule_values("LabelTeacher: sigma", sigma)) <= 0:
            raise InputError(f"LabelTeacher: sigma is a width in pixels, above 0, found {sigma}.")
        self.kind, self.confidence, self.boundary_confidence = kind, confidence, boundary_confidence
        self.sigma, self.soften, self.levels, self.progress = sigma, soften, levels, 0.0
        self.gives = frozenset({"logits", "exits"} if levels else {"logits"})
        self.needs_soft = kind == "antialiased"

    @property
    def width(self) -> float:
        """Sigma at the current progress, in pixels."""
        return scheduled(self.sigma, self.progress)

    def arrive(self, progress: float) -> None:
        """Moves the schedule of sigma on."""
        self.progress = progress

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """The lesson: logits [b k h w], finite everywhere; what stands on ignored pixels is without meaning."""
        classes = student.logits.shape[1]
        lowest = self.boundary_confidence if self.kind == "boundary" else self.confidence
        if lowest <= 1 / classes:
            raise InputError(
                f"LabelTeacher: for {classes} classes every confidence must be above 1 / {classes}, or the teacher "
                f"prefers wrong classes; found {lowest}."
            )
        if self.kind == "constant":
            rows = confidence_rows(self.confidence, classes)
            on, off = self._said(rows)[0, :2].tolist()
            # two numbers serve every pixel: fill with the one, write the other where the label is
            label = batch.label.masked_fill(~batch.valid, 0).unsqueeze(1)
            shape = (len(label), classes, *label.shape[2:])
            logits = torch.full(shape, off, device=label.device).scatter_(1, label, on)
        else:
            logits = self._said(self.distribution(batch, classes))
        return Lesson(Prediction(logits, exits=self._exits(batch, student)))

    def _exits(self, batch: Batch, student: Prediction) -> tuple[Float[Tensor, "b k _h _w"], ...]:
        if not self.levels:
            return ()
        classes = student.logits.shape[1]
        full = replace(batch, soft=one_hot(batch.label, classes) if batch.soft is None else batch.soft)
        even = (1 - self.confidence) / classes
        targets = []
        for one in student.exits:
            shares = shrunk(full, one).soft
            assert shares is not None
            targets.append(self._said(self.confidence * shares + even))
        return tuple(targets)

    def _said(self, shares: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """Probabilities as the logits that are taught."""
        return shares.log() if self.soften == "power" else shares

    def distribution(self, batch: Batch, classes: int) -> Float[Tensor, "b k h w"]:
        """p, the teacher's class probabilities, positive everywhere."""
        if self.kind in ("constant", "boundary"):
            hard = one_hot(batch.label.masked_fill(~batch.valid, 0), classes)
            on = torch.full_like(batch.label, self.confidence, dtype=torch.float32)
            if self.kind == "boundary":
                low, high = self.boundary_confidence, self.confidence
                on = boundary_confidence(batch.label, batch.valid, low, high, self.width)
            off = (1 - on).unsqueeze(1) / (classes - 1)
            return torch.where(hard > 0, on.unsqueeze(1), off)
        return self.confidence * self._shares(batch, classes) + (1 - self.confidence) / classes

    def _shares(self, batch: Batch, classes: int) -> Float[Tensor, "b k h w"]:
        if self.kind == "smoothed":
            return one_hot(batch.label.masked_fill(~batch.valid, 0), classes)
        if self.kind == "window":
            return window_histogram(batch.label, batch.valid, classes, self.width)
        if batch.soft is None:
            raise InputError("LabelTeacher: kind: antialiased reads Batch.soft, but the loader gave none.")
        return batch.soft
