"""What reading every pair of a draft tells: values of masks, sizes, and how images look."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from segkd.datasets.audit import Audit, Reading, read_all
from segkd.datasets.checks import refuse_settings
from segkd.datasets.data import Data, Records
from segkd.datasets.faults import refuse_faults
from segkd.datasets.labels import LabelCode, resize_label
from segkd.datasets.opening import label_code, load_pair, splits_of
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import How
from segkd.datasets.prepare.twins import print_of
from segkd.datasets.splits import Splits

KEPT = 400
"""Masks that are kept, small, to try sizes on."""

SIDE = 1024
"""Pixels a side that these masks have at most."""


@dataclass
class Seen:
    """What reading all pairs told.

    Attributes:
        splits: the pairs of each split.
        audit: values of the masks, sizes of the images and faults of the files.
        masks: the raw values of some masks, at `SIDE` pixels at most, by stem.
        prints: how images look (`twins.print_of`), by stem.
    """

    splits: Splits
    audit: Audit = field(default_factory=Audit)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    prints: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of all splits."""
        return [pair for members in self.splits.members.values() for pair in members]

    def keep(self, reading: Reading) -> None:
        """Notes one pair."""
        assert reading.image is not None and reading.raw is not None
        if (found := print_of(reading.image)) is not None:
            self.prints[reading.pair.stem] = found
        if len(self.masks) < KEPT:
            self.masks[reading.pair.stem] = _shrunk(reading.raw)

    def code(self, data: Data) -> LabelCode:
        """How the masks are read. Raises InputError naming every fault of the settings, or of a file."""
        refuse_settings(data)
        code = label_code(data, np.flatnonzero(self.audit.total).tolist())
        refuse_faults(self.audit, code, data.classes)
        return code

    def look_at(self, size: tuple[int, int]) -> None:
        """Notes what is left of the masks at (height, width)."""
        for stem, mask in self.masks.items():
            self.audit.readings[stem].small = np.unique(resize_label(mask, size))

    def records(self, code: LabelCode, how: How) -> Records:
        """All pairs, read anew."""
        pairs = self.pairs
        stems = tuple(pair.stem for pair in pairs)
        digests = [self.audit.readings[stem].digest for stem in stems]
        return Records("all", stems, partial(load_pair, pairs, {}, code, how, digests, {}))


def look(data: Data, advance: Callable[[int], None]) -> Seen:
    """Reads every pair of every split; `advance` is told their number once, then 0 for each."""
    seen = Seen(splits_of(data))
    advance(len(seen.pairs))
    read_all(seen.pairs, seen.keep, seen.audit, partial(advance, 0), data.how)
    return seen


def _shrunk(raw: np.ndarray) -> np.ndarray:
    scale = min(1.0, SIDE / max(raw.shape))
    return resize_label(raw, (max(1, round(raw.shape[0] * scale)), max(1, round(raw.shape[1] * scale))))
