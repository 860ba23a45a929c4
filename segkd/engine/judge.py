"""Scores of predictions that lie in files, by one process or several: a bad file costs its own scores only."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import cv2
import numpy as np

from segkd.datasets.coding import Coding
from segkd.datasets.feed import single_threaded_opencv
from segkd.datasets.geometry import Size, misfit
from segkd.datasets.labels import LabelCode, code_from_threshold, resize_label
from segkd.datasets.maps import read_prediction, stored_size, view_prediction
from segkd.datasets.matching import MapPair
from segkd.datasets.pictures import PLAIN, How, read_mask, view_mask
from segkd.datasets.tally import Tally, kind_of, tally_of
from segkd.engine.memory import out_of_memory
from segkd.metrics.counts import ImageCounts, count_binary, count_classes
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PLAIN as AS_IT_IS
from segkd.metrics.protocol import Protocol
from segkd.types import InputError

Found = TypeVar("Found")


@dataclass(frozen=True)
class Glance:
    """What a first look at one pair found: the raw numbers of label and prediction, or what is wrong."""

    id: str
    label: Tally | None = None
    prediction: Tally | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of one pair: its counts, or the sentence that says why it has none."""

    id: str
    counts: ImageCounts | None = None
    fault: str | None = None
    resized: bool = False


@dataclass(frozen=True)
class Looker:
    """Takes the first look at a pair; never raises for a bad file."""

    classes: int
    how: How = PLAIN

    def __call__(self, pair: MapPair) -> Glance:
        """The raw numbers of both files, counted."""
        label = None
        try:
            label = tally_of(pair.label, *view_mask(pair.label, self.how), most=65536)
            stored = stored_size(pair.prediction, self.how)
            wrong = None if stored is None else misfit(pair.prediction, stored, label.size, stored)
            if wrong is not None:  # before a map far too large is decoded
                return Glance(pair.id, label, fault=wrong)
            seen = view_prediction(pair.prediction, self.classes, label.size, self.how)
            return Glance(pair.id, label, tally_of(pair.prediction, *seen))
        except (InputError, OSError, MemoryError) as error:
            return Glance(pair.id, label, fault=_sentence(pair, error))


@dataclass(frozen=True)
class MapScorer:
    """Reads and counts a pair of files.

    Attributes:
        classes: number of classes.
        code: raw label values -> classes.
        coding: raw numbers of predictions -> levels, probabilities, classes or scores.
        protocol: how predictions are scored.
        threshold: of the foreground, for two classes.
        how: how picture files are read.
        own: the size that a network gave to every picture, whatever the label's.
    """

    classes: int
    code: LabelCode
    coding: Coding
    protocol: Protocol = AS_IT_IS
    threshold: float = 0.5
    how: How = PLAIN
    own: Size | None = None

    @staticmethod
    def for_binary() -> "MapScorer":
        """For maps of 0..255 in 8 bits and masks of 0 and 255, as they are."""
        return MapScorer(2, code_from_threshold(128), Coding(2, {"8 bit": 255.0}))

    def __call__(self, pair: MapPair) -> Verdict:
        """The verdict on a pair; never raises for a bad file."""
        try:
            label = self.read_label(pair)
            prediction = self.read_prediction(pair, (label.shape[0], label.shape[1]))
            found = (prediction.shape[-2], prediction.shape[-1])
            wrong = misfit(pair.prediction, found, (label.shape[0], label.shape[1]), self.own)
            if wrong is not None:
                return Verdict(pair.id, fault=wrong)
            prediction = to_label_size(prediction, label.shape, self.classes)
            if self.classes == 2:
                counts = count_binary(prediction, label, self.threshold, self.protocol)
            else:
                chosen = prediction.argmax(axis=0).astype(np.uint8) if prediction.ndim == 3 else prediction
                counts = count_classes(chosen, label, self.classes)
        except (InputError, OSError, MemoryError, cv2.error) as error:
            return Verdict(pair.id, fault=_sentence(pair, error))
        return Verdict(pair.id, counts, resized=found != label.shape)

    def read_prediction(self, pair: MapPair, size: Size) -> np.ndarray:
        """The prediction at its own size: uint8 or float32 [h w], or scores float32 [k h w]."""
        raw = read_prediction(pair.prediction, self.classes, size, self.how)
        return self.coding(pair.prediction, raw, kind_of(raw))

    def read_label(self, pair: MapPair) -> np.ndarray:
        """The label, classes and IGNORE, uint8 [h w]."""
        raw = read_mask(pair.label, self.how)
        known = self.code.known[raw]
        if not known.all():
            raise InputError(f"{pair.label}: raw value {raw[~known][0]} is not a class. Read as: {self.code.rule}.")
        return self.code(raw)


@dataclass
class MapScores:
    """Scores of a folder: the meter, the faults by name, and how many predictions had another size than their label."""

    meter: Meter
    faults: dict[str, str] = field(default_factory=dict)
    resized: int = 0


def to_label_size(prediction: np.ndarray, size: tuple[int, ...], classes: int) -> np.ndarray:
    """A map at another size (h, w): values bilinearly with pixel centres kept, class numbers by nearest-exact."""
    if prediction.shape[-2:] == tuple(size):
        return prediction
    if prediction.ndim == 3:
        return np.stack([_bilinear(plane, size) for plane in prediction])
    if classes > 2:
        return resize_label(prediction, (size[0], size[1]))
    if prediction.dtype == np.uint8:
        prediction = prediction.astype(np.float32) / np.float32(255)
    return _bilinear(prediction, size)


def look_at(
    pairs: Sequence[MapPair], looker: Looker, processes: int = 1, advance: Callable[[int], None] = lambda n: None
) -> list[Glance]:
    """A first look at every pair, in order, before any is scored: what all files hold decides how they are read."""
    return list(_each(pairs, looker, processes, advance))


def score_maps(
    pairs: Sequence[MapPair],
    scorer: MapScorer,
    classes: Sequence[str],
    processes: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> MapScores:
    """Scores every pair; the result does not depend on `processes`. `advance(n)` is told of n more pairs."""
    scores = MapScores(Meter(classes, scorer.protocol))
    for verdict in _each(pairs, scorer, processes, advance):
        if verdict.counts is None:
            scores.faults[verdict.id] = str(verdict.fault)
        else:
            scores.meter.add(verdict.id, verdict.counts)
            scores.resized += verdict.resized
    return scores


def _each(
    pairs: Sequence[MapPair], work: Callable[[MapPair], Found], processes: int, advance: Callable[[int], None]
) -> Iterator[Found]:
    if processes == 1 or len(pairs) < 2:
        for pair in pairs:
            yield work(pair)
            advance(1)
        return
    single_threaded_opencv()
    share = max(1, min(16, len(pairs) // (4 * processes)))
    # what a task carries is small; forked workers need not import anything again
    chunks = [pairs[start : start + share] for start in range(0, len(pairs), share)]
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
            for results in pool.map(partial(_chunk, work), chunks):
                yield from results
                advance(len(results))
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {processes} processes that read maps was ended from outside, most often because the memory was "
            "full. Run it again with --processes 1."
        ) from error


def _chunk(work: Callable[[MapPair], Found], pairs: Sequence[MapPair]) -> list[Found]:
    return [work(pair) for pair in pairs]


def _sentence(pair: MapPair, error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    why = "the memory is too small for it" if out_of_memory(error) else str(error) or type(error).__name__
    return f"{pair.prediction}: could not be scored: {why}."


def _bilinear(plane: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return cv2.resize(plane.astype(np.float32, copy=False), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
