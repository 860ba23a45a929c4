"""The rule between two sets of names, found from the names alone: "every mask is an image's name + `_mask`"."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from segkd.datasets.called import MASK_WORDS

SAMPLE = 200
"""Names that candidates are drawn from."""

TRIED = 12
"""Candidates, most frequent first, that are tried on all names."""

MOST = 20_000
"""Names beyond which none is looked at while candidates are drawn."""

SEPARATORS = "_-. ()[]"

LAST_WORD = re.compile(r"(?<=.)[_. ()\[\]-][^_. ()\[\]-]*$", re.DOTALL)
"""How a name of several words ends: "_mask"."""

FIRST_WORD = re.compile(r"^[^\W\d_]+[_. -]*(?=.)", re.DOTALL)
"""How a name begins, with what separates that from the rest: "mask_", "mask"."""

Affix = tuple[str, str]
"""What stands in front of the part of a name that both sides share, and what stands behind it."""


@dataclass(frozen=True)
class Rule:
    """A left name is `left[0] + core + left[1]`, its right name `right[0] + core + right[1]`, for `matched` pairs.

    With `folders`, both also lie in the same folder; else only the last parts of the names are compared.
    """

    left: Affix
    right: Affix
    folders: bool
    matched: int = 0

    def words(self) -> str:
        """What is done to a left name to get the right one."""
        where = "" if self.folders else ", in whatever folders"
        return f"{_written(self.left)} -> {_written(self.right)}{where}"

    def pattern(self, folder: str, affix: Affix, ending: str) -> str:
        """The pattern for the files of `folder` that have this affix."""
        ending = ending or ".*" * ("." in affix[1])  # what stands behind a dot is not their extension
        depth = "" if self.folders else "**/"
        return "/".join([*([folder] if folder not in ("", ".") else []), f"{depth}{_written(affix, '{}')}{ending}"])


def same_names(left: Collection[str], right: Collection[str], *, told: bool = False) -> tuple[dict[str, str], str]:
    """Left name -> right name for names that are the same, and what is to be said of how they were compared, or "".

    Names are compared letter by letter, then in Unicode's composed form (macOS stores "e" and its accent apart), and
    then, when that leaves no left name alone, without regard to upper and lower case. Where it is `told` that both
    sides belong together, then also without regard to zeros in front of numbers ("7" and "0007"), when that leaves no
    name of the shorter side alone: numbers alone would bring any two folders together.
    """
    found = {name: name for name in left if name in right}
    found |= _joined(found, left, right, composed)
    ways = [(_folded, len(left), "upper and lower case")]
    ways += [(_unpadded, min(len(left), len(right)), "zeros in front of numbers")] if told else []
    for key, whole, apart in ways:
        joined = _joined(found, left, right, key)
        if joined and len(found) + len(joined) == whole:
            return found | joined, f"{len(joined)} names differ in {apart} alone"
    return found, ""


def _joined(
    found: Mapping[str, str], left: Collection[str], right: Collection[str], key: Callable[[str], str]
) -> dict[str, str]:
    """Left name -> right name, of those that are not in `found` and the same under `key`."""
    taken = set(found.values())
    ours = _unique((name for name in left if name not in found), key)
    theirs = _unique((name for name in right if name not in taken), key)
    return {ours[same]: theirs[same] for same in ours.keys() & theirs.keys()}


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", name)


def rivals(rules: Sequence[Rule], left: Collection[str], right: Collection[str]) -> list[Rule]:
    """Those of `rules` that fit as well as the first one, but bring other files together; affixes are whole words."""
    if not rules:
        return []
    seen, others = [matches(rules[0], left, right)], []
    for rule in rules[1:]:
        whole = all(_apart(part) for part in rule.left + rule.right)
        if whole and rule.matched == rules[0].matched and (ways := matches(rule, left, right)) not in seen:
            seen.append(ways)
            others.append(rule)
    return others


def find_rules(left: Collection[str], right: Collection[str]) -> list[Rule]:
    """The rules that bring at least 9 in 10 names of the shorter side together, the best first.

    Names may hold folders and have no extension. Of rules that fit equally, the one that says least comes first.
    """
    names, others = sorted(left)[:MOST], sorted(right)[:MOST]
    votes = _votes([_base(name) for name in names], [_base(name) for name in others])
    found = [
        tried
        for (a, b), _ in votes.most_common(TRIED)
        for folders in (True, False)
        if (tried := _tried(Rule(a, b, folders), left, right)) is not None
    ]
    fit = [rule for rule in found if rule.matched >= 0.9 * min(len(left), len(right))]
    return sorted(fit, key=lambda rule: (-rule.matched, not rule.folders, len("".join(rule.left + rule.right))))


def matches(rule: Rule, left: Collection[str], right: Collection[str]) -> dict[str, str]:
    """Right name -> left name, for all that the rule brings together one to one."""
    ours = _unique(left, lambda name: _core(name, rule.left, rule.folders))
    theirs = _unique(right, lambda name: _core(name, rule.right, rule.folders))
    return {theirs[core]: ours[core] for core in ours.keys() & theirs.keys()}


def find_rule_within(names: Collection[str]) -> Rule | None:
    """The rule of a folder that holds images and masks together: "a" and "a_mask", "b" and "b_mask"."""
    known = {_base(name) for name in names}
    votes: Counter[Affix] = Counter()
    for name in _spread(sorted(known)):
        votes.update(set(_around(name, known)) - {("", "")})
    for affix, _ in votes.most_common(TRIED):
        masks = {name for name in names if _core(name, affix, True) is not None}
        images = set(names) - masks
        rule = _tried(Rule(("", ""), affix, True), images, masks)
        lone = 0 if rule is None else max(len(masks), len(images)) - rule.matched
        if rule is not None and (lone <= 0.1 * (rule.matched + lone) or lone == 1 < rule.matched - 1):
            return rule
    return _halves(names)


def _halves(names: Collection[str]) -> Rule | None:
    """The rule of a folder whose images and masks end in a word each: "a_sat" and "a_mask"; or begin with one."""
    for word in (LAST_WORD, FIRST_WORD):
        bases = [_base(name) for name in names]
        two = Counter(found[0] for base in bases if (found := word.search(base))).most_common(2)
        said = [any(called in part.lower() for called in MASK_WORDS) for part, _ in two]
        if len(two) < 2 or sum(said) != 1:
            continue
        (image, images), (mask, masks) = two if said[1] else two[::-1]
        affixes = [("", part) if word is LAST_WORD else (part, "") for part in (image, mask)]
        rule = Rule(affixes[0], affixes[1], True)
        matched = len(matches(rule, names, names))
        lone = masks - matched  # images of a test split have no masks
        if matched and matched + images >= 0.9 * len(names) and lone <= 0.1 * matched:
            # a pattern has no place for what stands between a folder and a word in front, but for `**/`
            return replace(rule, matched=matched, folders=word is LAST_WORD or not any("/" in name for name in names))
    return None


def _tried(rule: Rule, left: Collection[str], right: Collection[str]) -> Rule | None:
    if rule.folders and (rule.left[0] or rule.right[0]) and any("/" in name for name in (*left, *right)):
        return None  # a pattern has no place for what stands between the folder and the name
    matched = len(matches(rule, left, right))
    lone = matched == 1 and not all(_apart(part) for part in rule.left + rule.right)
    return None if lone or not matched else Rule(rule.left, rule.right, rule.folders, matched)


def _core(name: str, affix: Affix, folders: bool) -> str | None:
    """What the rule's two names share, None where the name has not the affix."""
    folder, _, base = name.rpartition("/")
    before, after = affix
    if not (base.startswith(before) and base.endswith(after) and len(base) > len(before) + len(after)):
        return None
    core = base[len(before) : len(base) - len(after)]
    if (before[-1:].isdigit() and core[0].isdigit()) or (after[:1].isdigit() and core[-1].isdigit()):
        return None  # "1" + "10" is no rule: it would pair frame 10 with frame 110
    return f"{folder}/{core}" if folders and folder else core


