"""One cell in a process of its own: train, or go on training, then score; `python -m segkd.ablation.cell FOLDER`."""

import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from segkd.disk import dump_json, read_json, write_whole
from segkd.metrics.meter import Meter
from segkd.models.store import ModelCard, load_model, read_card
from segkd.types import InputError

STOPPED = 75
"""Exit status of a cell that was told to stop and saved its state."""


@dataclass
class State:
    """What is known of a cell, in `cell.json`.

    Attributes:
        identity: what the result depends on; another identity makes it stale.
        status: "waiting", "running", "done" or "failed".
        why: why it failed, or why it was run again.
        splits: where to score.
        scores: split -> score -> value (None where it is not defined).
        domains: split -> domain -> score -> value, where there are several, whose means are in `scores`.
        seen: how often each training image of a domain was drawn, on average.
        seconds: wall-clock time of the training over all its sessions, validation included.
        cpu_seconds: CPU time of the same, loader processes included.
        peak_memory: largest resident memory of the process, in bytes; on a GPU, of its memory.
        steps: optimiser steps taken.
        parameters: of the network.
        macs: multiply-accumulates for one image at the training size.
        commit: of the code.
        started: when the running session began, in seconds since 1970.
    """

    identity: dict[str, dict[str, Any]]
    splits: list[str]
    status: Literal["waiting", "running", "done", "failed"] = "waiting"
    why: str = ""
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)
    domains: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    steps: int = 0
    parameters: int = 0
    macs: int = 0
    commit: str = ""
    started: float | None = None


def read_state(folder: Path) -> State | None:
    """The state of a cell, or None when there is none to read."""
    try:
        state: State = read_json(folder / "cell.json", State, "the state of a cell")
    except InputError:
        return None
    return state


def write_state(folder: Path, state: State) -> None:
    """Writes `cell.json` whole or not at all."""
    write_whole(folder / "cell.json", dump_json(asdict(state), indent=1))


def run_cell(folder: Path) -> int:
    """Trains and scores the cell of `folder`; returns 0, `STOPPED`, or 1 with the reason in its state."""
    from filelock import FileLock, Timeout

    try:
        # a process that outlived its grid may still be saving
        with FileLock(folder / "lock", timeout=120):
            return _locked(folder)
    except Timeout:
        print(f"{folder}: another process is still at work there")
        return 1


def _locked(folder: Path) -> int:
    state = read_state(folder)
    if state is None:
        raise InputError(f"{folder}: expected a cell.json, found none that can be read.")
    _count_lost_session(folder, state)
    state.status, state.started = "running", time.time()
    write_state(folder, state)
    cpu = _cpu_seconds()
    try:
        state.status = "waiting" if _train_and_score(folder, state) else "done"
    except InputError as error:
        state.status, state.why = "failed", str(error)
    except Exception as error:
        traceback.print_exc()
        state.status, state.why = "failed", f"{type(error).__name__}: {error}"
    state.seconds += time.time() - (state.started or time.time())
    state.cpu_seconds += _cpu_seconds() - cpu
    state.peak_memory, state.started = max(state.peak_memory, _peak_memory()), None
    write_state(folder, state)
    return {"done": 0, "waiting": STOPPED}.get(state.status, 1)


def _train_and_score(folder: Path, state: State) -> bool:
    """True when a signal stopped it."""
    from jsonargparse import Namespace

    from segkd.engine.record import jsonable
    from segkd.experiment.processes import make_accelerator
    from segkd.experiment.scoring import score_student
    from segkd.experiment.settings import instantiate, parse, training_parser
    from segkd.experiment.training import run_training

    run = folder / "run"
    resume = (run / "config.yaml").is_file()
    parser = training_parser()
    # what the grid wrote from its plan, which is the user's word; what lies in the run must be the same to go on
    config = parse(parser, ["--config", str(folder / "config.yaml")])
    outcome = run_training(parser, config, run, resume=resume, overfit=False)
    _describe(run, state)
    if outcome.how.startswith("SIG"):
        return True
    accelerator = make_accelerator(config.engine)
    model = load_model(run, str(accelerator.device), trust=written_by(outcome.card, read_card(run)))
    data = instantiate(parser, Namespace(data=config.data)).data
    for split in state.splits:
        meter = score_student(model, data, split, accelerator, config.evaluation.threshold)
        state.scores[split] = jsonable(scores_of(meter, config.evaluation.select))
        state.domains[split] = jsonable(meter.by_part())
    return False


def written_by(planned: ModelCard, found: ModelCard) -> bool:
    """Whether a student's card names nothing that the training of the plan, the user's word, does not write.

    A student that came from elsewhere may be of the same class and name a file to open in its arguments. Arguments
    that came with later code are not in it.
    """
    ours = json.loads(dump_json(planned.init_args))  # as a card holds them
    known = all(name in ours and ours[name] == value for name, value in found.init_args.items())
    return known and found.class_path == planned.class_path


def scores_of(meter: Meter, select: str | None) -> dict[str, float]:
    """All scores, and the one that decides: a `worst_` one is no score of the whole split, but tuning asks for it."""
    return meter.scores() | ({select: meter.score(select)} if select else {})


def _describe(run: Path, state: State) -> None:
    from segkd.engine.record import read_lines
    from segkd.experiment.folder import read_environment

    environment = (read_environment(run) or [{}])[-1]
    state.commit = str(environment.get("commit", ""))
    state.seen = environment.get("seen", {})
    cost = environment.get("complexity")
    state.parameters, state.macs = (int(cost[name]) for name in ("parameters", "macs")) if cost else (0, 0)
    state.steps = max((line["step"] for line in read_lines(run / "metrics.jsonl")), default=0)


def _count_lost_session(folder: Path, state: State) -> None:
    """A session that was killed could not say how long it took: until its last checkpoint."""
    last = folder / "run" / "checkpoints" / "last.pt"
    if state.started is not None and last.is_file():
        state.seconds += max(0.0, last.stat().st_mtime - state.started)


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _peak_memory() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _leave_with_parent() -> None:
    """The grid holds our standard input: when it dies, however it dies, reading ends, and we save and leave."""
    while os.read(0, 1):  # not sys.stdin, whose lock would break the interpreter's end
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    # before the training listens, and after it: nothing is lost that is not done again
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(STOPPED))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    sys.exit(run_cell(Path(sys.argv[1])))
