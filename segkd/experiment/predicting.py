"""`segkd predict`: a mask and an overlay for every image; one that is damaged or too large loses only its own."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from segkd.datasets.notes import notes_on_images
from segkd.datasets.pictures import How, Seen, view_image
from segkd.datasets.unfit import no_room
from segkd.engine.memory import out_of_memory
from segkd.experiment.commands import TRUST
from segkd.experiment.console import make_console, ticking, warn
from segkd.experiment.gathering import gather
from segkd.experiment.painting import KINDS, Painter, write_overlay
from segkd.experiment.reading import how_of
from segkd.experiment.scoring import opened, threshold_of
from segkd.models.enlarge import NotNumbers
from segkd.models.ensemble import load_ensemble
from segkd.models.store import Model
from segkd.types import InputError, listed


class _Parser(ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise InputError(f"{message}. See segkd predict --help.")


def predict(arguments: list[str]) -> int:
    """`segkd predict RUN PATH...`: writes a mask (or probabilities) and an overlay for every image."""
    config = _parser().parse_intermixed_args(arguments)
    if not config.runs:
        if not config.places:
            raise InputError("expected a run folder and images: segkd predict RUN PATH..., found neither.")
        config.runs, config.places = config.places[:1], config.places[1:]
    _refuse_apart(config)
    given = [*(config.images or []), *config.places]
    if not given:
        raise InputError(
            f"expected images to predict after {config.runs[-1]}: files, folders, patterns, or - for a list."
        )
    if config.max_megapixels is not None and not config.max_megapixels > 0:
        raise InputError(f"--max-megapixels: expected a number above 0, found {config.max_megapixels}.")
    how = how_of(config.runs, make_console(True), given)
    if config.max_megapixels is not None:
        how = replace(how, max_megapixels=config.max_megapixels)
    return predict_images(config, given, how)


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="segkd predict",
        description="Predict images of any size: segkd predict RUN photo.jpg folder 'more/*.png'",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("places", nargs="*", metavar="RUN PATH", help="a run folder (or its student.safetensors, or a file of segkd "
        "export --format onnx), then image files, folders, patterns in quotes, or - for a list of them on standard "
        "input")  # fmt: skip
    add("--run", dest="runs", action="append", metavar="RUN", help="the run folder, where it is not named first; "
        "several with --fuse, the first of which says how images are read")  # fmt: skip
    add("--fuse", choices=["mean"], help="predict with several --run as one: the mean of their probabilities")
    add("--images", nargs="+", metavar="PATH", help="folders of images, or image files")
    add("--out", default="predictions", metavar="DIR", help="where the results go (predictions)")
    add("--overlays", metavar="DIR", help="where the overlays go (OUT_overlays); none: nowhere")
    add("--kind", choices=KINDS, default="mask", help="; ".join(f"{name}: {about}" for name, about in KINDS.items()))
    add("--existing", choices=["refuse", "skip", "replace"], default="refuse", help="what to do where a result is "
        "there already: refuse to begin (default), skip its image, or replace it")  # fmt: skip
    add("--threshold", default="val", help="foreground is p >= this; 'val': the run's own (of several: .5)")
    add("--stride", type=float, metavar="SHARE", help="see large images at their own resolution through a window of "
        "the size of the training, moved by this share of it (.5) and blended; else the whole image is shrunk to that "
        "size")  # fmt: skip
    add("--batch-size", type=int, default=4, metavar="N", help="images that are read and predicted together (4)")
    add("--max-megapixels", type=float, help="larger images are left out (the run's data.max_megapixels)")
    add("--trust", action="store_true", help=TRUST)
    return parser


@dataclass
class Job:
    """What is done with each image.

    Attributes:
        model: what predicts.
        painter: what writes.
        how: how image files are read.
        overlays: for each image the file of its overlay; empty: there are none.
        stride: of the window, if there is one.
        keep: files that are there stay as they are; another process may be writing some of them.
        seen: what was seen in each image.
        faults: why an image has no prediction.
    """

    model: Model
    painter: Painter
    how: How
    overlays: Mapping[Path, Path]
    stride: float | None
    keep: bool = False
    seen: dict[str, Seen] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def do(self, targets: Mapping[Path, Path]) -> None:
        """Predicts some images together and writes their results; faults are kept."""
        images = {}
        for path in targets:
            if self.keep and is_done(path, targets, self.overlays):
                continue
            try:
                images[path], self.seen[str(path)] = view_image(path, self.how)
            except InputError as error:
                self.faults.append(str(error))
            except MemoryError:
                self.faults.append(str(no_room(path)))
        if images:
            self._predict(images, targets)

    def _predict(self, images: Mapping[Path, np.ndarray], targets: Mapping[Path, Path]) -> None:
        before = len(self.faults)
        try:
            self._write(images, targets)
            return
        except Exception as error:
            if not out_of_memory(error):
                raise
        # not within `except`, where the error's traceback keeps the tensors of all of them
        del self.faults[before:]
        if len(images) == 1:
            self.faults += [str(no_room(path)) for path in images]
            return
        for path, image in images.items():  # those that fit are not lost with those that do not
            self._predict({path: image}, targets)

    def _write(self, images: Mapping[Path, np.ndarray], targets: Mapping[Path, Path]) -> None:
        for (path, image), rows in zip(images.items(), self.model.rows([*images.values()], self.stride)):
            kept = self.keep and targets[path].exists()
            try:
                label = self.painter.write(rows, (image.shape[0], image.shape[1]), None if kept else targets[path])
            except NotNumbers as error:
                self.faults.append(f"{path}: {error}")
                continue
            if path in self.overlays and not (self.keep and self.overlays[path].exists()):
                write_overlay(image, label, len(self.painter.classes), self.overlays[path])


def predict_images(config: Namespace, given: Sequence[str], how: How) -> int:
    """Writes the results for the images `given` into `config.out`; a bad file loses only its own.

    Args:
        config: runs, fuse, out, overlays, kind, existing, threshold, stride, batch_size, trust.
        given: files, folders, patterns, or "-".
        how: how image files are read: as those of the training were.

    Raises:
        InputError: nothing can be predicted or written, or, after all others are done, some images were not.
    """
    console = make_console(True)
    if config.batch_size < 1 or not (config.stride is None or 0 < config.stride <= 1):
        raise InputError("expected a --batch-size of 1 or more, and a --stride above 0 and up to 1.")
    model = _opened(config, console)
    _refuse_decided(model, config)
    painter = Painter(model.card.classes, threshold_of(config.threshold, model.card), config.kind)
    out = Path(config.out)
    gathered = gather(given, out, console)
    targets = {path: stem.with_name(stem.name + painter.suffix) for path, stem in gathered.targets.items()}
    overlays, told = _overlays(targets, out, config.overlays)
    targets = _without_existing(targets, overlays, config.existing, console)
    job = Job(model, painter, how, overlays, config.stride, config.existing == "skip")
    with ticking(console, "predicting") as ticker:
        ticker(len(targets))
        for some in _batches(targets, config.batch_size):
            job.do(some)
            ticker.move(len(some))
    for note in notes_on_images(job.seen):
        warn(console, note)
    done = len(targets) - len(job.faults)
    console.print(f"{done} prediction{'' if done == 1 else 's'} in {out}: {painter.said}{told}")
    faults = [*gathered.faults, *job.faults]
    if faults:
        raise InputError(
            f"{len(faults)} of {done + len(faults)} images have no prediction; the others are done:\n{listed(faults)}"
        )
    return 0


def _refuse_apart(config: Namespace) -> None:
    """Raises InputError where several networks are named and not fused, or one is."""
    if (len(config.runs) > 1) != (config.fuse is not None):
        raise InputError(
            "several networks predict as one with --fuse mean, which needs several: --run A --run B --fuse mean; found "
            f"{', '.join(f'--run {run}' for run in config.runs)}{' and --fuse' if config.fuse else ''}."
        )


def _opened(config: Namespace, console: Console) -> Model:
    """The student of a run, an exported file, or several of these as one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if config.fuse is not None and all(run.lower().endswith(".onnx") for run in config.runs):
        raise InputError(
            f"--fuse {config.fuse}: expected a run folder at least once, which knows its classes, found ONNX files "
            f"alone: {', '.join(config.runs)}. Write --run FOLDER for one of them."
        )
    if config.fuse is not None:
        return load_ensemble(config.runs, device, config.trust)
    run = config.runs[0]
    path = Path(run)
    if path.is_file() and path.suffix.lower() not in (".onnx", ".safetensors"):
        raise InputError(f"{path}: expected a run folder, its student.safetensors, or a file of segkd export (.onnx).")
    if path.suffix.lower() == ".onnx":
        from segkd.models.onnx import load_exported

        return load_exported(run, torch.get_num_threads())
    return opened(run, device, config.trust, console)


