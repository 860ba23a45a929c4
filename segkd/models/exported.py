"""An exported file beside the network it came from: loaded, run, compared on images, its multiplications counted."""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segkd.models.complexity import counting
from segkd.models.export import Exported
from segkd.models.network import Network
from segkd.models.onnx import OnnxNetwork
from segkd.models.readout import logits_of, planes_of
from segkd.types import InputError, Prediction

CLOSE = 1e-4
"""Largest difference of an output that is rounding, as a share of the largest value (but of 1 at least)."""

FLIPPED = 1e-5
"""Share of pixels that may be decided otherwise: those whose classes are equal but for rounding."""


class TorchFile(Network):
    """A TorchScript or .pt2 file that segkd wrote a moment ago, as a network. Never a stranger's: to open is to run."""

    def __init__(self, path: Path, classes: int, output: str) -> None:
        super().__init__()
        self.classes, self.output = classes, output
        # a list hides it from torch, which would put it in evaluation mode: a loaded program has none
        self.program: list[Any] = [_loaded(path)]

    def forward(self, image: Tensor) -> Prediction:
        """Logits [b k h w] for RGB in 0..1."""
        raw = self.raw(image).numpy()
        planes = planes_of(raw, len(image), self.classes, (image.shape[2], image.shape[3]))
        assert planes is not None
        return Prediction(logits_of(planes, self.output, self.classes, "export"))  # type: ignore[arg-type]

    def raw(self, image: Tensor) -> Tensor:
        """What the file gives. Raises InputError where it cannot run: what was traced at one size may hold it."""
        try:
            return self.program[0](image.contiguous()).detach()
        except Exception as error:  # programs and their guards raise anything
            reason = str(error).strip().rpartition("\n")[2]  # TorchScript tells the way to it first
            raise InputError(
                f"export: the file does not run on images {list(image.shape)}, as the network does: "
                f"{reason or type(error).__name__}. Try another --format."
            ) from error


def _loaded(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is old, and says so
        if path.suffix == ".pt2":
            return torch.export.load(path).module()
        return torch.jit.load(str(path), map_location="cpu")


def opened_file(path: Path, form: str, classes: int, output: str) -> Network:
    """An exported file as a network, which gives logits, run as `segkd evaluate` runs it."""
    if form == "onnx":
        return OnnxNetwork(str(path), classes, threads=torch.get_num_threads()).eval()
    return TorchFile(path, classes, output).eval()


def raw_of(file: Network, image: Tensor) -> Tensor:
    """What an exported file gives for a batch: its own output, unread."""
    if isinstance(file, OnnxNetwork):
        return torch.from_numpy(file.session.run(None, {file.entry.port.name: image.numpy()})[0])
    assert isinstance(file, TorchFile)
    return file.raw(image)


@dataclass(frozen=True)
class Parity:
    """How an exported file compares with its network on `images` images.

    Attributes:
        images: how many were shown.
        shapes: the batches, sizes and numbers.
        difference: the largest of any output value; 0 for class numbers, which are counted as flips.
        largest: the largest value.
        flips: pixels whose class differs.
        pixels: all of them.
    """

    images: int
    shapes: tuple[tuple[int, ...], ...]
    difference: float
    largest: float
    flips: int
    pixels: int

    @property
    def holds(self) -> bool:
        """Whether they differ by rounding alone."""
        return self.difference <= CLOSE * max(1.0, self.largest) and self.flips <= FLIPPED * self.pixels

    def __str__(self) -> str:
        return (
            f"{self.images} images in {len(self.shapes)} shapes of batch: largest difference {self.difference:.1e} of "
            f"values up to {self.largest:.3g}, {self.flips} of {self.pixels:,} pixels decided otherwise"
        )


@torch.inference_mode()
def compared(exported: Exported, file: Network, batches: Iterable[Tensor]) -> Parity:
    """Shows every batch (RGB in 0..1 float32 [n 3 h w]) to both."""
    images, shapes, difference, largest, flips, pixels = 0, [], 0.0, 0.0, 0, 0
    for batch in batches:
        ours, theirs = exported(batch), raw_of(file, batch)
        if ours.shape != theirs.shape or not torch.isfinite(theirs.float()).all():
            difference = math.inf
            continue
        if ours.ndim == 4:
            difference = max(difference, float((ours - theirs).abs().max()))
            largest = max(largest, float(ours.abs().max()))
            ours, theirs = ours.argmax(dim=1), theirs.argmax(dim=1)
        flips, pixels, images = flips + int((ours != theirs).sum()), pixels + ours.numel(), images + len(batch)
        shapes.append((len(batch), *batch.shape[2:]))
    return Parity(images, tuple(dict.fromkeys(shapes)), difference, largest, flips, pixels)


def macs_of(file: Network, path: Path, size: tuple[int, int]) -> int:
    """Multiply-accumulates of convolutions and matrix products that an exported file does for one image."""
    if isinstance(file, OnnxNetwork):
        return onnx_macs(path, {file.entry.port.name: np.zeros((1, 3, *size), np.float32)})
    with torch.no_grad(), counting() as counter:
        raw_of(file, torch.zeros(1, 3, *size))
    return counter.get_total_flops() // 2


def onnx_macs(path: Path, feed: Mapping[str, np.ndarray]) -> int:
    """Multiply-accumulates of an ONNX file for a `feed`, from the shapes that a run of the unoptimised graph shows."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]
    given = {one.name for one in model.graph.output} | {one.name for one in model.graph.input} | set(shapes)
    needed = dict.fromkeys(name for node in nodes for name in (*node.input[:2], node.output[0]) if name not in given)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in needed)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    shapes |= {name: value.shape for name, value in feed.items()}
    shapes |= {name: np.shape(value) for name, value in zip(names, session.run(None, dict(feed)))}
    total = 0
    for node in nodes:
        first, second, out = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
        if node.op_type in ("Conv", "ConvTranspose"):
            total += math.prod(first if node.op_type == "ConvTranspose" else out) * math.prod(second[1:])
        else:
            transposed = any(one.name == "transA" and one.i for one in node.attribute)
            total += math.prod(out) * first[-2 if transposed else -1]
    return total
