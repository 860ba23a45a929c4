"""How predictions are scored: the two protocols, and the fingerprint that says whether scores may be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segkd.types import InputError

BETA2 = 0.3
"""Beta squared of F-beta, the convention of salient-object detection (Achanta et al., CVPR 2009)."""

EPS = np.spacing(1)
"""The distance from 1 to the next number, added to denominators as the authors of the measures do."""


@dataclass(frozen=True)
class Protocol:
    """The choices in which repositories differ (docs/metrics.md holds the table).

    Attributes:
        name: what `--protocol` calls it.
        stretch: every map is stretched to 0..1 by its own minimum and maximum before anything is counted.
        strict: "foreground is more than the threshold" rather than "at least".
        unbiased: E-measure divides by N - 1 (it may exceed 1) rather than by N.
        zero_when_empty: scores that an image without foreground leaves undefined count as 0 rather than not at all.
    """

    name: str
    stretch: bool
    strict: bool
    unbiased: bool
    zero_when_empty: bool


PLAIN = Protocol("plain", stretch=False, strict=False, unbiased=False, zero_when_empty=False)
"""The prediction as it is; every score lies within its range and is defined or left out."""

PYSOD = Protocol("pysod", stretch=True, strict=True, unbiased=True, zero_when_empty=True)
"""PySODMetrics 1.6.2: what most papers on salient and camouflaged objects print."""

READING = ("threshold", "label_map", "colours")
"""Settings of data that say what raw label values mean, beside `ignore`."""


MAPS = ("scaled", "output")
"""Entries of a fingerprint that say how maps came to be: `scaled`, as what they were brought to the label's size, and
`output`, as what the numbers of somebody's file were read. Evaluations of older versions have neither."""


def find_protocol(name: str) -> Protocol:
    """The protocol of that name."""
    for protocol in (PLAIN, PYSOD):
        if protocol.name == name:
            return protocol
    raise InputError(f"--protocol: expected plain or pysod, found {name!r}.")


def fingerprint(
    protocol: Protocol,
    threshold: float | None,
    ignore: Sequence[int] = (),
    augmentation: str = "none",
    reading: Mapping[str, Any] | None = None,
    maps: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What two tables of scores must have in common to be compared, as plain values for `scores.json`.

    Args:
        protocol: how predictions are scored.
        threshold: of the foreground probability, for two classes; None for more, where the largest wins.
        ignore: raw label values whose pixels count nowhere.
        augmentation: what was done at test beside one look at the whole image; "none" if nothing.
        reading: the settings by which raw label values become classes (`READING`); others, and None, are left out.
        maps: how maps came to be (`MAPS`); what is "" is left out.
    """
    said = {name: (reading or {}).get(name) for name in READING}
    labels = "; ".join(f"{name} {_in_order(value)}" for name, value in said.items() if value is not None)
    rule = "largest" if threshold is None else f"p {'>' if protocol.strict else '>='} {threshold:.6g}"
    return {
        "protocol": protocol.name,
        "size": "label",
        "interpolation": "bilinear",
        "threshold": rule,
        "minmax": protocol.stretch,
        "beta2": BETA2,
        "ignore": sorted(ignore),
        "augmentation": augmentation,
        **({"labels": labels} if labels else {}),
        **{name: value for name, value in (maps or {}).items() if value},
    }


def _in_order(value: Any) -> str:
    """A setting in words that depend neither on the order of its keys nor on whether they are quoted."""
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{key} -> {part}" for key, part in sorted((str(key), part) for key, part in value.items()))


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """One sentence per choice in which two fingerprints (the `fingerprint` of two `scores.json`) differ.

    An empty list means that the scores may be compared. A whole `scores.json` may be given for its fingerprint. How
    maps came to be (`MAPS`) differs only where both say it.
    """
    first, second = a.get("fingerprint", a), b.get("fingerprint", b)
    missing = object()
    return [
        f"{key}: {first.get(key, 'not said')} against {second.get(key, 'not said')}"
        for key in sorted(first.keys() | second.keys())
        if first.get(key, missing) != second.get(key, missing) and (key not in MAPS or (key in first and key in second))
    ]


def rules_apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The `differences` that are none of how maps came to be: scores by different rules do not compare."""
    return [sentence for sentence in differences(a, b) if sentence.split(":")[0] not in MAPS]
