"""Specialists for classes that are confused, on the features of a finished run, and what they say together."""

import math
from collections.abc import Iterable, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.distill.base import Look, Scene, Teacher, moved
from segkd.distill.teachers.frozen import Alone
from segkd.models.decoder import Head, resize, summed
from segkd.models.member import Member, about_classes, opened, refuse_unlike
from segkd.models.network import Network
from segkd.types import Batch, InputError, LayerPath, Lesson, Prediction

MOST = 200
"""Training images, spread evenly, that show which classes are confused."""


def confusion(shares: Iterable[Float[Tensor, "_b k _h _w"]]) -> Float[Tensor, "k k"]:
    """How often two classes are predicted together: E[p_i p_j] / sqrt(E[p_i] E[p_j]) over pixels, float64.

    That is the covariance of the predictions about zero, each class by its share. About the mean, as Hinton et al.
    (2015, section 4.2) have it, the classes of pixels, of which each pixel has one, would be as far apart as they are
    large: -E[p_i] E[p_j], whatever is confused with them.
    """
    both: Tensor | float = 0.0
    alone: Tensor | float = 0.0
    for part in shares:
        flat = part.double().transpose(0, 1).flatten(1)
        both, alone = both + flat @ flat.T, alone + flat.sum(dim=1)
    assert isinstance(both, Tensor) and isinstance(alone, Tensor)
    size = alone.clamp_min(1e-12).sqrt()
    return both / (size.unsqueeze(1) * size)


def groups_of(together: Float[Tensor, "k k"], size: int) -> list[list[int]]:
    """Classes in groups of 2 to `size` that are confused most, each in one at most; those alone have none.

    From single classes on, the two groups with the largest mean of `together` across them become one, while there are
    two whose union is not too large and that are confused at all (average linkage; online k-means over columns in the
    paper).
    """
    groups = [[c] for c in range(len(together))]
    while True:
        found = [
            (float(together[a][:, b].mean()), i, j)
            for i, a in enumerate(groups)
            for j, b in enumerate(groups[:i])
            if len(a) + len(b) <= size and float(together[a][:, b].mean()) > 0
        ]
        if not found:
            return sorted(sorted(group) for group in groups if len(group) > 1)
        _, i, j = max(found)
        groups[j] += groups.pop(i)


def others_of(group: Sequence[int], classes: int) -> list[int]:
    """The classes that are in a specialist's dustbin."""
    return [c for c in range(classes) if c not in group]


def chosen(maps: Float[Tensor, "b _k h w"], classes: Sequence[int]) -> Float[Tensor, "b _m h w"]:
    """The planes of some classes in their order; an index would have to be sent to an accelerator."""
    return torch.stack([maps[:, c] for c in classes], dim=1)


def collapsed(logits: Float[Tensor, "b k h w"], group: Sequence[int]) -> Float[Tensor, "b _m h w"]:
    """Logits of a group's classes, and last those of the dustbin: the log-sum of all others, where there are any."""
    others = others_of(group, logits.shape[1])
    own = chosen(logits, group)
    return torch.cat([own, chosen(logits, others).logsumexp(dim=1, keepdim=True)], dim=1) if others else own


def spread(
    special: Float[Tensor, "b _m h w"], general: Float[Tensor, "b k h w"], group: Sequence[int]
) -> Float[Tensor, "b k h w"]:
    """log probabilities of all classes: a specialist's of its own, its dustbin's shared out as the generalist does.

    Their cross-entropy is that of the specialist with the dustbin as one class, plus what does not depend on it.

    Args:
        special: logits of a specialist, as `collapsed` orders them.
        general: log probabilities of the generalist.
        group: its classes.
    """
    others = others_of(group, general.shape[1])
    own = special.log_softmax(dim=1)
    parts = [own[:, : len(group)]]
    if others:
        rest = chosen(general, others)
        parts.append(own[:, -1:] + rest - rest.logsumexp(dim=1, keepdim=True))
    order = [*group, *others]
    return chosen(torch.cat(parts, dim=1), [order.index(c) for c in range(len(order))])


def combined(
    general: Float[Tensor, "b k h w"], specials: Sequence[Float[Tensor, "b k h w"]], groups: Sequence[Sequence[int]]
) -> Float[Tensor, "b k h w"]:
    """log of the q with the least KL(p_general, q) + sum over the active specialists of KL(p_special, q).

    Hinton et al. (2015, eq. 5), where a specialist's dustbin is compared with the sum of q over its classes, and a
    specialist is active where its group holds the generalist's first class (n = 1, as there). Groups share no class, so
    at most one is active, and the minimum has a closed form: the mean of the generalist and of `spread`.

    Args:
        general: log probabilities of the generalist.
        specials: of each specialist, as `spread` gives them.
        groups: the classes of each.
    """
    first, found = general.argmax(dim=1, keepdim=True), general
    for special, group in zip(specials, groups):
        active = torch.stack([first == c for c in group]).any(dim=0)
        found = torch.where(active, torch.logaddexp(general, special) - math.log(2), found)
    return found


