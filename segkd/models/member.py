"""A finished network of any kind that says the class of every pixel: a teacher, or a part of an ensemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from segkd.models.decoder import resize
from segkd.models.network import Network
from segkd.models.onnx import OnnxNetwork
from segkd.models.store import Model, load_model
from segkd.models.taps import tapped
from segkd.models.trained_on import read_trained_on
from segkd.types import InputError, Prediction


@final
@dataclass(frozen=True)
class Member:
    """A network that does not learn, with what is known of it.

    Attributes:
        name: what the user called it.
        network: in evaluation mode, without gradient.
        classes: the names of its classes in order; numbers as texts where it has no names.
        size: height and width that it is shown images at; None for their own.
        trained_on: the images that it was trained on; None where nobody noted them.
        about: its kind, and its scores where they are known.
    """

    name: str
    network: Network
    classes: tuple[str, ...]
    size: tuple[int, int] | None = None
    trained_on: frozenset[str] | None = None
    about: str = ""

    def __call__(self, image: Float[Tensor, "b 3 h w"], features: Sequence[str] | None = None) -> Prediction:
        """What it says of images in 0..1: logits at their size, whatever the size it looks at."""
        network, shown = self.network.to(image.device), image
        if self.size is not None and image.shape[2:] != self.size:
            shown = seen_at(image, self.size)
        seen = tapped(network, shown, features)
        return replace(seen, logits=resize(seen.logits.to(image.device), image))


def seen_at(image: Float[Tensor, "b 3 _h _w"], size: tuple[int, int]) -> Float[Tensor, "b 3 h w"]:
    """Images at another size (h, w) as networks see them in training (`pixels.shrunk`, but for the rounding to bytes):
    bilinear where a side grows, then the mean over each pixel's area where one shrinks."""
    larger = [max(sides) for sides in zip(image.shape[2:], size)]
    with torch.autocast(image.device.type, enabled=False):
        grown = F.interpolate(image, larger, mode="bilinear", align_corners=False)
        return _area_means(_area_means(grown, size[0], 2), size[1], 3)


