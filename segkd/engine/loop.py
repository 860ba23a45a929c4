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
    """How long, and how often what happens; `per_epoch` counts micro-steps."""

    epochs: int
    per_epoch: int
    log_every: int
    save_every: int
    validate_every: int
    patience: int | None
    select: str

    @property
    def total(self) -> int:
        """Micro-steps of the whole training."""
        return self.epochs * self.per_epoch


class Reporter(ABC):
    """Tells the user how it goes."""

    @abstractmethod
    def advance(self, engine: Engine, loss: float | None) -> None:
        """One micro-step is done; `loss` is the mean since the last log when there is a new one."""

    @abstractmethod
    def validated(self, epoch: int, scores: dict[str, float], best: bool) -> None:
        """A validation is done."""

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
            epoch, rest = divmod(engine.micro, plan.per_epoch)
            if rest == 0 and (epoch % plan.validate_every == 0 or epoch == plan.epochs):
                _validate(engine, epoch, plan, progress, outputs, watch)
            signalled = _anywhere(engine, signals) if whole else ""
            ended = engine.micro >= plan.total or _out_of_patience(plan, progress)
            if whole and (rest == 0 or engine.step % plan.save_every == 0 or signalled or ended):
                _save(engine, progress, outputs)
            if signalled or ended:
                return signalled or ("done" if engine.micro >= plan.total else "stopped early")
    raise RuntimeError("the stream of batches ended before the training did")


def _validate(engine: Engine, epoch: int, plan: Plan, progress: Progress, outputs: Outputs, watch: Watch) -> None:
    meter = outputs.validate()
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
