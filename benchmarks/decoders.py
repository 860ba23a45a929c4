"""Parameters, MACs and CPU latency of the arms of a grid.

    python benchmarks/decoders.py [--config configs/ablations/decoder.yaml] [--out FILE.csv] [--rounds 30]

Latency is CPU time of one image through the network in evaluation mode, one thread, batch 1, at the grid's size: the
median over rounds in which all arms run side by side in one process.
"""

import argparse
import csv
import os
import statistics
from functools import partial
from pathlib import Path

import torch
import yaml
from interleave import interleaved
from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from segkd.ablation.plan import grid_parser, read_grid
from segkd.ablation.resolve import Place, resolve
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.models.complexity import complexity


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--config", default="configs/ablations/decoder.yaml")
    arguments.add_argument("--data-root", default=None, help="folder of the data sets by name")
    arguments.add_argument("--out", default=None, help="CSV: arm,params,macs,latency_ms")
    arguments.add_argument("--rounds", type=int, default=30)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    _, grid = read_grid(grid_parser(), ["--config", options.config, "--seeds", "[0]"])
    cells = resolve(grid, Place(Path(options.config).resolve().parent, 1, options.data_root))
    first = {cell.arm: cell for cell in reversed(cells)}
    networks, sizes = {}, {}
    for arm in grid.arms:
        parser = training_parser()
        config = parse(parser, ["--config", yaml.safe_dump(yaml.safe_load(first[arm].config))])
        networks[arm] = instantiate(parser, config).model.eval().to(memory_format=torch.channels_last)
        sizes[arm] = instantiate(parser, Namespace(data=config.data)).data.shape
    seconds = latencies(networks, sizes, options.rounds)
    rows = []
    for arm, network in networks.items():
        cost = complexity(network, sizes[arm])
        rows.append((arm, cost.parameters, cost.macs, round(1000 * statistics.median(seconds[arm]), 3)))
    table = Table("arm", "params", "macs", "latency_ms", title=f"{os.cpu_count()} cores, torch {torch.__version__}")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
    if options.out:
        with open(options.out, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("arm", "params", "macs", "latency_ms"), *rows])


@torch.inference_mode()
def latencies(networks: dict, sizes: dict, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each network in each round."""
    images = {name: torch.rand(1, 3, *sizes[name]).to(memory_format=torch.channels_last) for name in networks}
    return interleaved({name: partial(network, images[name]) for name, network in networks.items()}, rounds)


if __name__ == "__main__":
    main()
