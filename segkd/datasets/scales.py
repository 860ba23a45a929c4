"""The raw number that means probability 1 in a folder of maps of two classes, where nobody has said it."""

from collections.abc import Collection, Sequence
from math import ceil

from segkd.datasets.maps import TOLERANCE
from segkd.datasets.tally import Tally, told, total
from segkd.types import InputError

DARK = 20
"""Values up to this are class numbers more often than levels."""

FEW_VALUES = 8
"""Distinct values of a whole folder up to which they are class numbers rather than levels, but for black and white."""

USUAL = (100, 127, 255, 1000, 1023, 4095, 10000, 16383, 32767, 65535)
"""What means probability 1 in whole numbers: shares of a hundred and the like, and the largest of so many bits."""

LOW = 0.4
"""A folder of levels whose largest lies below this share of the scale is refused: they look like something else."""


def scale_of(group: dict[str, Tally], kind: str, said: float | None, faults: dict[str, str], notes: list[str]) -> float:
    """The raw value that means 1 in one kind of number: `said`, or what all its files agree on.

    What is wrong with single files that contradict the others goes to `faults` by id, what to look at to `notes`.

    Raises:
        InputError: the files could mean several things; tells what to write.
    """
    if kind == "true and false":
        return 1.0
    scale = said or _usual_scale(group, kind, faults, notes)
    beyond = {
        id: f"{one.path}: expected values 0..{scale:g}, found {one.low:.7g}..{one.high:.7g}. {_advice(one)}"
        for id, one in group.items()
        if id not in faults and not (one.low >= -TOLERANCE * scale and one.high <= scale * (1 + TOLERANCE))
    }
    if beyond and not few(len(beyond), len(_lit(group.values()))):
        first = next(iter(beyond.values()))
        raise InputError(
            f"{len(beyond)} of the predictions lie beyond the scale ({told(list(group.values()))}). {first}"
        )
    faults |= beyond
    return scale


def _usual_scale(group: dict[str, Tally], kind: str, faults: dict[str, str], notes: list[str]) -> float:
    good = {id: tally for id, tally in group.items() if tally.low >= -TOLERANCE}
    high = max((tally.high for tally in good.values()), default=0.0)
    if kind == "real numbers":
        lit = _lit(good.values())
        if high != 255 or few(sum(tally.high > 1 + TOLERANCE for tally in lit), len(lit)):
            return 1.0
    odd = _odd(good, notes, DARK if high <= 255 else 255)
    if odd:
        faults |= odd
        return _usual_scale({id: tally for id, tally in good.items() if id not in odd}, kind, faults, notes)
    if high > 1:
        return _full(good, kind, high)
    refuse_lossy(list(good.values()) if high == 1 else [])
    return 1.0 if high == 1 or kind != "8 bit" else 255.0


def _odd(group: dict[str, Tally], notes: list[str], dark: int) -> dict[str, str]:
    """What is wrong with maps up to `dark` beside brighter ones, or the other way round, where either are few.

    Of maps that are cut, the fewer are at fault. A soft map that is nearly black may be one that saw nothing, so that
    is only noted.

    Raises:
        InputError: both are many.
    """
    low = {id: tally for id, tally in group.items() if 0 < tally.high <= dark}
    more = {id: tally for id, tally in group.items() if tally.high > dark}
    if not low or not more:
        return {}
    a, b = (max(some.values(), key=lambda tally: tally.high) for some in (low, more))
    hard = all(len(one.few or ()) in (1, 2) for one in more.values())
    odd, usual = (low, b) if len(low) <= len(more) else (more, a)
    if hard and few(len(odd), len(low) + len(more)):
        return {
            id: f"{one.path}: holds {one.low:.7g} to {one.high:.7g}, but the other maps hold up to {usual.high:.7g}. "
            "Save it like them."
            for id, one in odd.items()
        }
    if hard or few(len(more), len(low) + len(more)):
        raise InputError(
            f"{len(low)} predictions hold up to {a.high:.0f} ({a.path.name}) and {len(more)} up to {b.high:.0f} "
            f"({b.path.name}): one folder, two ways to write. Write them in one way; or, if both mean the same, "
            f"--prediction-map '{{0: 0, {a.high:.0f}: 1, {b.high:.0f}: 1}}', or, if all are levels, --prediction-scale "
            f"{_usual(b.high)}."
        )
    names = ", ".join(one.path.name for one in list(low.values())[:3])
    notes.append(
        f"{len(low)} of {len(low) + len(more)} predictions hold no level above {a.high:.0f} ({names}): read as nearly "
        "black. If these are class numbers, save them like the others."
    )
    return {}


