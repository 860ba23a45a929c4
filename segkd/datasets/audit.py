"""Every image and mask is read once before epoch 1, and every fault is named by file, all in one report."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from segkd.datasets.deep import SWAPPED
from segkd.datasets.digest import digest_of
from segkd.datasets.geometry import in_pixels
from segkd.datasets.heads import by_head
from segkd.datasets.labels import resize_label
from segkd.datasets.packed import File
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import PLAIN, How, Seen, view_image, view_mask
from segkd.datasets.unfit import Unfit, no_room
from segkd.types import InputError

OTHER_SIZE = "the mask has another size than its image"
"""The fault that `segkd prepare` cures, by enlarging, where the proportions are the same."""

SMALLEST = 4
"""Pixels a side below which a random crop may hold nothing."""

AHEAD = 100e6
"""Pixels that are decoded ahead at most: threads must not fill the memory with large pictures."""

PAIRS_AHEAD = 256
"""Pairs that are read ahead at most, however small."""


@dataclass
class Reading:
    """What reading one pair gave: arrays and what else the files tell, or what is wrong with them.

    Attributes:
        counts: the raw values of the mask and the pixels of each.
        small: the raw values that are left at the size that the network sees.
        shape: height and width of the image, as it is displayed.
        undecided: image and mask are turned differently, and their sizes fit either way.
        digest: of the two files.
    """

    pair: Pair
    image: np.ndarray | None = None
    raw: np.ndarray | None = None
    fault: InputError | None = None
    counts: tuple[np.ndarray, np.ndarray] = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    small: np.ndarray | None = None
    shape: tuple[int, int] | None = None
    seen_image: Seen = field(default_factory=Seen)
    seen_mask: Seen = field(default_factory=Seen)
    undecided: bool = False
    digest: str = ""


@dataclass
class Audit:
    """What reading all files told, by stem: the `readings` of pairs that can be used, without their arrays, and what is
    wrong with the others."""

    readings: dict[str, Reading] = field(default_factory=dict)
    faults: dict[str, InputError] = field(default_factory=dict)

    def take(self, reading: Reading) -> None:
        """Keeps what one reading told, but for its arrays."""
        if reading.fault is not None:
            self.faults[reading.pair.stem] = reading.fault
        else:
            self.readings[reading.pair.stem] = replace(reading, image=None, raw=None)

    def forget(self, stems: Iterable[str]) -> None:
        """Takes out all that is known of some pairs."""
        for stem in stems:
            self.readings.pop(stem, None)
            self.faults.pop(stem, None)

    @property
    def total(self) -> np.ndarray:
        """Pixels of each raw value over all files, int64 [65536]."""
        return self.of(self.readings)

    def of(self, stems: Iterable[str]) -> np.ndarray:
        """Pixels of each raw value over some files, int64 [65536]."""
        total = np.zeros(65536, np.int64)
        for values, numbers in (self.readings[stem].counts for stem in stems if stem in self.readings):
            total[values] += numbers
        return total

    @property
    def usual(self) -> list[int]:
        """The raw values of most masks that hold more than one value (of all masks, if none does)."""
        every = (one.counts[0].tolist() for one in self.readings.values())
        sets = Counter(tuple(values) for values in every if len(values) > 1)
        return list(sets.most_common(1)[0][0]) if sets else np.flatnonzero(self.total).tolist()


def read_pair(pair: Pair, how: How = PLAIN, size: tuple[int, int] | None = None) -> Reading:
    """Image and raw mask of one pair, checked against each other and counted; never raises for a bad file.

    `size` (height, width) is what the network sees.
    """
    try:
        (image, seen_image), (raw, seen_mask) = view_image(pair.image, how), view_mask(pair.mask, how)
        undecided = _orientations(pair, image.shape[:2], seen_image, raw.shape, seen_mask, how)
        if min(raw.shape) < SMALLEST:
            raise Unfit(
                pair.image, f"expected at least {SMALLEST} pixels a side", "Remove the pair", in_pixels(raw.shape)
            )
    except InputError as error:
        return Reading(pair, fault=error)
    except MemoryError:
        return Reading(pair, fault=no_room(pair.image))
    small = None if size is None else np.unique(resize_label(raw, size))
    shape = image.shape[0], image.shape[1]
    return Reading(pair, image, raw, None, count(raw), small, shape, seen_image, seen_mask, undecided, digest_of(pair))


def read_all(
    pairs: Sequence[Pair],
    keep: Callable[[Reading], None],
    audit: Audit,
    advance: Callable[[], None],
    how: How = PLAIN,
    size: tuple[int, int] | None = None,
) -> None:
    """Reads `pairs` in threads, in order: `audit` takes what each tells, and `keep` every good reading."""
    with ThreadPoolExecutor() as pool:
        for reading in _ahead(pool, pairs, how, size):
            advance()
            audit.take(reading)
            if reading.fault is None:
                keep(reading)


def count(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a raw mask, ascending, and the pixels of each."""
    # in parts, as counting takes eight bytes a pixel
    parts, length = np.array_split(raw.ravel(), 1 + raw.size // 2**20), int(raw.max()) + 1
    numbers = np.sum([np.bincount(part, minlength=length) for part in parts], axis=0)
    values = np.flatnonzero(numbers)
    return values, numbers[values]


def _ahead(
    pool: ThreadPoolExecutor, pairs: Sequence[Pair], how: How, size: tuple[int, int] | None
) -> Iterator[Reading]:
    """The readings in order, at most `AHEAD` pixels and `PAIRS_AHEAD` before the one that is asked for."""
    waiting: deque[tuple[Future[Reading], int]] = deque()
    pixels = 0
    for pair in pairs:
        more = _pixels(pair.image) + _pixels(pair.mask)
        while waiting and (pixels + more > AHEAD or len(waiting) == PAIRS_AHEAD):
            future, fewer = waiting.popleft()
            pixels -= fewer
            yield future.result()
        waiting.append((pool.submit(read_pair, pair, how, size), more))
        pixels += more
    while waiting:
        yield waiting.popleft()[0].result()


def _pixels(path: File) -> int:
    """Pixels of a picture by its head; 0 of a file that reading will refuse."""
    return by_head(path, lambda picture: picture.size[0] * picture.size[1]) or 0


def _orientations(pair: Pair, image: tuple, seen_image: Seen, mask: tuple, seen_mask: Seen, how: How) -> bool:
    """Whether the sizes leave open which EXIF orientation is meant.

    Raises:
        InputError: the sizes differ; with the cure, where reading orientations or not makes them equal.
    """
    otherwise = _swapped(image, seen_image) == _swapped(mask, seen_mask)  # sizes, were data.exif the other
    if image == mask:
        return how.exif and otherwise and seen_image.tag != seen_mask.tag
    found = f"expected {in_pixels(image)} pixels like {pair.image.name}, found {in_pixels(mask)}"
    if otherwise and how.exif:
        raise Unfit(
            pair.mask,
            "the mask fits its image as it is stored, not as its EXIF orientation turns it",
            "Write data.exif: false, which leaves orientations out, when the masks were drawn on the pixels as stored",
            found,
        )
    if otherwise:
        raise Unfit(pair.mask, OTHER_SIZE, "Write data.exif: true: their EXIF orientations make them fit", found)
    cure = (
        "Save the mask at the image's size (an image with an EXIF orientation counts as it is displayed), or let "
        "`segkd prepare FOLDER --out DATA.yaml` enlarge masks that are smaller copies"
    )
    raise Unfit(pair.mask, OTHER_SIZE, cure, found)


def _swapped(shape: tuple, seen: Seen) -> tuple:
    return shape[1::-1] if seen.tag in SWAPPED else tuple(shape[:2])