def _refuse_decided(model: Model, config: Namespace) -> None:
    """Raises InputError where a threshold has no effect, or probabilities are asked of a network of class numbers."""
    if len(model.card.classes) > 2 and config.threshold != "val":
        raise InputError(
            f"--threshold {config.threshold} decides between two classes; of {len(model.card.classes)} the most "
            "probable one is taken: leave it out."
        )
    if getattr(model.network, "meaning", "") != "classes":
        return
    asked = f"--threshold {config.threshold}" if config.threshold != "val" else f"--kind {config.kind}"
    if config.threshold != "val" or config.kind != "mask":
        raise InputError(
            f"{asked}: {config.runs[0]} gives class numbers, so that it is decided already what is foreground: leave "
            "it out, or use the run, or a file of segkd export --output probability."
        )


def _overlays(targets: Mapping[Path, Path], out: Path, given: str | None) -> tuple[dict[Path, Path], str]:
    """For each image the file of its overlay, and where they are, in words."""
    if given == "none":
        return {}, ""
    beside = out / "overlays" if out.name in ("", "..") else out.with_name(f"{out.name}_overlays")
    folder = beside if given is None else Path(given)
    if folder.resolve() == out.resolve():
        raise InputError(f"--overlays {given}: expected another folder than the results' own, --out {out}.")
    files = {path: (folder / target.relative_to(out)).with_suffix(".jpg") for path, target in targets.items()}
    own = {path.resolve() for path in targets}
    hit = [str(file) for file in files.values() if file.resolve() in own]
    if hit:
        raise InputError(
            f"--overlays {folder}: expected another folder than the images', as overlays would replace them:\n"
            f"{listed(hit, 3)}"
        )
    return files, f"; overlays in {folder}"


