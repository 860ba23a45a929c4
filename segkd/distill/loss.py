"""The virtual teacher as one loss, for a training loop of anyone's."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from segkd.distill.knowledge.response import response
from segkd.distill.teachers.label import Kind, LabelTeacher
from segkd.losses import cross_entropy
from segkd.types import IGNORE, Batch, InputError, Prediction, refuse_number


def virtual_teacher_loss(
    logits: Float[Tensor, "b k h w"],
    label: Shaped[Tensor, "b _h _w"],
    weight: float = 0.5,
    confidence: float = 0.99,
    temperature: float = 2.0,
    kind: Kind = "constant",
    ignore: int = IGNORE,
) -> Float[Tensor, ""]:
    """(1 - weight) CE(s, y) + weight T^2 KL(softmax(t / T) || softmax(s / T)), t made from the label, in place of
    `F.cross_entropy(logits, label)`: Tf-KD_reg (Yuan et al., CVPR 2020, eq. 9) per pixel.

    These are the terms of `methods/virtual_teacher.yaml` with its numbers; the recipe adds three times
    `segkd.losses.SoftIoU`.

    Args:
        logits: before the softmax; one plane is that of a sigmoid.
        label: class numbers 0..k-1, or `ignore`; whole numbers or truth values.
        weight: of the teacher, 0..1.
        confidence: the teacher's probability of the label's class.
        temperature: T, which softens teacher and student.
        kind: how the teacher is made from the label, see `LabelTeacher`; "antialiased" needs more than a label.
        ignore: the label of pixels that count in neither mean.

    Returns:
        A scalar, 0 (with a gradient of 0) where nothing counts.

    Raises:
        InputError: labels of a floating type, or whose size is not that of the logits; a weight or temperature out of
            range; more than 255 classes; on the CPU also class numbers that are none (elsewhere one would have to wait
            for the device).
    """
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if label.is_floating_point() or label.shape != logits[:, 0].shape or not 0 <= weight <= 1:
        raise InputError(
            f"virtual_teacher_loss: expected class numbers {list(logits[:, 0].shape)}, as the logits, and a weight in "
            f"0..1, found {label.dtype} {list(label.shape)} and {weight}. Enlarge logits with F.interpolate; "
            "label.long() makes numbers of other types."
        )
    refuse_number("virtual_teacher_loss: temperature", temperature, above=True)
    label = label.long()
    _refuse_no_classes(label, logits.shape[1], ignore)
    label = label.masked_fill(label == ignore, IGNORE)
    nothing = logits.new_zeros(()).expand(len(label), 3, *label.shape[1:])  # the teacher looks at labels alone
    batch = Batch(nothing, nothing, label, None, ("",) * len(label))
    teacher = LabelTeacher(kind, confidence)(batch, Prediction(logits), _blind).target.logits
    hard = cross_entropy(logits, label, batch.valid, None)
    return (1 - weight) * hard + weight * response(logits, teacher, batch.valid, temperature, True)


def _refuse_no_classes(label: Tensor, classes: int, ignore: int) -> None:
    if classes > IGNORE:
        raise InputError(
            f"virtual_teacher_loss: expected at most {IGNORE} classes, numbered below {IGNORE}, which is the label of "
            f"pixels that count nowhere, found {classes}. Join the rare ones."
        )
    if label.device.type != "cpu" or not len(found := label[(label != ignore) & ((label < 0) | (label >= classes))]):
        return
    raise InputError(
        f"virtual_teacher_loss: expected class numbers 0..{classes - 1} or {ignore} (ignore), found {int(found[0])}."
    )


def _blind(image: Tensor) -> Prediction:
    raise AssertionError("a teacher made from labels looks at no image")
