"""What is carried through the doors between rooms: `Batch`, `Prediction`, `Lesson`, and the bases they meet.

Letters fixed for the whole package: b batch, k classes, c channels, h w, l level, t step.
"""

import math
import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

IGNORE = 255
"""The label of a pixel that belongs to no class: it counts in no loss and no score."""

Schedule = float | dict[float, float]
"""A number that may change while training: constant, or {progress in 0..1: value} interpolated linearly."""


def scheduled(schedule: Schedule, progress: float) -> float:
    """The value of `schedule` at `progress` 0..1 of the training."""
    if not isinstance(schedule, dict):
        return schedule
    points = sorted(schedule.items())
    return float(np.interp(progress, [p for p, _ in points], [value for _, value in points]))


def schedule_values(owner: str, schedule: Schedule, least: float = -np.inf) -> list[float]:
    """The values that a schedule goes through.

    Raises:
        InputError: it has none, one is not finite or below `least`, or a progress lies beyond 0..1 or is quoted;
            `owner` names it.
    """
    points = schedule if isinstance(schedule, dict) else {0.0: schedule}
    if quoted := [at for at in points if isinstance(at, str)]:  # a file's keys come as they were written
        raise InputError(
            f"{owner}: expected a number for the progress, found the text {quoted[0]!r}: write {quoted[0]}."
        )
    if not points or not all(0 <= at <= 1 and np.isfinite(value) for at, value in points.items()):
        raise InputError(f"{owner} is a number or {{progress in 0..1: number}}, found {schedule}.")
    if min(points.values()) < least:
        raise InputError(f"{owner}: expected {least:g} or more throughout, found {schedule}.")
    return list(points.values())


def refuse_number(owner: str, value: float, least: float = 0.0, above: bool = False) -> None:
    """Raises InputError unless `value` is finite and `least` or more, where `above` is set more; `owner` names it."""
    if not (least < value if above else least <= value) or not math.isfinite(value):
        wanted = f"above {least:g}" if above else f"of {least:g} or more"
        raise InputError(f"{owner} must be a finite number {wanted}, found {value}.")


def refuse_probability(owner: str, value: float) -> None:
    """Raises InputError unless `value` lies in 0..1; `owner` names it."""
    if not 0 <= value <= 1:
        raise InputError(f"{owner} is a probability, from 0 to 1, found {value}.")


class LayerPath(str):
    """A path in a configuration: absolute, and in a layer relative to the layer's file (its folder is the working
    directory while a layer is read). An address (`hf://...`) stays as it is."""

    def __new__(cls, path: str) -> "LayerPath":
        """The absolute form of `path`."""
        return super().__new__(cls, path if "://" in path else os.path.abspath(os.path.expanduser(path)))


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path, `~` taken for a home folder; that of nobody who is known here stays as it is, where pathlib raises."""
    return Path(os.path.expanduser(path))


JOINERS = "\u200c\u200d"
"""Invisible letters that scripts and emoji need."""


def printable(text: str) -> str:
    """`text` as any terminal and any UTF-8 file can show it: control characters and bytes that are no text become
    escapes (`\\x1b`), so that a file's name can neither move the cursor nor end a program."""
    return "".join(letter if _shows(letter) else _escaped(letter) for letter in text)


def _shows(letter: str) -> bool:
    return letter in "\n\t" or not (
        "\ud800" <= letter <= "\udfff" or (unicodedata.category(letter) in ("Cc", "Cf") and letter not in JOINERS)
    )


def _escaped(letter: str) -> str:
    code = ord(letter)
    code -= 0xDC00 if 0xDC80 <= code <= 0xDCFF else 0  # Python's stand-in for a byte that is not UTF-8
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class InputError(ValueError):
    """A mistake in what the user gave: says what was expected, what was found, where, and what to do."""

    def __str__(self) -> str:
        return printable(super().__str__())