def is_done(path: Path, targets: Mapping[Path, Path], overlays: Mapping[Path, Path]) -> bool:
    """Whether the result of an image is there, and its overlay where there are any."""
    return targets[path].exists() and (path not in overlays or overlays[path].exists())


def _without_existing(
    targets: dict[Path, Path], overlays: Mapping[Path, Path], existing: str, console: Console
) -> dict[Path, Path]:
    """The images that are to be done. Where nothing may be replaced, an overlay that is there counts as its result."""
    if existing == "skip":
        there = {path: target for path, target in targets.items() if is_done(path, targets, overlays)}
    else:
        there = {path: file for files in (overlays, targets) for path, file in files.items() if file.exists()}
    if there and existing == "refuse":
        first = [f"{there[path]} (of {path})" for path in targets if path in there]
        raise InputError(
            f"{len(there)} of {len(targets)} results are there already. Choose another --out (and --overlays), or "
            f"write --existing skip to make what is missing alone, or --existing replace:\n{listed(first, 3)}"
        )
    if existing != "skip":
        return targets
    if there:
        console.print(f"{len(there)} results are there already: skipped")
    return {path: target for path, target in targets.items() if path not in there}


def _batches(targets: Mapping[Path, Path], size: int) -> Iterator[dict[Path, Path]]:
    queue = iter(targets.items())
    while some := dict(islice(queue, size)):
        yield some
