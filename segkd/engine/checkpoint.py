"""The full training state on disk: written whole or not at all, read without unpickling code."""

import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from segkd.engine.step import Engine
from segkd.types import InputError


@dataclass
class Progress:
    """Where the loop stands beside the engine: the best score so far and evaluations since."""

    best: float | None = None
    since_best: int = 0


def save_checkpoint(path: Path, engine: Engine, progress: Progress) -> None:
    """Writes the state of `engine` and `progress` to `path` atomically (a kill leaves the old file or the new)."""
    state = {
        "learner": engine.bare.state_dict(),
        "optimizer": engine.optimizer.state_dict(),
        "schedule": engine.schedule.state_dict(),
        "scaler": engine.accelerator.scaler.state_dict() if engine.accelerator.scaler else {},
        "micro": engine.micro,
        "step": engine.step,
        "best": progress.best,
        "since_best": progress.since_best,
        "circumstances": circumstances(engine),
    }
    state["schedule"].pop("lr_lambdas", None)  # functions of the configuration, not state
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load_checkpoint(path: Path, engine: Engine) -> tuple[Progress, list[str]]:
    """Puts `engine` where the checkpoint left it; also says which circumstances differ, on which bits depend.

    Raises:
        InputError: the file is damaged or belongs to another configuration.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        engine.bare.load_state_dict(state["learner"])
        engine.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, KeyError, IndexError, ValueError, OSError, EOFError, UnpicklingError) as error:
        raise InputError(
            f"{path}: expected the state of this run, found: {_reason(error)} "
            "Train anew into another folder, or restore the run's own file."
        ) from error
    engine.schedule.load_state_dict(state["schedule"] | {"lr_lambdas": [None] * len(engine.schedule.base_lrs)})
    if engine.accelerator.scaler and state["scaler"]:
        engine.accelerator.scaler.load_state_dict(state["scaler"])
    engine.micro, engine.step = state["micro"], state["step"]
    engine.bare.arrive(engine.step / engine.bare.total)
    then, now = state["circumstances"], circumstances(engine)
    changed = [f"{name}: {then[name]} then, {now[name]} now" for name in now if then[name] != now[name]]
    return Progress(state["best"], state["since_best"]), changed


def _reason(error: Exception) -> str:
    if isinstance(error, (KeyError, IndexError, UnpicklingError, EOFError)):
        return "a file that is not a whole checkpoint."
    return (str(error).strip() or "nothing").splitlines()[0]


def circumstances(engine: Engine) -> dict[str, str | int]:
    """What the last bits of a result depend on beside the configuration."""
    return {
        "processes": engine.accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "device": engine.accelerator.device.type,
        "torch": torch.__version__.split("+")[0],
    }
