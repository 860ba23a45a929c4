"""What the band errors add to a validation of FusionNet.

    python benchmarks/bands.py [--rounds 9] [--images 16]

CPU time of one thread. Both arms run in turn in one process: the whole validation (images read, network, scores), and
the band errors alone on its logits; the figures are medians of their ratio. The last line is one JSON object.
"""

import argparse
import json
import statistics

import torch
from accelerate import Accelerator
from interleave import interleaved
from rich.console import Console
from rich.table import Table

from segkd.datasets.data import Data, open_data
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset
from segkd.datasets.transforms import Transform
from segkd.engine.bands import BandErrors
from segkd.engine.evaluate import evaluate, predicted
from segkd.models.network import FusionNet


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
    shown = [(batch, logits) for batch, logits, _ in predicted(network, dataset, accelerator, 8)]
    bands, classes = BandErrors(data.shape), [str(c) for c in range(k)]

    def errors() -> None:
        for batch, logits in shown:
            bands(batch, logits)
        bands.take(accelerator)

    arms = {"validation": lambda: evaluate(network, dataset, classes, accelerator, batch_size=8), "bands": errors}
    seconds = interleaved(arms, rounds)
    ratio = statistics.median(b / v for b, v in zip(seconds["bands"], seconds["validation"]))
    return (*(statistics.median(seconds[name]) / images for name in ("validation", "bands")), ratio)


if __name__ == "__main__":
    main()
