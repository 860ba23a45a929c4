"""How the labels of a folder are read when predictions are judged: the rule of training, and that of saliency masks."""

from collections.abc import Mapping

import numpy as np

from segkd.datasets.audit import Audit
from segkd.datasets.coding import LOSSY, few
from segkd.datasets.data import Data, label_code
from segkd.datasets.faults import forgive_faults, refuse_faults
from segkd.datasets.labels import LabelCode, code_from_threshold
from segkd.datasets.pairing import Pair
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
    pairs = [Pair(id, tally.path, tally.path) for id, tally in tallies.items()]
    open_rule = classes == 2 and data.label_map is None and data.threshold is None
    if open_rule and _is_soft(audit.total, tallies, data.ignore):
        return code_from_threshold(128, data.ignore), {}
    code = label_code(data, audit.usual)
    stray = {id for id, tally in tallies.items() if tally.few is None or any(not code.known[v] for v in tally.few)}
    if stray and not few(len(stray), len(tallies)):
        try:
            refuse_faults(audit, pairs, code, data.classes)
        except InputError as error:
            raise InputError(
                f"the labels cannot be read as {classes} classes ({', '.join(data.classes)}): {error}\n"
                + _options(np.flatnonzero(audit.total).tolist(), classes)
            ) from None
    if data.threshold is None:
        _refuse_lossy(tallies, code)
    return code, forgive_faults(audit, pairs, code)


def _options(values: list[int], classes: int) -> str:
    """What to write on the command line, by the values that occur."""
    if values == list(range(len(values))) and len(values) > classes:
        names = ", ".join(f"class{value}" for value in values[:6]) + (", ..." if len(values) > 6 else "")
        return f"Values 0..{values[-1]} look like {len(values)} classes: name them all, --data.classes '[{names}]'."
    if len(values) <= 12:
        example = ", ".join(f"{value}: {min(number, classes - 1)}" for number, value in enumerate(values))
        return f"As an option, with the class that each value really means: --data.label_map '{{{example}}}'."
    return "As an option: --data.threshold 128 for grey masks, else --data.label_map '{RAW: CLASS, ...}'."


def _audit_of(tallies: Mapping[str, Tally]) -> Audit:
    audit = Audit()
    for id, tally in tallies.items():
        assert tally.values is not None and tally.counts is not None, "labels tell all their values"
        audit.counts[id] = (tally.values, tally.counts)
    return audit


def _is_soft(total: np.ndarray, tallies: Mapping[str, Tally], ignore: list[int]) -> bool:
    """Whether masks are grey pictures of an object: nearly all black or white, with levels all the way between."""
    kept = total.copy()
    kept[ignore] = 0
    edge = 16 if all(tally.path.suffix.lower() in LOSSY for tally in tallies.values()) else 1
    ends = kept[:edge].sum(), kept[256 - edge : 256].sum()
    between = np.flatnonzero(kept[edge : 256 - edge]) + edge
    inner = kept[1:128].any() and kept[129:255].any() and np.count_nonzero(kept[1:255]) >= 4
    if kept[256:].any() or not ends[1] or not inner:
        return False
    both = len(between) == 0 or (between[0] < 128 < between[-1])
    return bool(both and sum(ends) >= 0.75 * kept.sum())


def _refuse_lossy(tallies: Mapping[str, Tally], code: LabelCode) -> None:
    """Class numbers, which blurring turns into others, are refused in JPEG; 0 and 255 have room between."""
    if code.known[255] and not code.known[1]:
        return
    lossy = next((tally.path for tally in tallies.values() if tally.path.suffix.lower() in LOSSY), None)
    if lossy is not None:
        raise InputError(f"{lossy}: class numbers in JPEG are blurred into others. Save the labels as PNG.")
