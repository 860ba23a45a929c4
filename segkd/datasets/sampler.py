"""Which samples make up which batch: a function of seed, epoch and position alone."""

from collections.abc import Iterator
from typing import final

import numpy as np
from torch.utils.data import Sampler


@final
class EpochBatches(Sampler[list[tuple[int, int]]]):
    """An endless stream of batches of `(epoch, index)` pairs that can start at any position.

    Every epoch is a fresh permutation of 0..n-1, cut into micro-batches of `batch_size` for each of
    `world` processes; the incomplete rest is left out, so every step sees equally many images, and an
    epoch holds a multiple of `accumulate` micro-batches. Fewer samples than one step needs are repeated.

    Args:
        n: number of samples.
        batch_size: samples per micro-batch and process.
        seed: of the permutations.
        rank: this process, 0..world-1.
        world: number of processes.
        accumulate: micro-batches per optimiser step.
        start: position (in micro-batches since the beginning of training) of the first batch.
    """

    def __init__(
        self, n: int, batch_size: int, seed: int, *, rank: int = 0, world: int = 1, accumulate: int = 1, start: int = 0
    ) -> None:
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.world, self.start = rank, world, start
        self.per_epoch = max(1, n // (batch_size * world * accumulate)) * accumulate

    def order(self, epoch: int) -> np.ndarray:
        """The sample indices of one epoch, [per_epoch, world, batch_size]."""
        wanted = self.per_epoch * self.world * self.batch_size
        draw = np.random.default_rng([self.seed, epoch])
        rounds = [draw.permutation(self.n) for _ in range(-(-wanted // self.n))]
        return np.concatenate(rounds)[:wanted].reshape(self.per_epoch, self.world, self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, skip = divmod(self.start, self.per_epoch)
        while True:
            for batch in self.order(epoch)[skip:, self.rank]:
                yield [(epoch, int(index)) for index in batch]
            epoch, skip = epoch + 1, 0
