"""The commands behind `segkd`: each reads its arguments, joins the rooms, and says what it did."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from segkd.datasets.pictures import How
from segkd.experiment.arguments import data_layer, value_of, without
from segkd.experiment.classes import refuse_foreign
from segkd.experiment.layers import read_layer
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
    resumed = value_of(arguments, "--resume")
    if resumed is not None:
        arguments = ["--config", _own_config(Path(resumed), trust="--trust" in arguments), *arguments]
    config = parse(parser, arguments)
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
    )
    if config.overfit_one_batch and not outcome.how.startswith("SIG"):
        return _verdict(outcome.best, outcome.select)
    return _ended(outcome, folder)


def _ended(outcome: "Outcome", folder: Path) -> int:
    """Says how a training ended, in the first process alone; returns the exit status."""
    score = "no score yet" if outcome.best is None else f"best val {outcome.select} {outcome.best:.4f}"
    where, lines = sys.stdout, [
        f"{outcome.how} in {outcome.seconds:.0f} s, {score}; run folder: {folder}",
        f"look: tensorboard --logdir {folder}    score: segkd evaluate --run {folder} --split val",
    ]  # fmt: skip
    stopped = outcome.how.startswith("SIG")
    if stopped:
        where = sys.stderr if outcome.how == "SIGPIPE" else sys.stdout
        lines = [f"{outcome.how}: saved ({score}). Go on with: segkd train --resume {folder}"]
    if os.environ.get("RANK", "0") == "0":
        print("\n".join(lines), file=where)
    return 128 + signal.Signals[outcome.how].value if stopped else 0


def _own_config(run: Path, trust: bool) -> str:
    """The file of a run's own configuration, restored if need be; it names no foreign class unless trusted."""
    from segkd.experiment.folder import restore_config

    restored, path = restore_config(run), run / "config.yaml"
    if restored:
        print(f"warning: {restored}", file=sys.stderr)
    if not trust:
        refuse_foreign(read_layer(path), str(path))
    return str(path)


def predict(arguments: list[str]) -> int:
    """`segkd predict`: writes a mask (or a probability map) for every image of a folder."""
    parser = ArgumentParser(prog="segkd predict", description="Predict images of any size.", exit_on_error=False)
    parser.add_argument("--run", type=str, required=True, metavar="RUN", help="the run folder")
    parser.add_argument(
        "--images", type=str, nargs="+", required=True, metavar="PATH", help="folders of images, or image files"
    )
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where the PNG files go")
    parser.add_argument(
        "--kind",
        choices=["mask", "probability"],
        default="mask",
        help="mask: class numbers, in colours (0 and 255 for two classes); probability: of the foreground, 0..255 (two "
        "classes)",
    )
    parser.add_argument("--threshold", type=str, default="val", help="foreground is p >= this; 'val': the run's own")
    parser.add_argument(
        "--max-megapixels", type=float, default=None, help="larger images are left out (the run's data.max_megapixels)"
    )
    parser.add_argument("--trust", action="store_true", help=TRUST)
    config = parse(parser, arguments)
    how = _how_of(config.run)
    if config.max_megapixels is not None:
        how = replace(how, max_megapixels=config.max_megapixels)
    from segkd.experiment.predicting import predict_images

    return predict_images(config, how)


def _how_of(run: str) -> How:
    """How the images of a run's training were read; the usual way where only its student was kept."""
    if not (Path(run) / "config.yaml").is_file():
        return How()
    parser = data_parser("", "segkd predict")
    data = instantiate(parser, parse(parser, data_layer([], None, run))).data
    return replace(data, colours=None).how  # of masks, and perhaps in a file that is not here


def sheet(arguments: list[str]) -> int:
    """`segkd sheet`: a contact sheet of a split, labels overlaid."""
    parser = data_parser("Draw a contact sheet: each image beside itself with its label overlaid.", "segkd sheet")
    parser.add_argument("--split", choices=["train", "val", "test"], default="train", help="which split to draw")
    parser.add_argument("--out", type=str, default="sheet.png", metavar="FILE.png", help="the picture to write")
    parser.add_argument("--number", type=int, default=24, help="how many images, spread over the split")
    config = parse(parser, data_layer(without(arguments, "--data"), value_of(arguments, "--data"), None))
    from segkd.experiment.scoring import draw_sheet

    return draw_sheet(config, instantiate(parser, config).data)


def _verdict(best: float | None, select: str) -> int:
    if best is not None and best >= 0.9:
        print(f"the batch is known by heart ({select} {best:.3f}): network, labels and loss work together.")
        return 0
    print(
        f"the batch could not be learned by heart ({select} {best if best is None else round(best, 3)}, expected 0.9): "
        "look at the labels (segkd sheet), the learning rate (optim.lr) and what is frozen (optim.freeze)."
    )
    return 1
