"""Which average of the weights serves a tiny, a short and a long training: all candidates follow the same trainings.

    python benchmarks/averages.py --data-root DIR --out docs/results/averages.csv [--seeds 0 1 2] [--only tiny]
    python benchmarks/averages.py --out docs/results/averages.csv --show

An average changes nothing in the training that it watches, so one training compares them all, paired to the last bit.
Each is scored on val at the end. A training whose rows are in the file is not run again.
"""

import argparse
import copy
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from segkd.ablation.statistics import student_interval
from segkd.datasets.data import Records
from segkd.datasets.loader import SegmentationDataset, train_loader
from segkd.datasets.opening import open_data
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Transform
from segkd.engine.evaluate import evaluate
from segkd.engine.learner import Learner
from segkd.engine.optim import build_optimizer, build_schedule
from segkd.engine.step import Engine, train_step
from segkd.experiment.meeting import introduce
from segkd.experiment.processes import make_accelerator
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.models.network import Network

BATCH = 8
SCORES = ("miou_image", "f_mean", "mae")


@dataclass(frozen=True)
class Horizon:
    """A training: a data set, optimiser steps, and how many of its images are used."""

    dataset: str
    steps: int
    images: int | None = None


HORIZONS = {
    "tiny": [Horizon("camo", 90, 10), Horizon("cvc_clinicdb", 90, 10), Horizon("ecssd", 90, 10)],
    "short": [Horizon("camo", 215), Horizon("cvc_clinicdb", 215), Horizon("ecssd", 215)],
    "long": [Horizon("camo", 1000)],
}


def warm(decay: float) -> Callable[[int, int], float]:
    """A fixed decay that a young average stays below."""
    return lambda n, total: min(decay, (1 + n) / (10 + n))


def power(gamma: float) -> Callable[[int, int], float]:
    """A window that is a constant share of the training so far (Karras et al., CVPR 2024, equation 127)."""
    return lambda n, total: (1 - 1 / (n + 1)) ** (gamma + 1)


def horizon(share: float) -> Callable[[int, int], float]:
    """A window that is a share of the whole training."""
    return lambda n, total: min(1 - 1 / max(share * total, 1), (1 + n) / (10 + n))


CANDIDATES: dict[str, tuple[Callable[[int, int], float], bool]] = {
    "plain": (lambda n, total: 0.0, False),
    ".9": (warm(0.9), False),
    ".97": (warm(0.97), False),
    ".99": (warm(0.99), False),
    ".99, BatchNorm's as they are": (warm(0.99), True),
    ".999": (warm(0.999), False),
    "power 6.9": (power(6.94), False),
    "power 17": (power(16.97), False),
    "power 40": (power(40), False),
    "horizon .02": (horizon(0.02), False),
    "horizon .05": (horizon(0.05), False),
    "horizon .05, BatchNorm's as they are": (horizon(0.05), True),
}
"""Name -> (updates so far, updates in all) -> decay, and whether buffers are copied instead of averaged."""


class Candidate:
    """One average of a network's weights."""

    def __init__(self, network: Network, name: str) -> None:
        self.decay, self.copies = CANDIDATES[name]
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def follow(self, network: Network, n: int, total: int) -> None:
        """After optimiser step n + 1 of `total`."""
        share = 1.0 if n == 0 else 1 - self.decay(n, total)
        for slow, fast in zip(self.network.parameters(), network.parameters()):
            slow.lerp_(fast, share)
        for slow, fast in zip(self.network.buffers(), network.buffers()):
            if self.copies or not slow.is_floating_point():
                slow.copy_(fast)
            else:
                slow.lerp_(fast, share)