def _votes(left: Sequence[str], right: Sequence[str]) -> Counter[tuple[Affix, Affix]]:
    """How many sampled names speak for each pair of affixes."""
    votes: Counter[tuple[Affix, Affix]] = Counter()
    known, others = set(left), set(right)
    for name in _spread(right):
        votes.update({(("", ""), affix) for affix in _around(name, known)})
    for name in _spread(left):
        votes.update({(affix, ("", "")) for affix in _around(name, others)})
    for (a, b), number in _replaced(left, right).items():
        votes[("", a), ("", b)] += number
    backwards = _replaced([name[::-1] for name in left], [name[::-1] for name in right])
    for (a, b), number in backwards.items():
        votes[(a[::-1], ""), (b[::-1], "")] += number
    affixes = _shared(left), _shared(right)
    ours, theirs = ({_core(name, affix, False) for name in side} for side, affix in zip((left, right), affixes))
    votes[affixes] += len((ours & theirs) - {None})
    return votes


def _around(name: str, known: set[str]) -> Iterator[Affix]:
    """What stands around the longest known names inside `name`."""
    for length in range(len(name), 0, -1):
        found = [at for at in range(len(name) - length + 1) if name[at : at + length] in known]
        inside = [(name[:at], name[at + length :]) for at in found if length < len(name)]
        if inside:
            yield from inside
            return


