"""`segkd evaluate`: what a judgement is, and that of a run or an ONNX file (`judging_maps.py`: of maps in a folder)."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jsonargparse import Namespace
from rich.console import Console

from segkd.datasets.data import Data, Records
from segkd.engine.views import Looking, Looks
from segkd.experiment.console import make_console, warn
from segkd.experiment.processes import join_processes
from segkd.experiment.robustness import Robustness, score_corrupted
from segkd.experiment.scoring import Sight, describe, open_split, opened, score_network, threshold_of
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import find_protocol, fingerprint
from segkd.metrics.scores import mean_iou
from segkd.models.enlarge import enlarge
from segkd.models.ensemble import Ensemble, largest, refuse_other_classes
from segkd.models.member import of_file, of_run
from segkd.models.network import Network, device_of
from segkd.models.store import ModelCard
from segkd.types import InputError

if TYPE_CHECKING:
    from segkd.models.onnx import OnnxNetwork


INVERTED = 0.2
"""How much higher the mIoU of inverted or shifted predictions must be for a warning."""


@dataclass(frozen=True)
class Exhibit:
    """What one looks at: image uint8 [h w 3] if there is one, label uint8 [h w], and the prediction [h w], a
    foreground probability (float32) or classes (uint8)."""

    image: np.ndarray | None
    label: np.ndarray
    prediction: np.ndarray


@dataclass
class Judged:
    """The judgement of one model on one data set.

    Attributes:
        name: of the data set.
        title: what was judged on what, for people.
        meter: counts and scores.
        result: the content of `scores.json`.
        show: the exhibit of an image by its id.
        skipped: why an image has no scores, by id.
        surplus: sentences on predictions that no label waited for.
        run: the run folder, when a run was judged.
        robustness: the scores under corruptions, where they were asked for.
    """

    name: str
    title: str
    meter: Meter
    result: dict[str, Any]
    show: Callable[[str], Exhibit]
    skipped: dict[str, str] = field(default_factory=dict)
    surplus: list[str] = field(default_factory=list)
    run: Path | None = None
    robustness: Robustness | None = None


def judge_network(config: Namespace, data: Data, name: str) -> Judged:
    """Judges the student of `config.run`, the file `config.onnx`, or with `config.fuse` all `config.members` as one, on
    `config.split` of `data`."""
    accelerator = join_processes(config.device == "cpu" or config.onnx is not None)
    console = make_console(accelerator.is_main_process)
    network, card = _network(config, data, str(accelerator.device), console)
    protocol, looks = find_protocol(config.protocol), _looks(config)
    sight = Sight(data, card, threshold_for(config, card, len(card.classes)), protocol, looks)
    skipped: dict[str, str] = {}
    records = open_split(data, config.split, console, card.classes, skipped)
    meter = score_network(network, records, accelerator, sight, skipped)
    if not meter.rows:
        raise InputError(f"none of {len(records)} images could be scored. The first: {next(iter(skipped.values()))}")
    for doubt in network.doubts():
        warn(console, doubt)
    robustness = score_corrupted(network, records, accelerator, sight, meter) if config.corruptions else None
    cut = cut_of(sight.threshold, card.classes)
    maps = {"scaled": "as logits", "output": network.read_as and f"as {network.read_as}"}
    about = {
        **_who(config),
        "dataset": name,
        "split": config.split,
        "threshold": sight.threshold,
        "size": list(card.size),
        "step": card.step,
        "skipped": list(skipped.values()),
        **({"reading": network.said} if network.said else {}),
        **({"corruptions": robustness.content()} if robustness else {}),
        "fingerprint": fingerprint(protocol, cut, data.ignore, looks.said, vars(data), maps),
    }
    return Judged(
        name,
        f"{_title(config)} on {name} {config.split} ({len(meter.rows)} images)",
        meter,
        describe(meter, about),
        partial(_seen, sight.through(network), records, sight),
        skipped,
        run=Path(config.run) if config.run and not config.fuse else None,
        robustness=robustness,
    )


def _title(config: Namespace) -> str:
    return f"{f'the {config.fuse} of ' if config.fuse else ''}{', '.join(config.members)}"


def _who(config: Namespace) -> dict[str, Any]:
    """What is judged, for `scores.json`."""
    if config.fuse:
        return {"fuse": config.fuse, "members": config.members}
    return {"run": config.run} if config.run else {"onnx": config.onnx}


def _network(config: Namespace, data: Data, device: str, console: Console) -> tuple[Network, ModelCard]:
    if config.fuse:
        return _ensemble(config, data, device, console)
    if config.run:
        model = opened(config.run, device, config.trust, console)
        return model.network, model.card
    network = _onnx(config, config.onnx, data, console)
    size, told = network.size_for(data.shape), network.statement
    card = ModelCard("segkd.models.onnx.OnnxNetwork", {}, list(data.classes), size)
    if told is not None:
        card = replace(card, classes=told.classes, threshold=told.threshold, step=told.step)
        if config.sized and data.shape != size:
            raise InputError(f"--data.size: {config.onnx} states that it looks at {size[0]} x {size[1]}: leave it out.")
    elif config.threshold == "val" and network.meaning != "classes":
        raise InputError(
            f"--threshold val: {config.onnx} states no threshold of its own. Write a number, or leave it out."
        )
    return network.eval(), card


def _onnx(config: Namespace, path: str, data: Data, console: Console) -> "OnnxNetwork":
    from segkd.models.onnx import OnnxNetwork

    network = OnnxNetwork(
        path,
        len(data.classes),
        config.onnx_output,
        config.mean,
        config.std,
        config.onnx_output_name,
        data.shape,
        threads=torch.get_num_threads(),
        channels=config.channels,
    )
    if network.meaning == "classes" and config.threshold not in ("0.5", "val"):
        raise InputError(
            f"--threshold {config.threshold}: {config.onnx} gives class numbers, so that it is decided already what is "
            "foreground: leave it out, or score the run, or a file of segkd export --output probability."
        )
    console.print(f"onnx: {network.said}")
    return network


def _ensemble(config: Namespace, data: Data, device: str, console: Console) -> tuple[Network, ModelCard]:
    """All networks that are named as one; each looks as often, and at the size, as it would alone."""
    runs = [source for source in config.members if source not in config.files]
    members = [of_run(opened(source, device, config.trust, console), source) for source in runs]
    size = largest(members) if members else data.shape  # of files that take any
    members += [of_file(_onnx(config, source, data, console), source, size) for source in config.files]
    refuse_other_classes(members)
    card = ModelCard("segkd.models.ensemble.Ensemble", {}, list(members[0].classes), largest(members))
    looks = _looks(config)
    if looks != Looks():
        own = [replace(one, network=Looking(one.network, looks, one.size or card.size)) for one in members]
        members = [replace(one, size=None if looks.slide else one.size) for one in own]
    return Ensemble(members).eval(), card


def cut_of(threshold: float, classes: Sequence[str]) -> float | None:
    """The threshold where it decides: of two classes."""
    return threshold if len(classes) == 2 else None


def _looks(config: Namespace) -> Looks:
    return Looks(config.flip, tuple(config.scales), config.slide, config.stride)


def threshold_for(config: Namespace, card: ModelCard | None, classes: int) -> float:
    """The threshold of the foreground that the command line asks for, as its protocol allows."""
    threshold = threshold_of(config.threshold, card)
    if classes > 2 and config.threshold != "0.5":
        raise InputError(
            f"--threshold {config.threshold} decides between two classes; of {classes} the most probable one is taken: "
            "leave it out."
        )
    if find_protocol(config.protocol).stretch and threshold != 0.5:
        raise InputError(f"--protocol pysod cuts at 0.5: leave out --threshold {config.threshold}, or use plain.")
    return threshold


@torch.inference_mode()
def _seen(network: Network, records: Records, sight: Sight, id: str) -> Exhibit:
    """The exhibit of an image that a network looks at once more."""
    image, label = records.load(records.ids.index(id))
    view = sight.transform(image, label, np.random.default_rng(0))
    pixels = torch.tensor(view.image).to(device_of(network)).permute(2, 0, 1)[None].float() / 255
    return Exhibit(image, label, enlarge(network.eval()(pixels).logits.float()[0], label.shape))


def said_of(judged: Judged, console: Console) -> None:
    """Says what was left out, and what makes scores of little worth."""
    for sentence in emptiness(judged.meter):
        warn(console, sentence)
    empty, number = len(judged.meter.without_foreground), len(judged.meter.rows)
    if len(judged.meter.classes) == 2 and 0 < empty < number:
        zero = judged.meter.protocol.zero_when_empty
        rule = "1 where nothing is predicted, which raises iou_fg_image and miou_image"
        console.print(
            f"{empty} of {number} labels hold no foreground: by image the IoU of their foreground is "
            f"{'0, which lowers iou_fg_image' if zero else rule}; iou_fg_dataset counts pixels"
        )
    for what, lines in (("not scored", list(judged.skipped.values())), ("surplus", judged.surplus)):
        for line in lines[:5]:
            warn(console, line, what)
        if len(lines) > 5:
            console.print(f"... and {len(lines) - 5} more")


def emptiness(meter: Meter) -> list[str]:
    """A sentence on each class that is nowhere in the labels or nowhere in the predictions, when that looks wrong."""
    true, predicted = meter.confusion.sum(axis=1), meter.confusion.sum(axis=0)
    if not true.any():
        return ["no label has a pixel that counts"]
    if len(meter.classes) == 2:
        said = ["no image has foreground"] if not true[1] else []
        said += ["every pixel of every label is foreground"] if not true[0] else []
        said += ["nothing is ever predicted as foreground"] if not predicted[1] else []
        said += ["every pixel is predicted as foreground"] if not predicted[0] and true[0] else []
        return said + ([] if said else _inverted(meter.confusion))
    only = [name for name, pixels in zip(meter.classes, predicted) if pixels]
    said = [f"nothing but {only[0]} is ever predicted"] if len(only) == 1 else []
    absent = [name for name, a, b in zip(meter.classes, true, predicted) if a and not b]
    if len(only) > 1 and 2 * len(absent) > np.count_nonzero(true):
        said.append(
            f"in the labels, but never predicted: {', '.join(absent[:8])}{', ...' if len(absent) > 8 else ''} "
            f"({len(absent)} of {np.count_nonzero(true)}); if these are files, do they hold the numbers of all classes?"
        )
    surplus = [name for name, a, b in zip(meter.classes, true, predicted) if b and not a]
    said += [f"predicted, but in no label: {', '.join(surplus[:8])}"] if surplus else []
    return said + _shifted(meter.confusion, meter.classes[0])


def _shifted(confusion: np.ndarray, first: str) -> list[str]:
    """A sentence where class numbers that are one higher, or lower, would score far higher: models and labels often do
    not both count the background."""
    ways = {
        f"the next one: does the model not count {first}, which is 0 here (for maps, --prediction-map "
        "'{0: 1, 1: 2, ...}')": np.roll(confusion, 1, axis=1),
        f"the one before: does the model count another class in front of {first} (for maps, --prediction-map "
        "'{1: 0, 2: 1, ...}')": np.roll(confusion, -1, axis=1),
    }
    ours = mean_iou(confusion)
    return [
        f"miou_dataset would be {theirs:.4f}, not {ours:.4f}, were each predicted class {way}?"
        for way, matrix in ways.items()
        if (theirs := mean_iou(matrix)) >= ours + INVERTED
    ]


def _inverted(confusion: np.ndarray) -> list[str]:
    """A sentence where 1 - p would score far higher: no network is so wrong, but a map whose object is black is."""
    ours, theirs = (mean_iou(matrix) for matrix in (confusion, confusion[:, ::-1]))
    if theirs < ours + INVERTED:
        return []
    return [
        f"inverted (1 - p), these predictions would have a miou_dataset of {theirs:.4f}, not {ours:.4f}: is their "
        "foreground black?"
    ]


def renamed(judged: list[Judged]) -> list[Judged]:
    """Data sets whose names differ: what is written lies in a folder of that name."""
    taken: set[str] = set()
    out = []
    for one in judged:
        names = (f"{one.name}-{number}" if number > 1 else one.name for number in itertools.count(1))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        out.append(replace(one, name=name, result={**one.result, "dataset": name}))
    return out
