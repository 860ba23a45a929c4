"""The `segkd` command."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[
        0
    ]  # `python -m` puts the working directory first, where a data set's yaml.py would be taken for PyYAML

import atexit
import contextlib
import os
import signal
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper

COMMANDS = {
    "prepare": ("segkd.experiment.preparing:prepare", "write the data layer of a folder as it was downloaded"),
    "train": ("segkd.experiment.commands:train", "train a network on a folder of images and masks"),
    "evaluate": (
        "segkd.report.commands:evaluate",
        "score runs, ONNX files, or anyone's predictions on data sets",
    ),
    "predict": ("segkd.experiment.predicting:predict", "write masks or probabilities, and overlays, for photos"),
    "ablate": ("segkd.ablation.commands:ablate", "train arms x data sets x seeds, resumable, and compare them"),
    "compare": ("segkd.ablation.commands:compare", "compare runs or grids: gains, intervals, tests, tables"),
    "analyse": (
        "segkd.report.commands:analyse",
        "spectra: what networks learned first and rely on; tables: a learned table",
    ),
    "methods": ("segkd.experiment.methods:methods", "list the recipes, or print the card of one"),
    "export": ("segkd.experiment.exporting:export", "write a run's student as ONNX, TorchScript or .pt2, compared"),
    "push": ("segkd.experiment.hub:push", "put a run's student and its card on a hub, or in a folder"),
    "pull": ("segkd.experiment.hub:pull", "fetch what was pushed, as a run folder that is not trusted"),
    "info": ("segkd.experiment.info:info", "what a run, a network or a configuration is and costs; its layers"),
    "doctor": ("segkd.experiment.doctor:doctor", "versions, devices, and what is wrong with this installation"),
    "sheet": ("segkd.experiment.commands:sheet", "draw a contact sheet of a data set, labels overlaid"),
}
"""Command -> where it is and what it does; imported when called, so that `segkd --help` is quick."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line; returns the exit status. A user's mistake is one paragraph and status 2."""
    owned = arguments is None  # the process is this command's alone
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("segkd"))
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"segkd: no command {name!r}; commands are: {', '.join(COMMANDS)}. See segkd --help.", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends nothing
    try:
        status = _run(name, rest)
        if owned and status == 0:
            _part()
        return status
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        if owned:  # a second one, a moment later, would interrupt the leaving
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(f"segkd {name}: interrupted", file=sys.stderr)
        return 130


def _run(name: str, rest: list[str]) -> int:
    """The status of a command; what the system refuses and what no room foresaw is one paragraph, too."""
    if name == "doctor":
        return _command(name)(rest)  # works where torch does not
    try:
        from segkd.types import InputError
    except (ImportError, OSError) as error:
        return _said(name, f"cannot load torch: {error}. Install segkd again; segkd doctor says what is wrong.")
    try:
        return _command(name)(rest)
    except InputError as error:
        return _said(name, str(error))
    except BrokenPipeError:
        raise
    except ImportError as error:
        return _said(name, f"a library cannot be loaded: {error}. segkd doctor says what is wrong, and the cure.")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _said(
            name,
            f"{place}{error.strerror or error}. Make room, or see that the folder still exists and may be written to; "
            "what was complete before is not lost.",
        )
    except RuntimeError as error:
        from segkd.experiment.processes import lost_process

        if sentence := lost_process(error):
            return _said(name, sentence)
        raise
    except MemoryError as error:
        return _said(
            name, f"the memory does not suffice: {error or 'no more could be had'}. Free some, or ask for less."
        )


def _part() -> None:
    """Ends a process of a launcher whose work is done, all files closed.

    It leaves without taking itself apart: threads of what bound it to the others may still run then, and the end of a
    thread that runs aborts the process ("terminate called without an active exception"), and with it the launcher.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "torch" in sys.modules:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _said(name: str, sentence: str) -> int:
    with contextlib.suppress(ImportError, OSError):  # else the sentence says that torch cannot be loaded
        from segkd.types import printable

        sentence = printable(sentence)
    print(f"segkd {name}: {sentence}", file=sys.stderr)
    return 2


def _command(name: str) -> Callable[[list[str]], int]:
    module, function = COMMANDS[name][0].split(":")
    return getattr(import_module(module), function)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    return (
        "segkd: self-distillation of segmentation networks\n\n"
        "usage: segkd COMMAND [options]     (segkd COMMAND --help teaches its options)\n\n"
        + "\n".join(lines)
        + "\n\nA first run, on your own images and masks as they lie in a folder:\n"
        "  segkd prepare FOLDER --out data.yaml\n"
        "  segkd train --config methods/virtual_teacher.yaml --config data.yaml --out runs/first\n"
        "  segkd evaluate --run runs/first --split val --out scores.json"
    )


if __name__ == "__main__":
    sys.exit(main())
