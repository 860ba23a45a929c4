"""The data layer that stands for `--data` or `--run` on a command line."""

import os
import re
from argparse import RawDescriptionHelpFormatter
from pathlib import Path

import yaml
from jsonargparse import DefaultHelpFormatter

from segkd.datasets.domains import SOURCES
from segkd.experiment.classes import refuse_foreign
from segkd.experiment.layers import OF_FILE, apart, found_layer, read_layer
from segkd.types import InputError, expanded


class ExampleHelp(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """A help whose description keeps its lines: there stand examples."""


def refuse_no_run(run: str, cure: str = "") -> None:
    """Raises InputError unless a folder holds the configuration of a run; with a `cure` where its student is there."""
    if not (Path(run) / "config.yaml").is_file():
        cure = cure if (Path(run) / "student.safetensors").is_file() else ""
        raise InputError(f"expected a run folder with a config.yaml, found none at {run}{cure}.")


def refuse_unwritable(out: str | None) -> None:
    """Raises InputError when `--out` cannot be written to."""
    if out is None:
        return
    folder = Path(out).parent if out.endswith(".json") else Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is not writable")
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there: {error}.") from error


def data_layer(rest: list[str], given: str | None, run: str | None, *, opened: bool = True) -> list[str]:
    """The arguments `rest` with the `data` key of the layer `given`, the same file that `train` takes as `--config`.

    Without it, the data that `run` was trained on, unless a `--config` in `rest` names other data. Where `rest` says
    where they lie (root, parquet or embedded), the layer says it no more. Where they are not `opened`, or `rest` says
    where they lie, it does not matter which address the layer names.
    """
    if given is None and (run is None or apart(rest, "--config")[0]):
        return rest
    if given is None:
        refuse_no_run(str(run), ": say which data, and how they are read, with --data LAYER")
    path = Path(found_layer(given)) if given is not None else Path(str(run)) / "config.yaml"
    data = read_layer(path).get("data")
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected the key data with the settings of a data set, found none.")
    domains = data.get("domains")
    parts = [
        part for part in [data, *(domains.values() if isinstance(domains, dict) else ())] if isinstance(part, dict)
    ]
    said = [key for key in SOURCES if any(re.fullmatch(rf"--data\.{key}([.=].*)?", word) for word in rest)]
    if said:
        data |= dict.fromkeys(set(SOURCES).difference(said) & data.keys())
    for part in parts:
        if part.get("parquet") and ((part is data and "parquet" in said) or not opened):
            part["parquet"] = "unread"
    refuse_foreign({"data": data}, str(path))  # data may come from anyone, and names no class
    for part in parts:
        for key in ("root", "parquet"):  # relative to the file they stand in
            place = part.get(key)
            if place and isinstance(place, str) and "://" not in place:  # what is no text, the parser refuses
                part[key] = str((path.parent / expanded(place)).resolve())
    shown = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(path).split()))
    return ["--config", f"{OF_FILE}{shown}\n{yaml.safe_dump({'data': data})}", *rest]
