"""The data settings, and the records of each split that they describe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from segkd.datasets.audit import Audit, read_all, read_pair
from segkd.datasets.cache import Cache, Fit, fit_of
from segkd.datasets.checks import refuse_settings
from segkd.datasets.colours import NAMED, parse_colours
from segkd.datasets.domains import Domain, domains_by, open_parts
from segkd.datasets.embedded import Embedded, draw_sample
from segkd.datasets.faults import forgive_faults, refuse_empty_classes, refuse_faults
from segkd.datasets.folds import Fold, fold_of, folded, numbers_of
from segkd.datasets.labels import LabelCode, code_from_colours, code_from_map, code_from_threshold, guess_code
from segkd.datasets.notes import notes_on, values_in_use
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import How
from segkd.datasets.shards import find_shards
from segkd.datasets.split_folders import Where
from segkd.datasets.splits import SPLITS, Splits, find_splits
from segkd.datasets.transforms import Augment
from segkd.types import InputError, LayerPath


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """`size` as (height, width): one number is a square's side."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@dataclass
class Data:
    """Images, masks, and how they become batches. Give `root` (a folder), `parquet` or `embedded` (generated images).

    Args:
        root: folder that holds the images and the masks; in a layer, relative to the layer's file.
        parquet: folder, file or address (hf://datasets/OWNER/NAME, s3://BUCKET/FOLDER) of Parquet shards, instead of
            `root`; `images` and `masks` are columns there, `image` and `mask` when nothing is said.
        embedded: settings of the generated data set, instead of `root`.
        domains: several data sets with these classes, by name: {NAME: {}, OTHER: {root: FOLDER, threshold: 128}}. One
            lies in `root`/NAME unless its settings say otherwise; what they leave out is as said here. Scores are
            means over the domains.
        domain_group: regular expression instead: what its first group (or all of it) finds in a stem is its domain.
        classes: names of the classes, in the order of their numbers 0..k-1.
        images: folder of images below `root`, or a pattern such as `leftImg8bit/**/{}_leftImg8bit.png`. `{}` is the
            name that an image and its mask share, folders included; `*` is any text within one name, `**/` any folders.
        masks: folder or pattern of masks, `gtFine/**/{}_gtFine_labelTrainIds.png`; a folder is matched by stem.
        train: list file of the training split, below `root`, one name or path per line; `train.txt` there when null,
            without that the folder named train (training), without that all pairs that no other split has.
        val: likewise of the validation split (`val.txt`, `valid.txt`, `validation.txt`, or a folder of these names),
            or the folder itself, such as `valid`; without any, `val_share` of the training split is carved out.
        test: likewise of the test split (folder test, testing); without any, there is none.
        val_share: share of the training split to validate on when nothing else says which images are for that.
        group: regular expression; what its first group (or all of it) finds in a stem is the patient, video or
            sequence: the carved validation split takes whole groups, and groups that lists tear apart are warned of.
        fold: [i, k], i = 0..k-1, leaves fold i of k of the training split out of it, by the hash of the names (of whole
            groups, where `group` is given): of k such runs, one never saw an image (`Frozen(unseen: true)`).
        only_fold: [i, k], i = 0..k-1, trains on fold i of k alone: a k-th of the training split, each i another one.
        label_map: raw mask value -> class number; without one, 0/255 and 0/1 are understood for two classes,
            and a raw value is its class for more.
        ignore: raw mask values whose pixels count in no loss and no score.
        threshold: for two classes in grey masks: raw values above it are class 1.
        colours: for masks in colours: class name -> [r, g, b] or '#rrggbb' (or a list of such strings), "ignore" for
            those to leave out; or the label map of CVAT, a file below `root`.
        range: the image values that become black and white, for images of more than 8 bits or of real numbers; the
            whole range of 8 or 16 bits when null.
        exif: images and masks are turned as their EXIF orientation says; false leaves them as they are stored.
        max_megapixels: larger pictures are refused before they are decoded.
        size: height and width that images are trained and predicted at: one number or [height, width].
        batch_size: images per process and micro-batch; planned from the number of training images when null.
        workers: loader processes; 0 loads in the main process. Results do not depend on it.
        cache_gb: decoded images are kept in memory when they need at most this many gigabytes.
        augment: random changes of the training images; null for none.
    """

    root: LayerPath | str | None = None
    parquet: LayerPath | str | None = None
    embedded: Embedded | None = None
    domains: dict[str, Domain] | None = None
    domain_group: str | None = None
    classes: list[str] = field(default_factory=lambda: ["background", "foreground"])
    images: str = "images"
    masks: str = "masks"
    train: str | None = None
    val: str | None = None
    test: str | None = None
    val_share: float = 0.15
    group: str | None = None
    fold: tuple[int, int] | None = None
    only_fold: tuple[int, int] | None = None
    label_map: dict[int, int] | None = None
    ignore: list[int] = field(default_factory=list)
    threshold: int | None = None
    colours: NAMED | str | None = None
    range: tuple[float, float] | None = None
    exif: bool = True
    max_megapixels: float = 150.0
    size: int | tuple[int, int] = 160
    batch_size: int | None = None
    workers: int = 2
    cache_gb: float = 4.0
    augment: Augment | None = field(default_factory=Augment)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return height_and_width(self.size)

    @property
    def batch(self) -> int:
        """Images that go through a network at a time: `batch_size`, 16 where nobody says or plans it."""
        return 16 if self.batch_size is None else self.batch_size

    @property
    def part(self) -> Fold | None:
        """The fold that is left out of the training split, or alone in it; None where all of it is trained on."""
        return fold_of(self.fold, self.only_fold)

    @property
    def how(self) -> How:
        """How the files are read."""
        root = Path(str(self.root or self.parquet or ".")).expanduser()
        colours = None if self.colours is None else parse_colours(self.colours, self.classes, root)
        return How(self.exif, self.range, colours, self.max_megapixels)


