"""`segkd evaluate --predictions`: maps that lie in a folder, looked at as a whole first and then judged one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace
from rich.console import Console

from segkd.datasets.coding import Told, decide, refuse_colours
from segkd.datasets.colours import Colour, hexed, packed
from segkd.datasets.data import Data
from segkd.datasets.geometry import Size, in_pixels, misfit, own_size, refuse_misfits
from segkd.datasets.labels import LabelCode
from segkd.datasets.matching import MapPair, Matching, images_for, labels_in, match_maps
from segkd.datasets.notes import notes_on_masks
from segkd.datasets.opening import splits_of
from segkd.datasets.patterns import Pattern
from segkd.datasets.pictures import How, read_image
from segkd.datasets.tally import Tally, told
from segkd.datasets.truth import by_their_values, label_rule
from segkd.engine.judge import Glance, Looker, MapScorer, look_at, score_maps, to_label_size
from segkd.experiment.console import make_console, ticking, warn
from segkd.experiment.scoring import describe
from segkd.metrics.protocol import find_protocol, fingerprint
from segkd.report.judging import Exhibit, Judged, cut_of, threshold_for
from segkd.types import InputError, some


def judge_maps(config: Namespace, data: Data, number: int) -> Judged:
    """Judges the maps of `config.predictions[number]` against a folder of labels, or against a split of `data`."""
    console, folder = make_console(True), Path(config.predictions[number])
    threshold_for(config, None, len(data.classes))
    source = _labels(config, data, number)
    matching = match_maps(folder, source.labels, data.classes)
    for note in [*source.notes, *matching.notes]:
        console.print(note)
    truth, how = _reading(data, matching)
    scorer, faults, coding = _scorer(config, truth, how, _look(config, data, how, matching, console), console)
    by_id = {pair.id: pair for pair in matching.pairs if pair.id not in faults}
    with ticking(console, "scoring") as ticker:
        ticker(len(by_id))
        found = score_maps(list(by_id.values()), scorer, data.classes, config.processes, ticker.move)
    if found.resized:
        console.print(f"{found.resized} of {len(found.meter.rows)} predictions are scaled to the size of their label")
    skipped = source.unusable | matching.unreadable | faults | found.faults | matching.missing
    missing = list(skipped.values())
    if not found.meter.rows:
        raise _nothing(folder, missing, len(matching.pairs))
    about = {
        "predictions": str(folder),
        "dataset": source.name,
        **({} if config.labels is not None else {"split": config.split}),
        "threshold": scorer.threshold,
        "n_resized": found.resized,
        "skipped": missing,
        "surplus": matching.surplus,
        "coding": coding,
        "fingerprint": _fingerprint(scorer, truth, found.resized),
    }
    return Judged(
        source.name,
        f"{folder} on {source.name} ({len(found.meter.rows)} images)",
        found.meter,
        describe(found.meter, about),
        partial(_on_file, scorer, by_id, source.images),
        skipped,
        matching.surplus,
    )


@dataclass(frozen=True)
class _Source:
    """Labels and images by stem, the data set's name, labels that cannot be used, with why, and notes."""

    labels: dict[str, Path]
    images: dict[str, Path]
    name: str
    unusable: dict[str, str]
    notes: Sequence[str] = ()


def _labels(config: Namespace, data: Data, number: int) -> _Source:
    if config.labels is None:
        pairs = splits_of(data, [config.split]).members.get(config.split)
        if pairs is None:
            raise InputError(f"no {config.split} split in {data.root}. Name its list: --data.{config.split} FILE.")
        name = Path(str(data.root)).name
        return _Source({p.stem: p.paths[1] for p in pairs}, {p.stem: p.paths[0] for p in pairs}, name, {})
    place = Path(config.labels[number])
    folder = Path(Pattern.of(str(place)).base)
    names = Path(config.list[number]) if config.list else None
    generic = folder.resolve().name.lower() in {"masks", "mask", "labels", "label", "gt", "gts", "annotations"}
    found = labels_in(place, names)
    images = images_for(Path(config.images[number]), found.files) if config.images else {}
    name = (folder.resolve().parent if generic else folder.resolve()).name
    lone = sorted(found.files.keys() - images.keys()) if config.images else []
    unseen = f"{len(lone)} of {len(found.files)} labels have no picture of their name in --images ({some(lone)})"
    return _Source(found.files, images, name, found.faults, [*found.notes, *[unseen] * bool(lone)])


