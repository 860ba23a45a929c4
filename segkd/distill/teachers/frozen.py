"""A teacher that was trained before and never changes: one network or several, of any kind."""

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.distill.base import Look, Scene, Teacher, moved
from segkd.models.member import Member, opened, table_of, translated
from segkd.models.network import Network
from segkd.models.start import filled_from
from segkd.types import Batch, InputError, LayerPath, Lesson, Prediction


@final
class Frozen(Teacher):
    """Finished networks as teachers, of any architecture, size and normalisation, which see the undisturbed images:
    Tf-KD_self (Yuan et al., CVPR 2020, eq. 7) with a run of the same network; several are an ensemble, the mean of
    their probabilities (Hinton et al., 2015).

    They are read anew at every start and lie in no checkpoint. Each sees the images at the size that it was trained
    at. Their score on val is told before the training.

    Args:
        sources: run folders, and ONNX files (logits only, on the CPU).
        features: layer paths of the only source whose outputs are its features; its own when null.
        network: one more, described as `model` is: smp's, timm's, one's own.
        weights: a file of its weights, or a run folder; what the network brings itself when null.
        classes: {class of the teachers: class of the student}, by name, by number ("0") where a teacher has no names;
            several may stand for one. The same classes in the same order when null.
        unseen: each image is taught by those runs alone that were not trained on it (`RUN/trained_on.txt`): k runs with
            `data.fold: [i, k]` each.
        trust: whether run folders may name classes that are not segkd's own: their code runs with your rights.
    """

    def __init__(
        self,
        sources: list[LayerPath] | None = None,
        features: list[str] | None = None,
        network: Callable[[int], Network] | None = None,
        weights: LayerPath | None = None,
        classes: dict[str, str] | None = None,
        unseen: bool = False,
        trust: bool = False,
    ) -> None:
        super().__init__()
        self.sources = list(sources or [])
        members = len(self.sources) + (network is not None)
        if not members:
            raise InputError("Frozen: sources names no run folder. Give one: sources: [runs/teacher].")
        if features and members > 1:
            raise InputError(f"Frozen: features are those of one network, and there are {members}.")
        if weights is not None and network is None:
            raise InputError("Frozen: weights are those of `network`, and there is none. Write network, or sources.")
        self.features, self.make, self.weights, self.classes = features, network, weights, classes
        self.unseen, self.trust = unseen, trust
        lone = members == 1 and not any(source.endswith(".onnx") for source in self.sources)
        self.gives = frozenset({"logits", "features"} if lone else {"logits"})
        self.members: list[Member] = []  # plain lists: neither optimised nor saved
        self.tables: list[Tensor | None] = []

    def meet(self, scene: Scene) -> None:
        """Reads the networks. Raises InputError where one is none, knows other classes, or saw what it shall teach."""
        names = tuple(scene.names or map(str, range(scene.classes)))
        height, width = scene.batch.image.shape[2:]
        count = len(names) if self.classes is None else len(self.classes)
        self.members = [opened(source, count, (height, width), self.trust) for source in self.sources]
        if self.make is not None:
            self.members.append(self._made(len(names) if self.classes is None else count))
        self.tables = [table_of(member, names, self.classes, "Frozen") for member in self.members]
        self.said = tuple(f"{member.name}: {member.about}" for member in self.members)
        if self.unseen:
            self._refuse_seen(scene.ids)

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the network says; of several, the log of the mean of their probabilities."""
        return Lesson(moved(self.predicted(batch.clean, self._weights(batch) if self.unseen else None), batch))

    def predicted(self, image: Tensor, weights: Float[Tensor, "m b"] | None = None) -> Prediction:
        """What it says of images; `weights` is how much each member counts for each image, 0 where it is not asked."""
        if len(self.members) == 1 and weights is None:
            seen = self.members[0](image, self.features)
            table = self.tables[0]
            logits = seen.logits if table is None else translated(seen.logits, table).clamp_min(1e-12).log()
            return Prediction(logits, seen.features)
        total: Tensor | float = 0.0
        for i, (member, table) in enumerate(zip(self.members, self.tables)):
            weight = torch.ones(len(image)) if weights is None else weights[i]
            asked = weight.nonzero()[:, 0].to(image.device)
            if len(asked):
                shares = translated(member(image[asked]).logits, table)
                whole = shares.new_zeros(len(image), *shares.shape[1:])
                total = total + whole.index_copy_(0, asked, shares * weight.to(image.device)[asked].view(-1, 1, 1, 1))
        assert isinstance(total, Tensor)
        return Prediction((total / total.sum(dim=1, keepdim=True)).clamp_min(1e-12).log())

    def alone(self) -> Network:
        """As a network, to be scored on val."""
        return Alone(self.predicted)

    def _made(self, classes: int) -> Member:
        assert self.make is not None
        network = self.make(classes).requires_grad_(False)
        if self.weights is not None:
            filled_from(network, self.weights, "Frozen: weights")
        about = f"with {self.weights or 'the weights it brings'}"
        kind = type(network).__name__
        names = tuple(self.classes) if self.classes is not None else tuple(map(str, range(classes)))
        return Member(kind, network.eval(), names, about=about)

    def _weights(self, batch: Batch) -> Float[Tensor, "m b"]:
        """1 where a member has not seen an image."""
        return torch.tensor(
            [[float(one not in (member.trained_on or ())) for one in batch.ids] for member in self.members]
        )

    def _refuse_seen(self, ids: tuple[str, ...]) -> None:
        for member in self.members:
            if member.trained_on is None:
                raise InputError(
                    f"Frozen: unseen: {member.name} does not say what it was trained on (trained_on.txt in a run "
                    "folder). Train it anew, or write unseen: false."
                )
        seen = [one for one in ids if all(one in (member.trained_on or ()) for member in self.members)]
        if seen:
            raise InputError(
                f"Frozen: unseen: {len(seen)} of {len(ids)} training images were seen by every "
                f"teacher, {seen[0]} for one. Train them with data.fold: [0, k] to [k - 1, k], and name all."
            )


@final
class Alone(Network):
    """A frozen teacher as a network; it holds none of it."""

    def __init__(self, predicted: Callable[[Tensor], Prediction]) -> None:
        super().__init__()
        self.predicted = predicted

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """What all its members say on average."""
        return Prediction(self.predicted(image).logits)
