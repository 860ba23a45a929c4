"""A teacher that was trained before and never changes: one network or several, of any kind."""

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.device import sent
from segkd.distill.base import Look, Scene, Teacher, moved
from segkd.distill.kept import Kept, keep
from segkd.models.ensemble import fused, largest
from segkd.models.member import Member, Reading, about_classes, opened, table_of, translated
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
        cache_gb: its class probabilities of the whole training images, those without a label too, are worked out once,
            before the first step, kept in memory in 16 bits, up to so many gigabytes, and seen through the crop and the
            mirrors of each view: then a step costs no look, and a network of a larger size sees more than the view
            holds. Of the images beyond, it is asked in every step. 0: of all.
        unseen: each image is taught by those runs alone that were not trained on it (`RUN/trained_on.txt`): k runs with
            `data.fold: [i, k]` each.
        trust: whether run folders may name classes that are not segkd's own: their code runs with your rights.
        onnx: how ONNX files of others are read, all alike; those of segkd say it themselves.
    """

    everywhere = True

    def __init__(
        self,
        sources: list[LayerPath] | None = None,
        features: list[str] | None = None,
        network: Callable[[int], Network] | None = None,
        weights: LayerPath | None = None,
        classes: dict[str, str] | None = None,
        unseen: bool = False,
        cache_gb: float = 0.0,
        trust: bool = False,
        onnx: Reading | None = None,
    ) -> None:
        super().__init__()
        self.sources = list(sources or [])
        members = len(self.sources) + (network is not None)
        if not cache_gb >= 0:
            raise InputError(f"Frozen: cache_gb is a number of gigabytes, 0 for none, found {cache_gb}.")
        if features and cache_gb:
            raise InputError("Frozen: cache_gb keeps class probabilities, and features none. Leave one of them out.")
        if features and members > 1:
            raise InputError(f"Frozen: features are those of one network, and there are {members}.")
        if weights is not None and network is None:
            raise InputError("Frozen: weights are those of `network`, and there is none. Write network, or sources.")
        self.features, self.make, self.weights, self.classes = features, network, weights, classes
        self.unseen, self.cache_gb, self.trust, self.onnx = unseen, cache_gb, trust, onnx
        lone = members < 2 and not cache_gb and not any(source.endswith(".onnx") for source in self.sources)
        self.gives = frozenset({"logits", "features"} if lone else {"logits"})
        self.members: list[Member] = []  # plain lists: neither optimised nor saved
        self.tables: list[Tensor | None] = []
        self.kept: Kept | None = None

    def meet(self, scene: Scene) -> None:
        """Reads the networks. Raises InputError where one is none, knows other classes, or saw what it shall teach."""
        if not self.sources and self.make is None:
            raise InputError(
                f"{self.owner}: sources names no run folder. Give one, sources: [runs/teacher], on the command line "
                f"--{self.key or 'distiller.teachers.NAME'}.sources '[runs/teacher]'."
            )
        names = scene.class_names
        count = len(names) if self.classes is None else len(self.classes)
        self.members = [opened(one, count, scene.size, self.trust, self.onnx) for one in self.sources]
        if self.make is not None:
            self.members.append(self._made(len(names) if self.classes is None else count))
        self.tables = [table_of(member, names, self.classes, self.owner) for member in self.members]
        ours = names if self.classes is None else None
        self.said = tuple(about_classes(member, ours or member.classes) for member in self.members)
        if self.unseen:
            self._refuse_seen(scene.ids, scene.others)
        if self.cache_gb:
            self._keep(scene)

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the network says; of several, the log of the mean of their probabilities."""
        weights = self._weights(batch.ids) if self.unseen else None
        known = [self.kept is not None and batch.warp is not None and one in self.kept for one in batch.ids]
        if not any(known):
            return Lesson(moved(self.predicted(batch.clean, weights), batch))
        assert self.kept is not None and batch.warp is not None
        if all(known):
            return Lesson(moved(Prediction(self.kept.seen(list(batch.ids), batch.warp, batch.clean.shape[2:])), batch))
        there, rest = [[i for i, one in enumerate(known) if one is which] for which in (True, False)]
        known_rows, asked_rows, order = (
            sent(rows, batch.clean.device)
            for rows in (torch.tensor(there), torch.tensor(rest), torch.tensor([*there, *rest]).argsort())
        )
        seen = self.kept.seen([batch.ids[i] for i in there], batch.warp[known_rows], batch.clean.shape[2:])
        asked = self.predicted(batch.clean[asked_rows], None if weights is None else weights[:, rest]).logits
        seen = torch.cat([seen, asked.log_softmax(dim=1)])[order]
        return Lesson(moved(Prediction(seen), batch))

    def predicted(self, image: Tensor, weights: Float[Tensor, "m b"] | None = None) -> Prediction:
        """What it says of images; `weights` is how much each member counts for each image, 0 where it is not asked."""
        if len(self.members) == 1 and weights is None:
            seen = self.members[0](image, self.features)
            table = self.tables[0]
            logits = seen.logits if table is None else translated(seen.logits, table).clamp_min(1e-12).log()
            return Prediction(logits, seen.features)
        return Prediction(fused(self.members, image, self.tables, weights))

    def alone(self) -> Network:
        """As a network, to be scored on val."""
        return Alone(self.predicted)

    def _made(self, classes: int) -> Member:
        assert self.make is not None
        network = self.make(classes).requires_grad_(False)
        if self.weights is not None:
            filled_from(network, self.weights, f"{self.owner}: weights")
        about = f"with {self.weights or 'the weights it brings'}"
        kind = type(network).__name__
        names = tuple(self.classes) if self.classes is not None else tuple(map(str, range(classes)))
        return Member(kind, network.eval(), names, about=about)

    def _keep(self, scene: Scene) -> None:
        """Looks at the whole training images, as large as the largest member looks at them."""
        size = largest(self.members) if any(member.size for member in self.members) else scene.size

        def look(batch: Batch) -> Tensor:
            return self.predicted(batch.clean, self._weights(batch.ids) if self.unseen else None).logits

        self.kept = keep(scene, size, look, self.cache_gb * 1e9)
        self.said += (self.kept.said,)

    def _weights(self, ids: tuple[str, ...]) -> Float[Tensor, "m b"]:
        """1 where a member has not seen an image."""
        return torch.tensor([[float(one not in (member.trained_on or ())) for one in ids] for member in self.members])

    def _refuse_seen(self, ids: tuple[str, ...], others: tuple[str, ...]) -> None:
        for member in self.members:
            if member.trained_on is None:
                raise InputError(
                    f"{self.owner}: unseen: {member.name} does not say what it was trained on (trained_on.txt in a run "
                    "folder). Train it anew, or write unseen: false."
                )
            if not member.trained_on & set(ids) and member.trained_on & {one.partition("/")[2] for one in ids}:
                raise InputError(
                    f"{self.owner}: unseen: {member.name} was trained on images without the name of a data set before "
                    "theirs, so what it saw of these cannot be told. Train it with the same data.domains."
                )
        every = ids + others
        seen = [one for one in every if all(one in (member.trained_on or ()) for member in self.members)]
        if seen:
            raise InputError(
                f"{self.owner}: unseen: {len(seen)} of {len(every)} training images were seen by every "
                f"teacher, {seen[0]} for one. Train them with data.fold: [0, k] to [k - 1, k], and name all."
            )


@final
class Alone(Network):
    """A teacher that looks at images alone as a network; it holds none of it."""

    def __init__(self, predicted: Callable[[Tensor], Prediction]) -> None:
        super().__init__()
        self.predicted = predicted

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """What all its members say on average."""
        return Prediction(self.predicted(image).logits)
