"""Epochs: train, validate, keep the best, save, stop when told."""

import math
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from segkd.engine.agreement import refuse_apart
from segkd.engine.checkpoint import Progress, save_checkpoint
from segkd.engine.record import Recorder
from segkd.engine.rounds import Rounds
from segkd.engine.signals import Interrupted, Signals, interruption
from segkd.engine.step import Diverged, Engine, refuse_broken, train_step
from segkd.engine.watch import Watch
from segkd.metrics.meter import Meter
from segkd.types import Batch, InputError

Pace = float | dict[int | float, float]
"""Epochs between two validations, or epoch -> such a number that holds from then on."""
SHORT = 50
"""Micro-steps of an epoch below which its end alone is no reason for a checkpoint."""


@dataclass(frozen=True)
class Plan:
    """How long, and how often what happens.

    `per_epoch` counts micro-steps, `log_every` and `save_every` optimiser steps, `validate_every` epochs, in fractions
    too, or epoch -> epochs between two validations from then on; `patience` counts validations.
    """

    epochs: int
    per_epoch: int
    log_every: int
    save_every: int
    validate_every: Pace
    patience: int | None
    select: str

    @property
    def total(self) -> int:
        """Micro-steps of the whole training."""
        return self.epochs * self.per_epoch

    def validates(self, micro: int, accumulate: int) -> bool:
        """Whether a validation is due after `micro` micro-steps, the end of an optimiser step of `accumulate`.

        One that falls due within an optimiser step waits for its end. Nothing is remembered, so a resumed run
        validates where an unbroken one does.
        """
        return micro >= self.total or self._due(micro) > self._due(micro - accumulate)

    def pace(self, micro: int) -> float:
        """Epochs between two validations at that time; a change holds for what comes after its epoch."""
        begun = [every for start, every in self._paces() if start * self.per_epoch < micro]
        return begun[-1] if begun else self._paces()[0][1]

    def _due(self, micro: int) -> int:
        """Validations that are due by then; a millionth of one is rounding (.7 x 10 = 7.000000000000001)."""
        epoch, paces = micro / self.per_epoch, self._paces()
        ends = [start for start, _ in paces[1:]] + [math.inf]
        spans = zip(paces, ends, strict=True)
        return int(sum((min(epoch, end) - start) / every for (start, every), end in spans if start < epoch) + 1e-6)

    def _paces(self) -> list[tuple[float, float]]:
        every = self.validate_every
        pairs = every.items() if isinstance(every, dict) else [(0.0, every)]
        return sorted((float(start), float(pace)) for start, pace in pairs)


@runtime_checkable
class Reporter(Protocol):
    """Tells the user how it goes."""

    @property
    def deserted(self) -> bool:
        """Whether nobody can hear it any more (`segkd train | head`)."""

    def advance(self, engine: Engine, loss: float | None) -> None:
        """One micro-step is done; `loss` is the mean since the last log when there is a new one."""

    def validated(self, epoch: int | float, scores: dict[str, float], best: bool) -> None:
        """A validation is done, so many epochs after the start (a whole number where it is one)."""

    def warn(self, sentence: str) -> None:
        """Something the user should know."""


@dataclass
class Outputs:
    """Where a run writes and to whom it speaks.

    `validate` calls what it is given after every batch, which may leave by an exception; `keep` saves the student of
    a validation and returns what the checkpoint shall promise of it. `probe` raises where there is nothing to validate:
    before a checkpoint that owes it takes the place of a sound one. `rounds` are those of a draw that listens. `watch`
    looks at every validation.
    """

    folder: Path
    recorder: Recorder
    reporter: Reporter
    validate: Callable[[Callable[[], None]], Meter]
    keep: Callable[[Meter], dict[str, Any]]
    probe: Callable[[], None] = lambda: None
    rounds: Rounds | None = None
    watch: Watch = field(default_factory=Watch)


def train(engine: Engine, batches: Iterable[Batch], plan: Plan, progress: Progress, outputs: Outputs) -> str:
    """Trains until `plan.epochs` are done, patience ends, or a signal comes.

    A validation comes after the checkpoint of its step, which owes it, and before one that does not: so a signal
    leaves a validation at once, and a resumed run begins with it.

    Returns:
        "done", "stopped early", or the name of the signal. A checkpoint is saved in every case.
    """
    with interruption() as signals:
        try:
            if progress.owed:
                outputs.probe()
                _validate(engine, plan, progress, outputs, signals)
                _save(engine, progress, outputs)
            ended = _ended(engine, plan, progress)
            stream = iter(batches) if not ended else iter(())
            while not ended:
                if outputs.rounds is not None and outputs.rounds.due():
                    outputs.rounds.turn(progress, outputs.recorder)
                    stream = iter(batches)  # what was loaded ahead of time ends with the round
                try:
                    batch = _next(engine, stream, signals)
                except InputError:  # a worker died, a file changed, ...: the network is as it should be
                    if engine.micro and _may_save(engine):
                        _save(engine, progress, outputs)
                    raise
                ended = _advance(engine, batch, plan, progress, outputs, signals)
            return ended
        except Interrupted:
            if _may_save(engine):
                _save(engine, progress, outputs)
            return signals.last