@final
class Specialists(Teacher):
    """A finished run, and for each group of classes that it confuses a specialist: 1x1 convolutions on its features,
    which learn from the label, with a dustbin for all other classes (Hinton, Vinyals and Dean, 2015, section 4). What
    they say together, `combined`, is distilled into the student, which keeps nothing of them.

    A specialist begins as the run itself, `collapsed`, and learns what to add. Departures: heads on shared features for
    whole networks; they see all pixels instead of half of their own classes', so that no dustbin is corrected.

    Args:
        sources: the folder of the one run.
        size: classes of a specialist, at most.
        whole: one head for all classes instead of specialists: the control with as many parameters.
        features: layer paths of the run whose outputs the specialists read; its own features when null.
        trust: whether the run may name classes that are not segkd's own: their code runs with your rights.
    """

    gives = frozenset({"logits"})
    learns = frozenset({"label"})

    def __init__(
        self,
        sources: list[LayerPath] | None = None,
        size: int = 4,
        whole: bool = False,
        features: list[str] | None = None,
        trust: bool = False,
    ) -> None:
        super().__init__()
        if size < 2:
            raise InputError(f"Specialists: size is a number of classes, at least 2, found {size}.")
        self.sources, self.size, self.whole = list(sources or []), size, whole
        self.features, self.trust = features, trust
        self.member: list[Member] = []  # a plain list: neither optimised nor saved
        self.groups: list[list[int]] = []

    def meet(self, scene: Scene) -> None:
        """Reads the run, looks for what it confuses, makes the heads. Raises InputError for two classes, for none or
        several runs, and for a run of other classes or without features."""
        if scene.classes < 3:
            raise InputError(
                f"{self.owner}: two classes have one border, and there is nothing to specialise in. A run teaches them "
                "by methods/tf_kd_self.yaml."
            )
        if len(self.sources) != 1:
            raise InputError(
                f"{self.owner}: expected the folder of one run, sources: [runs/teacher], found "
                f"{len(self.sources) or 'none'}. Several teach by methods/tf_kd_self.yaml."
            )
        names = scene.class_names
        member = opened(self.sources[0], scene.classes, scene.size, self.trust)
        refuse_unlike(member, names, self.owner)
        seen = member(scene.batch.clean, self.features)
        if not seen.features:
            raise InputError(
                f"{self.owner}: {member.name} gives no features. Name layers of its network: features: "
                "[path.of.a.layer, ...]."
            )
        self.member = [member]
        every = [list(range(scene.classes))]
        self.groups = every if self.whole else groups_of(self._together(scene), min(self.size, scene.classes - 1))
        if not self.groups:
            raise InputError(f"{self.owner}: {member.name} confuses no two classes: there is nothing to specialise in.")
        outputs = sum(len(group) + (len(group) < scene.classes) for group in self.groups)
        self.heads = nn.ModuleList(Head(level.shape[1], outputs) for level in seen.features)
        for head in self.heads.parameters():
            nn.init.zeros_(head)
        told = "; ".join(", ".join(names[c] for c in group) for group in self.groups)
        self.said = (about_classes(member, names), f"{len(self.groups)} on its features: {told}")

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What run and specialists say together, and by which logits each specialist learns."""
        general, specials = self._asked(batch.clean)
        target = moved(Prediction(combined(general, specials, self.groups)), batch)
        return Lesson(target, own=tuple(batch.moved(one) for one in specials))

    def predicted(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """What run and specialists say of images together."""
        return Prediction(combined(*self._asked(image), self.groups))

    def alone(self) -> Network:
        """As a network, to be scored on val: before the first step, the run itself."""
        return Alone(self.predicted)

    def _asked(self, image: Tensor) -> tuple[Float[Tensor, "b k h w"], list[Float[Tensor, "b k h w"]]]:
        """log probabilities of the run, and of each specialist as `spread` gives them."""
        with torch.no_grad():
            seen = self.member[0](image, self.features)
        levels = [head(level.detach()) for head, level in zip(self.heads, seen.features)]
        general, specials, at = seen.logits.float().log_softmax(dim=1), [], 0
        added = resize(summed(levels), general).float()
        for group in self.groups:
            begin = collapsed(general, group)
            specials.append(spread(begin + added[:, at : at + begin.shape[1]], general, group))
            at += begin.shape[1]
        return general, specials

    def _together(self, scene: Scene) -> Float[Tensor, "k k"]:
        """How often the run takes each class for each other."""
        n = len(scene.ids)
        numbers = torch.linspace(0, n - 1, min(n, MOST)).round().long().tolist()
        member = self.member[0]
        batches = scene.whole(member.size or scene.size, numbers)
        return confusion(member(batch.clean).logits.float().softmax(dim=1) for batch in batches).cpu()
