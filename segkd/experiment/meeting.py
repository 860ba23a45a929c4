"""Teachers meet the student: before the optimiser is made and a checkpoint is read."""

from collections.abc import Callable

import torch
from jsonargparse import Namespace

from segkd.datasets.loader import SegmentationDataset, collate
from segkd.distill.base import Scene
from segkd.models.network import Network


def introduce(
    objects: Namespace, dataset: SegmentationDataset, per_epoch: int, another: Callable[[], Network]
) -> list[str]:
    """Shows the student of `objects` and one training batch to its distiller, if anybody there wants to see them.

    The student's weights are drawn by then, so that all recipes of one seed begin with the same student.

    Args:
        objects: the instantiated configuration.
        dataset: the training split; the first records make the batch.
        per_epoch: optimiser steps in an epoch.
        another: one more network of the student's kind.

    Returns:
        What the user should be told of the teachers.

    Raises:
        InputError: a teacher, a knowledge or the exits do not fit the student.
    """
    if not objects.distiller.meets:
        return []
    batch = collate([dataset[0, i % len(dataset)] for i in range(objects.data.batch_size)])
    with torch.no_grad():
        seen = objects.model.eval()(batch.clean)
    objects.model.train()
    objects.distiller.meet(Scene(objects.model, batch, seen, per_epoch, another, objects.data.classes))
    return [f"teacher {name}: {line}" for name, one in objects.distiller.teachers.items() for line in one.said]
