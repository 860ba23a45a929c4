"""What belongs together by its name: the images of a patient, a video or a domain, which a regular expression finds."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from segkd.types import InputError

T = TypeVar("T")


def group_of(
    expression: str | None, stems: Sequence[str], warnings: list[str], owner: str = "data.group"
) -> Callable[[str], str]:
    """A function from a stem to its group: what `expression` finds in it, its first group or all; else the stem.

    Of alternatives with a group each, the first that took part counts, and those of different groups are never one.

    Raises:
        InputError: it is no expression, or finds nothing in any stem; `owner` names the setting.
    """
    if expression is None:
        return str
    found = groups_in(expression, stems, owner)
    if not found:
        raise InputError(
            f"{owner}: {expression!r} occurs in none of {len(stems)} names, the first of which are "
            f"{', '.join(sorted(stems)[:3])}. Its first group in parentheses is the patient, video or sequence."
        )
    if len(found) < len(stems):
        warnings.append(f"{owner} occurs in {len(found)} of {len(stems)} names; each other one is its own group")
    return lambda stem: found.get(stem, stem)


def groups_in(expression: str, stems: Iterable[str], owner: str = "data.group") -> dict[str, str]:
    """The group of each of the stems in which `expression` finds one. Raises InputError where it is no expression."""
    pattern = expression_of(expression, owner)
    matches = {stem: match for stem in stems if (match := pattern.search(stem)) is not None}
    return {stem: group for stem, match in matches.items() if (group := _group_in(match))}


def expression_of(text: str, owner: str) -> re.Pattern[str]:
    """A regular expression. Raises InputError where it is none; `owner` names the setting."""
    try:
        return re.compile(text)
    except re.error as error:
        raise InputError(f"{owner}: expected a regular expression, found {text!r}: {error}.") from error


def _group_in(match: re.Match[str]) -> str:
    """What the first group that took part found, with its number unless it is 1; all, without groups; or ""."""
    if not match.groups():
        return match[0]
    number, text = next(((number, text) for number, text in enumerate(match.groups(), 1) if text), (1, ""))
    # patient(\d+)|subject(\d+): subject 7 is not patient 7; nor is all that matched a name, a frame may be part of it
    return text if number == 1 else f"{text} (group {number})"


def groups_by_hash(members: Iterable[T], group: Callable[[T], str]) -> list[list[T]]:
    """Members by their groups, in the order of the hashes of these' names: the same everywhere, whatever they mean."""
    groups: dict[str, list[T]] = {}
    for member in members:
        groups.setdefault(group(member), []).append(member)
    return [groups[name] for name in sorted(groups, key=_hash)]


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
