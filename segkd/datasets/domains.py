"""Several data sets as one: domains that share their classes, each found and read by settings of its own."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace

from segkd.datasets.data import Data, Domain
from segkd.datasets.groups import expression_of
from segkd.types import InputError

SOURCES = ("root", "parquet", "embedded")
"""Where the images of a domain come from: one of these."""

READING = ("label_map", "threshold", "colours")
"""How its masks are read: at most one of these."""


def parts_of(data: Data) -> dict[str, Data]:
    """The settings of each domain as those of a data set of its own; {} where `data` has none."""
    return {name: _part(data, name, number) for number, name in enumerate(data.domains or {})}


def _part(data: Data, name: str, number: int) -> Data:
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


def domains_by(expression: str | None, names: Sequence[str]) -> tuple[str, ...]:
    """The domain of each of the `names`: what the first group of `expression`, or all of it, finds there; () where
    there is no expression.

    Raises:
        InputError: it is none, or does not occur in every name.
    """
    if expression is None:
        return ()
    pattern = expression_of(expression, "data.domain_group")
    group = 1 if pattern.groups else 0
    found = {name: match[group] for name in names if (match := pattern.search(name)) is not None and match[group]}
    lost = [name for name in names if name not in found]
    if lost:
        raise InputError(
            f"data.domain_group: {expression!r} does not occur in {len(lost)} of {len(names)} names, {lost[0]} for "
            "one. Its first group in parentheses is the domain of an image."
        )
    return tuple(found[name] for name in names)


def faults_of_domains(data: Data) -> list[str]:
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
