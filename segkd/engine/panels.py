"""Pictures of what is learned, and how good the teacher is: image, label, teacher, prediction, error."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segkd.datasets.palette import class_colours, paint_label
from segkd.distill.distiller import Distiller
from segkd.models.network import Network
from segkd.models.taps import evaluating
from segkd.types import Batch, Disturbance


def paint_shares(shares: Float[np.ndarray, "k h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Class probabilities as the mixture of the classes' colours."""
    return np.einsum("khw,kc->hwc", shares, class_colours(len(shares))).round().clip(0, 255).astype(np.uint8)


@torch.no_grad()
def panel(network: Network, distiller: Distiller, batch: Batch) -> tuple[np.ndarray, dict[str, float]]:
    """One row per image (image, label, each teacher with logits, prediction, error), and the teachers' quality.

    The error is |1 - p(label's class)|, white where the network is wrong. Quality, by teacher: `agreement`, the share
    of valid pixels where its most probable class is the label's, and `entropy` in nats, its mean.
    """
    quality: dict[str, float] = {}
    with evaluating(network, distiller):
        prediction, lessons = distiller.lessons(batch, network)
    columns = [(batch.image.cpu().permute(0, 2, 3, 1) * 255).byte().numpy()]
    classes = prediction.logits.shape[1]
    label = batch.label.cpu().numpy()
    columns.append(np.stack([paint_label(one, classes) for one in label]))
    for name, lesson in lessons.items():
        shares = lesson.target.logits.float().softmax(dim=1)
        quality |= {f"{name}/{what}": value for what, value in teacher_quality(shares, batch).items()}
        columns.append(_painted(shares))
    shares = prediction.logits.float().softmax(dim=1)
    columns.append(_painted(shares))
    right = shares.gather(1, batch.label.masked_fill(~batch.valid, 0).unsqueeze(1))[:, 0]
    error = ((1 - right) * batch.valid).mul(255).byte().cpu().numpy()
    columns.append(np.repeat(error[..., None], 3, axis=-1))
    return np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1), quality


def teacher_quality(shares: Float[Tensor, "b k h w"], batch: Batch) -> dict[str, float]:
    """How far the teacher agrees with the label, and its entropy in nats, over valid pixels."""
    valid = batch.valid
    count = valid.sum().clamp_min(1)
    agreement = ((shares.argmax(dim=1) == batch.label) & valid).sum() / count
    entropy = torch.special.entr(shares).sum(dim=1).masked_fill(~valid, 0).sum() / count
    return {"agreement": float(agreement), "entropy": float(entropy)}


@torch.no_grad()
def disturbed_panel(disturbance: Disturbance, batch: Batch) -> tuple[np.ndarray, dict[str, float]]:
    """One row per image (undisturbed, disturbed), and `psnr` in dB, the mean over the images that changed."""
    image = disturbance(batch).image
    errors = (image - batch.image).float().square().mean(dim=(1, 2, 3))
    found = -10 * errors[errors > 0].log10()
    both = torch.cat([batch.image, image], dim=3).cpu().permute(0, 2, 3, 1).mul(255).round().byte().numpy()
    return np.concatenate(list(both), axis=0), {"psnr": float(found.mean())} if len(found) else {}


def _painted(shares: Tensor) -> np.ndarray:
    return np.stack([paint_shares(one) for one in shares.cpu().numpy()])
