"""The data settings, and what opening them gives: the records of each split, and what was found."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from segkd.datasets.colours import NamedColours, parse_colours
from segkd.datasets.embedded import Embedded
from segkd.datasets.folds import Fold, fold_of
from segkd.datasets.pictures import How
from segkd.datasets.transforms import Augment
from segkd.types import LayerPath, expanded


def height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """`size` as (height, width): one number is a square's side."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@dataclass
class Domain:
    """What is particular to one of several data sets: the settings of `data` of the same names, which hold where
    these are null.

    Args:
        root: its folder; `data.root/NAME` when nothing is said of where it lies.
        parquet: likewise of shards.
        embedded: likewise of generated images; those of `data.embedded` with a seed of their own when nothing is said.
        images: folder or pattern of its images.
        masks: likewise of its masks.
        train: list of its training split.
        val: likewise of its validation split.
        test: likewise of its test split.
        val_share: share of its training split to validate on when nothing else says which images are for that.
        group: regular expression of its patients, videos or sequences.
        label_map: raw mask value -> class number.
        ignore: raw mask values that count nowhere.
        threshold: raw values above it are class 1, of two.
        colours: class name -> colours of its masks.
        range: the image values that become black and white.
        exif: whether its EXIF orientations are followed.
    """

    root: LayerPath | str | None = None
    parquet: LayerPath | str | None = None
    embedded: Embedded | None = None
    images: str | None = None
    masks: str | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    val_share: float | None = None
    group: str | None = None
    label_map: dict[int, int] | None = None
    ignore: list[int] | None = None
    threshold: int | None = None
    colours: NamedColours | str | None = None
    range: tuple[float, float] | None = None
    exif: bool | None = None


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
        unlabelled: folder of images below `root`, or a pattern, to train on without a label: those of them that are in
            no split. Teachers that need no label teach them (`distiller.sure`); `data.images` itself may be named.
        unlabelled_batch: of them in each micro-batch, beside its `batch_size` images with a label; as many when null.
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
    unlabelled: str | None = None
    unlabelled_batch: int | None = None
    label_map: dict[int, int] | None = None
    ignore: list[int] = field(default_factory=list)
    threshold: int | None = None
    colours: NamedColours | str | None = None
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
    def beside(self) -> int:
        """Images without a label in each micro-batch."""
        if self.unlabelled is None:
            return 0
        return self.batch if self.unlabelled_batch is None else self.unlabelled_batch

    @property
    def part(self) -> Fold | None:
        """The fold that is left out of the training split, or alone in it; None where all of it is trained on."""
        return fold_of(self.fold, self.only_fold)

    @property
    def how(self) -> How:
        """How the files are read."""
        root = expanded(str(self.root or self.parquet or "."))
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

    def spread(self, number: int) -> list[int]:
        """`number` records, all where there are fewer, spread evenly over the split."""
        return np.linspace(0, len(self) - 1, min(number, len(self))).round().astype(int).tolist()
