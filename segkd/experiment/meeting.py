"""Teachers meet the student: before the optimiser is made and a checkpoint is read."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jsonargparse import Namespace

from segkd.datasets.data import Data
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.sampler import Shuffle
from segkd.datasets.transforms import Transform
from segkd.distill.base import Scene, Teacher
from segkd.distill.distiller import Distiller
from segkd.experiment.domains import groups_of, rehearse_draw
from segkd.experiment.readiness import refuse_unready
from segkd.losses import one_hot
from segkd.models.network import Network
from segkd.models.taps import evaluating
from segkd.types import Batch

LOOKS = 16
"""Images without a label at which finished teachers are asked how sure they are."""

FEW_SURE = 0.01
"""Share of their pixels below which it is said that hardly anything is learned."""


def rehearse(objects: Namespace) -> str:
    """The meeting and the first batch on made images, with copies of everybody: what does not fit speaks before any
    file is read. Leaves no trace in weights, statistics or draws.

    Args:
        objects: the instantiated configuration.

    Returns:
        What looks wrong in the network's output, a sentence, or "".

    Raises:
        InputError: network, loss, disturbance, draw, teachers or knowledge do not fit each other or the data settings,
            or there is no layer that `optim.freeze` names.
    """
    data = objects.data
    doubt = refuse_unready(objects.model, data)
    for paths in (objects.optim.frozen, *objects.optim.resting.values()):
        objects.model.layers(paths)
    rehearse_draw(objects)
    batch = _made_batch(min(data.batch, 2), len(data.classes), data.shape)  # what holds of two holds of more
    with torch.no_grad(), torch.random.fork_rng():
        copy.deepcopy(objects.distiller.task)(torch.zeros(len(batch.ids), len(data.classes), *data.shape), batch)
        if objects.disturbance is not None:
            copy.deepcopy(objects.disturbance)(batch)
        if objects.distiller.meets:
            student = copy.deepcopy(objects.model)
            scene = _scene(objects, student, batch, 1, partial(copy.deepcopy, student), steps=objects.engine.epochs)
            copy.deepcopy(objects.distiller).meet(scene)
    return doubt


def _scene(
    objects: Namespace, student: Network, batch: Batch, per_epoch: int, another: Callable[[], Network], **known: Any
) -> Scene:
    """What the settings say of a meeting, the student's prediction of the batch, and what else is `known`."""
    with torch.no_grad(), evaluating(student):
        seen = student(batch.clean)
    draw, names = objects.draw or Shuffle(), objects.data.classes
    return Scene(student, batch, seen, per_epoch, another, names, draw=draw, cycles=objects.optim.cycles, **known)


def _made_batch(b: int, classes: int, shape: tuple[int, int]) -> Batch:
    """Grey images, the classes side by side."""
    label = torch.arange(shape[1]).mul(classes).div(shape[1], rounding_mode="floor").expand(b, *shape).contiguous()
    soft = one_hot(label, classes)
    image, warp = torch.full((b, 3, *shape), 0.5), torch.eye(2, 3).repeat(b, 1, 1)
    return Batch(image, image, label, soft, tuple(f"made{i}" for i in range(b)), warp=warp)


def whole_images(
    dataset: SegmentationDataset,
    data: Data,
    advance: Callable[[int], None],
    device: torch.device,
    size: tuple[int, int],
    numbers: Sequence[int],
) -> Iterator[Batch]:
    """Those of the training images with these `numbers`, the dataset's own, whole and without random changes, at a size
    (h, w), in batches; `advance` is told how many, then 0 for each that was looked at."""
    plain = SegmentationDataset(
        dataset.records, Transform(size, None, len(data.classes), soft=False), 0, dataset.beside
    )
    advance(len(numbers))
    for start in range(0, len(numbers), data.batch):
        items = [plain[0, i] for i in numbers[start : start + data.batch]]
        yield collate(items).to(device)
        for _ in items:
            advance(0)


def introduce(
    objects: Namespace,
    dataset: SegmentationDataset,
    per_epoch: int,
    another: Callable[[], Network],
    advance: Callable[[int], None] = lambda _: None,
    device: torch.device | None = None,
) -> list[str]:
    """Shows the student of `objects` and one training batch to its distiller, if anybody there wants to see them.

    The student's weights are drawn by then, so that all recipes of one seed begin with the same student.

    Args:
        objects: the instantiated configuration.
        dataset: the training split; the first records make the batch.
        per_epoch: optimiser steps in an epoch.
        another: one more network of the student's kind.
        advance: told how many images a teacher will look at (n > 0), then 0 for each.
        device: where teachers look at them.

    Returns:
        What the user should be told of the teachers.

    Raises:
        InputError: a teacher, a knowledge or the exits do not fit the student.
    """
    if not objects.distiller.meets:
        return []
    data, records = objects.data, dataset.records
    batch = collate([dataset[0, i % len(dataset)] for i in range(data.batch)])
    scene = _scene(
        objects,
        objects.model,
        batch,
        per_epoch,
        another,
        ids=records.ids,
        others=dataset.others,
        images=partial(whole_images, dataset, data, advance, device or torch.device("cpu")),
        groups=partial(groups_of, data, records),
        steps=objects.engine.epochs * per_epoch,
    )
    objects.distiller.meet(scene)
    lines = [line for name, one in objects.distiller.asked.items() for line in _told(name, one)]
    beside = [] if dataset.beside is None else [len(records) + i for i in dataset.beside.spread(LOOKS)]
    return [*lines, *how_sure(objects.distiller, scene, beside)]


@torch.no_grad()
def how_sure(distiller: Distiller, scene: Scene, numbers: Sequence[int]) -> list[str]:
    """A sentence on each finished teacher of images without a label: at how many pixels of those with these `numbers`
    it is sure. Where it is of none, the others are looked at in every step for nothing."""
    said = []
    for name, teacher in distiller.asked.items():
        network = teacher.alone() if teacher.everywhere and numbers else None
        if network is None:
            continue
        likeliest = [
            network(one.clean).logits.float().softmax(dim=1).amax(dim=1) for one in scene.whole(scene.size, numbers)
        ]
        share = float((torch.cat(likeliest) >= distiller.sure).float().mean())
        line = (
            f"teacher {name}: sure (p >= {distiller.sure:g}, distiller.sure) at {100 * share:.1f} % of the pixels of "
            f"{len(numbers)} images without a label"
        )
        few = "of which hardly anything is learned: lower distiller.sure, or train the teacher for longer."
        said.append(f"warning: {line}, {few}" if share < FEW_SURE else line)
    return said


def _told(name: str, teacher: Teacher) -> list[str]:
    said = [f"teacher {name}: {line}" for line in teacher.said]
    return said + [f"warning: teacher {name}: {line}" for line in teacher.doubts]
