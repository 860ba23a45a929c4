"""A whole step beside that of plain PyTorch loops around FPN and U-Net (smp) with the same encoder.

A step loads and augments the batch, and goes forward and back to the optimiser; ours has the moving average, clipping
and the checks for finite numbers beside. CPU time of one thread, arms in turning order; memory is the growth of the
high-water mark (Linux), each arm in a process of its own.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from interleave import interleaved

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.opening import open_data
from segkd.datasets.transforms import Augment, Transform
from segkd.distill.base import Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.learner import Learner
from segkd.engine.optim import Optim, build_optimizer, build_schedule
from segkd.engine.step import Engine, train_step
from segkd.models.fusion import FusionNet
from segkd.types import Batch

ENCODER = "tu-tf_efficientnet_lite0"
BATCH = 8
Arm = Callable[[], object]


def rivals(size: int, rounds: int) -> tuple[list[tuple[str, str]], dict[str, float]]:
    """Images per second of all, and over ours; what the optimiser and the average take of a step; memory."""
    engine = engine_of(taught=False)
    arms = {name: arm_of(name, size) for name in NETWORKS} | {"segkd": ours(engine, size)}
    arms["segkd, virtual teacher"] = ours(engine_of(taught=True), size)
    arms["load"] = loading(size)
    average = engine.bare.average
    assert average is not None
    gradients = [torch.randn_like(p) for p in engine.bare.student.parameters()]
    arms["optimiser"] = lambda: descend(engine, gradients)
    arms["average"] = lambda: average.follow(engine.bare.student)
    seconds = {name: statistics.median(times) for name, times in interleaved(arms, rounds).items()}
    rows, figures = [], {}
    for name in (*NETWORKS, "segkd", "segkd, virtual teacher"):
        ratio, memory = seconds[name] / seconds["segkd"], in_a_process(name, size)
        rows.append((f"{name}: images per second", f"{BATCH / seconds[name]:.1f}"))
        rows.append((f"{name}: step over segkd's, memory", f"{ratio:.3f}, {memory / 2**20:.0f} MiB"))
        figures |= {f"{name}_step_over_ours": ratio, f"{name}_memory_mib": memory / 2**20}
    share = (seconds["optimiser"] + seconds["average"]) / seconds["segkd"]
    rows.append(("optimiser and average, share of a step", f"{share:.3f}"))
    rows.append(("loading and augmenting, share of a step", f"{seconds['load'] / seconds['segkd']:.3f}"))
    return rows, figures | {"optimiser_and_average": share}


def descend(engine: Engine, gradients: list[torch.Tensor]) -> None:
    for p, gradient in zip(engine.bare.student.parameters(), gradients):
        p.grad = gradient if p.requires_grad else None
    engine.optimizer.step()
    engine.optimizer.zero_grad(set_to_none=True)


def loading(size: int) -> Callable[[], Batch]:
    """The next batch, loaded and augmented here."""
    data = Data(embedded=Embedded(train=64, val=1, test=1, side=320), size=size, batch_size=BATCH, augment=Augment())
    records, _ = open_data(data, ["train"], lambda n: None)
    dataset = SegmentationDataset(records["train"], Transform(data.shape, data.augment, 2, soft=False), 0)
    drawn = iter(range(10**9))
    return lambda: collate([dataset[i // 64, i % 64] for i in (next(drawn) for _ in range(BATCH))])


def engine_of(taught: bool) -> Engine:
    """Ours with its default optimiser, with the virtual teacher or without."""
    student = FusionNet(2, weights=None).to(memory_format=torch.channels_last)
    terms = {"response": Term(Response())}
    distiller = Distiller(teachers={"label": LabelTeacher()}, terms=terms) if taught else Distiller()
    optim, learner = Optim(), Learner(student, distiller, average=0.99, total=1000)
    optimizer = build_optimizer(optim, learner)
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    wrapped, prepared = accelerator.prepare(learner, optimizer)
    return Engine(accelerator, wrapped, learner, prepared, build_schedule(optim, optimizer, 1000), optim.clip, 0)


def ours(engine: Engine, size: int) -> Arm:
    load = loading(size)
    return lambda: train_step(engine, load())


def plain(network: torch.nn.Module, size: int, layout: torch.memory_format) -> Arm:
    """What one writes first."""
    load, network = loading(size), network.to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def step() -> None:
        batch = load()
        image = ((batch.image - mean) / std).contiguous(memory_format=layout)
        F.cross_entropy(network(image), batch.label, ignore_index=255).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


NETWORKS = {
    "FPN": (smp.FPN, torch.contiguous_format),
    "FPN, channels last": (smp.FPN, torch.channels_last),
    "Unet": (smp.Unet, torch.contiguous_format),
}


def arm_of(name: str, size: int) -> Arm:
    if name not in NETWORKS:
        return ours(engine_of(taught="teacher" in name), size)
    network, layout = NETWORKS[name]
    return plain(network(ENCODER, encoder_weights=None, classes=2), size, layout)


def in_a_process(name: str, size: int) -> float:
    """Bytes that two steps need beyond what there is before them."""
    out = subprocess.run([sys.executable, __file__, name, str(size)], check=True, capture_output=True, text=True)
    return float(out.stdout)


def high_water() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    arm = arm_of(sys.argv[1], int(sys.argv[2]))
    before = high_water()
    arm(), arm()
    print(high_water() - before)
