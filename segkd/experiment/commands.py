"""The commands behind `segkd`: each reads its arguments, joins the rooms, and says what it did."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from segkd.experiment.arguments import data_layer
from segkd.experiment.classes import refuse_foreign
from segkd.experiment.layers import apart, read_layer
from segkd.experiment.settings import data_parser, instantiate, parse, training_parser
from segkd.types import InputError

if TYPE_CHECKING:
    from segkd.experiment.training import Outcome


TRUST = "build classes that a run names and that are not segkd's own: their code runs with your rights"
"""What `--trust` means, in every command that opens a run."""


def train(arguments: list[str]) -> int:
    """`segkd train`: trains into a run folder; 0 when done, 128 + number when a signal stopped it."""
    parser = training_parser()
    parser.add_argument("--out", type=str, default=None, metavar="RUN", help="the run folder to make (new or empty)")
    parser.add_argument("--resume", type=str, default=None, metavar="RUN", help="a run folder to go on with")
    parser.add_argument("--data-changed", action="store_true", help="with --resume: go on though the data changed")
    parser.add_argument("--trust", action="store_true", help=f"with --resume: {TRUST}")
    runs, rest = apart(arguments, "--resume")
    resumed = runs[-1] if runs else None
    if resumed is not None:
        own = _own_config(Path(resumed), trust="--trust" in rest)
        rest = [*own, *rest]
    config = parse(parser, rest)
    if resumed is None and config.out is None:
        raise InputError("say where the run goes: --out RUN (a new folder), or --resume RUN to go on with one.")
    if resumed is not None and config.out not in (None, resumed):
        raise InputError(f"--resume {resumed} goes on in its own folder: leave out --out {config.out}.")
    from segkd.experiment.training import run_training

    folder = Path(resumed or config.out)
    outcome = run_training(
        parser,
        config,
        folder,
        resume=resumed is not None,
        overfit=config.overfit_one_batch,
        data_changed=config.data_changed,
        known=True,  # `_own_config` looked
    )
    return _ended(outcome, folder)


def _ended(outcome: "Outcome", folder: Path) -> int:
    """Says how a training ended, in the first process alone; returns the exit status."""
    score = "no score yet" if outcome.best is None else f"best val {outcome.select} {outcome.best:.4f}"
    where, lines = sys.stdout, [
        f"{outcome.how} in {outcome.seconds:.0f} s, {score}; run folder: {folder}",
        f"look: tensorboard --logdir {folder}    score: segkd evaluate --run {folder} --split val",
    ]  # fmt: skip
    status, stopped = 0, outcome.how.startswith("SIG")
    if outcome.learned is not None:
        lines, status = [outcome.learned.said], 0 if outcome.learned.enough else 1
    if stopped:
        where = sys.stderr if outcome.how == "SIGPIPE" else sys.stdout
        lines = [f"{outcome.how}: saved ({score}). Go on with: segkd train --resume {folder}"]
    if os.environ.get("RANK", "0") == "0":
        print("\n".join(lines), file=where)
    return 128 + signal.Signals[outcome.how].value if stopped else status


def _own_config(run: Path, trust: bool) -> list[str]:
    """The arguments for a run's own configuration, restored if need be; it names no foreign class unless trusted."""
    from segkd.experiment.folder import own_arguments, restore_config

    restored, path = restore_config(run), run / "config.yaml"
    if restored:
        print(f"warning: {restored}", file=sys.stderr)
    if not trust:
        refuse_foreign(read_layer(path), str(path))
        for place in (run / "checkpoints", run / "tensorboard"):
            if place.is_symlink():
                raise InputError(
                    f"{place}: expected a folder, found a link, through which the training would write elsewhere. If "
                    "you made it, add --trust."
                )
    return own_arguments(path)


def sheet(arguments: list[str]) -> int:
    """`segkd sheet`: a contact sheet of a split, labels overlaid."""
    parser = data_parser("Draw a contact sheet: each image beside itself with its label overlaid.", "segkd sheet")
    parser.add_argument("--split", choices=["train", "val", "test"], default="train", help="which split to draw")
    parser.add_argument("--out", type=str, default="sheet.png", metavar="FILE.png", help="the picture to write")
    parser.add_argument("--number", type=int, default=24, help="how many images, spread over the split")
    sets, rest = apart(arguments, "--data")
    config = parse(parser, data_layer(rest, sets[-1] if sets else None, None))
    from segkd.experiment.scoring import draw_sheet

    return draw_sheet(config, instantiate(parser, config).data)
