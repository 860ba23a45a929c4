"""Stores of many keys: what asking an index finds of the nearest, and how long that takes beside comparing all.

    python benchmarks/store.py [--keys 1000000 4000000] [--share 128 32 8]

Keys of 48 numbers around 2,000 directions of their own, in half precision, as features of pixels are; 512 queries of 8
images, 16 neighbours, one of a hundred keys barred. Wall-clock seconds of a step's look-up on one thread, the smaller
of two, and seconds of building the index.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from segkd.distill import index
from segkd.distill.store import Store

WIDTH, NEIGHBOURS = 48, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keys", type=int, nargs="+", default=[1_000_000, 4_000_000], help="in the store")
    parser.add_argument(
        "--share", type=int, nargs="+", default=[128, 32, 8], help="one of so many cells is looked into"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    for m in options.keys:
        store = Store(features(m, 0).half(), torch.ones(m, 1).half(), torch.zeros(m, 4, dtype=torch.int64))
        queries, barred = features(512, 1).view(8, 64, -1), torch.rand(8, m) < 0.01
        spent, (_, exact) = timed(lambda: store.nearest(queries, barred, NEIGHBOURS))  # noqa: B023 - called at once
        print(f"{m:>9} keys  all compared          {spent:6.2f} s", flush=True)
        start = time.perf_counter()
        fast = store.indexed()
        print(f"{'':>9}       index built in       {time.perf_counter() - start:7.1f} s", flush=True)
        for share in options.share:
            index.SHARE = share
            spent, (_, at) = timed(lambda: fast.nearest(queries, barred, NEIGHBOURS))  # noqa: B023
            found = (exact.unsqueeze(3) == at.unsqueeze(2)).any(dim=3).float().mean()
            print(f"{'':>9}       1 of {share:<4} cells      {spent:7.2f} s, finds {found:.1%}", flush=True)


def features(count: int, seed: int) -> Tensor:
    """Vectors of unit length near directions that are the same for every seed."""
    centres = F.normalize(torch.randn(2000, WIDTH, generator=torch.Generator().manual_seed(99)), dim=1)
    draw = torch.Generator().manual_seed(seed)
    at = torch.randint(0, len(centres), (count,), generator=draw)
    return F.normalize(centres[at] + 0.2 * torch.randn(count, WIDTH, generator=draw), dim=1)


def timed(look: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, tuple[Tensor, Tensor]]:
    """The smaller time of two, and what was found."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        found = look()
        times.append(time.perf_counter() - start)
    return min(times), found


if __name__ == "__main__":
    main()
