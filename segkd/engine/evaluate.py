"""Scores of a network on a split, at the size of the ground truth: the one path for validation and for tests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from segkd.datasets.loader import SegmentationDataset, evaluation_loader
from segkd.engine.memory import out_of_memory
from segkd.metrics.counts import Depth, ImageCounts, count_binary, count_classes
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.models.enlarge import NotNumbers, enlarge, refuse_nan
from segkd.models.network import Network
from segkd.models.taps import evaluating
from segkd.types import Batch, InputError

Seen = tuple[Batch, torch.Tensor, list[np.ndarray]]
"""A batch, its float logits [b k h w], and its labels at their own size."""

NO_ROOM = "{}: does not fit into the memory that is left. Shrink it, or score it on a larger machine."


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
    lost: dict[str, str] | None = None,
    depth: Depth = "all",
) -> Meter:
    """Predicts every image at the data's size, enlarges the logits bilinearly to the label's own size, and counts.

    For two classes the foreground is p >= `threshold` (as `protocol` says); for more, the largest logit. The images
    are shared among processes, and every process returns the meter of all; images of several domains are counted by
    domain, too. `advance(n)` is told of n more images, `look` is shown every batch of this process and its float
    logits, both on the device. With `lost`, an image that does not fit into the memory, or of which the network gives
    NaN, has no scores, and the reason is put there under its id. `depth` says how much is counted of two classes
    (`count_binary`).
    """
    meter = Meter(classes, protocol)
    domains = dict(zip(dataset.records.ids, dataset.records.domains))
    for batch, logits, labels in predicted(network, dataset, accelerator, batch_size, workers, lost):
        look(batch, logits)
        for id, one, label in zip(batch.ids, logits, labels):
            with _losing(id, lost):
                meter.add(id, count(one, label, threshold, protocol, depth), domains.get(id))
        advance(len(labels))
    if accelerator.num_processes > 1:
        merged = Meter(classes, protocol)
        for part, missed in gather_object([(meter, lost)]):
            merged.merge(part)
            if lost is not None:
                lost |= missed
        meter = merged
    return meter


@torch.inference_mode()
def predicted(
    network: Network,
    dataset: SegmentationDataset,
    accelerator: Accelerator,
    batch_size: int,
    workers: int = 0,
    lost: dict[str, str] | None = None,
) -> Iterator[Seen]:
    """This process's share of a data set: batches and float logits [b k h w] on its device, labels at their own size.

    The network is in evaluation mode until the last one is taken. With `lost`, a batch that does not fit into the
    memory is shown image by image, and an image that does not is left out and named there; so is one of which the
    network gives NaN.

    Raises:
        InputError: NaN, without `lost`; names the image.
    """
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    with evaluating(network):
        for batch, labels in evaluation_loader(dataset, mine, batch_size, workers):
            yield from _seen(network, batch.to(accelerator.device), labels, lost)


def _seen(network: Network, batch: Batch, labels: list[np.ndarray], lost: dict[str, str] | None) -> list[Seen]:
    """What a network makes of a batch, whole or in parts as memory allows."""
    try:
        logits = network(batch.image).logits.float()
        refuse_nan(logits)
        return [(batch, logits, labels)]
    except NotNumbers as error:
        why = f"{batch.ids[0]}: {error}"
        if lost is None and len(labels) == 1:
            raise InputError(why) from error
    except Exception as error:
        why = NO_ROOM.format(batch.ids[0])
        if lost is None or not out_of_memory(error):
            raise
    if lost is not None and len(labels) == 1:
        lost[batch.ids[0]] = why
        return []
    return [part for i in range(len(labels)) for part in _seen(network, _only(batch, i), labels[i : i + 1], lost)]


def _only(batch: Batch, i: int) -> Batch:
    image, clean, label = (whole[i : i + 1] for whole in (batch.image, batch.clean, batch.label))
    return Batch(image, clean, label, None if batch.soft is None else batch.soft[i : i + 1], batch.ids[i : i + 1])


@contextmanager
def _losing(id: str, lost: dict[str, str] | None) -> Iterator[None]:
    """Names an image that does not fit into the memory, where there is a place for that."""
    try:
        yield
    except Exception as error:
        if lost is None or not out_of_memory(error):
            raise
        lost[id] = NO_ROOM.format(id)


def count(
    logits: torch.Tensor, label: np.ndarray, threshold: float, protocol: Protocol = PLAIN, depth: Depth = "all"
) -> ImageCounts:
    """The counts of one image: logits [k h' w'] at any size against a label uint8 [h w]."""
    classes = len(logits)
    full = enlarge(logits, label.shape)
    if classes == 2:
        return count_binary(full, label, threshold, protocol, depth)
    return count_classes(full, label, classes)