def _fingerprint(scorer: MapScorer, data: Data, resized: int) -> dict[str, Any]:
    """The rules, and as what maps were brought to the size of their label, where any was."""
    scaled = "as probabilities" if scorer.classes == 2 else "as they are in the files"
    cut, maps = cut_of(scorer.threshold, data.classes), {"scaled": scaled if resized else ""}
    return fingerprint(scorer.protocol, cut, data.ignore, reading=vars(data), maps=maps)


def _reading(data: Data, matching: Matching) -> tuple[Data, How]:
    """How labels are read, and how all files are."""
    truth = by_their_values(data, [pair.label for pair in matching.pairs])
    return truth, data.how if truth is data else replace(data.how, grey_values=True)


def _look(config: Namespace, data: Data, how: How, matching: Matching, console: Console) -> list[Glance]:
    with ticking(console, "looking at every file") as ticker:
        ticker(len(matching.pairs))
        glances = look_at(matching.pairs, Looker(len(data.classes), how), config.processes, ticker.move)
    if not any(glance.prediction for glance in glances):
        refuse_colours([pair.prediction for pair in matching.pairs], how, data.classes)
    return glances


def _nothing(folder: Path, faults: Sequence[str], files: int) -> InputError:
    return InputError(f"--predictions {folder}: none of {files} could be scored. The first: {faults[0]}")


def _scorer(
    config: Namespace, data: Data, how: How, glances: Sequence[Glance], console: Console
) -> tuple[MapScorer, dict[str, str], dict[str, Any]]:
    """How all files are read, decided from what all of them hold; why a file cannot be scored, by id; what is said."""
    unread = {glance.id: glance.fault for glance in glances if glance.fault is not None}
    labels = {glance.id: glance.label for glance in glances if glance.label is not None}
    maps = {glance.id: glance.prediction for glance in glances if glance.prediction is not None}
    if not maps:
        return MapScorer.for_binary(), unread, {}
    found = {"labels": told(list(labels.values())), "predictions": told(list(maps.values()))}
    for name, words in found.items():
        console.print(f"{name}: {words}")
    code, faults = label_rule(labels, data)
    coding = decide(maps, len(data.classes), Told(config.prediction_map, config.prediction_scale))
    console.print(f"labels: {code.rule}; predictions: {coding.rule}")
    own, misfits = _geometry({id: (one.path, one.size, labels[id].size) for id, one in maps.items()})
    notes = [*_notes(labels, "labels"), *_notes(maps, "predictions"), *coding.notes, *_said_of_size(own),
             *_said_of_themselves(labels, maps)]  # fmt: skip
    notes += _said_of_palettes(labels, maps, code) if coding.map is None else []
    for note in [*notes, *(_said_of_orientations(labels, maps) if data.exif else [])]:
        warn(console, note)
    rules = {"labels": code.rule, "predictions": coding.rule}
    said = {name: {"found": words, "rule": rules[name]} for name, words in found.items()}
    protocol, threshold = find_protocol(config.protocol), threshold_for(config, None, len(data.classes))
    scorer = MapScorer(len(data.classes), code, coding, protocol, threshold, how, own)
    return scorer, unread | misfits | faults | coding.faults, said


