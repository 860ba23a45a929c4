"""Records to `Batch`: the torch dataset, its collation, and the loaders of one process."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from segkd.datasets.data import Records
from segkd.datasets.feed import Feed
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import View, Viewing
from segkd.types import Batch


@dataclass(frozen=True)
class Item:
    """One transformed record; `original` is its label at full size (uint8 [h w])."""

    id: str
    view: View
    original: np.ndarray
    unlabelled: bool = False


class SegmentationDataset(Dataset[Item]):
    """Item `(epoch, index)` or `(epoch, index, visit)`: record `index` under the draws of `(seed, epoch, index)`, and
    of the visit where it is not the first of the epoch, on whichever worker. Those `beside` have no label and are
    numbered after the records; they do not count in its length."""

    def __init__(self, records: Records, transform: Viewing, seed: int, beside: Records | None = None) -> None:
        self.records, self.transform, self.seed, self.beside = records, transform, seed, beside

    def __len__(self) -> int:
        return len(self.records)

    @property
    def others(self) -> tuple[str, ...]:
        """The names of those beside."""
        return () if self.beside is None else self.beside.ids

    def __getitem__(self, key: tuple[int, ...]) -> Item:
        epoch, index, *visit = key
        records, at = self.records, index
        if self.beside is not None and index >= len(self.records):
            records, at = self.beside, index - len(self.records)
        image, label = records.load(at)
        again = [number for number in visit if number]
        view = self.transform(image, label, np.random.default_rng([self.seed, epoch, index, *again]))
        return Item(records.ids[at], view, label, unlabelled=records is self.beside)


def collate(items: Sequence[Item]) -> Batch:
    """Items as one `Batch`: images scaled to 0..1, labels widened to int64; those without a label come last."""
    image = torch.from_numpy(np.stack([item.view.image for item in items])).permute(0, 3, 1, 2).float().div_(255)
    label = torch.from_numpy(np.stack([item.view.label for item in items])).long()
    shares = [item.view.soft for item in items if item.view.soft is not None]
    soft = torch.from_numpy(np.stack(shares)).permute(0, 3, 1, 2) if shares else None
    warp = torch.from_numpy(np.stack([item.view.warp for item in items])).float()
    ids = tuple(item.id for item in items)
    unlabelled = sum(item.unlabelled for item in items)
    return Batch(image=image, clean=image, label=label, soft=soft, ids=ids, warp=warp, unlabelled=unlabelled)


def collate_originals(items: Sequence[Item]) -> tuple[Batch, list[np.ndarray]]:
    """As `collate`, and the labels at their own size beside it."""
    return collate(items), [item.original for item in items]


def without_originals(items: Sequence[Item]) -> list[Item]:
    """Items without their labels at full size, which training does not look at."""
    return [replace(item, original=np.zeros((0, 0), np.uint8)) for item in items]


def train_loader(dataset: SegmentationDataset, batches: EpochBatches, workers: int) -> "Feed[Batch]":
    """An endless stream of `Batch`; its order and content do not depend on `workers`."""
    size = batches.batch_size + batches.beside[1]
    return Feed(dataset, batches, collate, workers, prefetch=4, size=size, pack=without_originals)


def evaluation_loader(
    dataset: SegmentationDataset, indices: Sequence[int], batch_size: int, workers: int
) -> "Feed[tuple[Batch, list[np.ndarray]]]":
    """The records `indices`, in order, in batches of `(Batch, labels at their own size)`."""
    keys = [(0, index) for index in indices]
    batches = [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]
    return Feed(dataset, batches, collate_originals, workers, prefetch=2, size=batch_size)
