"""Finished networks of any kind as one: the mean of the probabilities of their classes."""

import os
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from segkd.device import sent
from segkd.models.member import Member, of_run, opened, translated
from segkd.models.network import Network
from segkd.models.store import Model, ModelCard, load_model
from segkd.models.windows import slide
from segkd.types import InputError, Prediction


def fused(
    members: Sequence[Member],
    image: Float[Tensor, "b 3 h w"],
    tables: Sequence[Float[Tensor, "_t k"] | None] | None = None,
    weights: Float[Tensor, "m b"] | None = None,
) -> Float[Tensor, "b k h w"]:
    """log of the mean of the members' class probabilities: one member looks after the other.

    Args:
        members: at least one.
        image: RGB in 0..1.
        tables: which class of each member is which of ours; the same ones in order where None.
        weights: how much each member counts for each image; it is not asked where that is 0. All alike when None.
    """
    total: Tensor | float = 0.0
    for i, member in enumerate(members):
        weight = torch.ones(len(image)) if weights is None else weights[i]
        asked = weight.nonzero()[:, 0]
        if len(asked):
            asked = sent(asked, image.device)
            shares = translated(member(image[asked]).logits, None if tables is None else tables[i])
            whole = shares.new_zeros(len(image), *shares.shape[1:])
            total = total + whole.index_copy_(0, asked, shares * sent(weight, image.device)[asked].view(-1, 1, 1, 1))
    assert isinstance(total, Tensor)
    return (total / total.sum(dim=1, keepdim=True)).clamp_min(1e-12).log()


@final
class Ensemble(Network):
    """Members as one network, whose logits are `fused`. Their classes are the same, in one order."""

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.members, self.networks = list(members), nn.ModuleList(member.network for member in members)
        self.said = f"mean of the probabilities of {len(self.members)} networks"
        self.read_as = ", ".join(dict.fromkeys(one.network.read_as for one in self.members if one.network.read_as))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """Logits at the image's size, whatever the sizes that the members look at."""
        return Prediction(fused(self.members, image))

    def doubts(self) -> list[str]:
        """What looks wrong in hindsight in what a member gave."""
        return [f"{member.name}: {doubt}" for member in self.members for doubt in member.network.doubts()]


@final
class FusedModel(Model):
    """An ensemble with its card. Through a window each member looks as it does alone: at a window of its own size."""

    network: Ensemble

    def rows(
        self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], stride: float | None = None
    ) -> list[Iterator[Tensor]]:
        """As of any model, `fused`."""
        return super().rows(images) if stride is None else [self._slid(image, stride) for image in images]

    def _slid(self, image: UInt8[np.ndarray, "_h _w 3"], stride: float) -> Iterator[Tensor]:
        members = self.network.members
        streams = [slide(one.network, image, one.size or self.card.size, stride) for one in members]
        for parts in side_by_side(streams):
            shares = torch.stack([part.softmax(dim=0).cpu() for part in parts])
            yield shares.mean(dim=0).clamp_min(1e-12).log()


def side_by_side(streams: Sequence[Iterator[Tensor]]) -> Iterator[list[Tensor]]:
    """The same rows of each of several streams of rows [k r w], which come in portions of their own heights."""
    held = [next(stream) for stream in streams]
    while True:
        rows = min(part.shape[1] for part in held)
        yield [part[:, :rows] for part in held]
        held = [part[:, rows:] for part in held]
        for i, stream in enumerate(streams):
            if not held[i].shape[1]:
                following = next(stream, None)
                if following is None:  # all end with the image
                    return
                held[i] = following


def refuse_other_classes(members: Sequence[Member]) -> None:
    """Raises InputError unless all members know the first one's classes, in its order; where one has no names for
    them, their number decides."""
    first = members[0]
    for member in members[1:]:
        named = [one for one in (first, member) if list(one.classes) != [*map(str, range(len(one.classes)))]]
        if len(member.classes) != len(first.classes) or (len(named) == 2 and member.classes != first.classes):
            raise InputError(
                f"the members of an ensemble must know the same classes in the same order: {first.name} knows "
                f"{', '.join(first.classes)}; {member.name} knows {', '.join(member.classes)}. Leave one of them out, "
                "or train it anew with the other's data.classes."
            )


def largest(members: Sequence[Member]) -> tuple[int, int]:
    """The height and the width at which every member finds all the detail that it looks at."""
    sizes = [member.size for member in members if member.size is not None]
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def load_ensemble(sources: Sequence[str | os.PathLike[str]], device: str = "cpu", trust: bool = False) -> Model:
    """Run folders and ONNX files as one model, which predicts as any other does: the mean of their probabilities.

    Files are read as those of the first run's training were; its `note` names the runs that learned from others.

    Args:
        sources: two or more; at least one is a run folder, which knows the names of the classes.
        device: where the runs' networks look; ONNX files are run on the CPU.
        trust: whether runs may name classes that are not segkd's own: their code runs with your rights.

    Raises:
        InputError: there are none, one cannot be read, or their classes differ.
    """
    names = [os.fspath(source) for source in sources]
    runs = [name for name in names if not name.lower().endswith(".onnx")]
    if not runs or len(names) < 2:
        raise InputError(f"load_ensemble: expected two or more, one of them a run folder, found {names}.")
    models = [load_model(run, trust=trust) for run in runs]
    card, members = models[0].card, [of_run(model, run) for model, run in zip(models, runs)]
    size = largest(members)  # of files that take any
    members += [opened(name, len(card.classes), size) for name in names if name not in runs]
    refuse_other_classes(members)
    size = largest(members)
    about = ModelCard("segkd.models.ensemble.Ensemble", {}, card.classes, size, range=card.range, exif=card.exif)
    notes = [model.note for model in models if model.note]
    notes += [
        f"{run} learned from images of range {one.range} and exif {one.exif}, and is shown those of the first run: "
        f"range {card.range} and exif {card.exif}"
        for run, one in zip(runs, [model.card for model in models])
        if (one.range, one.exif) != (card.range, card.exif)
    ]
    return FusedModel(Ensemble(members).to(device), about, "; ".join(notes))
