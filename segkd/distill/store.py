"""A store of pixel features of training images with what their labels say, and the search for the nearest of them."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float16, Float32, Int64
from torch import Tensor

from segkd.datasets.groups import group_of
from segkd.distill.index import Index
from segkd.losses import one_hot, resize_label, resize_shares
from segkd.types import IGNORE, Batch, some

CHUNK = 8192
"""Keys that are compared with all queries at a time: memory is queries x CHUNK numbers, however many keys there are."""


@final
class Origins:
    """Where pixels come from: the number of the image, its sequence, its place in the sequence, its domain.

    Args:
        ids: names of the training images.
        group: regular expression for the sequence (see `data.group`); without one, each image is its own, or, with
            `frames`, all are one.
        frames: images so many places before and after in the same sequence, names in order and numbers as numbers, are
            near; the whole sequence is when None.
        domain: regular expression for the domain; all are of one when None.
        groups: the sequence of each of the `ids` where `group` is None; None, or (), for images of which none is known.

    Raises:
        InputError: an expression is none, or finds nothing in any name.
    """

    def __init__(
        self,
        ids: Sequence[str],
        group: str | None,
        frames: int | None,
        domain: str | None,
        groups: Sequence[str | None] = (),
    ) -> None:
        self.frames = frames
        said = dict(zip(ids, groups)).get if group is None else group_of(group, ids, [], "group")
        domain_of = (lambda _: "") if domain is None else group_of(domain, ids, [], "domain")
        sequences: dict[str, list[str]] = {}
        for one in sorted(ids, key=_in_order):
            sequences.setdefault(said(one) or (one if frames is None else ""), []).append(one)
        domains = {name: i for i, name in enumerate(dict.fromkeys(map(domain_of, ids)))}
        numbers = {one: i for i, one in enumerate(ids)}
        self.rows = {
            one: (numbers[one], i, place, domains[domain_of(one)])
            for i, members in enumerate(sequences.values())
            for place, one in enumerate(members)
        }
        self.sequences, self.domains = len(sequences), len(domains)

    def of(self, ids: Sequence[str]) -> Int64[Tensor, "b 4"]:
        """Image, sequence, place and domain of each name; -1 for one that is not known."""
        return torch.tensor([self.rows.get(one, (-1, -1, -1, -1)) for one in ids])

    def barred(self, asking: Int64[Tensor, "b 4"], kept: Int64[Tensor, "m 4"]) -> Bool[Tensor, "b m"]:
        """Which keys an image may not look at: its own, those near in its sequence, and those of other domains."""
        # one image at a time: the differences of places are 8 bytes for each key
        return torch.stack([self._barred(one, kept) for one in asking])

    def doubts(self, kept: Int64[Tensor, "m 4"]) -> tuple[str, ...]:
        """A sentence where images may look at no key, as all of their domain are of their own sequence; none is looked
        for with `frames`."""
        if self.frames is not None:
            return ()
        of_domain = kept[:, 3].bincount(minlength=self.domains).tolist()
        of_both = (kept[:, 1] * self.domains + kept[:, 3]).bincount(minlength=self.sequences * self.domains).tolist()
        lost = [
            one
            for one, (_, sequence, _, domain) in self.rows.items()
            if of_both[sequence * self.domains + domain] == of_domain[domain]
        ]
        if not lost:
            return ()
        return (
            f"says nothing of {len(lost)} of {len(self.rows)} training images ({some(lost)}): all keys of their domain "
            "are of their own sequence. Write a group that tells more sequences apart, or frames: 30",
        )

    def _barred(self, asking: Int64[Tensor, "4"], kept: Int64[Tensor, "m 4"]) -> Bool[Tensor, " m"]:
        (image, sequence, place, domain), of = asking, kept.unbind(1)
        near = sequence == of[1]
        if self.frames is not None:
            near &= (place - of[2]).abs_() <= self.frames
        return (image == of[0]) | near | ((domain >= 0) & (domain != of[3]))


@final
@dataclass(frozen=True)
class Store:
    """Keys of unit length, the class shares that stand for each, and where each comes from (`Origins`). Those with an
    `index` stay on the CPU."""

    keys: Float16[Tensor, "m d"]
    values: Float16[Tensor, "m k"]
    origins: Int64[Tensor, "m 4"]
    index: Index | None = None

    def indexed(self) -> "Store":
        """The same store with an index of its keys: `nearest` looks at a part of them."""
        return replace(self, index=Index(self.keys))

    def to(self, device: torch.device) -> "Store":
        """The same store on `device`."""
        if self.values.device == device:
            return self
        keys = self.keys if self.index else self.keys.to(device)
        return Store(keys, self.values.to(device), self.origins.to(device), self.index)

    def nearest(
        self, queries: Float32[Tensor, "b n d"], barred: Bool[Tensor, "b m"], k: int
    ) -> tuple[Float32[Tensor, "b n k"], Int64[Tensor, "b n k"]]:
        """The squared distances 0..4 of the `k` nearest keys that are not barred, and their numbers; inf where there
        are no more. Without an index exact up to the rounding of the keys: all are compared, a chunk at a time."""
        if self.index is not None:
            return self.index.nearest(queries, barred, k)
        best = queries.new_full((*queries.shape[:2], k), -torch.inf)
        at = torch.zeros_like(best, dtype=torch.int64)
        for start in range(0, len(self.keys), CHUNK):
            keys = self.keys[start : start + CHUNK].float()
            alike = (queries @ keys.T).masked_fill_(barred[:, None, start : start + CHUNK], -torch.inf)
            top, where = alike.topk(min(k, len(keys)), dim=2)
            best, order = torch.cat([best, top], dim=2).topk(k, dim=2)
            at = torch.cat([at, where + start], dim=2).gather(2, order)
        return (2 - 2 * best).clamp_min(0), at


def gathered(
    batches: Iterable[Batch],
    look: Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b d _h _w"]],
    origins: Origins,
    classes: int,
    limit: int,
    values: Literal["label", "shares"] = "label",
) -> tuple[Store, Int64[Tensor, " k"]]:
    """A store of the cells of a feature map, and how many cells of each class there were.

    A cell's class is that of its centre (nearest-exact). Of each class at most `limit` // `classes` cells stay, drawn
    evenly from all images with the same draws every time.

    Args:
        batches: each image once.
        look: images -> features.
        origins: where images come from.
        classes: k.
        limit: the most keys.
        values: "label" keeps a cell's class, "shares" the class shares of its area.
    """
    draw, quota = np.random.default_rng(0), max(1, limit // classes)
    pools: list[_Pool | None] = [None] * classes
    seen = torch.zeros(classes, dtype=torch.int64)
    for batch in batches:
        features = look(batch.clean).float()
        label = resize_label(batch.label, features.shape[2:])
        shares = resize_shares(one_hot(batch.label, classes), features.shape[2:])
        kept = one_hot(label, classes) if values == "label" else shares
        rows = origins.of(batch.ids).repeat_interleave(label[0].numel(), dim=0)
        ranks = torch.from_numpy(draw.random(label.numel()))
        whole = _Pool(ranks, _rows_of(F.normalize(features, dim=1)), _rows_of(kept), rows)
        flat = label.flatten().cpu()
        for c in flat[flat != IGNORE].unique().tolist():
            own = whole.only(flat == c)
            seen[c] += len(own.ranks)
            pool = pools[c]
            pools[c] = (own if pool is None else pool.with_(own)).best(quota)
    # where no cell has a class, a store of nothing: who asked for it says what to do
    there = [pool for pool in pools if pool is not None] or [whole.best(0)]
    parts = zip(*((pool.keys, pool.values, pool.rows) for pool in there))
    keys, kept, rows = (torch.cat(part) for part in parts)
    return Store(keys, kept, rows), seen


@dataclass(frozen=True)
class _Pool:
    """Cells with a rank each, drawn from 0..1."""

    ranks: Tensor
    keys: Tensor
    values: Tensor
    rows: Tensor

    def only(self, chosen: Tensor) -> "_Pool":
        return _Pool(self.ranks[chosen], self.keys[chosen], self.values[chosen], self.rows[chosen])

    def with_(self, other: "_Pool") -> "_Pool":
        both = [(getattr(self, part), getattr(other, part)) for part in ("ranks", "keys", "values", "rows")]
        return _Pool(*(torch.cat(pair) for pair in both))

    def best(self, most: int) -> "_Pool":
        """The highest ranks, in the order of arrival."""
        if len(self.ranks) <= most:
            return self
        return self.only(self.ranks.topk(most).indices.sort().values)


def _rows_of(maps: Float[Tensor, "b c h w"]) -> Float16[Tensor, "_n c"]:
    return maps.permute(0, 2, 3, 1).flatten(0, 2).half().cpu()


def _in_order(name: str) -> list[tuple[int, str]]:
    """Frame 10 comes after frame 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
