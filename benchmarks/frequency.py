"""What the frequency stage costs, against kornia's differentiable JPEG, against a copy, and in a training step.

    python benchmarks/frequency.py [--rounds 9]

One process, one thread; arms run side by side in turning order and ratios are medians of CPU time, so that another
program on the machine matters little. Peak memory is the growth of the process's high-water mark (Linux), each arm in
a process of its own. The last line is one JSON object, each figure the worst of both sizes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from interleave import interleaved
from rich.console import Console
from rich.table import Table

from segkd.distill.base import Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.learner import Learner
from segkd.frequency.disturb import DctQuantization
from segkd.frequency.image import quantize_image
from segkd.frequency.quantize import per_coefficient, per_pixel, quantize, quantize_plain
from segkd.frequency.rounding import straight_through
from segkd.frequency.tables import annex_k
from segkd.models.fusion import FusionNet
from segkd.types import Batch

SHAPES = ((8, 3, 256, 256), (16, 3, 352, 352))
Arm = Callable[[], object]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--rounds", type=int, default=9, help="measurements of each arm")
    arguments.add_argument("--size", type=int, default=224, help="image side of the training step, in pixels")
    arguments.add_argument("--memory", nargs=2, metavar=("ARM", "SHAPE"), help="one arm's peak memory (used by itself)")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        print(peak_over_image(options.memory[0], SHAPES[int(options.memory[1])]))
        return
    table = Table(
        "what", *("x".join(map(str, shape)) for shape in SHAPES), title=f"1 thread, torch {torch.__version__}"
    )
    figures: dict[str, list[float]] = {"plane_over_kornia": [], "ycbcr420_over_kornia": []}
    seconds = [interleaved(arms(shape), options.rounds) for shape in SHAPES]
    for name in seconds[0]:
        cells = []
        for times in seconds:
            ours, copies = statistics.median(times[name]), ratio(times[name], times["copy"])
            cells.append(
                f"{1e3 * ours:8.1f} ms  {copies:6.1f} copies  {ratio(times['kornia'], times[name]):5.1f} x kornia"
            )
        table.add_row(name, *cells)
    for times in seconds:
        figures["plane_over_kornia"].append(ratio(times["kornia"], times["plane"]))
        figures["ycbcr420_over_kornia"].append(ratio(times["kornia"], times["ycbcr420"]))
    peaks = {}
    for name in ("kornia", "plane", "ycbcr420", "ycbcr420 faithful"):
        peaks[name] = [memory(name, number, at_once=False) for number in range(len(SHAPES))]
        bare = [memory(name, number, at_once=True) for number in range(len(SHAPES))]
        cells = [
            f"{peak:.1f} images, {without:.1f} without the heap's gaps" for peak, without in zip(peaks[name], bare)
        ]
        table.add_row(f"peak memory, {name}", *cells)
    steps = step_ratios(options.size, options.rounds)
    Console(width=160).print(table)
    for name, value in steps.items():
        print(f"training step with {name} / without, {options.size} px, batch 8: {value:.3f}")
    print(
        json.dumps(
            {name: round(min(values), 2) for name, values in figures.items()}
            | {"peak_memory_over_image": round(max(peaks["plane"]), 2)}
            | {"peak_memory_over_image_ycbcr420": round(max(peaks["ycbcr420"] + peaks["ycbcr420 faithful"]), 2)}
            | {"step_with_over_without": round(max(v for name, v in steps.items() if "every" not in name), 4)}
            | {"step_with_over_without_every_image": round(steps["cooperative, every image"], 4)}
        )
    )


def arms(shape: tuple[int, int, int, int]) -> dict[str, Arm]:
    """Forward and backward, image and table, under one random gradient."""
    torch.manual_seed(0)
    image, grad = torch.rand(shape, requires_grad=True), torch.randn(shape)
    flat = torch.full((3, 8, 8), 0.1, requires_grad=True)
    pixels = torch.full(shape[1:], 0.1, requires_grad=True)
    luma, chroma = (
        annex_k(50.0, is_chroma).repeat(c, 1, 1).requires_grad_() for c, is_chroma in ((1, False), (2, True))
    )

    def both_ways(forward: Callable[[], torch.Tensor]) -> Arm:
        def run() -> None:
            forward().clamp(0, 1).backward(grad)
            for leaf in (image, flat, pixels, luma, chroma):
                leaf.grad = None

        return run

    def jpeg(faithful: bool) -> Arm:
        tables = lambda: [per_coefficient(luma), per_coefficient(chroma)]  # noqa: E731
        return both_ways(lambda: quantize_image(image, tables(), straight_through, faithful=faithful))

    target = torch.empty(shape)
    return {
        "copy": lambda: target.copy_(image.detach()),
        "kornia": kornia_arm(image, grad),
        "plane": both_ways(lambda: quantize(image, per_coefficient(flat), straight_through)),
        "plane, table per pixel": both_ways(lambda: quantize(image, per_pixel(pixels, 8), straight_through)),
        "plane, plain form": both_ways(lambda: quantize_plain(image, per_coefficient(flat), straight_through)),
        "ycbcr420": jpeg(faithful=False),
        "ycbcr420 faithful": jpeg(faithful=True),
    }


def kornia_arm(image: torch.Tensor, grad: torch.Tensor) -> Arm:
    from kornia.enhance import jpeg_codec_differentiable

    tables = [(annex_k(50.0, chroma) * 255).requires_grad_() for chroma in (False, True)]
    quality = torch.full((len(image),), 50.0)

    def run() -> None:
        jpeg_codec_differentiable(image, quality, *tables).backward(grad)
        image.grad = None
        for table in tables:
            table.grad = None

    return run


def ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below))


def memory(name: str, number: int, at_once: bool) -> float:
    """`peak_over_image` of one arm, in a fresh process; `at_once` gives every freed tensor back to the system, so that
    gaps in glibc's heap count for nothing."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"MALLOC_MMAP_THRESHOLD_": "65536"} if at_once else {})
    command = [sys.executable, __file__, "--memory", name, str(number)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(out.stdout)


def peak_over_image(name: str, shape: tuple[int, int, int, int]) -> float:
    """How many times the image's size one forward and backward needs beyond what is there before it (image, gradient
    that comes in, tables)."""
    warm = arms((1, 3, 32, 32))[name]
    warm()  # imports, thread pools and their like are not the arm's
    arm = arms(shape)[name]
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark starts anew from what is there now
    before = high_water()
    arm()
    return (high_water() - before) / (4 * torch.Size(shape).numel())


def high_water() -> int:
    """Largest resident memory so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def step_ratios(size: int, rounds: int) -> dict[str, float]:
    """CPU time of a training step of the virtual teacher with each disturbance, over one without; half of the images
    are quantised, as in configs/methods, but for the last arm."""
    stages = {
        "no": None,
        "random": DctQuantization(objective="random", probability=0.5),
        "cooperative": DctQuantization(probability=0.5),
        "cooperative per pixel": DctQuantization(probability=0.5, granularity="pixel", size=(size, size)),
        "cooperative, every image": DctQuantization(),
    }
    student = FusionNet(2, weights=None).to(memory_format=torch.channels_last)
    image = torch.rand(8, 3, size, size).contiguous(memory_format=torch.channels_last)
    batch = Batch(image, image, (torch.rand(8, size, size) < 0.3).long(), None, tuple("abcdefgh"))

    def arm(stage: DctQuantization | None) -> Arm:
        distiller = Distiller(teachers={"label": LabelTeacher()}, terms={"response": Term(Response())})
        learner = Learner(student, distiller, stage)
        learning = [p for p in learner.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(learning, lr=1e-4)

        def run() -> None:
            torch.stack(list(learner(batch).values())).sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            learner.follow(0)  # the table goes back on its budget

        return run

    seconds = interleaved({name: arm(stage) for name, stage in stages.items()}, rounds)
    return {name: ratio(seconds[name], seconds["no"]) for name in stages if name != "no"}


if __name__ == "__main__":
    main()
