"""What each recipe of configs/methods costs: time and peak memory of a training step over the plain baseline's.

    python benchmarks/recipes.py [--rounds 9] [--only NAME...] [--write]

Each recipe trains FusionNet (128 px, batches of 8, one thread, all terms at full weight) in a process of its own, in
turns with the baseline; ratios are medians over the rounds. `--write` puts them into configs/methods/costs.csv, which
`segkd methods` shows.
"""

import argparse
import csv
import io
import json
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from jsonargparse import Namespace

from segkd.datasets.loader import SegmentationDataset
from segkd.disk import write_whole
from segkd.engine.learner import Learner
from segkd.engine.optim import build_optimizer
from segkd.experiment.layers import packaged_layers
from segkd.experiment.meeting import introduce
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, save_student
from segkd.types import Batch

K = {"uskd": 4, "specialists": 4}
"""Recipes that need more than two classes."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    folder = packaged_layers() / "methods"
    rows = []
    for path in sorted(folder.glob("*.yaml")):
        if path.stem != "baseline" and (options.only is None or path.stem in options.only):
            step, memory = measure(path, options.rounds)
            rows.append((path.stem, round(step, 3), round(memory, 3)))
            print(f"{path.stem:<28} step {step:.3f}  memory {memory:.3f}", flush=True)
    if options.write:
        text, table = io.StringIO(), folder / "costs.csv"
        with table.open(newline="", encoding="utf-8") as file:  # the others stay as they were
            kept = {name: (name, *cost) for name, *cost in list(csv.reader(file))[1:]}
        kept |= {"baseline": ("baseline", 1.0, 1.0)} | {row[0]: row for row in rows}
        ordered = [kept.pop("baseline"), *(kept[name] for name in sorted(kept))]
        csv.writer(text, lineterminator="\n").writerows([("recipe", "step", "memory"), *ordered])
        write_whole(folder / "costs.csv", text.getvalue())
    print(json.dumps({name: {"step": step, "memory": memory} for name, step, memory in rows}))


def measure(path: Path, rounds: int) -> tuple[float, float]:
    """Time and memory of a step of a recipe over the baseline's with as many classes."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as run:
        ends = []
        for recipe in (path, path.with_name("baseline.yaml")):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, recipe, K.get(path.stem, 2), Path(run)), daemon=True)
            process.start()
            ours.recv()
            ends.append(ours)
        times = [[asked(end) for end in ends] for _ in range(rounds)]
        peaks = [asked(end, "memory") for end in ends]
        for end in ends:
            end.send("stop")
    return statistics.median(ours / base for ours, base in times), peaks[0] / peaks[1]


def asked(end: Connection, what: str = "step") -> float:
    """Seconds of a step, or bytes."""
    end.send(what)
    return end.recv()


def serve(end: Connection, recipe: Path, classes: int, run: Path) -> None:
    """Trains a step each time it is asked to."""
    torch.set_num_threads(1)
    learner, batch = prepared(recipe, classes, run)
    progress = progress_of(recipe)
    optimizer = build_optimizer(objects_optim(), learner)
    before = fresh_peak()

    def step(number: int) -> None:
        torch.manual_seed(number)
        torch.stack(list(learner(batch).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        learner.follow(number)
        learner.arrive(progress)

    for number in range(1, 4):
        step(number)
    end.send("ready")
    while (what := end.recv()) != "stop":
        if what == "memory":
            end.send((peak() - before) * 1024.0)
            continue
        start = time.perf_counter()
        step(4)
        end.send(time.perf_counter() - start)


def progress_of(recipe: Path) -> float:
    """Nine tenths of the training; of two stages the dearer one, where nothing rests yet."""
    return 0.4 if recipe.stem == "dk_kd" else 0.9


def fresh_peak() -> int:
    """The memory in use now, in KiB, from which on the peak counts: what was built before the steps is not theirs."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The highest memory in use, in KiB (VmHWM: what getrusage says is never lowered)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def objects_optim() -> object:
    """The default optimiser's settings."""
    parser = training_parser()
    return instantiate(parser, parse(parser, ["--data.embedded", "{}"])).optim


def prepared(recipe: Path, classes: int, run: Path) -> tuple[Learner, Batch]:
    """The learner of a recipe that has met its student, late in its training, and a batch."""
    names = json.dumps([f"class{i}" for i in range(classes)])
    reuses = "run: null" in recipe.read_text()
    weights = f"--model.{'arguments.' if reuses else ''}weights"
    data = ["--data.classes", names, "--data.size", "128", "--data.batch_size", "8", weights, "null"]
    data += ["--engine.epochs", "1", "--data.embedded", '{"train": 16, "val": 1, "test": 1, "side": 160}']
    said = recipe.read_text()
    if reuses or "sources: []" in said or "source: null" in said:
        save_student(run, FusionNet(classes, weights=None), card_of(classes))
        (run / "trained_on.txt").write_text("an image of another set\n", encoding="utf-8")
        one = ["before.sources", json.dumps([str(run)])] if "sources: []" in said else ["neighbours.source", str(run)]
        data += ["--model.run", str(run)] if reuses else [f"--distiller.teachers.{one[0]}", one[1]]
    parser = training_parser()
    config = parse(parser, ["--config", str(recipe), *data])
    torch.manual_seed(0)
    objects: Namespace = instantiate(parser, config)
    dataset = dataset_of(objects)
    introduce(objects, dataset, 10, lambda: instantiate(parser, config).model)
    learner = Learner(
        objects.model.to(memory_format=torch.channels_last),
        objects.distiller,
        objects.disturbance,
        average=0.99,
        total=10,
        resting=objects.optim.resting,
    )
    learner.arrive(progress_of(recipe))
    from segkd.datasets.loader import collate

    return learner, collate([dataset[0, i] for i in range(8)])


def card_of(classes: int) -> ModelCard:
    """What rebuilds the teacher of Tf-KD_self."""
    arguments = {"classes": classes, "weights": None}
    return ModelCard("segkd.models.network.FusionNet", arguments, [f"class{i}" for i in range(classes)], (128, 128))


def dataset_of(objects: Namespace) -> SegmentationDataset:
    """The embedded training split, augmented."""
    from segkd.datasets.opening import open_data
    from segkd.datasets.transforms import Transform

    found = open_data(objects.data, ["train"], lambda n: None)
    records = found[0]["train"]
    soft = objects.distiller.needs_soft
    return SegmentationDataset(
        records, Transform(objects.data.shape, objects.data.augment, len(objects.data.classes), soft), 0
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
