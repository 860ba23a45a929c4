"""What the band errors add to a validation of FusionNet.

    python benchmarks/bands.py [--rounds 9] [--images 16]

CPU time of one thread, taken within the validation (images read, network, scores): what is spent in the band errors
over what is spent in all else, median over rounds. The last line is one JSON object.
"""

import argparse
import json
import statistics
import time

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset
from segkd.datasets.opening import open_data
from segkd.datasets.transforms import Transform
from segkd.engine.bands import BandErrors
from segkd.engine.evaluate import evaluate
from segkd.models.fusion import FusionNet
from segkd.types import Batch


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--rounds", type=int, default=9, help="measurements of each arm")
    arguments.add_argument("--images", type=int, default=16, help="images of the validation")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    table = Table("K", "px", "validation, ms per image", "band errors, ms per image", "ratio")
    ratios = {}
    for k, size in ((2, 128), (2, 224), (11, 224)):
        validation, bands, ratios[k, size] = cost(k, size, options.images, options.rounds)
        table.add_row(str(k), str(size), f"{validation * 1e3:.1f}", f"{bands * 1e3:.3f}", f"{ratios[k, size]:.4f}")
    Console().print(table)
    worst = max(ratio for (k, _), ratio in ratios.items() if k == 2)
    print(json.dumps({"band_errors_over_validation": round(worst, 5), "11_classes": round(ratios[11, 224], 5)}))


def cost(k: int, size: int, images: int, rounds: int) -> tuple[float, float, float]:
    """Seconds per image of a validation and of its band errors after the first, and the median of their ratio."""
    data = Data(embedded=Embedded(train=1, val=images, test=1, side=320), size=size)
    records, _ = open_data(data, ["val"], lambda n: None)
    dataset = SegmentationDataset(records["val"], Transform(data.shape, None, k, soft=False), 0)
    network, accelerator = FusionNet(k, weights=None).to(memory_format=torch.channels_last), Accelerator(cpu=True)
    bands, classes = BandErrors(data.shape), [str(c) for c in range(k)]

    inside: list[float] = []

    def look(batch: Batch, logits: torch.Tensor) -> None:
        start = time.process_time()
        bands(batch, logits)
        inside.append(time.process_time() - start)

    found = []
    for _ in range(rounds + 1):
        inside.clear()
        start = time.process_time()
        evaluate(network, dataset, classes, accelerator, batch_size=8, look=look)
        bands.take(accelerator)
        found.append((time.process_time() - start - sum(inside), sum(inside)))
    validation, errors = (statistics.median(part) / images for part in zip(*found[1:]))
    return validation, errors, statistics.median(b / v for v, b in found[1:])


if __name__ == "__main__":
    main()
