"""A teacher that looks up: what the labels of the most similar pixels of other training images say."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from segkd.device import processes, sent
from segkd.distill.base import Look, Scene, Teacher, moved
from segkd.distill.index import evenly, library
from segkd.distill.store import Origins, Store, gathered
from segkd.losses import one_hot
from segkd.models.member import Member, about_classes, opened, refuse_unlike
from segkd.models.network import Network
from segkd.models.taps import evaluating
from segkd.types import Batch, InputError, LayerPath, Lesson, Prediction, refuse_number

EXACT = 1_000_000
"""Keys beyond which comparing all of them takes longer than anyone waits for a step: an index is asked instead."""

PART = 50_000_000
"""Pairs of a key that is looked up and a key that is barred, a byte each, at a time."""

ASKED = 2000
"""Keys that are looked up among the others before the training, to say what looking up is worth."""


def neighbour_shares(
    distance: Float[Tensor, "*n j"], values: Float[Tensor, "*n j k"], temperature: float
) -> Float[Tensor, "*n k"]:
    """p_knn = sum_j softmax_j(-d_j / T) v_j: the class shares v of the nearest keys, d the squared distance of vectors
    of unit length, 0..4 (kNN-MT, Khandelwal et al., ICLR 2021, eq. 2). All 0 where no key was near (d = inf)."""
    weights = (-distance / temperature).softmax(dim=-1)
    weights = weights.masked_fill(distance.isinf(), 0.0)  # of nothing but inf the softmax is nan
    return (weights.unsqueeze(-1) * values).sum(dim=-2)


@dataclass
class Stage:
    """How neighbours are heard from a moment on; by default as in the second stage of Dk-KD, where the student of the
    first teaches, corrected where neighbours know the label: t = share m p_knn + (1 - share m) p_first,
    m = [p_knn(label) >= threshold].

    Args:
        at: progress 0..1 of the training at which it begins, and the student is copied.
        k: neighbours.
        temperature: T of their squared distances.
        share: of the neighbours, where m.
        threshold: share of the label's class among the neighbours from which on they are heard.
    """

    at: float = 0.5
    k: int = 8
    temperature: float = 0.3
    share: float = 0.1
    threshold: float = 0.8


@final
class Retrieval(Teacher):
    """The labels of the nearest pixels in a store of training pixels: domain-aware k-nearest-neighbour knowledge
    distillation, Dk-KD (Wang et al., ACL Findings 2024), of kNN-KD (Yang et al., NAACL 2022), per pixel.

    t = share p_knn + (1 - share) p_source with `neighbour_shares`, taught where m = [p_knn(label) >= threshold]. A
    finished run makes keys and queries; it sees the undisturbed images and never changes. The store is filled from the
    whole training images before the first step, anew at every start, with the same draws; it lies in no checkpoint.

    No pixel looks at its own image, nor at its own sequence: neighbouring frames are near-copies, among which p_knn
    would be the label. The sources' code leaves nothing out.

    Departures: keys of unit length, so that T is smaller than for the states of a translator; of each class equally
    many keys at most, so that rare classes are heard more; a sample of pixels is asked in each step; m looks at
    p_knn(label), not at t(label), which at a share of .9999 is nearly the same; the loss is a mean over the pixels that
    are taught, where Dk-KD's is their sum over the number of all.

    Args:
        source: the finished run.
        layer: layer path of the run's network whose output, one feature per pixel, makes the keys; the finest of its
            features when null.
        keys: most keys in the store, over `classes` of each class. Up to 1e6 all are compared; beyond, an index of
            faiss (`pip install 'segkd[retrieval]'`) is asked, which misses some of the nearest (`segkd.distill.index`).
        values: what a key says: the "label" at its centre, or the class "shares" of its area (at `data.size`).
        k: neighbours.
        temperature: T of the squared distances, which lie in 0..4.
        share: of the neighbours in the target, lambda.
        threshold: share of the label's class among the neighbours from which on they teach (knowledge selection).
        queries: pixels of a batch, over all processes, that are asked in a step; each speaks for its cell of features.
        group: regular expression for the sequence of an image, its first group or all of it in the stem; `data.group`
            when null, each domain's own where there are several; without that each image is its own sequence.
        frames: images so many places before and after in the sequence (all, without `group`) are left out; all if null.
        domain: regular expression for the domain, of several `data.domains` "^[^/]+": only keys of the same one are
            asked; all when null.
        then: the second stage of Dk-KD; null for one stage.
        trust: whether the run folder may name classes that are not segkd's own: their code runs with your rights.
    """

    gives = frozenset({"logits"})

    def __init__(
        self,
        source: LayerPath | None = None,
        layer: str | None = None,
        keys: int = 50_000,
        values: Literal["label", "shares"] = "label",
        k: int = 16,
        temperature: float = 0.07,
        share: float = 0.9999,
        threshold: float = 0.5,
        queries: int = 512,
        group: str | None = None,
        frames: int | None = None,
        domain: str | None = None,
        then: Stage | None = None,
        trust: bool = False,
    ) -> None:
        super().__init__()
        if source is None or source.endswith(".onnx"):
            raise InputError(
                f"Retrieval: source: expected a finished run, whose network makes the keys, found {source}. Train one, "
                "then name its folder: --distiller.teachers.NAME.source RUN."
            )
        self.source, self.layer, self.limit, self.values = source, layer, keys, values
        self.first = Stage(0.0, k, temperature, share, threshold)
        self.queries, self.group, self.frames, self.domain = queries, group, frames, domain
        self.then, self.trust = then, trust
        self.before = self.progress = 0.0
        self.kept: list[tuple[Member, Store, Origins]] = []  # a plain list: neither optimised nor saved
        self._refuse_wild()
        if keys > EXACT:
            library()

    def meet(self, scene: Scene) -> None:
        """Opens the run and fills the store. Raises InputError where the run is none, knows other classes or has no
        such layer, a class has no key, or there are fewer keys than neighbours."""
        names = scene.class_names
        member = opened(self.source, len(names), scene.size, self.trust)
        refuse_unlike(member, names, "Retrieval")
        real = scene.images is not None  # else a rehearsal on made images
        ids = scene.ids if real else scene.batch.ids
        group, domain = (self.group, self.domain) if real else (None, None)
        groups = scene.groups() if real and group is None and scene.groups is not None else ()
        origins = Origins(ids, group, self.frames, domain, groups)
        with torch.no_grad():
            store, seen = gathered(
                scene.whole(scene.size),
                lambda image: self._looked(member, image)[1],
                origins,
                len(names),
                self.limit,
                self.values,
            )
        self.kept = [(member, store, origins)]
        if real:
            self._refuse_empty(names, seen)
            if len(store.keys) > EXACT:
                self.kept = [(member, store.indexed(), origins)]
            self.said, self.doubts = self._about(names), origins.doubts(store.origins)
        if self.then is not None:
            self.earlier = copy.deepcopy(scene.student).requires_grad_(False)

    def arrive(self, progress: float) -> None:
        """Which stage it is."""
        self.before, self.progress = self.progress, progress

    def follow(self, student: Network, step: int) -> None:
        """Copies the student where the second stage begins."""
        if self.then is not None and self.before < self.then.at <= self.progress:
            self.earlier.load_state_dict(student.state_dict())

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """The mixed target and, in the first stage, where the neighbours know the label."""
        member = self.kept[0][0]
        second = self.then is not None and self.progress >= self.then.at
        stage = self.then if second and self.then is not None else self.first
        # in full precision whatever the training's: a search is as exact as its queries
        with torch.autocast(batch.clean.device.type, enabled=False):
            logits, features = self._looked(member, batch.clean)
            near, asked = self._asked(batch, features, stage)
            if second:
                with evaluating(self.earlier):
                    logits = self.earlier(batch.clean).logits
            seen = moved(Prediction(torch.cat([logits.float().softmax(dim=1), near, asked], dim=1)), batch).logits
        own, near, asked = seen.split([logits.shape[1], near.shape[1], 1], dim=1)
        right = (near * one_hot(batch.label, near.shape[1])).sum(dim=1, keepdim=True)
        mask = (asked > 0.5) & (right >= stage.threshold)
        share = stage.share * mask if second else stage.share * (asked > 0.5)
        target = share * near + (1 - share) * own
        return Lesson(Prediction(target.clamp_min(1e-12).log()), None if second else mask.squeeze(1))

    def _looked(self, member: Member, image: Tensor) -> tuple[Tensor, Tensor]:
        """What the run says of images, and its features of them."""
        seen = member(image, None if self.layer is None else [self.layer])
        if not seen.features:
            raise InputError(
                f"Retrieval: {member.name} gives no features of its own to make keys of. Name a layer that gives a map "
                f"at a fourth of the image's size, say: layer: PATH; segkd info {member.name} lists them."
            )
        return seen.logits, seen.features[0]

    def _asked(
        self, batch: Batch, features: Float[Tensor, "b d _h _w"], stage: Stage
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b 1 h w"]]:
        """p_knn of the cells that are asked, 0 elsewhere, and 1 where they are, at the size of the image."""
        (b, d, rows, columns), size = features.shape, batch.clean.shape[2:]
        at = self._cells(b, rows * columns, features.device)
        queries = F.normalize(features.float(), dim=1).flatten(2).gather(2, at.unsqueeze(1).expand(-1, d, -1))
        shares = self._neighbours(queries.transpose(1, 2), batch.ids, stage)
        found = torch.cat([shares, shares.sum(dim=2, keepdim=True).clamp_max(1.0)], dim=2).transpose(1, 2)
        cells = found.new_zeros(b, found.shape[1], rows * columns)
        cells.scatter_(2, at.unsqueeze(1).expand_as(found), found)
        whole = F.interpolate(cells.view(b, -1, rows, columns), size, mode="nearest-exact")
        return whole[:, :-1], whole[:, -1:]

    def _neighbours(self, queries: Tensor, ids: Sequence[str], stage: Stage) -> Float[Tensor, "b n k"]:
        """p_knn of queries [b n d], those of each image in a row."""
        member, store, origins = self.kept[0]
        store = store.to(queries.device)
        self.kept = [(member, store, origins)]
        return self._shares(queries, sent(origins.of(ids), queries.device), stage)

    def _shares(self, queries: Tensor, asking: Tensor, stage: Stage) -> Float[Tensor, "b n k"]:
        """The same for queries whose origins are known; the store lies on their device."""
        _, store, origins = self.kept[0]
        distance, at = store.nearest(queries, origins.barred(asking, store.origins), min(stage.k, len(store.keys)))
        return neighbour_shares(distance, store.values[at].float(), stage.temperature)

    def _cells(self, b: int, cells: int, device: torch.device) -> Int64[Tensor, "b n"]:
        """Which cells of each image are asked: drawn in training, evenly spread else."""
        if not self.training:
            return torch.linspace(0, cells - 1, min(cells, -(-self.queries // b)), device=device).long().expand(b, -1)
        n = min(cells, -(-self.queries // (b * processes())))
        return sent(torch.rand(b, cells).topk(n, dim=1).indices, device)

    def _about(self, names: Sequence[str]) -> tuple[str, ...]:
        """What is in the store, and how far it can be believed: keys looked up among the others."""
        member, store, origins = self.kept[0]
        label = store.values.argmax(dim=1)
        counts = ", ".join(f"{name} {int((label == c).sum())}" for c, name in enumerate(names))
        some = evenly(ASKED, len(store.keys))
        parts = some.split(max(1, min(100, PART // len(store.keys))))
        about = [self._shares(store.keys[one].float().unsqueeze(1), store.origins[one], self.first) for one in parts]
        shares = torch.cat(about)[:, 0]
        sure = shares.gather(1, label[some].unsqueeze(1))[:, 0]
        taught = (sure >= self.first.threshold).float().mean()
        out = "its own image" if origins.sequences == len(origins.rows) else "its own sequence"
        out = out if origins.frames is None else f"{origins.frames} frames before and after"
        return (
            about_classes(member, names),
            f"{len(label)} keys of {store.keys.shape[1]} numbers from {len(origins.rows)} images ({counts}); "
            f"{origins.sequences} sequences, {origins.domains} domains",
            f"left out of a pixel's neighbours: {out}; then {len(some)} of the keys find {float(sure.mean()):.1%} of "
            f"their own class on average, and {float(taught):.1%} of them are taught",
        )

    def _refuse_empty(self, names: Sequence[str], seen: Int64[Tensor, " k"]) -> None:
        _, store, origins = self.kept[0]
        lost = [name for name, count in zip(names, seen.tolist()) if not count]
        if lost:
            raise InputError(
                f"Retrieval: expected keys of every class, found none of {', '.join(lost)} in {len(origins.rows)} "
                "training images at the size of the features: neighbours could never name it. Raise data.size, name a "
                "finer layer (layer: PATH), or take out of data.classes what the training labels do not show."
            )
        if max(self.first.k, self.then.k if self.then else 0) > len(store.keys):
            raise InputError(
                f"Retrieval: k: the store holds {len(store.keys)} keys, fewer than the neighbours that are wanted. "
                "Write a smaller k, or more keys."
            )
        if origins.sequences == origins.domains and self.frames is None:
            raise InputError(
                f"Retrieval: group finds {origins.sequences} sequences in {origins.domains} domains: once its own "
                "sequence is left out, an image has no key to look at. Write a group that tells more sequences apart, "
                "or frames: 30 to leave out the neighbouring frames alone."
            )

    def _refuse_wild(self) -> None:
        stages, at = [self.first, *([self.then] if self.then else [])], self.then.at if self.then else 1.0
        faults = [
            (self.limit >= 1, f"keys: expected at least 1, found {self.limit}"),
            (self.queries >= 1, f"queries: expected at least 1 pixel of a batch, found {self.queries}"),
            (self.frames is None or self.frames >= 0, f"frames: expected 0 or more, found {self.frames}"),
            (0 < at <= 1, f"then.at is a progress of the training, above 0 and up to 1, found {at}"),
        ]
        for one in stages:
            refuse_number("Retrieval: temperature", one.temperature, above=True)
            faults += [
                (1 <= one.k <= self.limit, f"k: expected 1 to {self.limit} neighbours (keys), found {one.k}"),
                (0 <= one.share <= 1, f"share lies in 0..1, found {one.share}"),
                (0 <= one.threshold <= 1, f"threshold lies in 0..1, found {one.threshold}"),
            ]
        for fine, fault in faults:
            if not fine:
                raise InputError(f"Retrieval: {fault}.")
