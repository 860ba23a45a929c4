"""Scores of predictions that lie in files, by one process or several: a bad file costs its own scores only."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

import cv2
import numpy as np

from segkd.datasets.labels import LabelCode, code_from_threshold, resize_label
from segkd.datasets.loader import single_threaded_opencv
from segkd.datasets.maps import read_class_map, read_map
from segkd.datasets.matching import MapPair
from segkd.datasets.pictures import read_mask
from segkd.metrics.counts import ImageCounts, count_binary, count_classes
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PLAIN, Protocol
from segkd.types import InputError


@dataclass(frozen=True)
class Verdict:
    """What became of one pair: its counts, or the sentence that says why it has none."""

    id: str
    counts: ImageCounts | None = None
    fault: str | None = None
    resized: bool = False


@dataclass(frozen=True)
class MapScorer:
    """Reads and counts a pair of files.

    Attributes:
        classes: number of classes.
        code: raw label values -> classes.
        protocol: how predictions are scored.
        threshold: of the foreground, for two classes.
        ones: 8-bit predictions hold 0 and 1, not 0 to 255.
        refuse_ones: a label that holds 1 and nothing above is refused: the others hold 0 to 255.
    """

    classes: int
    code: LabelCode
    protocol: Protocol = PLAIN
    threshold: float = 0.5
    ones: bool = False
    refuse_ones: bool = False

    @staticmethod
    def for_binary() -> "MapScorer":
        """For maps of 0..255 and masks of 0 and 255, as they are."""
        return MapScorer(2, code_from_threshold(128))

    def __call__(self, pair: MapPair) -> Verdict:
        """The verdict on a pair; never raises for a bad file."""
        try:
            label, prediction = self.read_label(pair), self.read_prediction(pair)
            resized = prediction.shape[-2:] != label.shape
            prediction = to_label_size(prediction, label.shape, self.classes)
            if self.classes == 2:
                counts = count_binary(prediction, label, self.threshold, self.protocol)
            else:
                chosen = prediction.argmax(axis=0).astype(np.uint8) if prediction.ndim == 3 else prediction
                counts = count_classes(chosen, label, self.classes)
        except InputError as error:
            return Verdict(pair.id, fault=str(error))
        except (OSError, MemoryError, cv2.error) as error:
            return Verdict(pair.id, fault=f"{pair.prediction}: could not be scored: {error}")
        return Verdict(pair.id, counts, resized=resized)

    def read_prediction(self, pair: MapPair) -> np.ndarray:
        """The prediction at its own size: uint8 or float32 [h w], or scores float32 [k h w]."""
        return (
            read_map(pair.prediction, self.ones) if self.classes == 2 else read_class_map(pair.prediction, self.classes)
        )

    def read_label(self, pair: MapPair) -> np.ndarray:
        """The label, classes and IGNORE, uint8 [h w]."""
        raw = read_mask(pair.label)
        if self.refuse_ones and raw.max() == 1:
            raise InputError(f"{pair.label}: holds 0 and 1, but the other masks hold 0 to 255. Save it like them.")
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


def to_label_size(prediction: np.ndarray, size: tuple[int, int], classes: int) -> np.ndarray:
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


def score_maps(
    pairs: Sequence[MapPair],
    scorer: MapScorer,
    classes: Sequence[str],
    processes: int = 1,
    advance: Callable[[int], None] = lambda n: None,
) -> MapScores:
    """Scores every pair; the result does not depend on `processes`. `advance(n)` is told of n more pairs."""
    scores = MapScores(Meter(classes, scorer.protocol))
    if processes > 1 and len(pairs) > 1:
        single_threaded_opencv()
        share = max(1, min(16, len(pairs) // (4 * processes)))
        with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
            # what a task carries is small; forked workers need not import anything again
            chunks = [pairs[start : start + share] for start in range(0, len(pairs), share)]
            for verdicts in pool.map(partial(_judge_chunk, scorer), chunks):
                _take(scores, verdicts)
                advance(len(verdicts))
        return scores
    for pair in pairs:
        _take(scores, [scorer(pair)])
        advance(1)
    return scores


def _judge_chunk(scorer: MapScorer, pairs: Sequence[MapPair]) -> list[Verdict]:
    return [scorer(pair) for pair in pairs]


def _take(scores: MapScores, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        if verdict.counts is None:
            scores.faults[verdict.id] = str(verdict.fault)
        else:
            scores.meter.add(verdict.id, verdict.counts)
            scores.resized += verdict.resized


def _bilinear(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    grown = cv2.resize(plane.astype(np.float32, copy=False), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return grown
