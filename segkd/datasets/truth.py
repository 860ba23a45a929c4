"""How the labels of a folder are read when predictions are judged: the rule of training, and that of saliency masks."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from segkd.datasets.audit import Audit, Reading
from segkd.datasets.data import Data
from segkd.datasets.faults import CLOSE, MOSTLY, forgive_faults, refuse_faults
from segkd.datasets.labels import LabelCode, code_from_threshold
from segkd.datasets.maps import mode_of
from segkd.datasets.opening import label_code
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import GREY
from segkd.datasets.scales import few
from segkd.datasets.tally import Tally
from segkd.types import InputError


def label_rule(tallies: Mapping[str, Tally], data: Data) -> tuple[LabelCode, dict[str, str]]:
    """The code of all labels, and a sentence on each label that contradicts the others, by id.

    The values pass the audit of training; only masks of two classes with soft outlines (0 and 255 nearly everywhere,
    levels on both sides of the middle between) are read by the convention of saliency, above 128.

    Raises:
        InputError: the folder cannot be read as `data` says; tells what to write.
    """
    audit, classes = _audit_of(tallies), len(data.classes)
    open_rule = classes == 2 and data.label_map is None and data.threshold is None and data.colours is None
    if open_rule and _is_soft(audit.total, tallies, data.ignore):
        return code_from_threshold(128, data.ignore), {}
    code = label_code(data, audit.usual)
    stray = [id for id, tally in tallies.items() if any(not code.known[value] for value in tally.few or [])]
    # masks of one value fit many codes: unless the user said which, they speak against no other
    spoken = [id for id, tally in tallies.items() if code.told or id in stray or len(tally.few or []) > 1]
    faults = forgive_faults(audit, code) if few(len(stray), len(spoken)) else {}
    try:
        refuse_faults(audit, code, data.classes)
    except InputError as error:
        said = f"the labels cannot be read as {classes} classes ({', '.join(data.classes)}): {error}"
        if code.unknown(audit.total):  # a map of values helps against nothing else
            said += f"\n{_options(np.flatnonzero(audit.total).tolist(), classes)}"
        raise InputError(said) from None
    return code, faults


def by_their_values(data: Data, labels: Collection[Path]) -> Data:
    """`data` for grey labels beside predictions in the colours of `data.colours`: without these, so that the labels'
    values are the classes. `data` itself wherever the labels may be in these colours."""
    if data.colours is None:
        return data
    greys = [colour for colour, _ in data.how.colours or () if len(set(colour)) == 1]
    if len(greys) > 1 or not all(mode_of(path) in GREY for path in labels):  # grey pictures show two greys at least
        return data
    return replace(data, colours=None)


def _options(values: list[int], classes: int) -> str:
    """What to write on the command line, by the values that occur."""
    if values == list(range(len(values))) and classes < len(values) < 256:
        names = ", ".join(f"class{value}" for value in values[:6]) + (", ..." if len(values) > 6 else "")
        void = f"; or leave out the last one (void), --data.ignore '[{classes}]'" if len(values) == classes + 1 else ""
        return (
            f"Values 0..{values[-1]} look like {len(values)} classes: name them all, --data.classes '[{names}]'{void}."
        )
    if len(values) <= 12:
        example = ", ".join(f"{value}: {min(number, classes - 1)}" for number, value in enumerate(values))
        return (
            f"As an option, with the class that each value really means: --data.label_map '{{{example}}}'; more "
            "classes are named by --data.classes '[NAME, ...]', values to leave out by --data.ignore '[RAW]'."
        )
    return "As an option: --data.threshold 128 for grey masks, else --data.label_map '{RAW: CLASS, ...}'."


def _audit_of(tallies: Mapping[str, Tally]) -> Audit:
    audit = Audit()
    for id, tally in tallies.items():
        assert tally.values is not None and tally.counts is not None, "labels tell all their values"
        pair = Pair(id, tally.path, tally.path)
        audit.take(Reading(pair, counts=(tally.values, tally.counts), seen_mask=tally.seen))
    return audit


def _is_soft(total: np.ndarray, tallies: Mapping[str, Tally], ignore: list[int]) -> bool:
    """Whether masks are grey pictures of an object: nearly all black or white, with levels all the way between."""
    kept = total.copy()
    kept[ignore] = 0
    edge = CLOSE if all(tally.seen.lossy for tally in tallies.values()) else 1
    ends = kept[:edge].sum(), kept[256 - edge : 256].sum()
    between = np.flatnonzero(kept[edge : 256 - edge]) + edge
    inner = kept[1:128].any() and kept[129:255].any() and np.count_nonzero(kept[1:255]) >= 4
    if kept[256:].any() or not ends[1] or not inner:
        return False
    both = len(between) == 0 or (between[0] < 128 < between[-1])
    return bool(both and sum(ends) >= MOSTLY * kept.sum())