def _area_means(image: Tensor, new: int, dim: int) -> Tensor:
    """The means over `new` equal parts of a side, of pixels that lie partly in one their share."""
    old = image.shape[dim]
    if new == old:
        return image
    # in units of 1 / new of a pixel, where all are whole numbers
    part = torch.arange(new, device=image.device)
    begin, total = part * old, torch.zeros(())
    for step in range(-(-old // new) + 1):  # as many pixels as one part may touch; of a large image a matrix is slow
        pixel = begin // new + step
        inside = torch.minimum(begin + old, (pixel + 1) * new) - torch.maximum(begin, pixel * new)
        share = (inside.clamp_min(0).to(image.dtype) / old).view([-1] + [1] * (3 - dim))
        total = total + share * image.index_select(dim, pixel.clamp_max(old - 1))
    return total


@dataclass
class Reading:
    """How ONNX files of others are read.

    Args:
        output: the name of the output that is the map; the finest that can be one when null.
        meaning: "probability", "logits", or "auto": what the file states, else by its values, as class numbers are.
        mean: subtracted from RGB in 0..1; ImageNet's when null, none where a file says that it normalises inside.
        std: divides after `mean`; likewise.
        channels: the order of the input's channels; `mean` and `std` are in that of RGB.
    """

    output: str | None = None
    meaning: Literal["auto", "probability", "logits"] = "auto"
    mean: list[float] | None = None
    std: list[float] | None = None
    channels: Literal["rgb", "bgr"] = "rgb"


def opened(
    source: str, classes: int, shape: tuple[int, int], trust: bool = False, reading: Reading | None = None
) -> Member:
    """The student of a run folder, or an ONNX file.

    Args:
        source: the folder, or the file, whose name ends in .onnx.
        classes: classes of an ONNX file, which does not say them.
        shape: height and width of the images it will see, where an ONNX file takes any.
        trust: whether a run may name a class that is not segkd's own.
        reading: how an ONNX file is read.

    Raises:
        InputError: it is neither, it is damaged, or does not give maps of so many classes.
    """
    if source.lower().endswith(".onnx"):
        how = reading or Reading()
        network = OnnxNetwork(source, classes, how.meaning, how.mean, how.std, how.output, shape, channels=how.channels)
        return of_file(network, source, shape)
    return of_run(load_model(source, trust=trust), source)


def of_file(network: OnnxNetwork, source: str, shape: tuple[int, int]) -> Member:
    """An ONNX file as a member; it knows the names of its classes where segkd exported it."""
    told = network.statement
    names = tuple(map(str, range(network.classes)) if told is None else told.classes)
    return Member(source, network.eval(), names, network.size_for(shape), about=f"ONNX, {network.said}")


def of_run(model: Model, source: str) -> Member:
    """The student of a run folder as a member."""
    model.network.requires_grad_(False)
    scores = [f"{name} {value:.4f}" for name, value in model.card.scores.items() if value is not None]
    known = f"val {', '.join(scores[:3])} at step {model.card.step}" if scores else "no scores of its own"
    about = f"{type(model.network).__name__}, {known}"
    seen = read_trained_on(Path(source))
    return Member(source, model.network, tuple(model.card.classes), model.card.size, seen, about)


def refuse_unlike(member: Member, ours: Sequence[str], owner: str, mapped: bool = False) -> None:
    """Raises InputError unless a member knows as many classes, none of ours at another place; `mapped` where a map of
    classes could be given. Other names may mean the same: `about_classes` says which is taken for which."""
    theirs = member.classes
    if len(theirs) != len(ours):
        way = ", or say which is which: classes: {its class: class of the student}" if mapped else ""
        raise InputError(
            f"{owner}: {member.name} knows {len(theirs)} classes ({', '.join(theirs)}), the student {len(ours)}. "
            f"Choose a teacher with the same classes{way}."
        )
    if any(name in ours and name != our for name, our in zip(theirs, ours)):
        way = f", or classes: {{{theirs[0]}: {theirs[0]}, ...}}" if mapped else ""
        raise InputError(
            f"{owner}: {member.name} knows the classes in another order ({', '.join(theirs)}) than the student "
            f"({', '.join(ours)}), and would teach one for the other. Write data.classes in the teacher's order{way}."
        )


def about_classes(member: Member, ours: Sequence[str]) -> str:
    """Who it is, and which of its classes are taken for ours where their names differ."""
    taken = [f"{name} as {our}" for name, our in zip(member.classes, ours) if name != our]
    nameless = tuple(map(str, range(len(ours)))) in (member.classes, tuple(ours))
    classes = "" if nameless or not taken else f"; by their places its {', '.join(taken)}"
    return f"{member.name}: {member.about}{classes}"


def table_of(
    member: Member, ours: Sequence[str], given: Mapping[str, str] | None, owner: str
) -> Float[Tensor, "t k"] | None:
    """Which class of the member (rows) is which of `ours` (columns); None where they are the same, in order.

    Raises:
        InputError: their classes differ and no map is given, or the map names a class that there is not, or leaves one
            of ours out.
    """
    theirs = member.classes
    if given is None:
        refuse_unlike(member, ours, owner, mapped=True)
        return None
    wrong = [name for name in given if name not in theirs] + [name for name in given.values() if name not in ours]
    missing = [name for name in ours if name not in given.values()]
    if wrong or missing:
        fault = f"{wrong[0]!r} is none of them" if wrong else f"nothing stands for {', '.join(missing)}"
        raise InputError(
            f"{owner}: classes: expected {{class of {member.name}: class of the student}}, of {', '.join(theirs)} and "
            f"of {', '.join(ours)}; {fault}."
        )
    table = torch.zeros(len(theirs), len(ours))
    for its, of_ours in given.items():
        table[theirs.index(its), list(ours).index(of_ours)] = 1.0
    return table


def translated(logits: Float[Tensor, "b t h w"], table: Float[Tensor, "t k"] | None) -> Float[Tensor, "b _k h w"]:
    """Class probabilities in the classes of the columns, their sum 1: classes that nothing stands for do not count."""
    if table is None:
        return logits.float().softmax(dim=1)
    table = table.to(logits.device)
    nothing = (table == 0).all(dim=1).view(1, -1, 1, 1)  # left out before: where it is sure of those, nothing is left
    shares = logits.float().masked_fill(nothing, -torch.inf).softmax(dim=1)
    with torch.autocast(shares.device.type, enabled=False):  # half precision has no numbers for small shares
        return torch.einsum("bthw,tk->bkhw", shares, table)
