"""`segkd evaluate`: what is asked, what cannot be asked together, and the judgement of each data set that is named."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from segkd.datasets.data import Data
from segkd.datasets.packed import name_of
from segkd.experiment.arguments import data_layer, refuse_unwritable
from segkd.experiment.commands import TRUST
from segkd.experiment.layers import apart
from segkd.experiment.settings import data_parser, instantiate, parse
from segkd.types import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from segkd.report.judging import Judged


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
    parser = _parser()
    said, rest = apart(arguments, "--data")
    sets: list[str | None] = [*said]
    (runs, _), (files, _) = apart(rest, "--run"), apart(rest, "--onnx")
    judged: list[Judged] = []
    failed: list[str] = []
    config = Namespace(out=None)
    for given in sets or [None]:
        config = parse(parser, data_layer(rest, given, runs[0] if runs else None))
        config.sized = any(word.split("=")[0] == "--data.size" for word in rest)
        config.members, config.files, config.sets = [*runs, *files], files, len(sets or [None])
        _refuse_unclear(config)
        refuse_unwritable(config.out)  # before the work, not after it
        for job in _jobs(config, instantiate(parser, config).data, given):
            try:
                judged.append(job())
            except InputError as error:  # one data set never costs another its scores
                failed.append(str(error))
    if not judged:
        raise InputError("\n".join(failed))
    from segkd.experiment.console import make_console, print_domains, print_scores
    from segkd.experiment.robustness import print_robustness
    from segkd.report.judging import renamed, said_of
    from segkd.report.tables import domain_rows

    main = os.environ.get("RANK", "0") == "0"
    console = make_console(main)
    judged = renamed(judged)
    for one in judged:
        print_scores(console, one.title, one.meter.scores(), one.meter.per_class())
        print_domains(console, domain_rows(one.meter))
        said_of(one, console)
        if one.robustness is not None:
            print_robustness(console, one.robustness)
    return Judgement(judged, Path(config.out) if config.out else None, console, main, failed)


def _jobs(config: Namespace, data: Data, given: str | None) -> "list[Callable[[], Judged]]":
    """The judgements that are asked for on one data set: of its network, or of each folder of maps."""
    if config.predictions is None:
        from segkd.report.judging import judge_network

        return [partial(judge_network, config, data, _name_of(data, given))]
    from segkd.report.judging_maps import judge_maps

    return [partial(judge_maps, config, data, number) for number in range(len(config.predictions))]


def _parser() -> ArgumentParser:
    parser = data_parser(
        "Score predictions at the labels' own size: of a run, of an ONNX file, of several as one (--fuse), or maps in "
        "a folder. --data may be repeated, --predictions and --labels may list several folders.",
        "segkd evaluate",
    )
    add = parser.add_argument
    add("--split", choices=["train", "val", "test"], default="test", help="which split to score")
    add("--out", type=str, default=None, metavar="PATH", help="FILE.json for the scores alone, or a folder for all")
    add("--protocol", type=str, default="plain", help="plain: the prediction as it is; pysod: as PySODMetrics 1.6.2")
    add("--threshold", type=str, default="0.5", help="foreground is p >= this; 'val': the run's own")
    add = parser.add_argument_group("a network").add_argument
    add("--run", type=str, default=None, metavar="RUN", help="the run folder; several with --fuse")
    add("--onnx", type=str, default=None, metavar="FILE", help="a network as an ONNX file; several with --fuse")
    add("--fuse", choices=["mean"], default=None, help="score all --run and --onnx as one: the mean of probabilities")
    add("--flip", action="store_true", help="test-time augmentation: mirrored images too")
    add("--scales", type=float, nargs="+", default=[1.0], help="test-time augmentation: times the network's size")
    add("--slide", action="store_true", help="sliding window of the network's size over the full image")
    add("--corruptions", action="store_true", help="again under JPEG, blur, noise, low contrast, few pixels")
    add("--stride", type=float, default=0.5, help="share of the window by which it slides")
    add("--onnx-output", choices=["auto", "probability", "logits"], default="auto", help="what the ONNX file gives")
    add("--onnx-output-name", type=str, default=None, metavar="NAME", help="which of the file's outputs is scored")
    add("--mean", type=float, nargs=3, default=None, help="subtracted from RGB in 0..1, for ONNX (ImageNet's)")
    add("--std", type=float, nargs=3, default=None, help="divides after the mean, for ONNX (ImageNet's)")
    add("--channels", choices=["rgb", "bgr"], default="rgb", help="their order, for ONNX; --mean and --std stay RGB's")
    add("--device", choices=["auto", "cpu"], default="auto", help="auto takes an accelerator")
    add("--trust", action="store_true", help=TRUST)
    add = parser.add_argument_group("maps in folders").add_argument
    add("--predictions", type=str, nargs="+", default=None, metavar="DIR", help="maps of any model: PNG, TIFF, NPY")
    add("--labels", type=str, nargs="+", default=None, metavar="DIR", help="masks with the predictions' names")
    add("--prediction-map", type=dict[int, int] | None, default=None, help="raw value: class, of --predictions")
    add("--prediction-scale", type=float | None, default=None, metavar="N", help="the raw value that means p = 1")
    add("--list", type=str, nargs="+", default=None, metavar="FILE", help="only these labels, one name per line")
    add("--images", type=str, nargs="+", default=None, metavar="DIR", help="images with the same names, for the page")
    add("--processes", type=int, default=1, help="processes that score maps; a network's: accelerate launch")
    return parser


def _refuse_networks(config: Namespace, what: list[str]) -> None:
    """Raises InputError unless there is one thing to judge, or two networks or more that are fused."""
    networks = len(config.members)
    if config.fuse is None and (len(what) != 1 or networks > 1):
        several = f" {networks} networks are scored as one with --fuse mean." if networks > 1 else ""
        raise InputError(
            "expected one of --run RUN, --onnx FILE and --predictions DIR, found "
            f"{', '.join(config.members) if networks > 1 else ', '.join(what) or 'none'}.{several}"
        )
    if config.fuse is not None and (networks < 2 or config.predictions is not None):
        raise InputError(
            "--fuse scores two or more networks as one: --run A --run B, or --onnx FILE; found "
            f"{', '.join(config.members) or 'none'}{' and --predictions' if config.predictions is not None else ''}."
        )
    if config.fuse is not None and config.threshold == "val":
        raise InputError("--threshold val is one run's own, and an ensemble has none. Write a number, or leave it out.")


def _refuse_unclear(config: Namespace) -> None:
    """Raises InputError unless one thing is to be judged, and nothing is said that would have no effect on it."""
    what = [name for name in ("run", "onnx", "predictions") if config[name] is not None]
    _refuse_networks(config, what)
    number = config.sets * len(config.predictions or [None])
    if number > 1 and str(config.out).endswith(".json"):
        raise InputError(f"--out {config.out}: {number} data sets need a folder, not one file.")
    if config.processes < 1:
        raise InputError(f"--processes must be at least 1, found {config.processes}.")
    if config.stride != 0.5 and not config.slide:
        raise InputError("--stride is that of a sliding window: say --slide too.")
    for name in ("labels", "list", "images"):
        if config[name] is not None and len(config[name]) != len(config.predictions or []):
            raise InputError(f"--{name}: expected one for each of --predictions, found {len(config[name])}.")
    asked = [name for name in ("onnx_output_name", "mean", "std") if config[name] is not None]
    asked += ["onnx_output"] if config.onnx_output != "auto" else []
    asked += ["channels"] if config.channels != "rgb" else []
    if asked and config.onnx is None:
        raise InputError(f"--{asked[0].replace('_', '-')} says how a file of --onnx is read: leave it out.")
    if config.predictions is not None:
        _refuse_for_maps(config)
    elif config.prediction_map is not None or config.prediction_scale is not None:
        raise InputError("--prediction-map and --prediction-scale say how the files of --predictions are read.")
    elif config.sized and config.run is not None:
        raise InputError("--data.size: a run looks at images of its own size. See --scales for others.")
    elif config.processes > 1:
        raise InputError("--processes score the maps of --predictions; a network's are those of accelerate launch.")


def _refuse_for_maps(config: Namespace) -> None:
    """Raises InputError for what maps in folders lack, and for what is asked of a network alone."""
    if config.labels is None and (config.data.domains or config.data.domain_group):
        raise InputError(
            "--predictions are judged on one data set: name the layer of one domain, leave groups out "
            "(--data.domain_group null), or name --labels DIR."
        )
    if config.labels is None and (len(config.predictions) > 1 or not config.data.root):
        raise InputError("--predictions DIR needs --labels DIR, or --data LAYER.yaml with the labels' data set.")
    if config.labels is not None and config.split != "test":
        raise InputError("--split is one of a data set: --labels are judged as they lie there.")
    if config.flip or config.slide or list(config.scales) != [1.0]:
        raise InputError("--flip, --scales and --slide are for a network; --predictions are judged as they are.")
    if config.corruptions:
        raise InputError("--corruptions damages what a network sees: say --run or --onnx, not --predictions.")
    if config.trust or config.device != "auto":
        raise InputError("--trust and --device are for a network; --predictions are files.")


def _name_of(data: Data, given: str | None) -> str:
    if data.domains:
        return "+".join(data.domains)
    if data.embedded is None:
        return name_of(data.root or data.parquet)
    return Path(given).stem if given else "embedded"
