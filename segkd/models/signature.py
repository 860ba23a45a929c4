"""What an ONNX file says of itself: the tensors it takes and gives, how its input wants images, what segkd noted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from segkd.disk import parse_json
from segkd.models.encoders import IMAGENET_MEAN, IMAGENET_STD
from segkd.types import InputError

if TYPE_CHECKING:
    import onnxruntime

DTYPES = {"float": "float32", "double": "float64"}
"""ONNX' names of types that NumPy calls otherwise."""

FED = ("float32", "float16", "float64", "uint8")
"""Types of an input that can hold an image."""

INPUT_KEY, INPUT_RGB = "segkd.input", "rgb01"
"""The metadata by which a file says that it takes RGB in 0..1 and normalises inside."""

STATED_KEY = "segkd.network"
"""The metadata that holds a `Statement` as JSON."""

INPUT, OUTPUT = "image", "map"
"""Names of the tensors of a file that segkd writes."""


@dataclass(frozen=True)
class Statement:
    """What a file that segkd exported says of its network.

    Attributes:
        output: "logits", "probability" or "classes".
        classes: their names.
        size: height and width it was trained at; it takes any.
        threshold: of two classes, the foreground's threshold with the best IoU on val.
        step: the optimiser step of its weights.
        version: of segkd.
        range: the values of its training images that became black and white; None for those of 8 or 16 bits.
        exif: they were turned as their EXIF orientation says.
    """

    output: Literal["logits", "probability", "classes"]
    classes: list[str]
    size: tuple[int, int]
    threshold: float
    step: int
    version: str
    range: tuple[float, float] | None = None
    exif: bool = True

    def metadata(self) -> dict[str, str]:
        """As the metadata of a file, with how its input wants images."""
        return {INPUT_KEY: INPUT_RGB, STATED_KEY: json.dumps(asdict(self))}


def stated(metadata: Mapping[str, str], where: str) -> Statement | None:
    """What segkd noted in a file's metadata; None if it did not write the file.

    Raises:
        InputError: it is damaged; `where` begins the sentence.
    """
    if STATED_KEY not in metadata:
        return None
    expected = f"{where}: expected {STATED_KEY} in the metadata as segkd writes it"
    found: Statement = parse_json(metadata[STATED_KEY], Statement, expected)
    sizes, names = all(1 <= side <= 1 << 15 for side in found.size), len(set(found.classes)) == len(found.classes)
    span = found.range is None or found.range[0] < found.range[1]
    if not sizes or not names or not span or len(found.classes) < 2 or not 0 < found.threshold < 1:
        raise InputError(f"{expected}, found {found}. Export the network again.")
    return found


@dataclass(frozen=True)
class Port:
    """One tensor that a file takes or gives: its name, its type as NumPy calls it, and its axes, a number or a name."""

    name: str
    dtype: str
    axes: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{' '.join(str(axis) for axis in self.axes)}]"

    @classmethod
    def of(cls, node: "onnxruntime.NodeArg") -> "Port":
        """The port that onnxruntime describes; an axis without number or name is "?"."""
        dtype = node.type.removeprefix("tensor(").removesuffix(")")
        axes = tuple("?" if axis is None or axis == "" else axis for axis in node.shape or ())
        return cls(node.name, DTYPES.get(dtype, dtype), axes)


def listed_ports(ports: Sequence[Port]) -> str:
    """Ports in one line."""
    return ", ".join(str(port) for port in ports) or "none"


