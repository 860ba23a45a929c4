"""Scores of a network on a split, at the size of the ground truth: the one path for validation and for tests."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from segkd.datasets.loader import SegmentationDataset, evaluation_loader
from segkd.metrics.counts import ImageCounts, count_binary, count_classes
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.models.enlarge import enlarge
from segkd.models.network import Network
from segkd.types import Batch


def nothing(batch: Batch, logits: torch.Tensor) -> None:
    """Looks away."""


@torch.inference_mode()
def evaluate(
    network: Network,
    dataset: SegmentationDataset,
    classes: Sequence[str],
    accelerator: Accelerator,
    *,
    batch_size: int,
    workers: int = 0,
    threshold: float = 0.5,
    protocol: Protocol = PLAIN,
    advance: Callable[[int], None] = lambda n: None,
    look: Callable[[Batch, torch.Tensor], None] = nothing,
) -> Meter:
    """Predicts every image at the data's size, enlarges the logits bilinearly to the label's own size, and counts.

    For two classes the foreground is p >= `threshold` (as `protocol` says); for more, the largest logit. The images
    are shared among processes, and every process returns the meter of all. `advance(n)` is told of n more images,
    `look` is shown every batch of this process and its float logits, both on the device.
    """
    meter = Meter(classes, protocol)
    for batch, logits, labels in predicted(network, dataset, accelerator, batch_size, workers):
        look(batch, logits)
        for id, one, label in zip(batch.ids, logits, labels):
            meter.add(id, count(one, label, threshold, protocol))
        advance(len(labels))
    if accelerator.num_processes > 1:
        merged = Meter(classes, protocol)
        for part in gather_object([meter]):
            merged.merge(part)
        meter = merged
    return meter


@torch.inference_mode()
def predicted(
    network: Network, dataset: SegmentationDataset, accelerator: Accelerator, batch_size: int, workers: int = 0
) -> Iterator[tuple[Batch, torch.Tensor, list[np.ndarray]]]:
    """This process's share of a data set: batches and float logits [b k h w] on its device, labels at their own size.

    The network is in evaluation mode until the last one is taken.
    """
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    was_training = network.training
    network.eval()
    for batch, labels in evaluation_loader(dataset, mine, batch_size, workers):
        there = batch.to(accelerator.device)
        yield there, network(there.image).logits.float(), labels
    network.train(was_training)


def count(logits: torch.Tensor, label: np.ndarray, threshold: float, protocol: Protocol = PLAIN) -> ImageCounts:
    """The counts of one image: logits [k h' w'] at any size against a label uint8 [h w]."""
    classes = len(logits)
    full = enlarge(logits, label.shape)
    return count_binary(full, label, threshold, protocol) if classes == 2 else count_classes(full, label, classes)
