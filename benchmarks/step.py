"""What the virtual teacher costs, whether the loader keeps up, how quick the command starts.

    python benchmarks/step.py [--rounds 15]

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

from segkd.datasets.data import Data, open_data
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset, collate, train_loader
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
    options = arguments.parse_args()
    table = Table("what", "ratio", title=f"{os.cpu_count()} cores, {options.size} px, torch {torch.__version__}")
    figures = {}
    torch.set_num_threads(1)  # CPU time of one thread is the steadiest figure
    for k in (2, 11):
        ratios = teacher_ratios(k, options.size, options.rounds)
        for name, ratio in ratios.items():
            table.add_row(f"step with {name} teacher / without, K={k}", f"{ratio:.3f}")
        figures[k] = ratios["constant"]
    torch.set_num_threads(os.cpu_count() or 1)
    loader, step, waiting = loader_and_step(options.size, options.rounds)
    table.add_row("images per second, loader with 2 workers", f"{loader:.0f}")
    table.add_row("images per second, step", f"{step:.1f}")
    table.add_row("share of the time a step waits for the loader", f"{waiting:.3f}")
    start = help_over_import(max(3, options.rounds // 3))
    table.add_row("segkd train --help / import torch, CPU time", f"{start:.2f}")
    Console().print(table)
    result = {
        "virtual_teacher_step": round(max(figures.values()), 4),
        "loader_over_network": round(loader / step, 2),
        "train_help_over_import_torch": round(start, 3),
    }
    print(json.dumps(result))


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