@dataclass(frozen=True)
class Findings:
    """What was found in the data: `about`, one paragraph, `warnings`, a sentence on each thing to look at, and bytes of
    images that are kept in `memory`."""

    about: str
    warnings: tuple[str, ...] = ()
    memory: int = 0


@dataclass(frozen=True)
class Records:
    """One split: `load(i)` gives image uint8 [h w 3] and label uint8 [h w] (classes and IGNORE) of record i, whose
    files have `digests[i]` (there is none of generated images) and which is of `domains[i]` where there are several."""

    name: str
    ids: tuple[str, ...]
    load: Callable[[int], tuple[np.ndarray, np.ndarray]]
    digests: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def open_data(
    data: Data,
    wanted: Sequence[str],
    advance: Callable[[int], None],
    skipped: dict[str, str] | None = None,
    training: bool = False,
) -> tuple[dict[str, Records], Findings]:
    """The records of the `wanted` splits, checked, and what was found.

    Every image and mask of the wanted splits is read once, which finds every fault before training begins
    and fills the cache when all fits. `advance(n)` is told the total once (n > 0), then 0 for each file read.
    With `skipped`, a bad file is left out as long as any is good, and the reason put there under its stem.
    With `training`, images are made no larger than training at `data.size` looks at: those to train on as their
    smallest crop needs, the others to `data.size`, their labels untouched.

    Raises:
        InputError: names every fault by file and says what to write.
    """
    refuse_settings(data)
    if data.domains:
        return open_parts(open_data, data, wanted, advance, skipped, training)
    if data.embedded is not None:
        return _open_embedded(data.embedded, len(data.classes), wanted, data.part)
    splits = splits_of(data, wanted)
    absent = [name for name in wanted if name not in splits.members]
    if absent:
        wish = f"a shard {absent[0]}-*.parquet" if data.parquet else f"data.{absent[0]}, a list file below {data.root}"
        raise InputError(f"no {absent[0]} split: expected {wish}, found none. "
                         f"There are: {', '.join(splits.members)}.")  # fmt: skip
    chosen = {name: splits.members[name] for name in wanted}
    fits = _fits(data, chosen) if training else {}
    records, findings = _open_folder(data, chosen, advance, splits.said, skipped, fits)
    return records, replace(findings, warnings=(*splits.warnings, *findings.warnings))


def splits_of(data: Data, wanted: Sequence[str] = ("train", "val")) -> Splits:
    """The splits of one data set, those that are `wanted` without a gap; nothing but names is read."""
    if data.parquet is not None:
        return folded(
            data.part, data.group, find_shards(str(data.parquet), data.images, data.masks, data.val_share, data.group)
        )
    root = Path(str(data.root)).expanduser()
    if not root.is_dir():
        raise InputError(f"data.root: expected a folder, found none at {root}. Put the data there or set --data.root.")
    lists = {"train": data.train, "val": data.val, "test": data.test}
    where = Where(root, data.images, data.masks, lists, data.val_share, data.group)
    return folded(data.part, data.group, find_splits(where, wanted))


