"""What a step costs beside plain loops, and the virtual teacher in it; whether the loader keeps up; how quick the
command starts.

    python benchmarks/step.py [--rounds 15] [--only rivals teachers loader start]

Ratios are medians over rounds in which all arms run side by side in one process (CPU time, so that another
program on the machine matters little). The last line is one JSON object.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import torch
from interleave import interleaved
from rich.console import Console
from rich.table import Table
from rivals import rivals

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset, collate, train_loader
from segkd.datasets.opening import open_data
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Augment, Transform
from segkd.distill.base import Teacher, Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.learner import Learner
from segkd.losses import one_hot
from segkd.models.fusion import FusionNet
from segkd.types import Batch, Lesson, Prediction

PARTS = ("rivals", "teachers", "loader", "start")
Found = tuple[list[tuple[str, str]], dict[str, float]]
"""Rows of the table, and figures."""


class NaiveOneHot(Teacher):
    """What one writes first: one-hot, scaled, its logarithm taken on every pixel."""

    gives = frozenset({"logits"})

    def forward(self, batch, student, look):
        k = student.logits.shape[1]
        hard = one_hot(batch.label.masked_fill(~batch.valid, 0), k)
        return Lesson(Prediction((hard * 0.99 + (1 - hard) * 0.01 / (k - 1)).log()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--rounds", type=int, default=15, help="measurements of each arm")
    arguments.add_argument("--size", type=int, default=224, help="image side in pixels")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure")
    options = arguments.parse_args()
    table = Table("what", "ratio", title=f"{os.cpu_count()} cores, {options.size} px, torch {torch.__version__}")
    torch.set_num_threads(1)  # CPU time of one thread is the steadiest figure
    parts = {"rivals": rivals, "teachers": teachers, "loader": loader, "start": start}
    result = {}
    for name in options.only:
        rows, figures = parts[name](options.size, options.rounds)
        for row in rows:
            table.add_row(*row)
        result |= figures
    Console().print(table)
    print(json.dumps({name: round(value, 4) for name, value in result.items()}))


def teachers(size: int, rounds: int) -> Found:
    """The virtual teacher beside others and none."""
    rows, figures = [], {}
    for k in (2, 11):
        ratios = teacher_ratios(k, size, rounds)
        rows += [(f"step with {name} teacher / without, K={k}", f"{ratio:.3f}") for name, ratio in ratios.items()]
        figures[k] = ratios["constant"]
    return rows, {"virtual_teacher_step": max(figures.values())}


def loader(size: int, rounds: int) -> Found:
    """Whether a step ever waits for its batch, with all threads at work."""
    torch.set_num_threads(os.cpu_count() or 1)
    loading, step, waiting = loader_and_step(size, rounds)
    torch.set_num_threads(1)
    rows = [
        ("images per second, loader with 2 workers", f"{loading:.0f}"),
        ("images per second, step", f"{step:.1f}"),
        ("share of the time a step waits for the loader", f"{waiting:.3f}"),
    ]
    return rows, {"loader_over_network": loading / step, "waiting_for_the_loader": waiting}


def start(size: int, rounds: int) -> Found:
    """The command's start beside that of torch."""
    ratio = help_over_import(max(3, rounds // 3))
    return [("segkd train --help / import torch, CPU time", f"{ratio:.2f}")], {"train_help_over_import_torch": ratio}


def teacher_ratios(k: int, size: int, rounds: int) -> dict[str, float]:
    """CPU time of a training step with each teacher over one without."""
    teachers: dict[str, Teacher | None] = {
        "no": None,
        "constant": LabelTeacher("constant", 0.99),
        "naive one-hot": NaiveOneHot(),
        "boundary": LabelTeacher("boundary", 0.99),
        "window": LabelTeacher("window", 0.99),
        "antialiased": LabelTeacher("antialiased", 0.99),
    }
    student = FusionNet(k, weights=None).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=1e-4)
    batch = random_batch(k, size)
    learners = {
        name: Learner(student, distilled(teacher) if teacher else Distiller()) for name, teacher in teachers.items()
    }
    steps = {name: lambda learner=learner: one_step(learner, optimizer, batch) for name, learner in learners.items()}
    seconds = interleaved(steps, rounds)
    return {
        name: statistics.median(a / b for a, b in zip(seconds[name], seconds["no"])) for name in steps if name != "no"
    }


def distilled(teacher: Teacher) -> Distiller:
    """One teacher, one term."""
    return Distiller(teachers={"teacher": teacher}, terms={"response": Term(Response())})


def one_step(learner: Learner, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    torch.stack(list(learner(batch).values())).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def random_batch(k: int, size: int, b: int = 4) -> Batch:
    image = torch.rand(b, 3, size, size)
    shares = torch.nn.functional.interpolate(torch.rand(b, k, 8, 8), size=(size, size), mode="bilinear") * 9
    return Batch(image, image, shares.argmax(dim=1), shares.softmax(dim=1), tuple(map(str, range(b))))


def loader_and_step(size: int, rounds: int) -> tuple[float, float, float]:
    """Images per second of the loader alone and of the step alone, and how long a step waits when both run."""
    data = Data(embedded=Embedded(train=64, val=1, test=1, side=320), size=size, batch_size=8, augment=Augment())
    records, _ = open_data(data, ["train"], lambda n: None)
    dataset = SegmentationDataset(records["train"], Transform(data.shape, data.augment, 2, soft=True), 0)
    loader = iter(train_loader(dataset, EpochBatches(64, 8, 0), workers=2))
    for _ in range(10):
        next(loader)
    start, count = time.perf_counter(), 40
    for _ in range(count):
        next(loader)
    loading = count * 8 / (time.perf_counter() - start)
    student = FusionNet(2, weights=None).to(memory_format=torch.channels_last)
    learner = Learner(student, distilled(LabelTeacher()))
    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=1e-4)
    batch = collate([dataset[0, i] for i in range(8)])
    batch = replace(batch, image=batch.image.contiguous(memory_format=torch.channels_last))
    alone = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        one_step(learner, optimizer, batch)
        alone.append(time.perf_counter() - start)
    waits, total = 0.0, time.perf_counter()
    for _ in range(rounds):
        start = time.perf_counter()
        batch = next(loader)
        waits += time.perf_counter() - start
        one_step(learner, optimizer, batch)
    return loading, 8 / statistics.median(alone[1:]), waits / (time.perf_counter() - total)


def help_over_import(rounds: int) -> float:
    """CPU time of `segkd train --help` over that of `import torch`, both in fresh processes."""

    def cpu(command: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    ours = [sys.executable, "-m", "segkd.cli", "train", "--help"]
    theirs = [sys.executable, "-c", "import torch"]
    cpu(ours)
    return statistics.median(cpu(ours) / cpu(theirs) for _ in range(rounds))


if __name__ == "__main__":
    main()
