"""How long a training is where nobody says it: steps, not epochs, decide whether a network has learned."""

from dataclasses import dataclass, replace

from jsonargparse import Namespace

from segkd.datasets.checks import refuse_settings
from segkd.datasets.data import Data
from segkd.datasets.domains import parts_of
from segkd.datasets.opening import members_of, splits_of
from segkd.datasets.sampler import EpochBatches
from segkd.engine.loop import Plan

STEPS = 1000
"""Optimiser steps that a first training should have at least."""

FEW = 500
"""Optimiser steps below which a training is said to be short."""

EPOCHS = 30
"""Epochs of a data set that is large enough."""

BATCHES = (16, 8, 4)
"""Images per step: the first that leaves `STEPS` is taken, the last where none does."""


@dataclass(frozen=True)
class Length:
    """How long a training is: images per process and micro-batch, epochs, epochs between two validations, optimiser
    steps; `said`, the line on it."""

    batch_size: int
    epochs: int
    every: float
    steps: int
    said: str = ""


def plan_length(n: int, batch_size: int | None, epochs: int | None, *, accumulate: int = 1, world: int = 1) -> Length:
    """The length of a training on `n` images; what is None is planned so that it has `STEPS` steps or more.

    What is said is kept. A smaller batch comes before more epochs, as it looks at no more images.
    """
    size = batch_size or next(
        (b for b in BATCHES if _steps(n, b, epochs or EPOCHS, accumulate, world) >= STEPS), BATCHES[-1]
    )
    each = _steps(n, size, 1, accumulate, world)
    rounds = epochs or max(EPOCHS, -(-STEPS // each))
    planned = [f"data.batch_size {size}"] if batch_size is None else []
    planned += [f"engine.epochs {rounds}"] if epochs is None else []
    said = f"planned: {' and '.join(planned)}, so {rounds * each} steps on {n} images" if planned else ""
    # many short epochs would pass in validating
    every = float(rounds // EPOCHS) if epochs is None and rounds > 2 * EPOCHS else 1.0
    return Length(size, rounds, every, rounds * each, said)


def settle_length(config: Namespace, objects: Namespace, world: int) -> str:
    """Puts numbers in place of a batch size, epochs and epochs between validations that are to be planned, for the
    run's own file to keep.

    Returns:
        the line on what was planned; "" where all was said, and then no name was read.

    Raises:
        InputError: the data's names or settings are at fault.
    """
    told = objects.data.batch_size, objects.engine.epochs
    refuse_settings(objects.data)
    n = _images_of(objects.data) if None in told else 1
    length = plan_length(n, *told, accumulate=objects.engine.accumulate, world=world)
    settle(config, length)
    objects.data = replace(objects.data, batch_size=length.batch_size)
    objects.engine = replace(objects.engine, epochs=length.epochs)
    objects.evaluation = replace(objects.evaluation, every=config.evaluation.every)
    return length.said


def settle(config: Namespace, length: Length) -> None:
    """Puts the numbers of a length into a configuration, where it has none."""
    config.data.batch_size, config.engine.epochs = length.batch_size, length.epochs
    if config.evaluation.every is None:
        config.evaluation.every = length.every


def too_short(steps: int, batch_size: int, epochs: int, generated: bool = False) -> str:
    """The sentence on a training of too few optimiser steps to be judged, or ""; `generated` images are learned in
    fewer."""
    if steps >= FEW or generated:
        return ""
    lower = f"Lower data.batch_size ({batch_size}), or raise" if batch_size > 1 else "Raise"
    few = "1 step in all is" if steps == 1 else f"{steps} steps in all are"
    return (
        f"{few} few: networks hardly learn before {STEPS} or so. {lower} "
        f"engine.epochs (to {-(-STEPS * epochs // steps)})."
    )


def doubt_length(objects: Namespace, micros: int) -> str:
    """The sentence on a training of so many micro-steps where it is too short to be judged, or ""."""
    data, steps = objects.data, micros // objects.engine.accumulate
    return too_short(steps, data.batch, objects.engine.epochs, data.embedded is not None)


def _images_of(data: Data) -> int:
    """How many images the training split has, by their names alone."""
    if data.domains:
        return sum(_images_of(part) for part in parts_of(data).values())
    if data.embedded is not None:
        return data.embedded.train
    return len(members_of(data, splits_of(data), "train"))


def _steps(n: int, batch: int, epochs: int, accumulate: int, world: int) -> int:
    return epochs * EpochBatches(n, batch, 0, accumulate=accumulate, world=world).per_epoch // accumulate


def plan_of(objects: Namespace, per_epoch: int, select: str) -> Plan:
    """How long the loop runs, in which an epoch has `per_epoch` micro-steps, and what happens when."""
    settings = objects.engine
    assert settings.epochs is not None, "planned by now"
    return Plan(
        epochs=settings.epochs,
        per_epoch=per_epoch,
        log_every=settings.log_every,
        save_every=settings.save_every,
        validate_every=objects.evaluation.every,
        patience=settings.patience,
        select=select,
    )
