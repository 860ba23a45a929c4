"""A command line before it is parsed: single options, and the data layer that stands for `--data` or `--run`."""

from argparse import RawDescriptionHelpFormatter
from pathlib import Path

import yaml
from jsonargparse import DefaultHelpFormatter

from segkd.experiment.classes import refuse_foreign
from segkd.experiment.layers import found_layer, read_layer
from segkd.types import InputError


class ExampleHelp(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """A help whose description keeps its lines: there stand examples."""


def value_of(arguments: list[str], flag: str) -> str | None:
    """What follows the first `flag` of a command line, or stands behind its "="; None without it."""
    for before, argument in zip(["", *arguments], arguments):
        if before == flag:
            return argument
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None


def refuse_no_run(run: str) -> None:
    """Raises InputError unless the folder holds the configuration of a run."""
    if not (Path(run) / "config.yaml").is_file():
        raise InputError(f"expected a run folder with a config.yaml, found none at {run}.")


def values_of(arguments: list[str], flag: str) -> list[str]:
    """What follows every `flag` of a command line."""
    after = [a for b, a in zip(["", *arguments], arguments) if b == flag]
    return after + [a.partition("=")[2] for a in arguments if a.startswith(f"{flag}=")]


def without(arguments: list[str], flag: str) -> list[str]:
    """The command line without `flag` and what follows it."""
    return [a for b, a in zip(["", *arguments], arguments) if flag not in (a, b) and not a.startswith(f"{flag}=")]


def data_layer(rest: list[str], given: str | None, run: str | None) -> list[str]:
    """The arguments `rest` with the `data` key of the layer `given`, the same file that `train` takes as `--config`.

    Without it, the data that `run` was trained on, unless a `--config` in `rest` names other data.
    """
    if given is None and (run is None or value_of(rest, "--config") is not None):
        return rest
    if given is None:
        refuse_no_run(str(run))
    path = Path(found_layer(given)) if given is not None else Path(str(run)) / "config.yaml"
    data = read_layer(path).get("data")
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected the key data with the settings of a data set, found none.")
    refuse_foreign({"data": data}, str(path))  # data may come from anyone, and names no class
    if data.get("root"):  # relative to the file it stands in
        data["root"] = str((path.parent / Path(data["root"]).expanduser()).resolve())
    return ["--config", yaml.safe_dump({"data": data}), *rest]
