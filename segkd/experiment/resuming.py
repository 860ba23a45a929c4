"""This start of a run, or its going on: where the training, its record and its data stand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from segkd.datasets.digest import Digests, digest_of_all
from segkd.disk import load_yaml
from segkd.engine.checkpoint import Progress, load_checkpoint
from segkd.engine.record import Recorder
from segkd.engine.rounds import Rounds
from segkd.engine.step import Engine
from segkd.experiment.about import at
from segkd.experiment.console import warn
from segkd.experiment.folder import checkpoint_of
from segkd.experiment.same_data import keep_digests, kept_digests, refuse_changes
from segkd.experiment.validation import lost_student
from segkd.models.store import restore_card


@dataclass(frozen=True)
class Session:
    """This start or resumption of a run: `text` is its configuration, `changed` what a resumed one has changed,
    `data_changed` whether its data may have, too, `sources` the digests of what it reads beside its data."""

    accelerator: Accelerator
    console: Console
    folder: Path
    parser: ArgumentParser
    config: Namespace
    resume: bool
    text: str
    changed: dict[str, list[Any]]
    data_changed: bool
    sources: dict[str, str]


def recorder_of(session: Session, engine: Engine, progress: Progress, rounds: Rounds | None) -> Recorder:
    """The record of the run, as far as the training has come."""
    return Recorder(
        session.folder,
        engine.step if engine.micro else -1,
        session.accelerator.is_main_process,
        owed=progress.owed,
        turns=rounds is not None and rounds.due(),
        promised=progress.promises.get("lines") if engine.micro else None,
    )


def resumed(engine: Engine, session: Session, total: int) -> Progress:
    """Where the training goes on; puts `engine` there, which ends after `total` micro-steps."""
    path, console = checkpoint_of(session.folder), session.console
    progress = Progress()
    if session.resume and not path.is_file():
        console.print("no checkpoint yet: starting over")
    elif session.resume:
        progress, differing = load_checkpoint(path, engine)
        console.print(f"going on from step {engine.step}")
        for key, (then, now) in session.changed.items():
            rates = ". The learning rate follows the longer schedule from here on" if key == "engine.epochs" else ""
            console.print(f"{key}: {then} until here, {now} from here on{rates}")
        then = at(load_yaml(progress.promises.get("config") or "{}", ""), "engine", "epochs")
        if then is not None and then != session.config.engine.epochs:
            progress.since_best = 0  # patience begins anew in all processes: what it ended would end at once
        for sentence in differing:
            warn(console, f"the last bits may differ from an unbroken run: {sentence}")
        coming = range(engine.step + (not progress.owed), total // engine.accelerator.gradient_accumulation_steps + 1)
        lost = lost_student(session.folder, progress, coming)
        if lost:
            progress.best, progress.since_best, progress.owed = None, 0, engine.micro >= total
            warn(console, lost)
        elif session.accelerator.is_main_process and progress.promises.get("student_sha256"):
            restore_card(session.folder)
    progress.promises["config"] = session.text
    return progress


def same_data(session: Session, digests: Digests, progress: Progress) -> None:
    """Refuses data that changed since the run began, and keeps what they are now."""
    promised = progress.promises.get("data")
    changed = refuse_changes(session.folder, digests, promised, session.data_changed)
    for sentence in changed:
        warn(session.console, sentence)
    progress.promises["data"] = digest_of_all(digests)
    session.accelerator.wait_for_everyone()
    if session.accelerator.is_main_process and (changed or kept_digests(session.folder) != digests):
        keep_digests(session.folder, digests)
