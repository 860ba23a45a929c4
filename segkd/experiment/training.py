"""`segkd train`: rooms joined into one run."""

import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from jsonargparse import ArgumentParser, Namespace

from segkd.datasets.data import Data, Findings, Records
from segkd.datasets.digest import Digests
from segkd.datasets.loader import SegmentationDataset, train_loader
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Transform
from segkd.datasets.unlabelled import NAME
from segkd.disk import write_whole
from segkd.engine.compiling import compile_student
from segkd.engine.learner import Learner
from segkd.engine.loop import Outputs, train
from segkd.engine.optim import build_optimizer, build_schedule
from segkd.engine.step import Engine
from segkd.engine.watch import Watch
from segkd.experiment.console import checked_data, make_console, ticking, training_reporter, warn
from segkd.experiment.domains import begin_rounds, meet_domains, rounds_of, say_passes
from segkd.experiment.folder import (
    checkpoint_of,
    claim_folder,
    note_session,
    refuse_used,
    resolved_text,
    save_environment,
)
from segkd.experiment.lock import holding
from segkd.experiment.meeting import introduce, rehearse
from segkd.experiment.overfit import Learned, learned, one_batch
from segkd.experiment.planning import doubt_length, plan_of, settle_length
from segkd.experiment.processes import make_accelerator
from segkd.experiment.readiness import in_words
from segkd.experiment.reading import way_of
from segkd.experiment.resuming import Session, recorder_of, resumed, same_data
from segkd.experiment.same_data import digests_of
from segkd.experiment.settings import EngineSettings, instantiate
from segkd.experiment.sources import refuse_other_sources, source_digests
from segkd.experiment.teachers import compare_with_teachers, doubt_teachers, score_teachers
from segkd.experiment.validation import Validation, selected
from segkd.models.complexity import complexity
from segkd.models.network import Network
from segkd.models.start import start_from
from segkd.models.store import ModelCard
from segkd.models.trained_on import note_trained_on
from segkd.types import Batch, InputError


@dataclass(frozen=True)
class Outcome:
    """How a training ended: "done", "stopped early" or a signal's name; the best score and its name; what the card of
    its student says of the network; of one batch that is overfitted, how well."""

    how: str
    select: str
    best: float | None
    card: ModelCard
    seconds: float = 0.0
    learned: Learned | None = None


def run_training(
    parser: ArgumentParser,
    config: Namespace,
    folder: Path,
    *,
    resume: bool,
    overfit: bool,
    data_changed: bool = False,
    known: bool = False,
) -> Outcome:
    """Trains as configured into `folder`; with `resume`, goes on there, and with `data_changed` even with other data.
    It is `known` where somebody looked at what the configuration of a run that goes on names, or trusts it.

    Raises:
        InputError: a mistake in configuration, data or folder; nothing already written is lost.
    """
    start = time.perf_counter()
    accelerator = make_accelerator(config.engine)
    _seed(config.seed)
    console, main = make_console(accelerator.is_main_process), accelerator.is_main_process
    objects = instantiate(parser, config)
    select = selected(objects)
    with in_words(objects.data):
        if doubt := rehearse(objects):
            warn(console, doubt)
    if main and not resume:
        refuse_used(folder)  # before anything of ours lies there
    if planned := settle_length(config, objects, accelerator.num_processes):
        console.print(planned)
    with holding(folder, "--resume" if resume else "--out") if main else nullcontext("") as said:
        if said:
            warn(console, said)
        text = resolved_text(parser, config)
        sources = source_digests(text)
        changed = claim_folder(folder, parser, text, resume, sources=sources, known=known) if main else {}
        accelerator.wait_for_everyone()
        if resume:
            refuse_other_sources(folder, sources)
        session = Session(accelerator, console, folder, parser, config, resume, text, changed, data_changed, sources)
        with in_words(objects.data):
            outcome = _train(session, objects, overfit, select)
        seconds = time.perf_counter() - start
        if main:
            note_session(folder, {"seconds": round(seconds, 1)})
    return replace(outcome, seconds=seconds)


def _seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise InputError(f"seed must be 0 or more (and below 2^63), found {seed}.")
    torch.manual_seed(seed)