def _geometry(sizes: Mapping[str, tuple[Path, Size, Size]]) -> tuple[Size | None, dict[str, str]]:
    """The size that a network gave to every picture, and what is wrong with others: of path, prediction and label."""
    both = {id: (found, label) for id, (_, found, label) in sizes.items()}
    own = own_size(both)
    wrong = {id: misfit(path, found, label, own) for id, (path, found, label) in sizes.items()}
    misfits = {id: sentence for id, sentence in wrong.items() if sentence is not None}
    refuse_misfits(misfits, both)
    return own, misfits


def _notes(tallies: Mapping[str, Tally], what: str) -> list[str]:
    return notes_on_masks({str(one.path): one.seen for one in tallies.values()}, what)


def _said_of_orientations(labels: Mapping[str, Tally], maps: Mapping[str, Tally]) -> list[str]:
    odd = [one.path.name for id, one in maps.items() if one.seen.tag != labels[id].seen.tag]
    return odd and [
        f"{len(odd)} of {len(maps)} predictions: another EXIF orientation than that of the label ({some(odd)}): each "
        "is turned by its own. If they fit as they are stored, write --data.exif false."
    ]


def _said_of_themselves(labels: Mapping[str, Tally], maps: Mapping[str, Tally]) -> list[str]:
    """A sentence on labels that are their own predictions, whose scores are perfect whatever the model."""
    own = [str(one.path) for id, one in maps.items() if one.path.resolve() == labels[id].path.resolve()]
    return own and [
        f"{len(own)} of {len(maps)} predictions are the labels themselves ({own[0]}), so that scores say nothing of a "
        "model. Name the folder of its maps; where both lie in one, a pattern for each ('FOLDER/{}_pred.*')."
    ]


def _said_of_palettes(labels: Mapping[str, Tally], maps: Mapping[str, Tally], code: LabelCode) -> list[str]:
    """A sentence on predictions whose palettes hold the labels' colours under other numbers, as one that was made of a
    picture in colours does."""
    known = {colour: number for one in labels.values() for number, colour in one.seen.palette.items()}
    odd = {one.path: moved for one in maps.values() if (moved := _moved(one, known, code))}
    if not odd:
        return []
    path, (colour, number) = next(iter(odd.items()))
    return [
        f"{len(odd)} of {len(maps)} predictions have the colours of the labels under other numbers: in {path} "
        f"{hexed(packed(colour))} is {number}, in the labels {known[colour]}. Both are read by their numbers; if the "
        f"colours are the classes, write data.colours: {{CLASS: '{hexed(packed(colour))}', ...}}."
    ]


def _moved(one: Tally, known: Mapping[Colour, int], code: LabelCode) -> tuple[Colour, int] | None:
    """A colour whose number is neither that of the labels nor its class, of a palette that holds theirs alone."""
    palette = one.seen.palette
    if not set(palette.values()) <= known.keys():
        return None
    pairs = ((colour, number) for number, colour in palette.items())
    return next((pair for pair in pairs if pair[1] not in (known[pair[0]], code.table[known[pair[0]]])), None)


def _said_of_size(own: Size | None) -> list[str]:
    if own is None:
        return []
    return [f"the predictions measure {in_pixels(own)}, whatever the shape of their label: they are stretched to it"]


def _on_file(scorer: MapScorer, pairs: dict[str, MapPair], images: dict[str, Path], id: str) -> Exhibit:
    """The exhibit of an image whose prediction lies in a file."""
    label = scorer.read_label(pairs[id])
    size = (label.shape[0], label.shape[1])
    prediction = to_label_size(scorer.read_prediction(pairs[id], size), size, scorer.classes)
    if scorer.classes == 2 and prediction.dtype == np.uint8:
        prediction = prediction.astype(np.float32) / np.float32(255)
    if prediction.ndim == 3:
        prediction = prediction.argmax(axis=0).astype(np.uint8)
    image = read_image(images[id], scorer.how) if id in images else None
    return Exhibit(image if image is None or image.shape[:2] == label.shape else None, label, prediction)
