"""Several data sets as one: domains that share their classes, each found and read by settings of its own."""

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from segkd.datasets.colours import NAMED
from segkd.datasets.embedded import Embedded
from segkd.types import InputError, LayerPath

if TYPE_CHECKING:
    from segkd.datasets.data import Data, Findings, Records

    Opened = tuple[dict[str, Records], Findings]

SOURCES = ("root", "parquet", "embedded")
"""Where the images of a domain come from: one of these."""

READING = ("label_map", "threshold", "colours")
"""How its masks are read: at most one of these."""


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
    colours: NAMED | str | None = None
    range: tuple[float, float] | None = None
    exif: bool | None = None


def parts_of(data: "Data") -> dict[str, "Data"]:
    """The settings of each domain as those of a data set of its own; {} where `data` has none."""
    return {name: _part(data, name, number) for number, name in enumerate(data.domains or {})}


def _part(data: "Data", name: str, number: int) -> "Data":
    own = (data.domains or {})[name]
    said = {one.name: getattr(own, one.name) for one in fields(own) if getattr(own, one.name) is not None}
    if said.keys() & set(SOURCES):
        said = dict.fromkeys(SOURCES) | said
    elif data.embedded is not None:
        said["embedded"] = replace(data.embedded, seed=data.embedded.seed + number)
    else:
        said |= {key: _below(getattr(data, key), name) for key in ("root", "parquet")}
    if said.keys() & set(READING):
        said = dict.fromkeys(READING) | said
    if own.colours is not None:  # which raw values count nowhere says nothing of colours
        said = {"ignore": []} | said
    return replace(data, domains=None, **said)


def _below(place: str | None, name: str) -> str | None:
    return None if place is None else f"{place.rstrip('/')}/{name}" if "://" in place else os.path.join(place, name)


@contextmanager
def speaking_of(name: str) -> Iterator[None]:
    """Within, an InputError names the domain and its own settings."""
    try:
        yield
    except InputError as error:
        keys = "|".join(one.name for one in fields(Domain))
        text = re.sub(rf"\bdata\.({keys})\b", rf"data.domains.{name}.\1", str(error))
        raise InputError(f"domain {name}: {text}") from error


def open_parts(
    open_data: Callable[..., "Opened"],
    data: "Data",
    wanted: Sequence[str],
    advance: Callable[[int], None],
    skipped: dict[str, str] | None,
    training: bool,
) -> "Opened":
    """The records of all domains together, and what was found in each; `open_data` opens one data set.

    The other arguments and errors are those of `open_data`; the limit of the memory holds for all domains together.
    """
    opened: dict[str, Opened] = {}
    left, files = data.cache_gb, 0

    def tell(number: int) -> None:
        nonlocal files
        files += number
        advance(files if number else 0)

    for name, part in parts_of(data).items():
        lost: dict[str, str] | None = None if skipped is None else {}
        with speaking_of(name):
            opened[name] = open_data(replace(part, cache_gb=left), wanted, tell, lost, training)
        left = max(0.0, left - opened[name][1].memory / 1e9)
        if skipped is not None:
            skipped |= {f"{name}/{id}": fault for id, fault in (lost or {}).items()}
    records = [records for records, _ in opened.values()]
    joined = {split: join_records({name: one[0][split] for name, one in opened.items()}) for split in records[0]}
    findings = {name: one for name, (_, one) in opened.items()}
    numbers = ", ".join(f"{len(one)} {split}" for split, one in joined.items())
    about = "\n".join(
        [f"{len(opened)} domains, {numbers} images", *(f"  {name}: {one.about}" for name, one in findings.items())]
    )
    warnings = tuple(f"{name}: {text}" for name, one in findings.items() for text in one.warnings)
    memory = sum(one.memory for one in findings.values())
    return joined, replace(next(iter(findings.values())), about=about, warnings=warnings, memory=memory)


def join_records(parts: Mapping[str, "Records"]) -> "Records":
    """The records of one split of all domains, every id below its domain's name."""
    ids = tuple(f"{name}/{id}" for name, one in parts.items() for id in one.ids)
    domains = tuple(name for name, one in parts.items() for _ in one.ids)
    digests = tuple(digest for one in parts.values() for digest in one.digests)
    several = list(parts.values())
    ends = list(accumulate(len(one) for one in several))
    load = partial(_load, several, ends)
    return replace(several[0], ids=ids, load=load, digests=digests, domains=domains)


def _load(parts: Sequence["Records"], ends: Sequence[int], i: int) -> tuple[np.ndarray, np.ndarray]:
    at = bisect_right(ends, i)
    return parts[at].load(i - (ends[at - 1] if at else 0))


def domains_by(expression: str | None, names: Sequence[str]) -> tuple[str, ...]:
    """The domain of each of the `names`: what the first group of `expression`, or all of it, finds there; () where
    there is no expression.

    Raises:
        InputError: it is none, or does not occur in every name.
    """
    if expression is None:
        return ()
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise InputError(f"data.domain_group: expected a regular expression, found {expression!r}: {error}.") from error
    found = [pattern.search(name) for name in names]
    lost = [name for name, match in zip(names, found) if match is None or not match[1 if pattern.groups else 0]]
    if lost:
        raise InputError(
            f"data.domain_group: {expression!r} does not occur in {len(lost)} of {len(names)} names, {lost[0]} for "
            "one. Its first group in parentheses is the domain of an image."
        )
    return tuple(match[1 if pattern.groups else 0] for match in found if match is not None)


def faults_of_domains(data: "Data") -> list[str]:
    """What is wrong with the names of domains, and with how they are said."""
    names = list(data.domains or {})
    if data.domains is None:
        return []
    faults = []
    if data.domain_group is not None:
        faults.append("data.domains and data.domain_group both say what the domains are: take one away")
    if len(names) < 2:
        there = f"only {names[0]}; write its settings into data itself" if names else "none"
        faults.append(f"data.domains needs two data sets or more, found {there}")
    odd = [name for name in names if not re.fullmatch(r"[\w+-]*\w[\w+-]*", name)]
    if odd:
        faults.append(f"data.domains: {odd[0]!r} begins names of images: expected letters, digits and - + _ in it")
    if data.root is None and data.parquet is None and data.embedded is None:
        lost = [n for n, one in data.domains.items() if all(getattr(one, key) is None for key in SOURCES)]
        faults += [f"data.domains.{name}: nothing says where it lies: write its root, or data.root" for name in lost]
    return faults
