"""The checks of `benchmarks.gpu`: each is a name and a function of a device that says what it found, or raises."""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset, collate, train_loader
from segkd.datasets.opening import open_data
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Augment, Transform
from segkd.distill.distiller import Distiller
from segkd.engine.compiling import compile_student
from segkd.engine.evaluate import evaluate
from segkd.engine.learner import Learner
from segkd.engine.optim import Optim, build_optimizer, build_schedule
from segkd.engine.step import Engine, train_step
from segkd.experiment.layers import packaged_layers
from segkd.frequency.color import doubled, rgb_to_ycbcr, ycbcr_to_rgb
from segkd.frequency.image import quantize_image
from segkd.frequency.quantize import per_coefficient, quantize_plain
from segkd.frequency.rounding import straight_through
from segkd.frequency.tables import annex_k
from segkd.models.fusion import FusionNet

sys.path.insert(0, str(Path(__file__).parent))  # the other benchmarks are scripts
from recipes import K, prepared

Named = Iterator[tuple[str, Callable[[torch.device], str]]]
SHAPE = (16, 3, 352, 352)
WARM, TIMES = 3, 20
ON_HOST = {"random_jpeg", "ddgsd"}
"""Recipes whose images go through libjpeg, which works on the host: the device waits for it."""


def on_cuda(device: torch.device) -> None:
    """Skips a check that says nothing of a CPU."""
    if device.type != "cuda":
        raise NotImplementedError("needs CUDA")


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of one call, by the device's own clock."""
    for _ in range(WARM):
        work()
    if device.type == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(TIMES):
        work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / TIMES


def engine_of(learner: Learner, device: torch.device, precision: str = "no") -> Engine:
    """An engine as `segkd train` makes it."""
    from accelerate.state import AcceleratorState, GradientState

    # with the part that chose a device: otherwise the first engine's, a CPU, stays for all
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=precision, step_scheduler_with_optimizer=False)
    optim = Optim()
    optimizer = build_optimizer(optim, learner, fused=accelerator.scaler is None)
    wrapped, made = accelerator.prepare(learner, optimizer)
    return Engine(accelerator, wrapped, learner, made, build_schedule(optim, optimizer, 100), optim.clip, 0)


def contracts() -> Named:
    """Every recipe in every precision."""
    for path in sorted((packaged_layers() / "methods").glob("*.yaml")):
        for precision in ("no", "bf16", "fp16"):
            yield f"recipe {path.stem}, {precision}", partial(contract, path, precision)


def contract(path: Path, precision: str, device: torch.device) -> str:
    """Steps are finite, move the student, and, in the third, never wait for the device."""
    if precision == "fp16":
        on_cuda(device)
    with tempfile.TemporaryDirectory() as run:
        learner, batch = prepared(path, K.get(path.stem, 2), Path(run))
    engine = engine_of(learner, device, precision)
    batch = batch.to(device)
    before = [p.detach().clone() for p in learner.student.parameters()]
    for _ in range(2):
        terms = train_step(engine, batch)
    if device.type == "cuda" and precision != "fp16" and path.stem not in ON_HOST:  # a scaler reads whether to skip
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            terms = train_step(engine, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    engine.verdicts.settle()
    assert all(bool(value.isfinite()) for value in terms.values()), terms
    moved = any(bool((p != q).any()) for p, q in zip(learner.student.parameters(), before))
    assert moved or precision == "fp16", "the student did not move"  # a scaler's first steps may be skipped
    return ", ".join(f"{name} {float(value.detach()):.4f}" for name, value in terms.items())


def stage() -> Named:
    """The frequency stage."""
    yield "stage agrees with the CPU", agrees
    for compiled in (False, True):
        yield f"stage 4:2:0 against a copy{', compiled' if compiled else ''}", partial(costs, compiled)
    yield "stage against kornia", kornia


def tables(device: torch.device) -> list[torch.Tensor]:
    """Annex K for luma and chroma."""
    made = [annex_k(50.0, chroma).repeat(c, 1, 1) for c, chroma in ((1, False), (2, True))]
    return [per_coefficient(table.to(device).requires_grad_()) for table in made]


def agrees(device: torch.device) -> str:
    """Values but for a few that lie between two steps, and gradients."""
    torch.manual_seed(0)
    image, grad = torch.rand(2, 3, 96, 128), torch.randn(2, 3, 96, 128)
    found = []
    for where in (torch.device("cpu"), device):
        seen = image.detach().to(where, copy=True).requires_grad_()  # on the CPU `to` alone returns `image` itself
        out = quantize_image(seen, tables(where), straight_through)
        out.backward(grad.to(where))
        assert seen.grad is not None
        found.append((out.detach().cpu(), seen.grad.cpu()))
    apart = ((found[0][0] - found[1][0]).abs() > 1e-3).float().mean()
    assert apart < 0.01, f"{apart:.4f} of the values differ"
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-4)
    return f"{float(apart):.5f} of the values lie on the other side of a rounding"


