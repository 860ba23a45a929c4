"""The commands behind `segkd`: each reads its arguments, joins the rooms, and says what it did."""

import signal
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser

from segkd.experiment.settings import data_parser, found_layer, instantiate, parse, read_layer, training_parser
from segkd.types import InputError


def train(arguments: list[str]) -> int:
    """`segkd train`: trains into a run folder; 0 when done, 128 + number when a signal stopped it."""
    parser = training_parser()
    parser.add_argument("--out", type=str, default=None, metavar="RUN", help="the run folder to make (new or empty)")
    parser.add_argument("--resume", type=str, default=None, metavar="RUN", help="a run folder to go on with")
    resumed = _value_of(arguments, "--resume")
    if resumed is not None:
        _refuse_no_run(resumed)
        arguments = ["--config", str(Path(resumed) / "config.yaml"), *arguments]
    config = parse(parser, arguments)
    if resumed is None and config.out is None:
        raise InputError("say where the run goes: --out RUN (a new folder), or --resume RUN to go on with one.")
    if resumed is not None and config.out not in (None, resumed):
        raise InputError(f"--resume {resumed} goes on in its own folder: leave out --out {config.out}.")
    from segkd.experiment.training import run_training

    folder = Path(resumed or config.out)
    outcome = run_training(parser, config, folder, resume=resumed is not None, overfit=config.overfit_one_batch)
    score = "no score yet" if outcome.best is None else f"best val {outcome.select} {outcome.best:.4f}"
    if outcome.how.startswith("SIG"):
        print(f"{outcome.how}: saved ({score}). Go on with: segkd train --resume {folder}")
        return 128 + signal.Signals[outcome.how].value
    if config.overfit_one_batch:
        return _verdict(outcome.best, outcome.select)
    print(f"{outcome.how} in {outcome.seconds:.0f} s, {score}; run folder: {folder}")
    print(f"look: tensorboard --logdir {folder}    score: segkd evaluate --run {folder} --split val")
    return 0


def evaluate(arguments: list[str]) -> int:
    """`segkd evaluate`: scores the student of a run; prints a table and writes scores.json."""
    parser = data_parser("Score the best student of a run on a data set, at the labels' own size.", "segkd evaluate")
    parser.add_argument("--run", type=str, required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--split", choices=["train", "val", "test"], default="test", help="which split to score")
    parser.add_argument("--out", type=str, default=None, metavar="FILE.json", help="where to write the scores")
    parser.add_argument("--threshold", type=str, default="0.5", help="foreground is p >= this; 'val': the run's own")
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto", help="auto takes an accelerator")
    config = parse(parser, _data_layer(arguments))
    from segkd.experiment.scoring import score_run

    return score_run(config, instantiate(parser, config).data)


def predict(arguments: list[str]) -> int:
    """`segkd predict`: writes a mask (or a probability map) for every image of a folder."""
    parser = ArgumentParser(prog="segkd predict", description="Predict a folder of images.", exit_on_error=False)
    parser.add_argument("--run", type=str, required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--images", type=str, required=True, metavar="DIR", help="images of any size")
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where the PNG files go")
    parser.add_argument(
        "--kind",
        choices=["mask", "probability"],
        default="mask",
        help="mask: class numbers (0 and 255 for two classes); probability: of the foreground, 0..255 (two classes)",
    )
    parser.add_argument("--threshold", type=str, default="val", help="foreground is p >= this; 'val': the run's own")
    config = parse(parser, arguments)
    from segkd.experiment.scoring import predict_folder

    return predict_folder(config)


def sheet(arguments: list[str]) -> int:
    """`segkd sheet`: a contact sheet of a split, labels overlaid."""
    parser = data_parser("Draw a contact sheet: each image beside itself with its label overlaid.", "segkd sheet")
    parser.add_argument("--split", choices=["train", "val", "test"], default="train", help="which split to draw")
    parser.add_argument("--out", type=str, default="sheet.png", metavar="FILE.png", help="the picture to write")
    parser.add_argument("--number", type=int, default=24, help="how many images, spread over the split")
    config = parse(parser, _data_layer(arguments))
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


def _value_of(arguments: list[str], flag: str) -> str | None:
    for before, argument in zip(["", *arguments], arguments):
        if before == flag:
            return argument
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def _refuse_no_run(run: str) -> None:
    if not (Path(run) / "config.yaml").is_file():
        raise InputError(f"expected a run folder with a config.yaml, found none at {run}.")


def _data_layer(arguments: list[str]) -> list[str]:
    """`--data FILE` reads the `data` key of a layer, the same file that `train` takes as `--config`.

    Without it, the data that the run of `--run` was trained on.
    """
    run, given = _value_of(arguments, "--run"), _value_of(arguments, "--data")
    rest = [a for b, a in zip(["", *arguments], arguments) if "--data" not in (a, b) and not a.startswith("--data=")]
    if given is None and (run is None or _value_of(arguments, "--config") is not None):
        return arguments
    if given is None:
        _refuse_no_run(str(run))
    path = Path(found_layer(given)) if given is not None else Path(str(run)) / "config.yaml"
    data = read_layer(path).get("data")
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected the key data with the settings of a data set, found none.")
    if data.get("root"):  # relative to the file it stands in
        data["root"] = str((path.parent / Path(data["root"]).expanduser()).resolve())
    return ["--config", yaml.safe_dump({"data": data}), *rest]
