"""The full training state on disk: written whole or not at all, checked bit by bit, read without unpickling code."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from segkd.disk import write_whole
from segkd.engine.step import Engine
from segkd.types import InputError


@dataclass
class Progress:
    """Where the loop stands beside the engine.

    Attributes:
        best: the best score so far.
        since_best: validations since then.
        owed: the validation of this very step is still to come.
        promises: what lies beside the checkpoint when it is named, and what it needs to go on when that is lost:
            numbers and strings by name.
        draw: the state of a draw that listens.
    """

    best: float | None = None
    since_best: int = 0
    owed: bool = False
    promises: dict[str, Any] = field(default_factory=dict, compare=False)
    draw: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, engine: Engine, progress: Progress) -> None:
    """Writes the state of `engine` and `progress` to `path`: a kill or a power cut leaves the old file or the new.

    Raises:
        InputError: the disk is full, read-only, gone, ...; the older file stays.
    """
    state = {
        "learner": engine.bare.state_dict(),
        "optimizer": engine.optimizer.state_dict(),
        "schedule": engine.schedule.state_dict(),
        "scaler": engine.accelerator.scaler.state_dict() if engine.accelerator.scaler else {},
        "micro": engine.micro,
        "step": engine.step,
        "total": engine.bare.total,
        "circumstances": circumstances(engine),
        **vars(progress),
    }
    state["schedule"].pop("lr_lambdas", None)  # functions of the configuration, not state
    write_whole(path, lambda file: _save(state, file))


def _save(state: Mapping[str, Any], file: IO[bytes]) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:  # what torch makes of a full disk says nothing of a disk
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        raise cause or error from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds: tensors, numbers and strings by name, on the CPU. No code of the file is run.

    Raises:
        InputError: the file is missing, no checkpoint, or damaged, be it in a single bit.
    """
    try:
        # torch writes a checksum beside each tensor, but reads without looking at it
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"its part {damaged} is damaged")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"learner", "optimizer", "schedule", "micro", "step", "circumstances"} - set(state)
        if missing:
            raise ValueError(f"it holds no {min(missing)}")
    except (RuntimeError, TypeError, ValueError, LookupError, OSError, EOFError, NotImplementedError, UnpicklingError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise InputError(
            f"{path}: expected the training state of a run, found a damaged file or another one ({_reason(error)}). "
            "Restore the run's own file from a copy; or move this file away, and `--resume` starts the run over."
        ) from error
    return state


def load_checkpoint(path: Path, engine: Engine) -> tuple[Progress, list[str]]:
    """Puts `engine` where the checkpoint left it; also says which circumstances differ, on which bits depend.

    Raises:
        InputError: the file is damaged or belongs to another configuration.
    """
    state = read_checkpoint(path)
    try:
        engine.bare.load_state_dict(state["learner"])
        engine.optimizer.load_state_dict(state["optimizer"])
        engine.schedule.load_state_dict(state["schedule"] | {"lr_lambdas": [None] * len(engine.schedule.base_lrs)})
        if engine.accelerator.scaler and state["scaler"]:
            engine.accelerator.scaler.load_state_dict(state["scaler"])
    except (RuntimeError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected the state of this run, found: {_reason(error)} "
            "Train anew into another folder, or restore the run's own file."
        ) from error
    engine.micro, engine.step = state["micro"], state["step"]
    if state.get("total", engine.bare.total) != engine.bare.total:  # a longer training: the rate is another at once
        for group, rate in zip(engine.optimizer.param_groups, _rates(engine)):
            group["lr"] = rate
    engine.bare.arrive(engine.step / engine.bare.total)
    then, now = state["circumstances"], circumstances(engine)
    changed = [f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]]
    known = {one.name: state[one.name] for one in fields(Progress) if one.name in state}  # an older file lacks some
    return Progress(**known), changed


def _rates(engine: Engine) -> list[float]:
    """The rates of the schedule where it stands; its own `get_lr` warns when it is asked outside a step."""
    schedule = engine.schedule
    assert isinstance(schedule, LambdaLR)
    return [float(base) * factor(schedule.last_epoch) for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas)]


def _reason(error: Exception) -> str:
    if isinstance(error, (LookupError, UnpicklingError, EOFError)):
        return "it is not a whole checkpoint"
    return (str(error).strip() or "nothing").splitlines()[0]


def circumstances(engine: Engine) -> dict[str, str | int]:
    """What the last bits of a result depend on beside the configuration."""
    return {
        "processes": engine.accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "device": engine.accelerator.device.type,
        "torch": torch.__version__.split("+")[0],
    }
