"""A student as one file for others' programs: ONNX, TorchScript or torch.export, of any batch and size.

What goes in is RGB in 0..1, float32 [n 3 h w]; the network normalises inside. What comes out is logits or probabilities
float32 [n k h w], or class numbers uint8 [n h w].
"""

import copy
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkd.models.network import Network
from segkd.models.signature import INPUT, OUTPUT
from segkd.types import InputError, reason_of

SHOWN = (2, 3, 127, 191)
"""The batch that is traced. Its sides are odd at every stride, rounded up or down: two sizes that are not always equal
differ here, so that a resizing which is needed at some size is seen."""

OPSET = 17
"""Of ONNX: the operators that a file uses."""

EXTRA = "segkd.json"
"""The file inside a TorchScript or .pt2 archive that says what the network expects."""


class Exported(nn.Module):
    """The network with one output of plain tensors: "logits", "probability" (their softmax) or "classes" (argmax)."""

    def __init__(self, network: Network, output: str = "logits") -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, image: Tensor) -> Tensor:
        """[n k h w], or class numbers [n h w]."""
        logits = self.network(image).logits
        if self.output == "classes":
            return logits.argmax(dim=1).to(torch.uint8)
        return logits.softmax(dim=1) if self.output == "probability" else logits


def write_onnx(exported: Exported, path: Path, metadata: Mapping[str, str]) -> None:
    """An ONNX file (`OPSET`) with `metadata`.

    By tracing: torch.export's way to ONNX takes minutes, or does not end, where sizes are rounded up inside a network,
    and these networks hold no branch that depends on the image. Padding that is computed from the size is replaced here
    too (`FlippedSame`): onnxruntime runs it wrongly in 8 bits.
    """
    import onnx

    plain = copy.deepcopy(exported)
    _flip_same(plain)
    axes = {0: "n", 2: "h", 3: "w"}
    out = {0: "n", 1: "h", 2: "w"} if exported.output == "classes" else axes
    torch.onnx.register_custom_op_symbolic("aten::adaptive_avg_pool2d", _pooled, OPSET)
    try:
        torch.onnx.export(
            plain, (torch.rand(SHOWN),), str(path), dynamo=False, opset_version=OPSET, input_names=[INPUT],
            output_names=[OUTPUT], dynamic_axes={INPUT: axes, OUTPUT: out},
        )  # fmt: skip
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::adaptive_avg_pool2d", OPSET)
    model = onnx.load(path)
    if exported.output != "classes":  # tracing loses their number where maps are enlarged
        classes = exported(torch.rand(SHOWN)).shape[1]
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


def _pooled(g: Any, x: Any, size: Any) -> Any:
    """Adaptive average pooling of any size: the mean over cell i of n lies between floor(i h / n) and
    ceil((i + 1) h / n), first along one axis, then along the other. ONNX has no word for it."""
    from torch.onnx.symbolic_helper import _maybe_get_const

    def constant(*values: int) -> Any:
        return g.op("Constant", value_t=torch.tensor(values, dtype=torch.int64))

    cells = _maybe_get_const(size, "is")
    if set(cells) == {1}:
        return g.op("GlobalAveragePool", x)
    shape = g.op("Shape", x)
    for axis, number in zip((2, 3), cells):
        length, parts = g.op("Gather", shape, constant(axis), axis_i=0), []
        for cell in range(number):
            begin = g.op("Div", g.op("Mul", length, constant(cell)), constant(number))
            rounded = g.op("Add", g.op("Mul", length, constant(cell + 1)), constant(number - 1))
            part = g.op("Slice", x, begin, g.op("Div", rounded, constant(number)), constant(axis))
            parts.append(g.op("ReduceMean", part, axes_i=[axis]))
        x = g.op("Concat", *parts, axis_i=axis)
    return x


def write_torchscript(exported: Exported, path: Path, metadata: Mapping[str, str]) -> None:
    """A TorchScript archive; `metadata` lies in it as `EXTRA`."""
    traced = torch.jit.trace(exported, (torch.rand(SHOWN),), check_trace=False)
    torch.jit.save(traced, str(path), _extra_files={EXTRA: json.dumps(dict(metadata))})


def write_pt2(exported: Exported, path: Path, metadata: Mapping[str, str]) -> None:
    """An archive of torch.export; `metadata` lies in it as `EXTRA`."""
    plain = copy.deepcopy(exported)
    _flip_same(plain)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        plain, (torch.rand(SHOWN),), dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},), strict=False
    )
    torch.export.save(program, path, extra_files={EXTRA: json.dumps(dict(metadata))})


class FlippedSame(nn.Module):
    """TensorFlow's "same" convolution of stride 2 without a size in its padding: torch.export can reason about it.

    It pads k // 2 at the end and k // 2 or one less at the beginning, as the size is odd or even. Seen from the other
    end that is a padding of k // 2 on both sides, of which the convolution leaves out what it does not reach.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.flip(2, 3))
        self.bias, self.stride, self.groups = convolution.bias, convolution.stride, convolution.groups
        self.padding = tuple(size // 2 for size in convolution.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """The map at half the size, rounded up."""
        return F.conv2d(x.flip(2, 3), self.weight, self.bias, self.stride, self.padding, 1, self.groups).flip(2, 3)


def _flip_same(module: nn.Module) -> None:
    """Puts a `FlippedSame` for each "same" convolution of stride 2 and odd size."""
    from timm.layers import Conv2dSame

    for name, child in module.named_children():
        if not isinstance(child, Conv2dSame):
            _flip_same(child)
        elif (child.stride, child.dilation) == ((2, 2), (1, 1)) and all(size % 2 for size in child.kernel_size):
            setattr(module, name, FlippedSame(child))


WRITERS = {"onnx": write_onnx, "torchscript": write_torchscript, "pt2": write_pt2}
ENDINGS = {"onnx": ".onnx", "torchscript": ".torchscript.pt", "pt2": ".pt2"}


def write_network(network: Network, form: str, path: Path, output: str, metadata: Mapping[str, str]) -> None:
    """Writes a network on the CPU as `form`, one of `WRITERS`.

    Raises:
        InputError: it cannot be expressed so; says why, in the exporter's words.
    """
    exported = Exported(network, output).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad(), _unprinted():
            warnings.simplefilter("ignore")  # of what a trace cannot know: parity is measured afterwards
            WRITERS[form](exported, path, metadata)
    except Exception as error:  # exporters raise anything
        reason = reason_of(error, 400)
        others = " or ".join(name for name in WRITERS if name != form)
        raise InputError(
            f"{type(network).__name__} cannot be written as {form}: {reason.rstrip('.')}. Try --format {others}."
        ) from error


@contextmanager
def _unprinted() -> Iterator[None]:
    """Lets nothing through to standard output, of C++ neither: torch prints the whole graph of what it cannot write,
    from Python up to 2.14, from both since, and its own switch, which is off, does not keep it from that."""
    if sys.stdout is None:  # closed, so that the file behind 1 may be anyone's
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
