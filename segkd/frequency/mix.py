"""The rival outside the frequency domain: CutMix, the strongest plain mixing of images for segmentation."""

from dataclasses import replace
from typing import final

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from segkd.device import sent
from segkd.frequency.amplitude import partners
from segkd.frequency.image import refuse_image, refuse_share
from segkd.types import Batch, Disturbance, refuse_number


def boxes(b: int, h: int, w: int, alpha: float) -> Bool[Tensor, "b h w"]:
    """True in one box per image: sides sqrt(1 - l) of the image's, l ~ Beta(alpha, alpha), centre anywhere, cut at
    the border (Yun et al., ICCV 2019, eq. 2)."""
    share = (1 - torch.distributions.Beta(alpha, alpha).sample((b, 1))).sqrt()
    y, x = torch.arange(h) + 0.5, torch.arange(w) + 0.5
    centre = torch.rand(2, b, 1)
    down = (y - centre[0] * h).abs() <= share * h / 2
    across = (x - centre[1] * w).abs() <= share * w / 2
    return down.unsqueeze(2) & across.unsqueeze(1)


def exchanged(batch: Batch, other: Int64[Tensor, " b"], where: Bool[Tensor, "b h w"]) -> Batch:
    """The batch with the pixels of image `other[i]` in image i at `where`: image, label, `soft` and `source` alike."""
    b, h, w = where.shape

    def mixed(values: Tensor) -> Tensor:
        return torch.where(where if values.ndim == 3 else where.unsqueeze(1), values[other], values)

    source = torch.arange(b * h * w, device=where.device).view(b, h, w) if batch.source is None else batch.source
    soft = None if batch.soft is None else mixed(batch.soft)
    return replace(batch, image=mixed(batch.image), label=mixed(batch.label), soft=soft, source=mixed(source))


def kindred(batch: Batch) -> Int64[Tensor, " b"]:
    """For every image the number of another one, of those without a label where it has none: a loss that looks at an
    image as a whole (`SoftIoU`) would take a sliver of labelled pixels for one. An image alone of its kind stays.
    """
    first = len(batch.image) - batch.unlabelled
    parts = batch.image.split([first, batch.unlabelled]) if batch.unlabelled else [batch.image]
    others = [partners(part) if len(part) > 1 or not batch.unlabelled else part.new_zeros(len(part)) for part in parts]
    return torch.cat([start + other.long() for start, other in zip((0, first), others)])


@final
class CutMix(Disturbance):
    """A box of another image of the batch, with its labels (CutMix; for segmentation as in French et al., BMVC 2020).

    It changes image, label and `soft` under the same box: labels are per pixel, so nothing is weighted by area. `clean`
    stays as loaded, and `source` says where each pixel came from; `ids` name the image outside the box. Images without
    a label are mixed with each other.

    Args:
        alpha: of the Beta distribution of the kept area; 1 is even.
        probability: share of the images that get a box.
    """

    def __init__(self, alpha: float = 1.0, probability: float = 0.5) -> None:
        super().__init__()
        refuse_number("CutMix: alpha", alpha, above=True)
        refuse_share("CutMix", "probability", probability)
        self.alpha, self.probability = alpha, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch with boxes exchanged."""
        refuse_image(batch.image)
        b, _, h, w = batch.image.shape
        other = kindred(batch)
        box = boxes(b, h, w, self.alpha) & (torch.rand(b, 1, 1) < self.probability)
        return exchanged(batch, other, sent(box, batch.label.device))
