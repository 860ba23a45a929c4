"""What an array that a foreign network gives means: probabilities, logits, levels or class numbers, as logits."""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segkd.types import InputError

SURE = 16.0
"""A probability of 0 or 1 becomes this logit, negative or positive."""

SLACK = 1e-3
"""How far beyond 0..1 a probability may lie for rounding's sake (half precision); it is clipped."""

Meaning = Literal["probability", "logits", "levels", "classes"]
"""Levels are probabilities as 0..255; classes are class numbers."""


def planes_of(raw: np.ndarray, number: int, classes: int, size: tuple[int, int]) -> np.ndarray | None:
    """An array as maps [n c h w], c = 1 or `classes`; None if it can be no such maps of `number` images.

    Understood are [n c h w], [n h w c] and [n h w]; of one image, the same without n. Maps have about the aspect of
    the images, which are of `size` (h, w).
    """
    if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "fiub" or raw.size == 0:
        return None
    channels = {1, classes}
    if raw.ndim == 4 and len(raw) == number:
        found = raw if raw.shape[1] in channels else np.moveaxis(raw, 3, 1) if raw.shape[3] in channels else None
    elif raw.ndim == 3 and len(raw) == number:
        found = raw[:, None]
    elif raw.ndim == 3 and number == 1:
        return planes_of(raw[None], 1, classes, size)
    elif raw.ndim == 2 and number == 1:
        found = raw[None, None]
    else:
        found = None
    if found is None or (max(found.shape[2:]) == 1 < min(size)):  # one number for an image is no map
        return None
    height, width = found.shape[2] * size[1], found.shape[3] * size[0]
    return found if abs(height - width) <= 0.25 * max(height, width) else None


def meaning_of(planes: np.ndarray, classes: int, declared: str, where: str) -> Meaning:
    """What maps [n c h w] of a few images mean, where the user `declared` "auto", "probability" or "logits".

    Whole numbers are class numbers, or levels of 0..255 if they are 8 bits and more than class numbers. Real numbers
    are probabilities when all lie in 0..1, class numbers when one map of whole ones must hold more than two classes.

    Raises:
        InputError: none of these; `where` begins the sentence.
    """
    single = planes.shape[1] == 1
    if planes.dtype.kind != "f":
        if declared == "logits":
            raise InputError(
                f"{where}: expected logits, found whole numbers ({planes.dtype}). Leave out --onnx-output."
            )
        levels = declared == "probability" or planes.max() > 1
        if planes.dtype == np.uint8 and (not single or (classes == 2 and levels)):
            return "levels"
        if single:
            return "classes"
        raise InputError(
            f"{where}: expected real numbers, 8-bit levels or one map of class numbers, found {planes.dtype} for each "
            f"of {classes} classes: their scale is not in the file. Export it with float32 outputs."
        )
    if single and classes > 2:
        return "classes"
    if declared in ("probability", "logits"):
        return declared  # type: ignore[return-value]
    if inside(planes):
        return "probability"
    if single and planes.min() >= 0 and (planes == np.rint(planes)).all():
        raise InputError(
            f"{where}: expected probabilities, logits or class numbers 0..{classes - 1}, found whole numbers "
            f"{planes.min():g}..{planes.max():g}. Name all classes (data.classes), or say --onnx-output logits."
        )
    return "logits"


def inside(planes: np.ndarray) -> bool:
    """Whether all values are probabilities, up to rounding."""
    return bool(planes.min() >= -SLACK and planes.max() <= 1 + SLACK)


def logits_of(planes: np.ndarray, meaning: Meaning, classes: int, where: str) -> Tensor:
    """Logits float32 [n k h w] of maps [n c h w]; of probabilities p the logarithm, log(p / (1 - p)) of one map.

    Raises:
        InputError: values that `meaning` does not allow; `where` begins the sentence.
    """
    low, high = planes.min(), planes.max()
    found = f"found {low:.6g}..{high:.6g}"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{where}: expected finite numbers, found NaN or infinity. Does it need other --mean, --std?")
    if meaning == "classes":
        if low < 0 or high > classes - 1 or (planes.dtype.kind == "f" and (planes != np.rint(planes)).any()):
            cure = " If these are levels of 0..255, say --onnx-output probability." if planes.dtype == np.uint8 else ""
            raise InputError(f"{where}: expected class numbers 0..{classes - 1}, {found}.{cure}")
        numbers = torch.from_numpy(planes[:, 0].astype(np.int64))
        planes = torch.nn.functional.one_hot(numbers, classes).permute(0, 3, 1, 2).numpy()
    if meaning == "levels":
        planes = planes / np.float32(255)
    if meaning == "probability" and not inside(planes):
        raise InputError(
            f"{where}: expected probabilities in 0..1, {found}. If these are logits, say --onnx-output logits."
        )
    out = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))
    if meaning != "logits":
        tiny = 1 / (1 + math.exp(SURE))
        out = torch.logit(out.double(), tiny).float() if out.shape[1] == 1 else out.clamp_min(tiny).log()
    return torch.cat([torch.zeros_like(out), out], dim=1) if out.shape[1] == 1 else out
