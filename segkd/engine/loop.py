"""Epochs: train, validate, keep the best, save, stop when told."""

import math
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from segkd.engine.checkpoint import Progress, save_checkpoint
from segkd.engine.record import Recorder
from segkd.engine.step import Engine, train_step
from segkd.engine.watch import Watch
from segkd.metrics.meter import Meter
from segkd.types import Batch


@dataclass(frozen=True)
class Plan:
    """How long, and how often what happens.

    `per_epoch` counts micro-steps, `log_every` and `save_every` optimiser steps, `validate_every` epochs, in fractions
    too; `patience` counts validations.
    """

    epochs: int
    per_epoch: int
    log_every: int
    save_every: int
    validate_every: float
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

    def _due(self, micro: int) -> int:
        """Validations that are due by then; a millionth of one is rounding (.7 x 10 = 7.000000000000001)."""
        return int(micro / self.per_epoch / self.validate_every + 1e-6)


class Reporter(ABC):
    """Tells the user how it goes."""

    @abstractmethod
    def advance(self, engine: Engine, loss: float | None) -> None:
        """One micro-step is done; `loss` is the mean since the last log when there is a new one."""

    @abstractmethod
    def validated(self, epoch: int | float, scores: dict[str, float], best: bool) -> None:
        """A validation is done, so many epochs after the start (a whole number where it is one)."""

    @abstractmethod
    def warn(self, sentence: str) -> None:
        """Something the user should know."""


@dataclass
class Outputs:
    """Where a run writes and to whom it speaks."""

    folder: Path
    recorder: Recorder
    reporter: Reporter
    validate: Callable[[], Meter]
    keep: Callable[[Meter], None]


def train(engine: Engine, batches: Iterable[Batch], plan: Plan, progress: Progress, outputs: Outputs) -> str:
    """Trains until `plan.epochs` are done, patience ends, or a signal comes.

    Returns:
        "done", "stopped early", or the name of the signal. The checkpoint is saved in every case.
    """
    watch = Watch()
    if engine.micro >= plan.total:
        return "done"
    with interruption() as signals:
        for batch in batches:
            terms = train_step(engine, batch.to(engine.accelerator.device))
            outputs.recorder.collect(terms, len(batch.ids))
            # a checkpoint in the middle of an accumulation would lose gradients
            whole = engine.accelerator.sync_gradients
            loss = None
            if whole and (engine.step % plan.log_every == 0 or engine.micro % plan.per_epoch == 0):
                loss = outputs.recorder.train(
                    engine.step,
                    engine.micro / plan.per_epoch,
                    [float(group["lr"]) for group in engine.optimizer.param_groups if not group["disturbs"]],
                    engine.accelerator.num_processes,
                )
            outputs.reporter.advance(engine, loss)
            due = whole and plan.validates(engine.micro, engine.accelerator.gradient_accumulation_steps)
            if due:
                _validate(engine, plan, progress, outputs, watch)
            signalled = _anywhere(engine, signals) if whole else ""
            ended = engine.micro >= plan.total or _out_of_patience(plan, progress)
            saves = engine.micro % plan.per_epoch == 0 or engine.step % plan.save_every == 0
            if whole and (saves or due or signalled or ended):
                _save(engine, progress, outputs)
            if signalled or ended:
                return signalled or ("done" if engine.micro >= plan.total else "stopped early")
    raise RuntimeError("the stream of batches ended before the training did")


def _validate(engine: Engine, plan: Plan, progress: Progress, outputs: Outputs, watch: Watch) -> None:
    meter = outputs.validate()
    whole, rest = divmod(engine.micro, plan.per_epoch)
    epoch = engine.micro / plan.per_epoch if rest else whole
    scores = meter.scores()
    score = scores[plan.select]
    better = not math.isnan(score) and (progress.best is None or score > progress.best)
    progress.best = score if better else progress.best
    progress.since_best = 0 if better else progress.since_best + 1
    outputs.recorder.scores(engine.step, epoch, scores, meter.per_class())
    if better or progress.best is None:
        outputs.keep(meter)  # where the score is not defined on val, the last weights are better than none
    outputs.reporter.validated(epoch, scores, better)
    for sentence in watch.judge(plan.select, score) + watch.look(meter, last=engine.micro >= plan.total):
        outputs.reporter.warn(sentence)


def _save(engine: Engine, progress: Progress, outputs: Outputs) -> None:
    if engine.accelerator.is_main_process:
        save_checkpoint(outputs.folder / "checkpoints" / "last.pt", engine, progress)
    engine.accelerator.wait_for_everyone()


def _out_of_patience(plan: Plan, progress: Progress) -> bool:
    return plan.patience is not None and progress.since_best >= plan.patience


def _anywhere(engine: Engine, signals: list[str]) -> str:
    """The signal that any process got, so that all leave at the same step."""
    if engine.accelerator.num_processes == 1:
        return signals[-1] if signals else ""
    number = signal.Signals[signals[-1]].value if signals else 0
    told = engine.accelerator.gather(torch.tensor([number], device=engine.accelerator.device)).max().item()
    return signal.Signals(int(told)).name if told else ""


@contextmanager
def interruption() -> Iterator[list[str]]:
    """Collects Ctrl-C and SIGTERM instead of dying of them; a second Ctrl-C ends at once."""
    received: list[str] = []

    def note(number: int, _: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    try:
        former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are not ours to handle
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