def _next(engine: Engine, stream: Iterator[Batch], signals: Signals) -> Batch:
    """The next batch; a signal need not wait for it, but where leaving would lose steps it waits a while."""
    with signals.waiting(patient=not _may_save(engine)):
        return next(stream)


def _may_save(engine: Engine) -> bool:
    """Half an accumulation cannot be saved, and other processes cannot be waited for: the last checkpoint serves."""
    accelerator = engine.accelerator
    return engine.micro % accelerator.gradient_accumulation_steps == 0 and accelerator.num_processes == 1


def _advance(
    engine: Engine,
    batch: Batch,
    plan: Plan,
    progress: Progress,
    outputs: Outputs,
    signals: Signals,
) -> str:
    """One micro-step and what is due after it; how the training ended, or "" while it goes on."""
    # the rates of this step: the schedule moves on with it
    rates = [float(group["lr"]) / group["speed"] for group in engine.optimizer.param_groups]
    terms = train_step(engine, batch.to(engine.accelerator.device))
    outputs.recorder.collect(terms, len(batch.ids))
    loss, moved, epochs = None, engine.moved(), engine.micro / plan.per_epoch
    if moved and (engine.step % plan.log_every == 0 or engine.micro % plan.per_epoch == 0):
        loss = outputs.recorder.train(engine.step, epochs, rates, engine.accelerator.num_processes)
    outputs.reporter.advance(engine, loss)
    # a checkpoint in the middle of an accumulation would lose gradients
    if not engine.accelerator.sync_gradients:
        return ""
    progress.owed = plan.validates(engine.micro, engine.accelerator.gradient_accumulation_steps)
    signalled = _anywhere(engine, signals, outputs.reporter)
    # epochs that are not validated may be shorter than a checkpoint takes
    ends = engine.micro % plan.per_epoch == 0 and (plan.pace(engine.micro) <= 1 or plan.per_epoch >= SHORT)
    saves = ends or (moved and engine.step % plan.save_every == 0)
    if progress.owed:
        outputs.probe()
    if saves or progress.owed or signalled:
        _save(engine, progress, outputs)
    if progress.owed and not signalled:
        _validate(engine, plan, progress, outputs, signals)
        _save(engine, progress, outputs)
        signalled = _anywhere(engine, signals, outputs.reporter)
    for sentence in outputs.recorder.faults():
        outputs.reporter.warn(sentence)
    return signalled or _ended(engine, plan, progress)


def _ended(engine: Engine, plan: Plan, progress: Progress) -> str:
    if engine.micro >= plan.total and not engine.step:
        raise Diverged("step 1: the gradient was never finite")
    if engine.micro >= plan.total:
        return "done"
    return "stopped early" if plan.patience is not None and progress.since_best >= plan.patience else ""


def _validate(engine: Engine, plan: Plan, progress: Progress, outputs: Outputs, signals: Signals) -> None:
    meter = outputs.validate(signals.obey if engine.accelerator.num_processes == 1 else lambda: None)
    whole, rest = divmod(engine.micro, plan.per_epoch)
    epoch = engine.micro / plan.per_epoch if rest else whole
    score = meter.score(plan.select)
    scores = meter.scores() | {plan.select: score}
    better = not math.isnan(score) and (progress.best is None or score > progress.best)
    progress.best = score if better else progress.best
    progress.since_best = 0 if better else progress.since_best + (not math.isnan(score))
    progress.owed = False
    outputs.recorder.scores(engine.step, epoch, scores, meter.per_class(), meter.by_part())
    if better or progress.best is None:
        # where the score is not defined on val, the last weights are better than none
        progress.promises |= outputs.keep(meter)
    outputs.reporter.validated(epoch, scores, better)
    watch = outputs.watch
    for sentence in watch.judge(plan.select, score) + watch.look(meter, last=engine.micro >= plan.total):
        outputs.reporter.warn(sentence)


def _save(engine: Engine, progress: Progress, outputs: Outputs) -> None:
    """The checkpoint; what it promises is on the disk before it is named, and its numbers are numbers."""
    engine.verdicts.settle()
    refuse_broken(engine)
    refuse_apart(engine.accelerator, engine.bare, engine.step)
    if engine.accelerator.is_main_process:
        _refuse_gone(outputs.folder)
        outputs.recorder.flush()
        progress.promises["lines"] = outputs.recorder.lines
        save_checkpoint(outputs.folder / "checkpoints" / "last.pt", engine, progress)
    engine.accelerator.wait_for_everyone()


def _refuse_gone(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected the run folder, found it gone: it was deleted or renamed while the training ran. A "
            "renamed one goes on under its new name: segkd train --resume NEW_NAME. Else train anew with --out."
        )


def _anywhere(engine: Engine, signals: Signals, reporter: Reporter) -> str:
    """The signal that any process got, so that all leave at the same step."""
    if reporter.deserted and not signals.received:
        signals.received.append("SIGPIPE")
    if engine.accelerator.num_processes == 1:
        return signals.last
    number = signal.Signals[signals.last].value if signals.last else 0
    told = engine.accelerator.gather(torch.tensor([number], device=engine.accelerator.device)).max().item()
    return signal.Signals(int(told)).name if told else ""