def refuse_lossy(tallies: Sequence[Tally]) -> None:
    """Raises InputError where class numbers lie in JPEG files."""
    lossy = [tally.path for tally in tallies if tally.seen.lossy]
    if lossy:
        raise InputError(
            f"{lossy[0]}: class numbers in a lossy format (JPEG, WebP) are blurred into others. Save them as PNG."
        )


def _full(group: dict[str, Tally], kind: str, high: float) -> float:
    """The full scale of whole numbers whose largest is `high` > 1, or the refusal that says what to write."""
    values = sorted({value for tally in group.values() for value in (tally.few or [])})
    complete = all(tally.few is not None for tally in group.values())
    full = 255.0 if kind == "8 bit" or high == 255 else 65535.0
    # exactly half of it: the topmost bit is not used
    reached = high == full or (kind in ("8 bit", "16 bit") and high >= LOW * full and high != full // 2)
    numbers = _are_numbers(group.values(), int(full))
    if reached and not numbers:
        return full
    if numbers or (complete and len(values) <= 12):
        refuse_lossy(list(group.values()))
        pairs = [f"{value}: {int(value != values[0])}" for value in values[:12]] + ["..."] * (len(values) > 12)
        cure = (
            "these look like class numbers. Say what each means, for instance "
            f"--prediction-map '{{{', '.join(pairs)}}}' (raw value: class), or save probabilities"
        )
    else:
        # the largest found would make the surest pixel certain, without a word
        cure = f"say which value means probability 1, for instance --prediction-scale {_usual(high)}"
    scale = f"; if they are levels of 0..{full:.0f}, --prediction-scale {full:.0f}"
    raise InputError(
        f"{told(list(group.values()))}: the largest value of the whole folder is {high:.0f} of {full:.0f}"
        + (", so nothing can be foreground" if high < full / 2 else "")
        + f": {cure}{scale if kind in ('8 bit', '16 bit') else ''}."
    )


def _are_numbers(group: Collection[Tally], full: int) -> bool:
    """Whether maps look like class numbers, though the largest could be a level.

    Few values in the whole folder do, and so do values near 0 alone, or few in each file, from 0 or 1 on, that are
    neither black nor white.
    """
    pixels = total(group)
    inner = {value: count for value, count in pixels.items() if value not in (0, full)}
    if not inner or any(tally.few is None for tally in group):
        return False
    drawn = sum(inner.values()) > 0.9 * sum(count for value, count in pixels.items() if value)
    each = max(len(tally.few or []) for tally in group)
    return len(pixels) <= FEW_VALUES or max(inner) <= DARK or (drawn and each <= DARK and min(pixels) <= 1)


def _lit(group: Collection[Tally]) -> list[Tally]:
    """The maps that are not all black: such a one contradicts no other."""
    return [one for one in group if (one.low, one.high) != (0, 0)]


def few(stray: int, files: int) -> bool:
    """Whether so many stray files are an accident, which costs their own scores, and not a second way of writing."""
    return stray <= max(1, files // 5) and 2 * stray < files


def _advice(tally: Tally) -> str:
    if tally.low < -TOLERANCE:
        return "Save probabilities: sigmoid or softmax of logits, 0 and 1 for the classes."
    if tally.few is not None and len(tally.few) <= FEW_VALUES:
        example = ", ".join(f"{value}: {min(number, 1)}" for number, value in enumerate(tally.few))
        return f"Say what each value means, for instance --prediction-map '{{{example}}}' (raw value: class)."
    return f"Say which value means probability 1, for instance --prediction-scale {_usual(tally.high)}, or save 0..1."


def _usual(high: float) -> int:
    """The first of the `USUAL` scales that holds `high`."""
    return next((usual for usual in USUAL if high <= usual), ceil(high))
