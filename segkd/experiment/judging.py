"""`segkd evaluate`: any model's predictions on any data set, judged: a run, an ONNX file, or maps in a folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from jsonargparse import Namespace
from rich.console import Console

from segkd.datasets.data import Data, Records, splits_of
from segkd.datasets.maps import label_code, probe, read_map
from segkd.datasets.matching import MapPair, Matching, files_by_stem, labels_in, match_maps
from segkd.datasets.pictures import read_image, read_mask
from segkd.engine.judge import MapScorer, score_maps, to_label_size
from segkd.engine.views import Looks
from segkd.experiment.console import make_console, ticking, warn
from segkd.experiment.scoring import Sight, describe, open_split, score_network, threshold_of
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import find_protocol, fingerprint
from segkd.models.enlarge import enlarge
from segkd.models.network import Network
from segkd.models.store import ModelCard, load_model
from segkd.types import InputError


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
    """

    name: str
    title: str
    meter: Meter
    result: dict[str, Any]
    show: Callable[[str], Exhibit]
    skipped: dict[str, str] = field(default_factory=dict)
    surplus: list[str] = field(default_factory=list)
    run: Path | None = None


def judge_network(config: Namespace, data: Data, name: str) -> Judged:
    """Judges the student of `config.run`, or the file `config.onnx`, on `config.split` of `data`."""
    accelerator = Accelerator(cpu=config.device == "cpu" or config.onnx is not None)
    console = make_console(accelerator.is_main_process)
    network, card = _network(config, data, str(accelerator.device), console)
    protocol, looks = find_protocol(config.protocol), _looks(config)
    sight = Sight(data, card, _threshold(config, card), protocol, looks)
    skipped: dict[str, str] = {}
    records = open_split(data, config.split, console, card.classes, skipped)
    meter = score_network(network, records, accelerator, sight)
    for doubt in network.doubts():
        warn(console, doubt)
    about = {
        "run" if config.run else "onnx": config.run or config.onnx,
        "dataset": name,
        "split": config.split,
        "threshold": sight.threshold,
        "size": list(card.size),
        "step": card.step,
        "skipped": list(skipped.values()),
        "fingerprint": fingerprint(protocol, _cut(sight.threshold, card.classes), data.ignore, looks.said),
    }
    return Judged(
        name,
        f"{config.run or config.onnx} on {name} {config.split} ({len(meter.rows)} images)",
        meter,
        describe(meter, about),
        partial(_seen, sight.through(network), records, sight),
        skipped,
        run=Path(config.run) if config.run else None,
    )


def judge_maps(config: Namespace, data: Data, number: int) -> Judged:
    """Judges the maps of `config.predictions[number]` against a folder of labels, or against a split of `data`."""
    console = make_console(True)
    folder = Path(config.predictions[number])
    labels, images, name, unusable, notes = _labels(config, data, number)
    matching = match_maps(folder, labels)
    for note in [*notes, *matching.notes]:
        console.print(note)
    scorer, rule = _scorer(config, data, matching)
    console.print(f"labels: {rule}{'; predictions are 0 and 1' if scorer.ones else ''}")
    with ticking(console, "scoring") as ticker:
        ticker(len(matching.pairs))
        found = score_maps(matching.pairs, scorer, data.classes, config.processes, ticker.move)
    skipped = unusable | matching.unreadable | found.faults
    missing = [*skipped.values(), *matching.missing]
    if not found.meter.rows:
        number_of = len(matching.pairs)
        raise InputError(f"--predictions {folder}: none of {number_of} could be scored. The first: {missing[0]}")
    about = {
        "predictions": str(folder),
        "dataset": name,
        "threshold": scorer.threshold,
        "n_resized": found.resized,
        "skipped": missing,
        "surplus": matching.surplus,
        "fingerprint": fingerprint(scorer.protocol, _cut(scorer.threshold, data.classes), data.ignore),
    }
    skipped |= {line.partition(":")[0]: line for line in matching.missing}
    by_id = {pair.id: pair for pair in matching.pairs}
    return Judged(
        name,
        f"{folder} on {name} ({len(found.meter.rows)} images)",
        found.meter,
        describe(found.meter, about),
        partial(_on_file, scorer, by_id, images),
        skipped,
        matching.surplus,
    )