def plain_stage(image: torch.Tensor, luma: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """4:2:0 in plain operations, which a compiler fuses."""
    ycbcr = rgb_to_ycbcr(image)
    small = ycbcr[:, 1:].unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean(dim=(3, 5))
    y = quantize_plain(ycbcr[:, :1], luma, straight_through)
    c = quantize_plain(small, chroma, straight_through, centre=0.0)
    return ycbcr_to_rgb(y, doubled(c, bilinear=True))


def costs(compiled: bool, device: torch.device) -> str:
    """Goals: twice a copy forward, four times with gradients."""
    if compiled:
        on_cuda(device)
    image = torch.rand(SHAPE, device=device)
    luma, chroma = tables(device)
    form = torch.compile(plain_stage) if compiled else lambda *x: quantize_image(x[0], x[1:], straight_through)
    target = torch.empty_like(image)
    copy = seconds(lambda: target.copy_(image), device)
    with torch.no_grad():
        forward = seconds(lambda: form(image, luma, chroma), device) / copy
    leaf, grad = image.clone().requires_grad_(), torch.randn_like(image)
    fixed = [table.detach().requires_grad_() for table in (luma, chroma)]
    both = seconds(lambda: torch.autograd.grad(form(leaf, *fixed), [leaf, *fixed], grad), device) / copy
    goals = "met" if forward <= 2 and both <= 4 else "missed"
    return f"forward {forward:.2f} copies, with gradients {both:.2f} (goals 2 and 4: {goals})"


def kornia(device: torch.device) -> str:
    """How many times slower kornia's is, with gradients."""
    from kornia.enhance import jpeg_codec_differentiable

    image = torch.rand(SHAPE, device=device, requires_grad=True)
    luma, chroma = tables(device)
    fixed = [(annex_k(50.0, is_chroma) * 255).to(device).requires_grad_() for is_chroma in (False, True)]
    grad, quality = torch.randn_like(image), torch.full((len(image),), 50.0, device=device)
    theirs = seconds(
        lambda: torch.autograd.grad(jpeg_codec_differentiable(image, quality, *fixed), [image, *fixed], grad), device
    )
    ours = seconds(
        lambda: torch.autograd.grad(quantize_image(image, [luma, chroma], straight_through), image, grad), device
    )
    return f"{theirs / ours:.1f} times faster than kornia's"


def steps() -> Named:
    """Whole steps, without loading; compiled ones last, as compiling takes a minute or more."""
    for compiled in (False, True):
        for precision in ("no", "bf16", "fp16"):
            yield f"step {precision}{', compiled' if compiled else ''}", partial(speed, precision, compiled)


def speed(precision: str, compiled: bool, device: torch.device) -> str:
    """Images per second and peak memory of FusionNet at 352 px in batches of 32."""
    on_cuda(device)
    learner = Learner(FusionNet(2, weights=None).to(memory_format=torch.channels_last), Distiller(), average=0.99)
    engine = engine_of(learner, device, precision)
    compile_student(learner, compiled)
    batch = training(352, 32).batch.to(device)
    torch.cuda.reset_peak_memory_stats()
    taken = seconds(lambda: train_step(engine, batch), device)
    return f"{32 / taken:.0f} images per second, {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"


class training:
    """The embedded set, its training split augmented, and a batch of it."""

    def __init__(self, size: int, batch_size: int) -> None:
        data = Data(
            embedded=Embedded(train=64, val=16, test=1, side=320), size=size, batch_size=batch_size, augment=Augment()
        )
        records, _ = open_data(data, ["train", "val"], lambda n: None)
        self.data = SegmentationDataset(records["train"], Transform(data.shape, data.augment, 2, soft=False), 0)
        self.val = SegmentationDataset(records["val"], Transform(data.shape, None, 2, soft=False), 0)
        self.batch = collate([self.data[0, i % 64] for i in range(batch_size)])


def decoded() -> Named:
    """How batches come to the device."""
    yield "batches from the loader against a decoded set on the device", feeding


def feeding(device: torch.device) -> str:
    """Images per second that arrive: augmented by two workers, and gathered from bytes that lie there."""
    made, count = training(352, 32), 20
    stream = iter(train_loader(made.data, EpochBatches(64, 32, 0), workers=2))
    next(stream).to(device)
    start = time.perf_counter()
    for _ in range(count):
        last = next(stream).to(device)
    loaded = 32 * count / (float(last.image.sum()) * 0 + time.perf_counter() - start)
    whole = torch.from_numpy(np.stack([made.data[0, i].view.image for i in range(64)])).to(device)
    rows = torch.randint(64, (32,), device=device)
    gathered = 32 / seconds(lambda: whole[rows].permute(0, 3, 1, 2).float().div_(255), device)
    return f"{loaded:.0f} images per second from the loader, {gathered:.0f} from bytes on the device"


def scores() -> Named:
    """What a network is told to be worth."""
    yield "scores agree with the CPU", same_scores


def same_scores(device: torch.device) -> str:
    """Those of one network on 16 images, on the CPU and on the device: to three digits."""
    torch.manual_seed(0)
    made, network = training(224, 8), FusionNet(2, weights=None)
    found = []
    for where in (torch.device("cpu"), device):
        engine = engine_of(Learner(network.to(where), Distiller()), where)
        meter = evaluate(network, made.val, ["background", "object"], engine.accelerator, batch_size=8)
        found.append(meter.scores())
    missing = [{name for name, value in one.items() if math.isnan(value)} for one in found]
    assert missing[0] == missing[1], f"undefined: {missing[0]} on the CPU, {missing[1]} there"
    # hd95 is in pixels: of numbers above 1 the relative gap
    gaps = {
        name: abs(value - found[1][name]) / max(1.0, abs(value))
        for name, value in found[0].items()
        if not math.isnan(value)
    }
    worst = max(gaps, key=lambda name: gaps[name])
    assert gaps[worst] < 1e-3, f"{worst}: {found[0][worst]} on the CPU, {found[1][worst]} there"
    return f"the largest gap is {gaps[worst]:.1e} ({worst})"
