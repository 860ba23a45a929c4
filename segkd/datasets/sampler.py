"""Which samples make up which batch: a function of seed, epoch and position alone."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import final

import numpy as np
from torch.utils.data import Sampler

from segkd.types import InputError

Key = tuple[int, int, int]
"""Epoch, index of the sample, and how often it was there before in the epoch: another visit is another view."""


class Draw(ABC):
    """Which samples an epoch holds, and in what order.

    One that listens (`every`) draws rounds of so many optimiser steps instead of epochs; what it is told between two
    of them is its state, which the checkpoint keeps.

    Attributes:
        every: optimiser steps of a round; None: it never listens.
        round: the rounds it was told of.
        seen: images of each domain that were drawn in these.
        held: indices of the samples that are never drawn: those of the probe, whose losses it is told.
        by_domain: whether it draws by domains, of which one batch alone has none.
        said: how it draws, in words, once it has met the training split.
    """

    every: int | None = None
    round: int = 0
    seen: Mapping[str, int] = MappingProxyType({})
    held: tuple[int, ...] = ()
    by_domain: bool = False
    said: str = ""

    def rehearse(self, domains: Sequence[str] | None, batch: int) -> None:
        """Before any file is read: refuses what is known not to fit.

        Args:
            domains: names of the domains; None where the files' names will tell.
            batch: samples per process and micro-batch.
        """
        self.epoch(2 * batch, (1, 1, batch), np.random.default_rng(0))

    def meet(self, domains: Sequence[str], groups: Sequence[str], batch: int) -> None:  # noqa: B027
        """Shows the training split, once: the domain of each sample (() without domains), and its group, which a probe
        takes whole. Raises InputError where it does not fit."""

    def asks(self, teachers: Mapping[str, Collection[str]]) -> str | None:
        """The name of the teacher whose losses it is told, of those that give these fields of a target; None where it
        asks none. Raises InputError where it is not clear which, or that one gives no logits."""
        return None

    def drawn(self, ids: Sequence[str]) -> list[str]:
        """Those of the samples that it draws."""
        held = set(self.held)
        return [id for i, id in enumerate(ids) if i not in held]

    @abstractmethod
    def epoch(self, n: int, shape: tuple[int, int, int], draw: np.random.Generator) -> np.ndarray:
        """Indices 0..n-1 in the shape [micro-steps, processes, batch]."""


@final
class Shuffle(Draw):
    """A fresh permutation of all samples in every epoch; fewer samples than one step needs are repeated."""

    def epoch(self, n: int, shape: tuple[int, int, int], draw: np.random.Generator) -> np.ndarray:
        """Indices 0..n-1 in the shape [micro-steps, processes, batch]."""
        return permuted(n, int(np.prod(shape)), draw).reshape(shape)


@final
class Overlap(Draw):
    """Every batch of an epoch but the first begins with the second half of the batch before, in another view (DLB, Shen
    et al., CVPR 2022, whose halves are carried over to the next epoch too).

    An epoch has as many batches as any other, and so half as many different images, each of them twice.
    """

    def epoch(self, n: int, shape: tuple[int, int, int], draw: np.random.Generator) -> np.ndarray:
        """Indices 0..n-1 in the shape [micro-steps, processes, batch]. Raises InputError for odd batches."""
        steps, world, batch = shape
        if batch % 2:
            raise InputError(
                f"draw: Overlap carries half a batch over: data.batch_size must be even, found {batch}. Write one more."
            )
        halves = permuted(n, (steps + 1) * world * batch // 2, draw).reshape(steps + 1, world, batch // 2)
        return np.concatenate([halves[:-1], halves[1:]], axis=2)


@final
class EpochBatches(Sampler[list[Key]]):
    """An endless stream of batches of keys `(epoch, index, visit)` that can start at any position.

    Every epoch is drawn anew, cut into micro-batches of `batch_size` for each of `world` processes; the incomplete rest
    is left out, so every step sees equally many images, and an epoch holds a multiple of `accumulate` micro-batches.
    With a draw that listens, the stream ends with the round in which it starts.

    Args:
        n: number of samples.
        batch_size: samples per micro-batch and process.
        seed: of the draws.
        rank: this process, 0..world-1.
        world: number of processes.
        accumulate: micro-batches per optimiser step.
        start: position (in micro-batches since the beginning of training) of the first batch.
        draw: which samples an epoch holds; all, shuffled, when None.
        beside: how many samples without a label there are, numbered from `n` on, and how many of them come at the end
            of each micro-batch, beside `batch_size` with one.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        start: int = 0,
        draw: Draw | None = None,
        beside: tuple[int, int] = (0, 0),
    ) -> None:
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.world, self.start = rank, world, start
        self.per_epoch = max(1, n // (batch_size * world * accumulate)) * accumulate
        self.draw, self.beside = draw or Shuffle(), beside
        self.per_round = self.per_epoch if self.draw.every is None else self.draw.every * accumulate

    def order(self, epoch: int) -> np.ndarray:
        """The sample indices of one epoch (or round), [per_round, world, batch_size and those beside]."""
        shape = (self.per_round, self.world, self.batch_size)
        order = self.draw.epoch(self.n, shape, np.random.default_rng([self.seed, epoch]))
        (others, each), draw = self.beside, np.random.default_rng([self.seed, epoch, 1])  # that of `order` stays
        if not each:
            return order
        more = permuted(others, self.per_round * self.world * each, draw).reshape(*shape[:2], each)
        return np.concatenate([order, self.n + more], axis=2)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, skip = divmod(self.start, self.per_round)
        while True:
            order = self.order(epoch)
            visits = visits_of(order)
            for indices, times in zip(order[skip:, self.rank], visits[skip:, self.rank]):
                yield [(epoch, int(index), int(visit)) for index, visit in zip(indices, times)]
            if self.draw.every is not None:
                return
            epoch, skip = epoch + 1, 0


def visits_of(order: np.ndarray) -> np.ndarray:
    """How often each entry stood in the array before, in its flat order."""
    flat = order.ravel()
    sorted_at = flat.argsort(kind="stable")
    ordered = flat[sorted_at]
    first = np.searchsorted(ordered, ordered)  # where the run of equal entries begins
    visits = np.empty_like(flat)
    visits[sorted_at] = np.arange(len(flat)) - first
    return visits.reshape(order.shape)


def permuted(n: int, wanted: int, draw: np.random.Generator) -> np.ndarray:
    """So many of 0..n-1, each once before any comes again."""
    rounds = [draw.permutation(n) for _ in range(max(1, -(-wanted // n)))]
    return np.concatenate(rounds)[:wanted]
