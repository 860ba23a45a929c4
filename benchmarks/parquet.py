"""Memory and speed of an epoch read from Parquet shards.

    python benchmarks/parquet.py [--images 200000] [--workers 2] [--side 32]

Writes shards of so many generated images (a thousand different ones, each under many names), reads all of them once as
before a training, and streams a whole shuffled epoch. Memory is what the process and its workers hold for themselves
(RssAnon). The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from segkd.datasets.data import Data, Records
from segkd.datasets.embedded import Embedded, draw_sample
from segkd.datasets.loader import SegmentationDataset, train_loader
from segkd.datasets.opening import open_data
from segkd.datasets.packing import write_shards
from segkd.datasets.pairing import Pair
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Augment, Transform

DIFFERENT = 1000
BATCH = 50
POINTS = 10


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--images", type=int, default=200_000, help="images for training")
    arguments.add_argument("--workers", type=int, default=2, help="loader processes")
    arguments.add_argument("--side", type=int, default=32, help="pixels a side")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    table = Table("", "images per second", "MB in memory")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        written, seconds = timed(write, place, options.images, options.side)
        size = sum(path.stat().st_size for path in written)
        table.add_row(
            f"{len(written)} shards written, {size / 1e6:.0f} MB", f"{options.images / seconds:.0f}", megabytes()
        )
        data = Data(parquet=str(place / "shards"), size=options.side, workers=options.workers, cache_gb=0.0)
        (records, _), seconds = timed(open_data, data, ["train"], lambda n: None)
        table.add_row("every row read once", f"{options.images / seconds:.0f}", megabytes())
        streamed = stream(records["train"], data, table)
    Console().print(table)
    print(json.dumps({"images": options.images, "bytes": size, "streaming_mb": streamed}))


def timed(act, *arguments):
    """What `act` gives, and its seconds."""
    start = time.perf_counter()
    return act(*arguments), time.perf_counter() - start


def write(place: Path, number: int, side: int) -> list[Path]:
    """Shards of `number` training pairs and one for validation."""
    settings = Embedded(side=side)
    for i in range(min(number, DIFFERENT)):
        for what, array in zip(("image", "mask"), draw_sample(settings, i)):
            Image.fromarray(array).save(place / f"{what}{i}.png")
    pairs = [
        Pair(f"{i:07d}", place / f"image{i % DIFFERENT}.png", place / f"mask{i % DIFFERENT}.png") for i in range(number)
    ]
    splits: dict[str, Sequence[Pair]] = {"train": pairs, "val": [Pair("val", pairs[0].image, pairs[0].mask)]}
    return write_shards(splits, place / "shards", shard=2**25)


def stream(records: Records, data: Data, table: Table) -> list[float]:
    """One epoch; memory at ten points of it."""
    dataset = SegmentationDataset(records, Transform(data.shape, Augment(), 2, soft=False), seed=0)
    batches = EpochBatches(len(dataset), BATCH, 0)
    loader, found = iter(train_loader(dataset, batches, data.workers)), []
    for tenth in range(POINTS):
        start, number = time.perf_counter(), batches.per_epoch // POINTS
        for _ in range(number):
            next(loader)
        found.append(float(megabytes()))
        speed = number * BATCH / (time.perf_counter() - start)
        table.add_row(f"streamed {100 * (tenth + 1) // POINTS} %", f"{speed:.0f}", megabytes())
    loader.close()
    return found


def megabytes() -> str:
    """Memory that this process and its workers hold for themselves."""
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    held = [re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in processes]
    return f"{sum(int(one[1]) for one in held if one) / 1e3:.0f}"


if __name__ == "__main__":
    main()