def _network(config: Namespace, data: Data, device: str, console: Console) -> tuple[Network, ModelCard]:
    if config.run:
        model = load_model(config.run, device)
        return model.network, model.card
    from segkd.models.onnx import OnnxNetwork

    network = OnnxNetwork(
        config.onnx,
        len(data.classes),
        config.onnx_output,
        config.mean,
        config.std,
        config.onnx_output_name,
        data.shape,
        threads=torch.get_num_threads(),
    )
    console.print(f"onnx: {network.said}")
    card = ModelCard("segkd.models.onnx.OnnxNetwork", {}, list(data.classes), network.size_for(data.shape))
    return network.eval(), card


def _cut(threshold: float, classes: Sequence[str]) -> float | None:
    return threshold if len(classes) == 2 else None


def _looks(config: Namespace) -> Looks:
    return Looks(config.flip, tuple(config.scales), config.slide, config.stride)


def _threshold(config: Namespace, card: ModelCard | None) -> float:
    threshold = threshold_of(config.threshold, card)
    if find_protocol(config.protocol).stretch and threshold != 0.5:
        raise InputError(f"--protocol pysod cuts at 0.5: leave out --threshold {config.threshold}, or use plain.")
    return threshold


def _scorer(config: Namespace, data: Data, matching: Matching) -> tuple[MapScorer, str]:
    classes = len(data.classes)
    largest = probe((pair.label for pair in matching.pairs), read_mask, data.ignore)
    code = label_code(largest, classes, data.label_map, data.ignore, data.threshold)
    guessed = classes == 2 and data.label_map is None and data.threshold is None
    ones = classes == 2 and probe((pair.prediction for pair in matching.pairs), read_map) <= 1
    scorer = MapScorer(
        classes, code, find_protocol(config.protocol), _threshold(config, None), ones, guessed and largest > 1
    )
    return scorer, code.rule


def _labels(config: Namespace, data: Data, number: int) -> tuple[dict, dict, str, dict[str, str], list[str]]:
    """Label files and image files by stem, the data set's name, labels that cannot be used, with why, and notes."""
    if config.labels is None:
        pairs = splits_of(data).get(config.split)
        if pairs is None:
            raise InputError(f"no {config.split} split in {data.root}. Name its list: --data.{config.split} FILE.")
        return {p.stem: p.mask for p in pairs}, {p.stem: p.image for p in pairs}, Path(str(data.root)).name, {}, []
    folder = Path(config.labels[number])
    names = Path(config.list[number]) if config.list else None
    images = files_by_stem(Path(config.images[number]), "images").files if config.images else {}
    generic = folder.resolve().name.lower() in {"masks", "mask", "labels", "label", "gt", "gts", "annotations"}
    found = labels_in(folder, names)
    name = (folder.resolve().parent if generic else folder.resolve()).name
    return found.files, images, name, found.faults, found.notes


@torch.inference_mode()
def _seen(network: Network, records: Records, sight: Sight, id: str) -> Exhibit:
    """The exhibit of an image that a network looks at once more."""
    image, label = records.load(records.ids.index(id))
    view = sight.transform(image, label, np.random.default_rng(0))
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    pixels = torch.tensor(view.image).to(device).permute(2, 0, 1)[None].float() / 255
    return Exhibit(image, label, enlarge(network.eval()(pixels).logits.float()[0], label.shape))


def _on_file(scorer: MapScorer, pairs: dict[str, MapPair], images: dict[str, Path], id: str) -> Exhibit:
    """The exhibit of an image whose prediction lies in a file."""
    label = scorer.read_label(pairs[id])
    prediction = to_label_size(scorer.read_prediction(pairs[id]), label.shape, scorer.classes)
    if scorer.classes == 2 and prediction.dtype == np.uint8:
        prediction = prediction.astype(np.float32) / np.float32(255)
    if prediction.ndim == 3:
        prediction = prediction.argmax(axis=0).astype(np.uint8)
    image = read_image(images[id]) if id in images else None
    return Exhibit(image if image is None or image.shape[:2] == label.shape else None, label, prediction)


def said_of(judged: Judged, console: Console) -> None:
    """Says what was left out."""
    for what, lines in (("not scored", list(judged.skipped.values())), ("surplus", judged.surplus)):
        for line in lines[:5]:
            warn(console, line, what)
        if len(lines) > 5:
            console.print(f"... and {len(lines) - 5} more")


def renamed(judged: list[Judged]) -> list[Judged]:
    """Data sets whose names differ: what is written lies in a folder of that name."""
    seen: dict[str, int] = {}
    out = []
    for one in judged:
        seen[one.name] = seen.get(one.name, 0) + 1
        name = f"{one.name}-{seen[one.name]}" if seen[one.name] > 1 else one.name
        out.append(replace(one, name=name, result={**one.result, "dataset": name}))
    return out