def main() -> None:
    """Trains what is missing, then shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=[*HORIZONS], default=[*HORIZONS])
    parser.add_argument("--show", action="store_true", help="print the tables of what is there, and train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in () if options.show else options.seeds:
        for name in options.only:
            for one in HORIZONS[name]:
                key = (name, one.dataset, str(seed))
                if key not in {(r["horizon"], r["dataset"], r["seed"]) for r in rows_of(options.out)}:
                    keep(options.out, [{"horizon": name, "seed": seed, **row} for row in trained(one, seed, options)])
    for score in SCORES:
        Console(width=120).print(table(rows_of(options.out), score))


def rows_of(path: Path) -> list[dict[str, str]]:
    """What is there."""
    return list(csv.DictReader(path.open(encoding="utf-8"))) if path.is_file() else []


def keep(path: Path, rows: list[dict[str, object]]) -> None:
    """Adds the rows of a training, all at once."""
    old = rows_of(path)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if not old:
            writer.writeheader()
        writer.writerows(rows)


def trained(one: Horizon, seed: int, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Trains once with all candidates behind it; their scores on val."""
    engine, loader, val, objects = prepared(one, seed, options.data_root)
    student = engine.bare.student
    candidates = {name: Candidate(student, name) for name in CANDIDATES}
    for batch, n in zip(loader, range(one.steps)):
        train_step(engine, batch)
        for candidate in candidates.values():
            candidate.follow(student, n, one.steps)
    for name, candidate in candidates.items():
        meter = evaluate(candidate.network, val, objects.data.classes, engine.accelerator, batch_size=BATCH)
        scores = {score: round(meter.scores()[score], 6) for score in SCORES}
        yield {"dataset": one.dataset, "average": name, "steps": one.steps, **scores}


def prepared(one: Horizon, seed: int, root: str) -> tuple[Engine, Iterator, SegmentationDataset, Namespace]:
    """What `segkd train` would train, at 128 px on batches of 8, without an average of its own."""
    parser = training_parser()
    layers = ["--config", "methods/baseline.yaml", "--config", f"data/{one.dataset}.yaml"]
    sizes = ["--data.size", "128", "--data.batch_size", str(BATCH), "--optim.average", "null"]
    config = parse(parser, [*layers, "--data.root", f"{root}/{one.dataset}", *sizes])
    torch.manual_seed(seed)
    objects = instantiate(parser, config)
    accelerator = make_accelerator(objects.engine)
    records = open_data(objects.data, ["train", "val"], lambda n: None)[0]
    train = records["train"]
    if one.images is not None:
        train = Records(train.name, train.ids[: one.images], train.load)
    classes = len(objects.data.classes)
    dataset = SegmentationDataset(
        train, Transform(objects.data.shape, objects.data.augment, classes, soft=objects.distiller.needs_soft), seed
    )
    introduce(objects, dataset, 1, lambda: instantiate(parser, config).model)
    learner = Learner(
        objects.model.to(memory_format=torch.channels_last), objects.distiller, objects.disturbance, total=one.steps
    )
    optimizer = build_optimizer(objects.optim, learner)
    schedule = build_schedule(objects.optim, optimizer, one.steps)
    engine = Engine(accelerator, learner, learner, accelerator.prepare(optimizer), schedule, objects.optim.clip, seed)
    loader = iter(train_loader(dataset, EpochBatches(len(train), BATCH, seed), 0))
    return (
        engine,
        loader,
        SegmentationDataset(records["val"], Transform(objects.data.shape, None, classes, soft=False), 0),
        objects,
    )


def table(rows: list[dict[str, str]], score: str) -> Table:
    """Mean at the end by horizon, and the paired gain over the plain weights with Student's interval."""
    found = Table("average", *HORIZONS, title=f"{score} on val at the end (over the plain weights [95 %])")
    last = {(r["horizon"], r["average"], r["dataset"], r["seed"]): float(r[score]) for r in rows}
    for name in CANDIDATES:
        cells = []
        for horizon_name in HORIZONS:
            keys = [key for key in last if key[:2] == (horizon_name, name)]
            values = np.array([last[key] for key in keys])
            plain = np.array([last[(horizon_name, "plain", *key[2:])] for key in keys])
            cells.append(in_words(values, values - plain, name) if keys else "-")
        found.add_row(name, *cells)
    return found


def in_words(values: np.ndarray, gains: np.ndarray, name: str) -> str:
    """A mean, and the gain with its interval."""
    if name == "plain" or len(gains) < 2:
        return f"{values.mean():.4f}"
    low, high = student_interval(list(gains)) or (float("nan"), float("nan"))
    return f"{values.mean():.4f} ({gains.mean():+.4f} [{low:+.4f}, {high:+.4f}])"


if __name__ == "__main__":
    main()
