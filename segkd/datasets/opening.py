"""From the data settings to the records of each split: all files found, read once, checked and kept."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate

import numpy as np

from segkd.datasets.audit import Audit, read_all, read_pair
from segkd.datasets.cache import Cache, Fit, fit_of
from segkd.datasets.checks import refuse_settings
from segkd.datasets.data import Data, Findings, Records
from segkd.datasets.domains import domains_by, parts_of, speaking_of
from segkd.datasets.embedded import Embedded, draw_sample
from segkd.datasets.faults import forgive_faults, refuse_empty_classes, refuse_faults
from segkd.datasets.folds import Fold, folded, numbers_of
from segkd.datasets.labels import LabelCode, code_from_colours, code_from_map, code_from_threshold, guess_code
from segkd.datasets.notes import notes_on, values_in_use
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import How
from segkd.datasets.shards import find_shards
from segkd.datasets.split_folders import Where
from segkd.datasets.splits import SPLITS, Splits, find_splits
from segkd.datasets.unlabelled import NAME, covered, generated_unlabelled, open_unlabelled
from segkd.types import InputError, expanded


def open_data(
    data: Data,
    wanted: Sequence[str],
    advance: Callable[[int], None],
    skipped: dict[str, str] | None = None,
    training: bool = False,
    shares: bool = False,
    together: int = 1,
) -> tuple[dict[str, Records], Findings]:
    """The records of the `wanted` splits, checked, and what was found.

    Every image and mask of the wanted splits is read once, which finds every fault before training begins
    and fills the cache when all fits. `advance(n)` is told the total once (n > 0), then 0 for each file read.
    With `skipped`, a bad file is left out as long as any is good, and the reason put there under its stem.
    With `training`, images are made no larger than training at `data.size` looks at: those to train on as their
    smallest crop needs, the others to `data.size`, their labels untouched. With `shares` no label is made smaller.
    Of so many data sets `together` each keeps its part of the detail that one would.

    Raises:
        InputError: names every fault by file and says what to write.
    """
    refuse_settings(data)
    if data.domains:
        return _open_domains(data, wanted, advance, skipped, training, shares)
    if data.embedded is not None:
        records, findings = _open_embedded(data.embedded, len(data.classes), wanted, data.part)
        if training and data.unlabelled is not None:
            records[NAME] = generated_unlabelled(data.embedded, len(data.classes), data.part)
        return records, findings
    splits = splits_of(data, wanted, training)
    chosen = {name: members_of(data, splits, name) for name in wanted}
    fits = _fits(data, chosen, shares, together) if training else {}
    records, findings = _open_folder(data, chosen, advance, splits.said, skipped, fits)
    findings = replace(findings, warnings=(*splits.warnings, *findings.warnings))
    if training and data.unlabelled is not None:
        read = {digest.split(" ")[0] for one in records.values() for digest in one.digests}
        records[NAME], more = open_unlabelled(data, splits, advance, findings.memory, read)
        memory = findings.memory + more.memory if more.memory else 0
        told = tuple(dict.fromkeys((*findings.warnings, *more.warnings)))  # of one folder both say the same
        findings = replace(findings, about=f"{findings.about}; {more.about}", warnings=told, memory=memory)
    return records, findings


def splits_of(data: Data, wanted: Sequence[str] = ("train", "val"), training: bool = False) -> Splits:
    """The splits of one data set, those that are `wanted` without a gap; nothing but names is read. A `training` says
    first what is wrong with `data.unlabelled`."""
    if data.parquet is not None:
        return folded(
            data.part, data.group, find_shards(str(data.parquet), data.images, data.masks, data.val_share, data.group)
        )
    root = expanded(str(data.root))
    if not root.is_dir():
        raise InputError(f"data.root: expected a folder, found none at {root}. Put the data there or set --data.root.")
    lists = {"train": data.train, "val": data.val, "test": data.test}
    free = covered(root, data.unlabelled, training)
    where = Where(root, data.images, data.masks, lists, data.val_share, data.group, free)
    return folded(data.part, data.group, find_splits(where, wanted))


def members_of(data: Data, splits: Splits, name: str) -> list[Pair]:
    """The pairs of the split `name`.

    Raises:
        InputError: there is no such split.
    """
    if name not in splits.members:
        wish = f"a shard {name}-*.parquet" if data.parquet else f"data.{name}, a list file below {data.root}"
        raise InputError(f"no {name} split: expected {wish}, found none. There are: {', '.join(splits.members)}.")
    return splits.members[name]


def label_code(data: Data, values: Sequence[int]) -> LabelCode:
    """How masks that hold `values` are read: as `data` says, else guessed."""
    if data.colours is not None:
        return code_from_colours(len(data.classes))
    if data.threshold is not None:
        return replace(code_from_threshold(data.threshold, data.ignore), told=True)
    if data.label_map is not None:
        return replace(code_from_map(data.label_map, data.ignore, len(data.classes)), told=True)
    return guess_code(values, data.ignore, len(data.classes))


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
        skipped |= forgive_faults(audit, code)
        splits = {name: [pair for pair in some if pair.stem not in skipped] for name, some in splits.items()}
        cache.kept = {stem: arrays for stem, arrays in cache.kept.items() if stem not in skipped}
    refuse_faults(audit, code, data.classes)
    kept = {stem: (image, code(raw)) for stem, (image, raw) in cache.kept.items()}
    records = {}
    for name, members in splits.items():
        stems = tuple(pair.stem for pair in members)
        digests = tuple(audit.readings[stem].digest for stem in stems)
        load = partial(load_pair, members, kept, code, how, digests, fits)
        records[name] = Records(name, stems, load, digests, domains_by(data.domain_group, stems))
    total = audit.total
    if "train" in splits:
        refuse_empty_classes(data.classes, code, total)
    shares = ", ".join(
        f"{name} {100 * total[code.known & (code.table == c)].sum() / total.sum():.1f} %"
        for c, name in enumerate(data.classes)
    )
    memory = f"cached in memory ({cache.bytes / 1e9:.2f} GB)" if kept else "read from disk each time (data.cache_gb)"
    parts = [f"{found} images", code.rule, f"pixels: {shares}", values_in_use(audit), memory]
    about = "; ".join(part for part in parts if part)
    notes = notes_on(audit, code, data.classes, splits, data.shape)
    return records, Findings(about, notes, cache.bytes if kept else 0)


def _fits(data: Data, splits: Mapping[str, Sequence[Pair]], shares: bool, together: int) -> dict[str, Fit]:
    """What training looks at of each image; it is the same wherever images are kept."""
    looks = {name: data.augment if name == "train" else None for name in splits}
    fits = {name: fit_of(data.shape, looks[name], shares, together * len(members)) for name, members in splits.items()}
    return {pair.stem: fits[name] for name, members in splits.items() for pair in members}


def load_pair(
    members: list[Pair],
    kept: dict,
    code: LabelCode,
    how: How,
    digests: Sequence[str],
    fits: Mapping[str, Fit],
    i: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Image and label of pair `i`: from memory where all are `kept`, else read anew. Raises InputError where the files
    are not those that the audit read."""
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