def reason_of(error: BaseException, most: int = 300) -> str:
    """What an error of a library says, in one line of `most` letters; where it says nothing, what it is."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def listed(lines: Sequence[str], most: int = 10) -> str:
    """The first `most` lines, indented, and how many more there are: the end of an error's paragraph."""
    rest = [f"  ... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([f"  {line}" for line in lines[:most]] + rest)


@final
@dataclass(frozen=True)
class Batch:
    """A mini-batch as the network, the teacher and the losses see it.

    `image` is RGB in 0..1 and may be disturbed; `clean` is the batch as it was loaded, which no disturbance touches
    (the same tensor when nothing disturbs). `label` holds classes 0..k-1 or `IGNORE`. `soft`, when asked for, holds the
    label's class shares per pixel, by area under the same warp: non-negative, summing to 1 on valid pixels. `source`,
    where a disturbance moved pixels between images or places, says which pixel of the loaded batch lies at each place,
    as an index into its flattened [b h w]; None: nothing moved. `warp` takes normalised coordinates (x, y) of the view,
    -1..1 at its borders, to those of the file, as torch's `affine_grid` reads it; None: not known. `unlabelled` is how
    many of the loaded images, the last ones, have no label at all.
    """

    image: Float[Tensor, "b 3 h w"]
    clean: Float[Tensor, "b 3 h w"]
    label: Int64[Tensor, "b h w"]
    soft: Float[Tensor, "b k h w"] | None
    ids: tuple[str, ...]
    source: Int64[Tensor, "b h w"] | None = None
    warp: Float[Tensor, "b 2 3"] | None = None
    unlabelled: int = 0

    @property
    def unknown(self) -> Bool[Tensor, "b h w"] | None:
        """True where a pixel of an image without a label lies now; None where each image has one."""
        if not self.unlabelled:
            return None
        b, h, w = self.label.shape
        last = torch.arange(b, device=self.label.device) >= b - self.unlabelled
        return self.moved(last.float().view(b, 1, 1, 1).expand(b, 1, h, w)).squeeze(1) > 0

    @property
    def valid(self) -> Bool[Tensor, "b h w"]:
        """True where the label is a class."""
        return self.label != IGNORE

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return self._each(lambda one: one.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same batch in memory from which a GPU fetches without making the host wait; the loader calls it."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """All that the loader gives, changed; image and clean stay one where they are."""
        image, label = change(self.image), change(self.label)
        clean = image if self.clean is self.image else change(self.clean)
        soft, warp = (None if one is None else change(one) for one in (self.soft, self.warp))
        return replace(self, image=image, clean=clean, label=label, soft=soft, warp=warp)

    def moved(self, maps: Float[Tensor, "b c _h _w"]) -> Float[Tensor, "b c _h _w"]:
        """Maps of the batch as loaded, of any size, with their pixels where `source` says that they are now."""
        if self.source is None:
            return maps
        (high, wide), (h, w) = self.source.shape[1:], maps.shape[2:]
        rows, down = _centres(h, high, maps.device)
        columns, along = _centres(w, wide, maps.device)
        at = self.source[:, rows][:, :, columns]
        row = (2 * h * (at % (high * wide) // wide) + down.unsqueeze(1)) // (2 * high)
        column = (2 * w * (at % wide) + along) // (2 * wide)
        image = at // (high * wide)
        pixels = maps.permute(0, 2, 3, 1).flatten(0, 2)
        return pixels[(image * h + row) * w + column].permute(0, 3, 1, 2)


def _centres(cells: int, pixels: int, device: torch.device) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """In which pixel of a side the centre of each cell lies, and where inside it, in parts of 1 / (2 cells): kept, so
    that a cell whose pixel stays is taken from itself, however the sizes divide."""
    centre = (2 * torch.arange(cells, device=device) + 1) * pixels
    return centre // (2 * cells), centre % (2 * cells)


@final
@dataclass(frozen=True)
class Prediction:
    """What a network gives, or what a teacher wants it to give.

    `logits` at full size, k >= 2 always (binary is two classes). `features` is the decoder's fused
    pyramid, finest first; `exits` are side logits at their own size, finest first.
    """

    logits: Float[Tensor, "b k h w"]
    features: tuple[Float[Tensor, "_b _c _h _w"], ...] = ()
    exits: tuple[Float[Tensor, "_b _k _h _w"], ...] = ()

    def detached(self) -> "Prediction":
        """The same prediction, as a target without gradient."""
        return replace(
            self,
            logits=self.logits.detach(),
            features=tuple(one.detach() for one in self.features),
            exits=tuple(one.detach() for one in self.exits),
        )


@final
@dataclass(frozen=True)
class Lesson:
    """A teacher's answer: the `target`, with the gradient of a teacher that learns, and where it applies (`mask`,
    everywhere if None). `own`: the logits by which it learns from the label, where these are not its target's."""

    target: Prediction
    mask: Bool[Tensor, "b h w"] | None = None
    own: tuple[Float[Tensor, "b _k h w"], ...] = ()


@final
@dataclass(frozen=True)
class Report:
    """What a disturbance tells at a validation: numbers and pictures for TensorBoard, and what
    `metrics.jsonl` keeps of it (numbers, strings and lists)."""

    scalars: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, UInt8[np.ndarray, "_h _w 3"]] = field(default_factory=dict)
    record: Mapping[str, object] = field(default_factory=dict)


class Disturbance(nn.Module, ABC):
    """Changes the images of a batch while training, never their geometry: the label stays, or moves with its pixels,
    and then `source` says where they were. `clean` is never touched.

    What a later step depends on is a parameter, a buffer, or a function of `progress`.

    Attributes:
        progress: 0..1 of the training, for schedules.
        learns: whether it follows the loss, by its gradient or in `seek`.
    """

    progress: float = 0.0
    learns: bool = False

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """The batch with `image` disturbed."""

    def seek(self, batch: Batch, loss: Callable[[Batch], Float[Tensor, ""]]) -> Batch:
        """As `forward`, for a disturbance that looks at the task loss of a batch before it decides."""
        return self(batch)

    def follow(self, progress: float) -> None:
        """Called after every optimiser step: schedules move on, constraints are put back."""
        self.progress = progress

    def report(self, batch: Batch) -> Report:
        """What it does to a few undisturbed images, told at each validation; nothing unless it says so."""
        return Report()
