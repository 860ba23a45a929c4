"""The commands behind `segkd`: each reads its arguments, joins the rooms, and says what it did."""

import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from segkd.datasets.data import Data
from segkd.datasets.pictures import How
from segkd.experiment.arguments import data_layer, value_of, values_of, without
from segkd.experiment.classes import refuse_foreign
from segkd.experiment.layers import read_layer
from segkd.experiment.settings import data_parser, instantiate, parse, training_parser
from segkd.types import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from segkd.experiment.judging import Judged
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


@dataclass
class Judgement:
    """What `segkd evaluate` found; `main` is False in all processes but the first."""

    judged: "list[Judged]"
    out: Path | None
    console: "Console"
    main: bool
    failed: list[str]

    def status(self) -> int:
        """0, or an error that says how many images have no scores; all that was found is written by then."""
        if self.failed:
            raise InputError("\n".join(["not every data set could be scored; the others are.", *self.failed]))
        faults = [line for one in self.judged for line in one.skipped.values()]
        scored = sum(len(one.meter.rows) for one in self.judged)
        if faults:
            raise InputError(
                f"{len(faults)} of {len(faults) + scored} images have no scores; the others are scored. The first: "
                f"{faults[0]}"
            )
        return 0


def judge(arguments: list[str]) -> Judgement:
    """Scores what the arguments name, on every data set they name, and prints the tables."""
    parser = _evaluation_parser()
    sets: list[str | None] = [*values_of(arguments, "--data")]
    judged: list[Judged] = []
    failed: list[str] = []
    config = None
    for given in sets or [None]:
        rest = without(arguments, "--data")
        config = parse(parser, data_layer(rest, given, value_of(rest, "--run")))
        _refuse_unclear(config, given)
        from segkd.experiment.judging import judge_network
        from segkd.experiment.judging_maps import judge_maps
        from segkd.experiment.outputs import refuse_unwritable

        refuse_unwritable(config.out)  # before the work, not after it
        data = instantiate(parser, config).data
        for number in range(len(config.predictions or [None])):
            try:
                network = config.predictions is None
                one = (
                    judge_network(config, data, _name_of(data, given)) if network else judge_maps(config, data, number)
                )
                judged.append(one)
            except InputError as error:  # one data set never costs another its scores
                failed.append(str(error))
    assert config is not None
    if not judged:
        raise InputError("\n".join(failed))
    from segkd.experiment.console import make_console, print_scores
    from segkd.experiment.judging import renamed, said_of

    main = os.environ.get("RANK", "0") == "0"
    console = make_console(main)
    for one in renamed(judged):
        print_scores(console, one.title, one.meter.scores(), one.meter.per_class())
        said_of(one, console)
    return Judgement(renamed(judged), Path(config.out) if config.out else None, console, main, failed)


def _evaluation_parser() -> ArgumentParser:
    parser = data_parser(
        "Score predictions at the labels' own size: of a run, of an ONNX file, or maps in a folder. --data may be "
        "repeated, --predictions and --labels may list several folders.",
        "segkd evaluate",
    )
    add = parser.add_argument
    add("--run", type=str, default=None, metavar="RUN", help="the run folder")
    add("--onnx", type=str, default=None, metavar="FILE", help="a network as an ONNX file")
    add("--predictions", type=str, nargs="+", default=None, metavar="DIR", help="maps of any model: PNG, TIFF, NPY")
    add("--labels", type=str, nargs="+", default=None, metavar="DIR", help="masks with the predictions' names")
    add("--prediction-map", type=dict[int, int] | None, default=None, help="raw value: class, of --predictions")
    add("--prediction-scale", type=float | None, default=None, metavar="N", help="the raw value that means p = 1")
    add("--list", type=str, nargs="+", default=None, metavar="FILE", help="only these labels, one name per line")
    add("--images", type=str, nargs="+", default=None, metavar="DIR", help="images with the same names, for the page")
    add("--split", choices=["train", "val", "test"], default="test", help="which split to score")
    add("--out", type=str, default=None, metavar="PATH", help="FILE.json for the scores alone, or a folder for all")
    add("--protocol", type=str, default="plain", help="plain: the prediction as it is; pysod: as PySODMetrics 1.6.2")
    add("--threshold", type=str, default="0.5", help="foreground is p >= this; 'val': the run's own")
    add("--processes", type=int, default=1, help="processes that score maps; a network's: accelerate launch")
    add("--flip", action="store_true", help="look at mirrored images too")
    add("--scales", type=float, nargs="+", default=[1.0], help="look at the data's size times each of these")
    add("--slide", action="store_true", help="look at the full image through a window of the data's size")
    add("--stride", type=float, default=0.5, help="share of the window by which it slides")
    add("--onnx-output", choices=["auto", "probability", "logits"], default="auto", help="what the ONNX file gives")
    add("--onnx-output-name", type=str, default=None, metavar="NAME", help="which of the file's outputs is judged")
    add("--mean", type=float, nargs=3, default=None, help="subtracted from RGB in 0..1, for ONNX (ImageNet's)")
    add("--std", type=float, nargs=3, default=None, help="divides after the mean, for ONNX (ImageNet's)")
    add("--device", choices=["auto", "cpu"], default="auto", help="auto takes an accelerator")
    add("--trust", action="store_true", help=TRUST)
    return parser


def _refuse_unclear(config: Namespace, given: str | None) -> None:
    what = [name for name in ("run", "onnx", "predictions") if config[name] is not None]
    if len(what) != 1:
        raise InputError(
            f"expected one of --run RUN, --onnx FILE and --predictions DIR, found {', '.join(what) or 'none'}."
        )
    if config.processes < 1:
        raise InputError(f"--processes must be at least 1, found {config.processes}.")
    for name in ("labels", "list", "images"):
        if config[name] is not None and len(config[name]) != len(config.predictions or []):
            raise InputError(f"--{name}: expected one for each of --predictions, found {len(config[name])}.")
    if config.predictions and config.labels is None and (len(config.predictions) > 1 or not config.data.root):
        raise InputError("--predictions DIR needs --labels DIR, or --data LAYER.yaml with the labels' data set.")
    if (config.prediction_map is not None or config.prediction_scale is not None) and not config.predictions:
        raise InputError("--prediction-map and --prediction-scale say how the files of --predictions are read.")
    asked = [name for name in ("onnx_output_name", "mean", "std") if config[name] is not None]
    asked += ["onnx_output"] if config.onnx_output != "auto" else []
    if asked and config.onnx is None:
        raise InputError(f"--{asked[0].replace('_', '-')} says how a file of --onnx is read: leave it out.")
    looks = config.flip or config.slide or list(config.scales) != [1.0]
    if looks and config.predictions:
        raise InputError("--flip, --scales and --slide are for a network; --predictions are judged as they are.")


def _name_of(data: Data, given: str | None) -> str:
    if data.root is not None:
        return Path(str(data.root)).name
    return Path(given).stem if given else "embedded"


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
