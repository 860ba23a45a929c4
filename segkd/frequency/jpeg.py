"""The rival that everyone has: real JPEG at a random quality."""

from typing import Literal, final

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segkd.device import sent
from segkd.frequency.image import changed, refuse_range, refuse_share
from segkd.types import Batch, Disturbance


def libjpeg(image: Float[Tensor, "b 3 h w"], qualities: list[int]) -> Float[Tensor, "b 3 h w"]:
    """Each image encoded and decoded by libjpeg (cv2, 4:2:0) at its quality 1..100, on the CPU, without gradient."""
    bytes_ = (image.detach().float() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    out = []
    for pixels, quality in zip(bytes_, qualities):
        # the sampling is named because builds differ in their default
        how = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        ]
        _, file = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), how)
        out.append(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))[..., ::-1])
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).to(image) / 255


@final
class RandomJpeg(Disturbance):
    """x' = JPEG_q(x), q drawn per image (the range (99, 100) that albumentations 2.0.8 defaults to does nothing).

    Args:
        quality: lowest and highest quality, drawn evenly, whole numbers in 1..100.
        codec: "cv2" is libjpeg itself, on the CPU; "kornia" stays on the device, 36 to 39 dB away from it.
        probability: share of the images that are changed.
    """

    def __init__(
        self,
        quality: tuple[int, int] = (10, 60),
        codec: Literal["cv2", "kornia"] = "cv2",
        probability: float = 0.5,
    ) -> None:
        super().__init__()
        refuse_range("RandomJpeg", "quality", (float(quality[0]), float(quality[1])), 1.0, 100.0)
        refuse_share("RandomJpeg", "probability", probability)
        self.quality, self.codec, self.probability = quality, codec, probability

    def forward(self, batch: Batch) -> Batch:
        """The batch as JPEG files would give it back."""
        drawn = torch.randint(self.quality[0], self.quality[1] + 1, (len(batch.image),))

        def change(image: Tensor, rows: Tensor) -> Tensor:
            if self.codec == "cv2":
                return libjpeg(image, drawn[rows.cpu()].tolist())
            from kornia.enhance import jpeg_codec_differentiable  # slow to import

            with torch.no_grad():  # its gradients are of no use: see docs/frequency.md
                return jpeg_codec_differentiable(image.clamp(0, 1), sent(drawn, rows.device)[rows].to(image))

        return changed(batch, self.probability, change)