def _replaced(left: Sequence[str], right: Sequence[str]) -> Counter[tuple[str, str]]:
    """Endings (left, right) of names that begin alike, cut where the last common word ends."""
    begins: dict[str, list[str]] = {}
    for name in right:
        for length in range(1, len(name) + 1):
            some = begins.setdefault(name[:length], [])
            if len(some) < 5:
                some.append(name)
    votes: Counter[tuple[str, str]] = Counter()
    for name in _spread(left):
        length = next((n for n in range(len(name), 0, -1) if name[:n] in begins), 0)
        core = name[:length].rstrip(SEPARATORS)
        if core:
            votes.update({(name[len(core) :], other[len(core) :]) for other in begins[name[:length]]})
    return votes


def _shared(names: Sequence[str]) -> Affix:
    """What all of the names begin and end with, words and numbers whole: "img_", "" of img_001 and img_002."""
    before = _begin(names)
    return before, _begin([name[len(before) :][::-1] for name in names])[::-1]


def _begin(names: Sequence[str]) -> str:
    before = min(names, default="")
    while before and not all(_begins(name, before) for name in names):
        before = before[:-1]
    return before


def _begins(name: str, before: str) -> bool:
    return name.startswith(before) and _kind(before[-1]) != _kind(name[len(before) : len(before) + 1])


def _kind(sign: str) -> str:
    return "digit" if sign.isdigit() else "letter" if sign.isalpha() else sign


def _spread(names: Sequence[str]) -> list[str]:
    step = max(1, len(names) // SAMPLE)
    return list(names[::step][:SAMPLE])


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _apart(part: str) -> bool:
    return not part or part[0] in SEPARATORS or part[-1] in SEPARATORS


def _folded(name: str) -> str:
    return composed(name).casefold()


def _unpadded(name: str) -> str:
    return re.sub(r"(?<![\d.])0+(?=\d)", "", name)


def _unique(names: Iterable[str], key: Callable[[str], str | None]) -> dict[str, str]:
    """Key -> name, of those names that have a key which is theirs alone."""
    found: dict[str | None, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return {same: some[0] for same, some in found.items() if same is not None and len(some) == 1}


def _written(affix: Affix, name: str = "NAME") -> str:
    return f"{affix[0]}{name}{affix[1]}"