def _train(session: Session, objects: Namespace, overfit: bool, select: str) -> Outcome:
    accelerator, console, folder, seed = session.accelerator, session.console, session.folder, session.config.seed
    records, digests, findings = _opened(objects, overfit, session)
    dataset = _train_set(objects, records, seed)
    batches = _batches(accelerator, objects, dataset, seed)
    _start(session, objects.model)
    _introduce(session, objects, dataset, batches.per_epoch // objects.engine.accumulate)
    engine = _engine(accelerator, objects, objects.engine.epochs * batches.per_epoch, seed)
    progress = resumed(engine, session, objects.engine.epochs * batches.per_epoch)
    same_data(session, digests, progress)
    if accelerator.is_main_process:
        note_trained_on(folder, [*batches.draw.drawn(dataset.records.ids), *dataset.others])
    _describe(engine, objects.data, findings.about, session)
    compile_student(engine.bare, objects.engine.compile, objects.engine.recompute)
    rounds = rounds_of(objects, engine, batches, dataset, progress)
    recorder = recorder_of(session, engine, progress, rounds)
    card, plan = _card(session.config, objects.data, engine.bare.student), plan_of(objects, batches.per_epoch, select)
    if not (session.resume or overfit) and (doubt := doubt_length(objects, plan.total)):
        warn(console, doubt)
    workers = 0 if findings.memory or objects.data.embedded is not None else objects.data.workers
    validation = Validation(
        engine, objects.data, records["val"], recorder, folder, card, objects.evaluation, plan.per_epoch, workers
    )
    batches.start, watch = engine.micro, Watch(classes=not overfit)
    loader = _loader(session, objects, dataset, batches)
    with recorder, training_reporter(console, select, plan.epochs, engine.micro, plan.total) as reporter:
        for sentence in recorder.faults():
            reporter.warn(sentence)
        validation.begin()
        begin_rounds(rounds, recorder, console)
        score_teachers(validation, progress, select, console)
        outputs = Outputs(folder, recorder, reporter, validation, validation.keep, validation.probe, rounds, watch)
        how = train(engine, loader, plan, progress, outputs)
    say_passes(session, batches, dataset, engine.micro)
    compare_with_teachers(progress, select, console, others=bool(dataset.others))
    whole = how in ("done", "stopped early")
    if whole and (doubt := validation.doubt_average(select)):
        warn(console, doubt)
    known = learned(validation, select, progress.best) if overfit and whole else None
    return Outcome(how, select, progress.best, card, learned=known)


def _opened(objects: Namespace, overfit: bool, session: Session) -> tuple[dict[str, Records], Digests, Findings]:
    """The records to train and to validate on, the digests of their files, and what was found."""
    shares = objects.distiller.needs_soft
    records, findings = checked_data(session.console, objects.data, ["train", "val"], training=True, shares=shares)
    digests = digests_of(records)
    doubt_teachers(session.sources, digests, session.console)
    records = one_batch(objects, records) if overfit else records
    meet_domains(objects, records, session.console)
    return records, digests, findings


def _introduce(session: Session, objects: Namespace, dataset: SegmentationDataset, steps: int) -> None:
    """Lets the teachers meet the student, and says what there is to say of them."""
    if dataset.beside is not None and not any(one.everywhere for one in objects.distiller.asked.values()):
        cure = "a finished run would (methods/self_training.yaml), or an average of the student (MeanTeacher)."
        warn(session.console, f"no teacher teaches the images without a label (data.unlabelled): {cure}")
    with ticking(session.console, "teachers look at the images") as ticker:
        lines = introduce(objects, dataset, steps, lambda: _another(session), ticker, session.accelerator.device)
    for line in lines:
        session.console.print(line)


def _another(session: Session) -> Network:
    """One more network of the student's kind, to learn beside it."""
    objects = instantiate(session.parser, session.config)
    objects.model.freeze(objects.optim.frozen)
    if session.config.init is not None:
        session.console.print("a network beside the student starts at random: --init is the student's alone")
    return objects.model


def _start(session: Session, network: Network) -> None:
    """Puts the weights of `--init` into a network whose training has not begun."""
    if session.config.init is None or (session.resume and checkpoint_of(session.folder).is_file()):
        return
    session.console.print(start_from(network, session.config.init, session.config.data.classes))


def _train_set(objects: Namespace, records: Mapping[str, Records], seed: int) -> SegmentationDataset:
    data: Data = objects.data
    transform = Transform(data.shape, data.augment, len(data.classes), soft=objects.distiller.needs_soft)
    return SegmentationDataset(records["train"], transform, seed, records.get(NAME))


def _batches(accelerator: Accelerator, objects: Namespace, dataset: SegmentationDataset, seed: int) -> EpochBatches:
    said, beside = (objects.data.batch_size, seed), (0, 0)
    if dataset.beside is not None:
        beside = len(dataset.beside), objects.data.beside
    world = {"rank": accelerator.process_index, "world": accelerator.num_processes, "beside": beside}
    return EpochBatches(len(dataset), *said, **world, accumulate=objects.engine.accumulate, draw=objects.draw)


def _loader(
    session: Session, objects: Namespace, dataset: SegmentationDataset, batches: EpochBatches
) -> Iterable[Batch]:
    loader = train_loader(dataset, batches, objects.data.workers)
    if loader.said:
        session.console.print(loader.said)
    return loader


def _engine(accelerator: Accelerator, objects: Namespace, micros: int, seed: int) -> Engine:
    settings: EngineSettings = objects.engine
    total = micros // settings.accumulate
    objects.model.freeze(objects.optim.frozen)
    learner = Learner(
        objects.model.to(memory_format=torch.channels_last),
        objects.distiller,
        objects.disturbance,
        average=objects.optim.average,
        total=total,
        resting=objects.optim.resting,
    )
    plain = accelerator.scaler is not None or accelerator.device.type not in ("cpu", "cuda")
    optimizer = build_optimizer(objects.optim, learner, fused=not plain)
    schedule = build_schedule(objects.optim, optimizer, total)
    wrapped, prepared = accelerator.prepare(learner, optimizer)
    learner.arrive(0.0)  # what rests at first learns later: optimiser and processes were to see all of it
    return Engine(accelerator, wrapped, accelerator.unwrap_model(wrapped), prepared, schedule, objects.optim.clip, seed)


def _describe(engine: Engine, data: Data, about: str, session: Session) -> None:
    """Says how large the model is, and keeps that with what the run depends on."""
    cost = complexity(engine.bare.student, data.shape)
    session.console.print(f"model: {type(engine.bare.student).__name__}, {cost}")
    if engine.accelerator.is_main_process:
        changed = {"changed": session.changed} if session.changed else {}
        if changed:
            write_whole(session.folder / "config.yaml", session.text)
        save_environment(
            session.folder, engine, {"data": about, "complexity": vars(cost), "sources": session.sources, **changed}
        )


def _card(config: Namespace, data: Data, student: Network) -> ModelCard:
    arguments = student.rebuilt_by(config.model.init_args.as_dict() | {"classes": len(data.classes)})
    how = way_of(data)
    return ModelCard(config.model.class_path, arguments, list(data.classes), data.shape, range=how.range, exif=how.exif)
