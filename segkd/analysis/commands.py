"""`segkd analyse`: what a run's records and its trained network show."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from segkd.analysis.evidence import Sentence
from segkd.analysis.examine import Examination, examine, seed_of
from segkd.analysis.sentences import sentences
from segkd.analysis.summary import Group, group
from segkd.experiment.arguments import data_layer, refuse_unwritable
from segkd.experiment.commands import TRUST
from segkd.experiment.console import make_console, ticking
from segkd.experiment.scoring import open_split
from segkd.experiment.settings import data_parser, instantiate, parse
from segkd.models.store import ModelCard, read_card
from segkd.models.trust import imported, refuse_foreign_network
from segkd.types import InputError

STUDENT = "student.safetensors"


@dataclass(frozen=True)
class Analysis:
    """What `segkd analyse spectra` found, before anything is written.

    Attributes:
        groups: of runs, in the order of the command line.
        sentences: what the numbers say.
        about: data set, split, images, command: what one must know to read them.
        out: the folder to write.
        console: to speak on.
    """

    groups: list[Group]
    sentences: list[Sentence]
    about: dict[str, Any]
    out: Path
    console: Console


def analyse_spectra(arguments: list[str]) -> Analysis:
    """Examines the runs of a command line.

    Raises:
        InputError: a run, the data or a number does not fit.
    """
    options, rest = _parser().parse_known_args(arguments)
    runs = named_runs(options.runs)
    settings = _settings(options)
    parser = data_parser("The data set.", "segkd analyse spectra")
    data = instantiate(parser, parse(parser, data_layer(rest, options.data, str(runs[0][1])))).data
    refuse_unwritable(f"{options.out}/")  # before the work, not after it
    console = make_console(True)
    card = checked_cards(runs)
    if not settings.trust:  # before the data are read, not after
        for _, run in runs:
            own = read_card(run)
            refuse_foreign_network(own.class_path, own.init_args, str(run / STUDENT))
    records = open_split(data, options.split, console, card.classes)
    count, total = len(records.spread(settings.images)), settings.passes
    waves = f" + {settings.heatmap} for the heat map" if settings.heatmap else ""
    console.print(f"{len(runs)} runs x {count} images of {options.split}: {total} forward passes per image{waves}")
    device = "cuda" if torch.cuda.is_available() and options.device == "auto" else "cpu"
    with ticking(console, "examining") as ticker:
        ticker(len(runs) * count)
        found = [examine(name, run, records, settings, device, ticker.move) for name, run in runs]
    groups = group(found, settings.seed)
    about = {
        "command": ["segkd", "analyse", "spectra", *arguments],
        "data": options.data or str(runs[0][1] / "config.yaml"),
        "split": options.split,
        "images": count,
        "noise": settings.noise,
        "forward_passes_per_image": found[0].forwards,
        "seconds": round(sum(one.seconds for one in found), 1),
    }
    return Analysis(groups, sentences(groups), about, options.out, console)


def named_runs(texts: Sequence[str]) -> list[tuple[str, Path]]:
    """RUN or NAME=RUN of a command line: (name, folder). Runs of one name are one group, its seeds.

    Without a name: the folder's, or its parent's where the folder is called run or seed-N, as in the cells of a grid.

    Raises:
        InputError: a folder holds no student, or is named twice.
    """
    found: list[tuple[str, Path]] = []
    for text in texts:
        name: str | None
        name, sign, path = text.partition("=")
        if not sign or Path(text).exists():  # a folder may have = in its name
            name, path = None, text
        run = Path(path)
        if not (run / STUDENT).is_file() and (run / "run" / STUDENT).is_file():
            run = run / "run"  # a cell of a grid
        if not (run / STUDENT).is_file():
            foreign = (
                " A network of others has to be trained as a run first (docs/spectral.md)." if run.is_file() else ""
            )
            raise InputError(
                f"analyse spectra: expected a run folder with a trained student ({STUDENT}), found none at {run}. "
                f"Give RUN or NAME=RUN; runs of one name are seeds of one group.{foreign}"
            )
        if name == "":
            raise InputError(f"analyse spectra: expected NAME=RUN, found no name in {text!r}.")
        if run.resolve() in [other.resolve() for _, other in found]:
            raise InputError(f"analyse spectra: {run} is named twice.")
        found.append((_name_of(run) if name is None else name, run))
    return found


def checked_cards(runs: Sequence[tuple[str, Path]]) -> ModelCard:
    """The card of the first run, when all runs can be looked at side by side.

    Raises:
        InputError: they differ in size or classes, or those of one name in network, or have the same seed.
    """
    cards = [read_card(run) for _, run in runs]
    first: dict[str, tuple[Path, ModelCard]] = {}
    seeds: dict[tuple[str, int], Path] = {}
    for (name, run), card in zip(runs, cards):
        if (card.size, card.classes) != (cards[0].size, cards[0].classes):
            raise InputError(
                f"analyse spectra: expected runs of one size and the same classes, found {cards[0].size} and "
                f"{len(cards[0].classes)} classes in {runs[0][1]}, {card.size} and {len(card.classes)} classes in "
                f"{run}. Analyse them one by one."
            )
        other, theirs = first.setdefault(name, (run, card))
        if network_of(card) != network_of(theirs):
            raise InputError(
                f"analyse spectra: {other} and {run} are both called {name}, but their networks differ. Runs of one "
                "name are seeds of one group: name them apart, NAME=RUN."
            )
        twin = seeds.setdefault((name, seed_of(run)), run)
        if twin != run:
            raise InputError(
                f"analyse spectra: {twin} and {run} are both called {name} and both have seed {seed_of(run)}. Runs of "
                "one name are seeds of one group: name them apart, NAME=RUN."
            )
    return cards[0]


def network_of(card: ModelCard) -> tuple[str, dict[str, Any]]:
    """Class and arguments of a network; what our own classes learned to take since the card was written stands at its
    default."""
    if not card.class_path.startswith("segkd."):
        return card.class_path, card.init_args
    try:
        parameters = signature(imported(card.class_path)).parameters.values()
    except (ImportError, AttributeError, ValueError, TypeError):  # opening the run will say what is wrong
        return card.class_path, card.init_args
    return card.class_path, {p.name: p.default for p in parameters if p.default is not p.empty} | card.init_args


def _name_of(run: Path) -> str:
    parts = [part for part in run.resolve().parts if part != "run" and not part.startswith("seed-")]
    return parts[-1]


def _settings(options: Namespace) -> Examination:
    bounds = {"images": (2, 10**9), "batch_size": (1, 10**6), "workers": (0, 10**4), "heatmap": (0, 10**5),
              "seed": (0, 2**31)}  # fmt: skip
    for name, (low, high) in bounds.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise InputError(f"--{name.replace('_', '-')}: expected a number from {low} to {high}, found {value}.")
    if not 0 < options.noise <= 1:
        raise InputError(f"--noise is a root mean square in image units, 0 < noise <= 1, found {options.noise}.")
    return Examination(
        *(options.images, options.batch_size, options.workers, options.noise),
        seed=options.seed,
        heatmap=options.heatmap,
        trust=options.trust,
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "segkd analyse spectra",
        description="Which frequencies did networks learn first (output), and which do they rely on (input)?",
        epilog="Settings of the data set can be overridden behind the runs, e.g. --data.root FOLDER.\n\n"
        "  segkd analyse spectra runs/first --out runs/first/spectra\n"
        "  segkd analyse spectra baseline=runs/b0 baseline=runs/b1 frequency=runs/f0 frequency=runs/f1 \\\n"
        "      --data configs/data/ecssd.yaml --split val --out spectra\n\n"
        "Writes report.html, figures (PNG, SVG), bands.csv, images.csv and spectra.json. See docs/spectral.md.",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("runs", nargs="+", metavar="[NAME=]RUN", help="run folders; those of one NAME are seeds of one group")
    add("--data", default=None, metavar="LAYER.yaml", help="the data set; that of the first run if not said")
    add("--split", choices=["train", "val", "test"], default="val", help="which split to look at (val)")
    add("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    add("--images", type=int, default=64, help="how many images, spread over the split (64)")
    add("--noise", type=float, default=0.15, help="root mean square of the noise per band, image units 0..1 (.15)")
    add("--heatmap", type=int, default=0, metavar="N", help="check the gradient with about N single waves (0: do not)")
    add("--batch-size", type=int, default=8, help="images per pass (8)")
    add("--workers", type=int, default=0, help="processes that read images (0)")
    add("--seed", type=int, default=0, help="of probes, noise and intervals (0)")
    add("--device", choices=["auto", "cpu"], default="auto", help="auto takes an accelerator")
    add("--trust", action="store_true", help=TRUST)
    return parser
