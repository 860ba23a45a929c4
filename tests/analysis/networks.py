"""Small networks whose spectral behaviour is known, importable from a model card."""

import torch
from torch import nn

from segkd.models.network import Network
from segkd.types import Prediction

WEIGHTS = (0.5, -1.0, 2.0)


class Filter(Network):
    """Foreground logit: a circular convolution of a weighted sum of the channels; background logit 0."""

    def __init__(self, classes: int, kernel: torch.Tensor | None = None) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(5, 5) if kernel is None else kernel)

    def response(self, h: int, w: int) -> torch.Tensor:
        """The transfer function on the half plane."""
        plane = torch.zeros(h, w, dtype=self.kernel.dtype)
        plane[: self.kernel.shape[0], : self.kernel.shape[1]] = self.kernel.detach()
        return torch.fft.rfft2(plane)

    def forward(self, image: torch.Tensor) -> Prediction:
        h, w = image.shape[-2:]
        grey = torch.einsum("bchw,c->bhw", image, torch.tensor(WEIGHTS).to(image))
        rows, columns = self.kernel.shape
        # y(i) = sum_k kernel(k) x(i - k), by shifts, so that nothing here is an FFT
        total = torch.zeros_like(grey)
        for i in range(rows):
            for j in range(columns):
                total = total + self.kernel[i, j] * grey.roll((i, j), dims=(1, 2))
        return Prediction(torch.stack([torch.zeros_like(total), total], dim=1))


class Constant(Network):
    """Says the same of every image; its gradient exists and is 0."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.linspace(-0.5, 0.5, classes))

    def forward(self, image: torch.Tensor) -> Prediction:
        flat = self.logit.view(1, -1, 1, 1) + 0 * image.mean(dim=1, keepdim=True)
        return Prediction(flat.expand(len(image), len(self.logit), *image.shape[-2:]))


class TextureNet(Network):
    """Wide filters, rectified and averaged: enough to tell a texture from its ground."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 12, 9, padding=4, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(12, classes, 7, padding=3),
            nn.Upsample(scale_factor=2, mode="bilinear"),
        )

    def forward(self, image: torch.Tensor) -> Prediction:
        return Prediction(self.body(image - 0.45))
