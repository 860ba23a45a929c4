"""`segkd export`: a run's student as one file, compared on real images; no file is left when they differ."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from accelerate import Accelerator
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from segkd.datasets.data import Data, Records
from segkd.datasets.pictures import How
from segkd.datasets.transforms import Transform
from segkd.disk import write_whole
from segkd.experiment.about import at, settings_of
from segkd.experiment.arguments import ExampleHelp, data_layer
from segkd.experiment.commands import TRUST
from segkd.experiment.console import make_console, numbers_table, warn
from segkd.experiment.layers import apart
from segkd.experiment.processes import join_processes
from segkd.experiment.reading import how_of, said
from segkd.experiment.scoring import Sight, open_splits, opened, score_network
from segkd.experiment.settings import data_parser, instantiate, parse
from segkd.metrics.meter import WORST, deciding_score
from segkd.models.complexity import Latency, complexity, latency
from segkd.models.export import ENDINGS, Exported, write_network
from segkd.models.exported import compared, macs_of, opened_file, raw_of
from segkd.models.network import Network
from segkd.models.signature import Statement
from segkd.models.store import Model, read_card
from segkd.models.weights import student_of
from segkd.types import InputError

ABOUT = """Write the student of a run as one file that takes images of any number and size, normalises inside, and says
what it expects. It is compared with the student on the validation images; none is left when they differ. For example:

  segkd export runs/first --format onnx
  segkd export runs/first --format onnx --int8 --out first.int8.onnx
  segkd export runs/first --format torchscript --output probability
  segkd export runs/first --format onnx --data.root FOLDER     (where the run's data moved)

  segkd evaluate --onnx runs/first/student.onnx --data.root FOLDER --split test"""

CALIBRATING = 200
"""Training images that settle the ranges of 8 bits."""

DRIFT = 1e-3
"""How much the score on val may differ where nothing is quantised."""


@dataclass(frozen=True)
class Row:
    """What a file is called, scores on val, takes (CPU time of an image) and weighs in bytes."""

    name: str
    score: float
    spent: Latency
    size: int


@dataclass(frozen=True)
class Bench:
    """What a file is held against.

    Attributes:
        model: the student, on the CPU.
        exported: it with the output that the file has.
        select: the score that decides, as in the training.
        records: of val.
        sight: how images are shown.
        accelerator: of this process.
    """

    model: Model
    exported: Exported
    select: str
    records: Records
    sight: Sight
    accelerator: Accelerator

    def row(self, name: str, network: Network, path: Path) -> Row:
        """What the student, or a file of it, scores on val, takes and weighs."""
        meter = score_network(network, self.records, self.accelerator, self.sight)
        return Row(name, meter.score(self.select), self._time(network), path.stat().st_size)

    def images(self, count: int, size: tuple[int, int], records: Records | None = None) -> Iterator[np.ndarray]:
        """Images of val (or of `records`), spread over it, as they are shown: float32 [3 h w] in 0..1."""
        records = records or self.records
        transform = Transform(size, None, len(self.model.card.classes), False)
        for index in records.spread(count):
            image, label = records.load(index)
            view = transform(image, label, np.random.default_rng(0))
            yield np.ascontiguousarray(np.moveaxis(view.image, 2, 0), np.float32) / np.float32(255)

    def batches(self) -> Iterator[torch.Tensor]:
        """Batches of one and of three at the training's size, and at larger, smaller and odd ones."""
        height, width = self.model.card.size
        small, large = (max(40, height * 3 // 4), max(33, width - 1)), (height * 3 // 2, width * 2)
        odd = (height + 13, width + 27)
        for number, size in [(3, (height, width)), (1, (height, width)), (1, odd), (3, large), (2, small)]:
            images = list(self.images(30 if number == 3 else 4, size))
            for start in range(0, len(images), number):
                yield torch.from_numpy(np.stack(images[start : start + number]))

    def _time(self, network: Network) -> Latency:
        """CPU time of one image at the training's size."""
        image = torch.rand(1, 3, *self.model.card.size)

        @torch.inference_mode()
        def look() -> None:
            _ = self.exported(image) if network is self.model.network else raw_of(network, image)

        return latency(look, 20, time.process_time)


def export(arguments: list[str]) -> int:
    """`segkd export RUN --format NAME`: writes the student as one file that others' programs run."""
    parser = _parser()
    run = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if {"-h", "--help"} & set(arguments):
        run = None  # help needs none that is there
    elif run is None:
        raise InputError("expected the run folder first: segkd export RUN --format onnx.")
    else:
        read_card(run)
    sets, rest = apart(arguments, "--data")
    config = parse(parser, data_layer(rest, sets[-1] if sets else None, run))
    out = _refused(config)
    console = make_console(True)
    bench, calibration = _bench(config, instantiate(parser, config).data, console)
    with TemporaryDirectory() as folder:
        path = _checked(config, bench, calibration, Path(folder), console)
        write_whole(out, path.read_bytes())
    gives = "uint8 [n h w]" if config.output == "classes" else "float32 [n k h w]"
    size = f"{out.stat().st_size / 2**20:.1f} MB"
    console.print(f"exported: {out} ({size}): image float32 [n 3 h w], RGB in 0..1 -> {gives}, {config.output}")
    return 0


def _parser() -> ArgumentParser:
    parser = data_parser(ABOUT, "segkd export")
    parser.formatter_class = ExampleHelp
    add, outputs = parser.add_argument, ["logits", "probability", "classes"]
    add("run", type=str, metavar="RUN", help="the run folder; stands first")
    add("--format", choices=list(ENDINGS), default="onnx", help="what is written")
    add("--out", type=str, default=None, metavar="FILE", help="the file to write; by default student.* in the run")
    gives = "float32 [n k h w]: logits, or their softmax; uint8 [n h w]: class numbers, their argmax"
    add("--output", choices=outputs, default="logits", help=gives)
    add("--int8", action="store_true", help="of ONNX: 8 bits for weights and activations, calibrated on train")
    add("--allow-drop", type=float, default=0.01, metavar="D", help="what 8 bits may cost on val, as the run selects")
    add("--trust", action="store_true", help=TRUST)
    return parser


def _refused(config: Namespace) -> Path:
    """Where the file goes; raises InputError for what could not end well, before anything is computed."""
    if config.int8 and (config.format != "onnx" or config.output == "classes"):
        raise InputError("--int8 is for --format onnx with logits or probabilities: change these, or leave it out.")
    if config.allow_drop < 0:
        raise InputError(f"--allow-drop: expected 0 or more, found {config.allow_drop}.")
    if config.format == "onnx":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            raise InputError(f"--format onnx: {error}. Install what it needs: pip install 'segkd[onnx]'.") from error
    if config.format == "pt2" and getattr(torch.export.Dim, "DYNAMIC", None) is None:
        raise InputError(
            f"--format pt2: expected torch 2.6 or later, whose programs take images of any size, found "
            f"{torch.__version__}. Update torch, or say --format torchscript or onnx."
        )
    named = f"student{'.int8' if config.int8 else ''}{ENDINGS[config.format]}"
    out = Path(config.out) if config.out else student_of(config.run).parent / named
    folder = out.parent
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"--out {out}: expected a file in a folder that exists and may be written to.")
    other = [name for name, ending in ENDINGS.items() if out.name.lower().endswith(ending) and name != config.format]
    if other:
        raise InputError(
            f"--out {out}: expected another ending for --format {config.format}, as {other[0]} has this one. Say "
            f"--format {other[0]}, or end it in {ENDINGS[config.format]}."
        )
    return out


def _bench(config: Namespace, data: Data, console: Console) -> tuple[Bench, Records | None]:
    model = opened(config.run, "cpu", config.trust, console)
    classes = len(model.card.classes)
    select = at(settings_of(student_of(config.run).parent), "evaluation", "select")
    if str(select).removeprefix(WORST) not in model.card.scores:
        select = deciding_score(classes)
    records = open_splits(data, ["train", "val"] if config.int8 else ["val"], console, model.card.classes)
    exported = Exported(model.network, config.output).eval()
    sight = Sight(data, model.card, 0.5)
    return Bench(model, exported, select, records["val"], sight, join_processes(True)), records.get("train")


def _checked(config: Namespace, bench: Bench, calibration: Records | None, folder: Path, console: Console) -> Path:
    """The file to keep, written and held against the student; its table is printed whatever comes out."""
    rows = [bench.row("torch", bench.model.network, student_of(config.run))]
    before = rows[0].score
    try:
        path, fault = _plain(config, bench, folder, console, rows)
        if not fault and calibration is not None:
            path = _small(bench, calibration, path)
            rows.append(
                bench.row("int8", opened_file(path, "onnx", len(bench.model.card.classes), config.output), path)
            )
            drop = before - rows[-1].score
            if drop > config.allow_drop:
                fault = (
                    f"--int8: val {bench.select} falls from {before:.4f} to {rows[-1].score:.4f}, by {drop:.4f}, more "
                    f"than --allow-drop {config.allow_drop}: none is written. Allow more, or leave out --int8."
                )
    finally:
        _say(console, bench, rows)
    if fault:
        raise InputError(fault)
    return path


def _plain(config: Namespace, bench: Bench, folder: Path, console: Console, rows: list[Row]) -> tuple[Path, str]:
    """The file as the student is, and what is wrong with it; adds its row."""
    card, path = bench.model.card, folder / f"student{ENDINGS[config.format]}"
    how = how_of([config.run], console)
    if said(how) != said(How()):
        warn(console, f"the training read images with {said(how)}: whoever feeds the file must do so, too", "note")
    statement = Statement(
        config.output, card.classes, card.size, card.threshold, card.step, version("segkd"), how.range, how.exif
    )
    write_network(bench.model.network, config.format, path, config.output, statement.metadata())
    file = opened_file(path, config.format, len(card.classes), config.output)
    parity = compared(bench.exported, file, bench.batches())
    console.print(f"parity: {parity}")
    rows.append(bench.row(config.format, file, path))
    before, after = rows[0].score, rows[1].score
    ours, theirs = complexity(bench.model.network, card.size).macs, macs_of(file, path, card.size)
    if theirs > ours:  # fewer: the student does what nothing reads
        warn(console, f"the file takes {theirs / 1e9:.4f} GMACs for an image, the student {ours / 1e9:.4f}")
    if parity.holds and (config.output == "classes" or abs(after - before) <= DRIFT):
        return path, ""
    return path, (
        f"{config.format}: the file differs from the student by more than rounding ({parity}; val {bench.select} "
        f"{before:.4f} -> {after:.4f}): none is written. Try another --format."
    )


def _small(bench: Bench, calibration: Records, path: Path) -> Path:
    """The file in 8 bits."""
    from segkd.models.quantize import quantise

    small = path.with_name("int8.onnx")
    images = bench.images(CALIBRATING, bench.model.card.size, calibration)
    quantise(path, small, (image[None] for image in images))
    return small


def _say(console: Console, bench: Bench, rows: list[Row]) -> None:
    table = numbers_table(("", f"val {bench.select}", "CPU ms p50", "p95", "MB"))
    for row in rows:
        spent = row.spent
        table.add_row(row.name, f"{row.score:.4f}", f"{spent.p50:.1f}", f"{spent.p95:.1f}", f"{row.size / 2**20:.1f}")
    console.print(table)
    height, width = bench.model.card.size
    console.print(f"(CPU time of one image {height}x{width}, threads: {torch.get_num_threads()})")
