"""`segkd train`: rooms joined into one run."""

import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from segkd.datasets.data import Data, Records, open_data
from segkd.datasets.loader import SegmentationDataset, collate, train_loader
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Transform
from segkd.engine.checkpoint import Progress, load_checkpoint
from segkd.engine.evaluate import evaluate
from segkd.engine.learner import Learner
from segkd.engine.loop import Plan, Room, train
from segkd.engine.optim import build_optimizer, build_schedule
from segkd.engine.panels import panel
from segkd.engine.record import Recorder, number, read_lines
from segkd.engine.step import Engine, NonFinite
from segkd.experiment.console import make_console, ticking, training_reporter
from segkd.experiment.folder import open_folder, refuse_changes, save_config, save_environment
from segkd.experiment.settings import EngineSettings, instantiate
from segkd.metrics.meter import Meter
from segkd.models.complexity import complexity
from segkd.models.store import ModelCard, save_student
from segkd.types import InputError

OVERFIT_STEPS = 120


@dataclass(frozen=True)
class Outcome:
    """How a training ended: "done", "stopped early" or a signal's name; the best score and its name."""

    how: str
    select: str
    best: float | None
    seconds: float


def run_training(parser: ArgumentParser, config: Namespace, folder: Path, *, resume: bool, overfit: bool) -> Outcome:
    """Trains as configured into `folder`.

    Raises:
        InputError: a mistake in configuration, data or folder; nothing already written is lost.
    """
    accelerator = make_accelerator(config.engine)
    console = make_console(accelerator.is_main_process)
    torch.manual_seed(config.seed)
    objects = instantiate(parser, config)
    settings, data = objects.engine, objects.data
    select = _select(objects)
    with ticking(console, "checking the data") as ticker:
        records, about = open_data(data, ["train", "val"], ticker)
    console.print(f"data: {about}")
    if overfit:
        settings, data, records = _one_batch(settings, data, records)
    checkpoint = open_folder(folder, resume) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    checkpoint = folder / "checkpoints" / "last.pt" if resume and not checkpoint else checkpoint
    if resume and accelerator.is_main_process:
        refuse_changes(folder, parser, config)
    if not resume and accelerator.is_main_process:
        save_config(folder, parser, config)
    start = time.perf_counter()

    soft = objects.distiller.needs_soft
    classes = len(data.classes)
    augment = None if overfit else data.augment
    dataset = SegmentationDataset(records["train"], Transform(data.shape, augment, classes, soft), config.seed)
    batches = partial(
        EpochBatches,
        len(dataset),
        data.batch_size,
        config.seed,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        accumulate=settings.accumulate,
    )
    per_epoch = batches().per_epoch
    engine = _engine(accelerator, objects, settings.epochs * per_epoch // settings.accumulate, config.seed)
    progress = Progress()
    if checkpoint is not None and checkpoint.is_file():
        progress, changed = load_checkpoint(checkpoint, engine)
        for sentence in changed:
            console.print(f"[yellow]warning:[/yellow] the last bits may differ from an unbroken run: {sentence}")
    cost = complexity(engine.bare.student, data.shape)
    console.print(f"model: {type(engine.bare.student).__name__}, {cost}")
    if accelerator.is_main_process:
        save_environment(folder, engine, {"data": about, "complexity": vars(cost)})

    recorder = Recorder(folder, engine.step, accelerator.is_main_process)
    validate, keep = _validation(engine, objects, data, records["val"], recorder, folder, config)
    plan = Plan(
        epochs=settings.epochs,
        per_epoch=per_epoch,
        log_every=settings.log_every,
        save_every=settings.save_every,
        validate_every=OVERFIT_STEPS // 4 if overfit else objects.evaluation.every,
        patience=settings.patience,
        select=select,
    )
    loader = train_loader(dataset, batches(start=engine.micro), data.workers)
    try:
        with training_reporter(console, select, plan.epochs, engine.micro, plan.epochs * per_epoch) as reporter:
            how = train(engine, loader, plan, progress, Room(folder, recorder, reporter, validate, keep))
    except NonFinite as error:
        raise InputError(
            f"training diverged at {error}. The last checkpoint is kept. Lower optim.lr or optim.clip, "
            "or look at the images named here (segkd sheet)."
        ) from error
    finally:
        recorder.close()
    return Outcome(how, select, progress.best, time.perf_counter() - start)


def make_accelerator(settings: EngineSettings | Namespace) -> Accelerator:
    """The accelerator of this process, its precision checked against the device."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    cpu = settings.device == "cpu"
    if settings.precision == "fp16" and (cpu or not torch.cuda.is_available()):
        raise InputError("engine.precision fp16 needs a GPU: a CPU has no use for it. Choose bf16 or no.")
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=settings.precision,
        gradient_accumulation_steps=settings.accumulate,
        step_scheduler_with_optimizer=False,
    )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != accelerator.num_processes:
        raise InputError(
            f"WORLD_SIZE says {world} processes, but {accelerator.num_processes} found each other. "
            "Start several with `accelerate launch --num_processes N -m segkd.cli train ...`."
        )
    return accelerator


def _engine(accelerator: Accelerator, objects: Namespace, total: int, seed: int) -> Engine:
    layout = torch.channels_last if objects.engine.channels_last else torch.contiguous_format
    student = objects.model.to(memory_format=layout)
    learner = Learner(
        student,
        objects.distiller,
        objects.disturbance,
        frozen=objects.optim.freeze,
        average=objects.optim.average,
        total=total,
    )
    optimizer = build_optimizer(objects.optim, learner)
    schedule = build_schedule(objects.optim, optimizer, total)
    wrapped, prepared = accelerator.prepare(learner, optimizer)
    bare = accelerator.unwrap_model(wrapped)
    return Engine(accelerator, wrapped, bare, prepared, schedule, objects.optim.clip, seed)


def _validation(
    engine: Engine, objects: Namespace, data: Data, val: Records, recorder: Recorder, folder: Path, config: Namespace
) -> tuple[Any, Any]:
    """What the loop calls to validate and to keep the best student."""
    classes = len(data.classes)
    plain = SegmentationDataset(val, Transform(data.shape, None, classes, False), config.seed)
    shown = SegmentationDataset(val, Transform(data.shape, None, classes, objects.distiller.needs_soft), config.seed)
    few = collate([shown[(0, i)] for i in range(min(4, len(val)))]).to(engine.accelerator.device)

    def validate(step: int) -> Meter:
        if engine.accelerator.is_main_process:
            picture, quality = panel(engine.bare.kept, engine.bare.distiller, few)
            recorder.picture("val/image-label-teacher-prediction-error", picture, step)
            recorder.scalars("teacher", quality, step)
        return evaluate(
            engine.bare.kept,
            plain,
            data.classes,
            engine.accelerator,
            batch_size=data.batch_size,
            threshold=objects.evaluation.threshold,
        )

    def keep(meter: Meter) -> None:
        if not engine.accelerator.is_main_process:
            return
        card = ModelCard(
            class_path=config.model.class_path,
            init_args=config.model.init_args.as_dict() | {"classes": classes},
            classes=list(data.classes),
            size=data.shape,
            threshold=meter.threshold() if classes == 2 else 0.5,
            scores={name: number(value) for name, value in meter.scores().items()},
            step=engine.step,
        )
        save_student(folder, engine.bare.kept, card)

    return validate, keep


def _select(objects: Namespace) -> str:
    binary = len(objects.data.classes) == 2
    names = list(_score_names(objects.data.classes))
    chosen = objects.evaluation.select or ("miou_image" if binary else "miou_dataset")
    if chosen not in names or chosen == "mae":
        raise InputError(f"evaluation.select: expected one of {', '.join(n for n in names if n != 'mae')}, found {chosen!r}.")
    return chosen


def _score_names(classes: list[str]) -> list[str]:
    from segkd.metrics.meter import score_names

    return score_names(len(classes))


def _one_batch(settings: EngineSettings, data: Data, records: dict[str, Records]) -> tuple[EngineSettings, Data, dict]:
    """The first images of the training split, to be trained and validated on, without augmentation."""
    whole = records["train"]
    few = Records("one batch", whole.ids[: data.batch_size], whole.load)
    data = replace(data, batch_size=len(few))
    return replace(settings, epochs=OVERFIT_STEPS, accumulate=1, patience=None), data, {"train": few, "val": few}
