"""Records to `Batch`: the torch dataset, its collation, and the loader of one process."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from segkd.datasets.data import Records
from segkd.datasets.transforms import Transform, View
from segkd.types import Batch


@dataclass(frozen=True)
class Item:
    """One transformed record; `original` is its label at full size (uint8 [h w])."""

    id: str
    view: View
    original: np.ndarray


class SegmentationDataset(Dataset[Item]):
    """Item `(epoch, index)`: record `index` under the draws of `(seed, epoch, index)`, on whichever worker."""

    def __init__(self, records: Records, transform: Transform, seed: int) -> None:
        self.records, self.transform, self.seed = records, transform, seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, index = key
        image, label = self.records.load(index)
        view = self.transform(image, label, np.random.default_rng([self.seed, epoch, index]))
        return Item(self.records.ids[index], view, label)


def collate(items: Sequence[Item]) -> Batch:
    """Items as one `Batch`: images scaled to 0..1, labels widened to int64."""
    image = torch.from_numpy(np.stack([item.view.image for item in items])).permute(0, 3, 1, 2).float().div_(255)
    label = torch.from_numpy(np.stack([item.view.label for item in items])).long()
    shares = [item.view.soft for item in items if item.view.soft is not None]
    soft = torch.from_numpy(np.stack(shares)).permute(0, 3, 1, 2) if shares else None
    return Batch(image=image, clean=image, label=label, soft=soft, ids=tuple(item.id for item in items))


def collate_originals(items: Sequence[Item]) -> tuple[Batch, list[np.ndarray]]:
    """As `collate`, and the labels at their own size beside it."""
    return collate(items), [item.original for item in items]


def train_loader(dataset: SegmentationDataset, batches: Sampler[list[tuple[int, int]]], workers: int) -> DataLoader:
    """An endless loader of `Batch`; its order and content do not depend on `workers`."""
    single_threaded_opencv()
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_quiet_worker,
        generator=torch.Generator(),  # the loader must not draw from the global stream
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


def evaluation_loader(
    dataset: SegmentationDataset, indices: Sequence[int], batch_size: int, workers: int
) -> DataLoader:
    """The records `indices`, in order, in batches of `(Batch, labels at their own size)`."""
    single_threaded_opencv()
    keys = [(0, index) for index in indices]
    batches = [keys[i : i + batch_size] for i in range(0, len(keys), batch_size)]
    return DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=collate_originals,
        worker_init_fn=_quiet_worker,
        generator=torch.Generator(),
    )


def single_threaded_opencv() -> None:
    """Keeps OpenCV to one thread in this process and in those that it forks from now on.

    A fork copies OpenCV's pool without its threads, and the copy waits for them forever: the pool has to go before.
    """
    cv2.setNumThreads(1)


def _quiet_worker(_: int) -> None:
    """Leaves Ctrl-C and SIGTERM to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
