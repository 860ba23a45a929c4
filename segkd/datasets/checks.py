"""Settings of the data that contradict each other or themselves, all in one report."""

from pathlib import PurePath

from segkd.datasets.data import Data
from segkd.datasets.domains import faults_of_domains, parts_of, speaking_of
from segkd.types import InputError, listed

ABOUT_FILES = {"images": "images", "masks": "masks", "val_share": 0.15, "exif": True, "ignore": []} | dict.fromkeys(
    ("train", "val", "test", "label_map", "threshold", "group", "colours", "range", "domain_group")
)
"""Settings without effect on generated images, and what they are when nothing is said."""


def refuse_settings(data: Data) -> None:
    """Raises InputError that names every setting at fault and what it can be."""
    faults = faults_of_domains(data)
    if not data.domains and sum(source is not None for source in (data.root, data.parquet, data.embedded)) != 1:
        faults.append(
            "give one of data.root (a folder with images and masks), data.parquet (shards) and data.embedded "
            "(generated images), and null for the others"
        )
    if len(data.classes) < 2 or len(data.classes) > 255:
        faults.append(f"data.classes names {len(data.classes)} classes; 2 to 255 are possible (background counts)")
    faults += _size_faults(data.shape)
    if not 1 <= data.batch <= 65536 or not 0 <= data.workers <= 1024:
        faults.append(f"data.batch_size {data.batch_size} must be 1 to 65536 and data.workers {data.workers} 0 to 1024")
    if len(set(data.classes)) != len(data.classes):
        faults.append(f"data.classes names a class twice: {', '.join(data.classes)}")
    if not 0 < data.val_share < 1:
        faults.append(f"data.val_share is {data.val_share}; it is a share, between 0 and 1")
    if data.threshold is not None and not 0 <= data.threshold < 65535:
        faults.append(f"data.threshold is {data.threshold}; it is a raw mask value, 0..65534 (128 is usual)")
    if data.threshold is not None and (len(data.classes) != 2 or data.label_map is not None):
        faults.append("data.threshold is for two classes without a data.label_map")
    if data.augment is not None and data.augment.quarter_turns and data.shape[0] != data.shape[1]:
        faults.append(f"data.augment.quarter_turns needs a square data.size, found {list(data.shape)}")
    faults += _fold_faults(data) + _unlabelled_faults(data)
    faults += _how_faults(data) + _embedded_faults(data) + _parquet_faults(data)
    if faults:
        raise InputError("in the data settings:\n" + listed(faults))
    for name, part in parts_of(data).items():
        with speaking_of(name):
            refuse_settings(part)


def refuse_size(shape: tuple[int, int]) -> None:
    """Raises InputError for a height and width in pixels that no network is shown."""
    if faults := _size_faults(shape):
        raise InputError(f"{faults[0]}.")


def _size_faults(shape: tuple[int, int]) -> list[str]:
    if 32 <= min(shape) <= max(shape) <= 16384:
        return []
    return [f"data.size is {list(shape)}; at least 32 pixels are needed on each side, 16384 at most"]


def _fold_faults(data: Data) -> list[str]:
    faults = []
    for name, fold in (("fold", data.fold), ("only_fold", data.only_fold)):
        if fold is not None and not 0 <= fold[0] < fold[1] >= 2:
            faults.append(f"data.{name} is {list(fold)}; give [i, k]: fold i, 0..k-1, of k folds, 2 or more")
    if data.fold is not None and data.only_fold is not None:
        faults.append("data.fold leaves a fold out and data.only_fold keeps one alone: give one of them")
    return faults


def _unlabelled_faults(data: Data) -> list[str]:
    """Images without a label lie in one folder of files, and in every batch."""
    if data.unlabelled is None:
        idle = data.unlabelled_batch is not None
        return ["data.unlabelled_batch is without effect where data.unlabelled names no images"] if idle else []
    faults = []
    if data.domains or data.domain_group is not None or data.parquet is not None:
        faults.append("data.unlabelled is about one folder of files (data.root), not domains or shards; take one away")
    if not data.unlabelled or PurePath(data.unlabelled).is_absolute():
        told = "it is a folder below data.root, or a pattern there; of a folder beside that one, write ../NAME"
        faults.append(f"data.unlabelled is {data.unlabelled!r}; {told}")
    if not 1 <= data.beside <= 65536:
        faults.append(f"data.unlabelled_batch is {data.beside}; 1 to 65536 are possible")
    return faults


def _embedded_faults(data: Data) -> list[str]:
    """Settings of files without effect on generated images."""
    if data.embedded is None:
        return []
    idle = [f"data.{name}" for name, plain in ABOUT_FILES.items() if getattr(data, name) != plain]
    return [f"{', '.join(idle)}: about files, without effect on data.embedded; take them away"] if idle else []


def _parquet_faults(data: Data) -> list[str]:
    """Settings of folders without effect on shards."""
    idle = [f"data.{name}" for name in ("train", "val", "test") if getattr(data, name) is not None]
    if data.parquet is None or not idle:
        return []
    return [f"{', '.join(idle)}: lists of files; a shard's name says its split (train-00000.parquet), take them away"]


def _how_faults(data: Data) -> list[str]:
    faults = []
    if data.colours is not None and (data.label_map or data.ignore or data.threshold is not None):
        faults.append("data.colours says the class of each colour: take data.label_map, ignore and threshold away")
    if data.range is not None and not data.range[0] < data.range[1]:
        faults.append(f"data.range is {list(data.range)}; give [black, white], black < white")
    if not data.max_megapixels > 0:
        faults.append(f"data.max_megapixels is {data.max_megapixels}; it must be above 0")
    return faults