def _open_folder(
    data: Data,
    splits: dict[str, list[Pair]],
    advance: Callable[[int], None],
    found: str,
    skipped: dict[str, str] | None,
    fits: dict[str, Fit],
) -> tuple[dict[str, Records], Findings]:
    pairs = [pair for members in splits.values() for pair in members]
    audit, cache, how = Audit(), Cache(data.cache_gb * 1e9, fits), data.how
    advance(len(pairs))
    read_all(pairs, cache.keep, audit, partial(advance, 0), how, data.shape)
    # where bad files are forgiven, one stray value must not change how the others are read
    code = label_code(data, np.flatnonzero(audit.total).tolist() if skipped is None else audit.usual)
    if skipped is not None:
        skipped |= forgive_faults(audit, pairs, code)
        splits = {name: [pair for pair in some if pair.stem not in skipped] for name, some in splits.items()}
        cache.kept = {stem: arrays for stem, arrays in cache.kept.items() if stem not in skipped}
        pairs = [pair for pair in pairs if pair.stem not in skipped]
    refuse_faults(audit, pairs, code, data.classes)
    kept = {stem: (image, code(raw)) for stem, (image, raw) in cache.kept.items()}
    records = {}
    for name, members in splits.items():
        stems = tuple(pair.stem for pair in members)
        digests = tuple(audit.digests[stem] for stem in stems)
        load, domains = partial(_load, members, kept, code, how, digests, fits), domains_by(data.domain_group, stems)
        records[name] = Records(name, stems, load, digests, domains)
    total = audit.total
    if "train" in splits:
        refuse_empty_classes(data.classes, code, total)
    shares = ", ".join(
        f"{name} {100 * total[code.known & (code.table == c)].sum() / total.sum():.1f} %"
        for c, name in enumerate(data.classes)
    )
    memory = f"cached in memory ({cache.bytes / 1e9:.2f} GB)" if kept else "read from disk each time"
    parts = [f"{found} images", code.rule, f"pixels: {shares}", values_in_use(audit), memory]
    about = "; ".join(part for part in parts if part)
    notes = notes_on(audit, code, data.classes, splits, data.shape)
    return records, Findings(about, notes, cache.bytes if kept else 0)


def _fits(data: Data, splits: Mapping[str, Sequence[Pair]]) -> dict[str, Fit]:
    """What training looks at of each image; it is the same wherever images are kept."""
    fits = {name: fit_of(data.shape, data.augment if name == "train" else None) for name in splits}
    return {pair.stem: fits[name] for name, members in splits.items() for pair in members}


def _load(
    members: list[Pair],
    kept: dict,
    code: LabelCode,
    how: How,
    digests: Sequence[str],
    fits: Mapping[str, Fit],
    i: int,
) -> tuple[np.ndarray, np.ndarray]:
    if kept:
        return kept[members[i].stem]
    reading = read_pair(members[i], how)
    if reading.image is None or reading.raw is None:
        raise InputError(f"the data changed since this command began: {reading.fault}")
    if reading.digest != digests[i]:
        raise InputError(
            f"{members[i].image}: the data changed since this command began: this file or its mask {members[i].mask} "
            "is another one now. Bring it back and begin again; a training goes on with --resume."
        )
    fit = fits.get(members[i].stem)
    return (reading.image, code(reading.raw)) if fit is None else fit(reading.image, code(reading.raw))


def _open_embedded(
    embedded: Embedded, classes: int, wanted: Sequence[str], fold: Fold | None
) -> tuple[dict[str, Records], Findings]:
    numbers = {name: numbers_of(embedded, name, fold) for name in SPLITS}
    first = dict(zip(SPLITS, np.cumsum([0, embedded.train, embedded.val]).tolist()))
    records = {}
    for name in wanted:
        samples = [draw_sample(embedded, first[name] + i, classes) for i in numbers[name]]
        records[name] = Records(name, tuple(f"{name}{i:04d}" for i in numbers[name]), samples.__getitem__)
    about = f"generated, {embedded.side} px, cue {embedded.cue} at contrast {embedded.contrast}"
    return records, Findings(", ".join(f"{len(numbers[n])} {n}" for n in SPLITS) + f" images; {about}")


def label_code(data: Data, values: Sequence[int]) -> LabelCode:
    """How masks that hold `values` are read: as `data` says, else guessed."""
    if data.colours is not None:
        return code_from_colours(len(data.classes))
    if data.threshold is not None:
        return replace(code_from_threshold(data.threshold, data.ignore), told=True)
    if data.label_map is not None:
        return replace(code_from_map(data.label_map, data.ignore, len(data.classes)), told=True)
    return guess_code(values, data.ignore, len(data.classes))
