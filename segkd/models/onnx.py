"""Anyone's ONNX file as a network: normalised RGB in, one map or one map per class out."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segkd.models.encoders import IMAGENET_MEAN, IMAGENET_STD
from segkd.models.network import Network
from segkd.types import InputError, Prediction

if TYPE_CHECKING:
    import onnxruntime

SURE = 16.0
"""A probability of 0 or 1 becomes this logit, negative or positive."""


class OnnxNetwork(Network):
    """The first output of an ONNX file, run by onnxruntime on the CPU.

    Args:
        path: the file; its one input takes float32 [b 3 h w].
        classes: number of classes. For two, an output [b 1 h w] is the foreground.
        output: whether the output holds probabilities or logits. Of probabilities the logarithm is taken
            (log p / (1 - p) for one map), so that everything after treats them as any network's.
        mean: subtracted from RGB in 0..1; ImageNet's by default.
        std: divides after `mean`; ImageNet's by default.
        threads: of onnxruntime.
    """

    def __init__(
        self,
        path: str,
        classes: int,
        output: str = "probability",
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        threads: int = 1,
    ) -> None:
        super().__init__()
        self.session = _session(path, threads)
        self.path, self.classes, self.output = path, classes, output
        self.mean, self.std = torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)
        self.input = self.session.get_inputs()[0]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that the file asks for; None if it takes any."""
        height, width = (self.input.shape + [None] * 4)[2:4]
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def forward(self, image: Tensor) -> Prediction:
        """Logits [b k h w] for RGB in 0..1."""
        pixels = ((image.cpu() - self.mean) / self.std).contiguous().numpy()
        fixed = isinstance(self.input.shape[0], int)
        parts = [pixels[i : i + 1] for i in range(len(pixels))] if fixed else [pixels]
        try:
            found = [self.session.run(None, {self.input.name: part})[0] for part in parts]
        except Exception as error:  # onnxruntime has a class of its own for every trouble
            raise InputError(f"--onnx {self.path}: could not run on {tuple(pixels.shape)}: {error}") from error
        out = torch.cat([torch.from_numpy(part) for part in found]).float()
        if out.ndim != 4 or out.shape[1] not in ({1, 2} if self.classes == 2 else {self.classes}):
            raise InputError(
                f"--onnx {self.path}: expected a first output [b {self.classes} h w]"
                f"{' or [b 1 h w]' if self.classes == 2 else ''}, found {tuple(out.shape)}."
            )
        return Prediction(self._logits(out))

    def _logits(self, out: Tensor) -> Tensor:
        if self.output == "probability":
            if not (out.min() >= 0 and out.max() <= 1):
                raise InputError(
                    f"--onnx {self.path}: expected probabilities in 0..1, found {float(out.min()):.4g}.."
                    f"{float(out.max()):.4g}. If these are logits, say --onnx-output logits."
                )
            tiny = 1 / (1 + math.exp(SURE))
            out = torch.logit(out.double(), tiny).float() if out.shape[1] == 1 else out.clamp_min(tiny).log()
        return torch.cat([torch.zeros_like(out), out], dim=1) if out.shape[1] == 1 else out


def _session(path: str, threads: int) -> "onnxruntime.InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("--onnx needs onnxruntime: pip install 'segkd[onnx]'.") from error
    if not Path(path).is_file():
        raise InputError(f"--onnx {path}: expected an ONNX file, found none there.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InputError(f"--onnx {path}: expected an ONNX file, found: {error}") from error