def _open_domains(
    data: Data,
    wanted: Sequence[str],
    advance: Callable[[int], None],
    skipped: dict[str, str] | None,
    training: bool,
    shares: bool,
) -> tuple[dict[str, Records], Findings]:
    """As `open_data`, of all domains together; the limit of the memory holds for all of them."""
    opened: dict[str, tuple[dict[str, Records], Findings]] = {}
    left, files, parts = data.cache_gb, 0, parts_of(data)

    def tell(number: int) -> None:  # the total grows with each domain that is opened
        nonlocal files
        files += number
        advance(files if number else 0)

    for name, part in parts.items():
        lost: dict[str, str] | None = None if skipped is None else {}
        with speaking_of(name):
            opened[name] = open_data(replace(part, cache_gb=left), wanted, tell, lost, training, shares, len(parts))
        left = max(0.0, left - opened[name][1].memory / 1e9)
        if skipped is not None:
            skipped |= {f"{name}/{id}": fault for id, fault in (lost or {}).items()}
    joined = {split: _joined({name: one[0][split] for name, one in opened.items()}) for split in wanted}
    findings = {name: one for name, (_, one) in opened.items()}
    numbers = ", ".join(f"{len(one)} {split}" for split, one in joined.items())
    about = "\n".join(
        [f"{len(opened)} domains, {numbers} images", *(f"  {name}: {one.about}" for name, one in findings.items())]
    )
    warnings = tuple(f"{name}: {text}" for name, one in findings.items() for text in one.warnings)
    return joined, Findings(about, warnings, sum(one.memory for one in findings.values()))


def _joined(parts: Mapping[str, Records]) -> Records:
    """The records of one split of all domains, every id below its domain's name."""
    ids = tuple(f"{name}/{id}" for name, one in parts.items() for id in one.ids)
    domains = tuple(name for name, one in parts.items() for _ in one.ids)
    digests = tuple(digest for one in parts.values() for digest in one.digests)
    several = list(parts.values())
    ends = list(accumulate(len(one) for one in several))
    load = partial(_load_joined, several, ends)
    return replace(several[0], ids=ids, load=load, digests=digests, domains=domains)


def _load_joined(parts: Sequence[Records], ends: Sequence[int], i: int) -> tuple[np.ndarray, np.ndarray]:
    at = bisect_right(ends, i)
    return parts[at].load(i - (ends[at - 1] if at else 0))
