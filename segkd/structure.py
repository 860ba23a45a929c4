"""Pixels near other classes count more: the weights of F3Net's structure loss, for any number of classes."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segkd.losses import TaskLoss, global_mean, hushed, one_hot
from segkd.types import Batch, refuse_number

REACH = 15 / 352
"""Pixels that a window reaches to each side, over the shorter side of the image: F3Net's 31 pixels at 352."""


def structure_weights(
    label: Int64[Tensor, "b h w"], valid: Bool[Tensor, "b h w"], classes: int, emphasis: float
) -> Float[Tensor, "b h w"]:
    """1 + emphasis (1 - share of the pixel's own class in the window around it), 0 on ignored pixels.

    F3Net (Wei, Wang and Huang, AAAI 2020, pixel position aware loss) has 1 + 5 |mean of the mask in the window - mask|,
    which is this for two classes. Departure: what lies outside the image or is ignored is no part of the window; there
    it counts as background.
    """
    reach = max(1, round(REACH * min(label.shape[1:])))
    planes = torch.cat([one_hot(label.masked_fill(~valid, -1), classes), valid.unsqueeze(1).float()], dim=1)
    for side, pad in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
        planes = F.avg_pool2d(planes, side, 1, pad)
    own = planes[:, :-1].gather(1, label.masked_fill(~valid, 0).unsqueeze(1)) / planes[:, -1:].clamp_min(1e-6)
    return (1 + emphasis * (1 - own.squeeze(1))) * valid


class Structure(TaskLoss):
    """Cross-entropy and soft IoU, both weighted by `structure_weights` (F3Net, Wei, Wang and Huang, AAAI 2020).

    Departures: the L1 form of the IoU, mean over the classes that occur, without the 1 that F3Net adds to both of its
    sums; weights as said there.

    Args:
        emphasis: on pixels among other classes, at least 0; F3Net has 5.
        cross_entropy: factor of the cross-entropy; that of the IoU is 1.
    """

    def __init__(self, emphasis: float = 5.0, cross_entropy: float = 1.0) -> None:
        super().__init__("hard")
        refuse_number("Structure: emphasis", emphasis)
        refuse_number("Structure: cross_entropy", cross_entropy)
        self.emphasis, self.cross_entropy = emphasis, cross_entropy

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        """The sum of both."""
        k, valid = logits.shape[1], batch.valid
        weights = structure_weights(batch.label, valid, k, self.emphasis)
        log_p, target = F.log_softmax(hushed(logits, valid), dim=1), one_hot(batch.label, k)
        hard = global_mean(-(target * log_p).sum(dim=1), weights)
        p = log_p.exp() * weights.unsqueeze(1)
        target = target * weights.unsqueeze(1)
        total, apart = (p + target).sum(dim=(2, 3)), (p - target).abs().sum(dim=(2, 3))
        overlap = (total - apart) / (total + apart).clamp_min(1e-6)
        return self.cross_entropy * hard + global_mean(1 - overlap, target.sum(dim=(2, 3)) > 0)