@dataclass(frozen=True)
class Entry:
    """How the image goes into a file.

    Attributes:
        port: the input.
        last: channels are the last axis (NHWC).
        batched: the first axis counts images; else one image goes in at a time.
        mean: subtracted from RGB in 0..1; None for whole numbers, which are fed as 0..255.
        std: divides after `mean`.
        bgr: blue comes first; `mean` and `std` are in the order of RGB all the same.
    """

    port: Port
    last: bool
    batched: bool
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    bgr: bool = False

    @property
    def batch(self) -> int | None:
        """How many images go in at a time; None if any number may."""
        if not self.batched:
            return 1
        first = self.port.axes[0] if self.port.axes else "?"
        return first if isinstance(first, int) and first > 0 else None

    @property
    def sides(self) -> tuple[int | None, int | None]:
        """Height and width that the file asks for; None for a side that may be any."""
        axes = (self.port.axes if self.batched else ("?", *self.port.axes)) or ("?",) * 4
        height, width = axes[1:3] if self.last else axes[2:4]
        return tuple(side if isinstance(side, int) and side > 0 else None for side in (height, width))  # type: ignore[return-value]

    @property
    def said(self) -> str:
        """What is fed, in words."""
        order = "BGR" if self.bgr else "RGB"
        if self.mean is None or self.std is None:
            return f"fed {order} as 0..255"
        if set(self.mean) == {0.0} and set(self.std) == {1.0}:
            return f"fed {order} in 0..1"
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"fed {order} in 0..1 normalised by mean {mean}, std {std}{' (of RGB)' if self.bgr else ''}"

    def fed(self, image: np.ndarray) -> np.ndarray:
        """RGB float32 [n 3 h w] in 0..1 as the file wants it."""
        if self.mean is None or self.std is None:
            pixels = np.rint(image * 255)
        else:
            mean, std = (np.asarray(values, np.float32).reshape(1, 3, 1, 1) for values in (self.mean, self.std))
            pixels = (image - mean) / std
        pixels = pixels[:, ::-1] if self.bgr else pixels
        pixels = np.moveaxis(pixels, 1, 3) if self.last else pixels
        pixels = np.ascontiguousarray(pixels, dtype=self.port.dtype)
        return pixels if self.batched else pixels[0]


def entry_of(
    inputs: Sequence[Port],
    metadata: dict[str, str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    where: str,
    bgr: bool = False,
) -> Entry:
    """How images go into a file with these inputs.

    Args:
        inputs: what the file takes.
        metadata: what the file says of itself; see `INPUT_KEY`.
        mean: of the normalisation; None for ImageNet's, or for none where the file normalises inside.
        std: likewise.
        where: begins the sentence of an error.
        bgr: blue comes first.

    Raises:
        InputError: it takes no image, or more than an image, or the normalisation makes no sense.
    """
    if len(inputs) != 1:
        raise InputError(
            f"{where}: expected one input, the image; found {len(inputs)}: {listed_ports(inputs)}. Export the network "
            "with the others as constants."
        )
    port = inputs[0]
    last, batched = _layout(port, where)
    if port.dtype not in FED:
        raise InputError(f"{where}: expected an input of {', '.join(FED)}, found {port}. Export it with one of these.")
    if port.dtype == "uint8":
        if mean is not None or std is not None:
            raise InputError(f"{where}: {port} is fed RGB as 0..255: leave out --mean and --std.")
        return Entry(port, last, batched, None, None, bgr)
    inside = metadata.get(INPUT_KEY)
    if inside not in (None, INPUT_RGB):
        raise InputError(
            f"{where}: expected {INPUT_RGB} for {INPUT_KEY} in the file's metadata, found {inside!r}. A newer segkd "
            "may know it."
        )
    if inside and (mean is not None or std is not None or bgr):
        raise InputError(
            f"{where}: takes RGB and normalises inside, as the file says: leave out --mean, --std and --channels."
        )
    mean = tuple(mean) if mean is not None else (0.0, 0.0, 0.0) if inside else IMAGENET_MEAN
    std = tuple(std) if std is not None else (1.0, 1.0, 1.0) if inside else IMAGENET_STD
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or min(std) <= 0:
        raise InputError(
            f"--mean and --std: expected three numbers each, std above 0, found {' '.join(f'{v:g}' for v in mean)} and "
            f"{' '.join(f'{v:g}' for v in std)}. Without normalisation, say --mean 0 0 0 --std 1 1 1."
        )
    return Entry(port, last, batched, mean, std, bgr)


def _layout(port: Port, where: str) -> tuple[bool, bool]:
    """Whether channels are the last axis, and whether the first axis counts images."""
    axes = port.axes
    if not axes:  # nothing is said of its shape: the usual one
        return False, True
    if len(axes) in (3, 4):
        first, last = axes[-3], axes[-1]
        if first == 3 or (isinstance(first, str) and last != 3):
            return False, len(axes) == 4
        if last == 3:
            return True, len(axes) == 4
    raise InputError(
        f"{where}: expected an input of RGB images, [n 3 h w] or [n h w 3], found {port}. Export it with three "
        "channels."
    )
