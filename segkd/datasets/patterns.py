"""Which files are meant: a folder, or a pattern such as `gtFine/**/{}_labelTrainIds.png`, below a root."""

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from segkd.datasets.walk import PassedOver, say_passed, walk, what_is
from segkd.types import InputError

TOKENS = re.compile(r"\{\}|\*\*/|\*\*|(?<![^/])\*/|\*")


@dataclass
class Named:
    """Files by the name that a pattern's `{}` stands for.

    Attributes:
        files: name -> file.
        doubles: name -> the sentence on files that share it; they are not in `files`.
        passed: what lay there and was passed over.
        base: the folder that the names are relative to.
    """

    files: dict[str, Path]
    doubles: dict[str, str] = field(default_factory=dict)
    passed: list[PassedOver] = field(default_factory=list)
    base: Path = Path()

    @property
    def sentence(self) -> str:
        """One line on what was passed over, or ""."""
        return say_passed(self.passed)

    def ending(self) -> str:
        """The extension that all files have, ".*" if they differ."""
        endings = Counter(path.suffix for path in self.files.values())
        return next(iter(endings)) if len(endings) == 1 else ".*"


@dataclass(frozen=True)
class Pattern:
    """A folder or a pattern as a user writes it: `base`, the folders in front of its first sign, and the `rest`.

    `{}` is the name that an image and its mask share. It may hold folders ("cat/0001"); a second `{}` is the same name
    again. `*` is any text within one name, `**/` any folders, as many as there are. Without an extension at its end, a
    pattern takes any picture. A folder is the pattern of all that lies in it: "masks" is "masks/{}".
    """

    base: str
    rest: str = "{}"

    @classmethod
    def of(cls, text: str) -> "Pattern":
        """The pattern that `text` is."""
        sign = TOKENS.search(text)
        base = text if sign is None else text[: sign.start()].rpartition("/")[0]
        return cls(base) if sign is None else cls(base, text[len(base) :].lstrip("/"))

    @property
    def letters(self) -> int:
        """How many letters the pattern says: of two patterns that match a file, the one that says more is meant."""
        return len(self.base) + len(TOKENS.sub("", self.rest))

    def compiled(self) -> re.Pattern[str]:
        """The expression that matches a path below `base`.

        Its group `name` is the name; the other groups are the folders that `**/` and `*/` stand for.
        """
        parts, at, name = [], 0, "(?P<name>.+)"
        signs = {"**/": "((?:.*/)?)", "*/": "([^/]*/)", "**": ".*", "*": "[^/]*"}
        for sign in TOKENS.finditer(self.rest):
            parts += [re.escape(self.rest[at : sign.start()]), signs.get(sign[0], name)]
            name = "(?P=name)" if sign[0] == "{}" else name
            at = sign.end()
        before, dot, extension = self.rest[at:].rpartition(".")
        if dot:
            parts.append(f"{re.escape(before)}(?i:{re.escape('.' + extension)})")
        else:
            parts.append(re.escape(extension) + ("" if self.rest.endswith("*") else r"\.[^./]+"))
        return re.compile("".join(parts), re.DOTALL)


def is_pattern(text: str) -> bool:
    """Whether `text` has one of a pattern's signs."""
    return TOKENS.search(text) is not None


def start_of(folders: Iterable[str]) -> str:
    """What a pattern of files in all of some `folders` begins with: the folder that holds them, with a slash, or ""."""
    base = posixpath.commonpath(folders)
    return f"{base}/" if base else ""


def find_named(
    root: Path, text: str, option: str, kinds: Collection[str] | None = None, folders: bool = False
) -> Named:
    """The files that `text`, a folder or a pattern below `root`, means; `option` is its name in errors.

    With `folders`, the folders that `**/` and `*/` stand for are part of the names.

    Raises:
        InputError: there is no such folder, or the pattern says no name.
    """
    pattern = Pattern(text) if (root / text).is_dir() else Pattern.of(text.removeprefix("./"))
    if "{}" not in pattern.rest:
        raise InputError(
            f"{option}: {text}: expected {{}} where the name stands that an image and its mask share. "
            f"Write {_with_name(text)}."
        )
    base = root / pattern.base
    if not base.is_dir():
        raise InputError(f"{option}: {base}: expected a folder, found {what_is(base)} there.")
    found = walk(base, kinds)
    named = Named({}, passed=found.passed, base=base)
    expression = pattern.compiled()
    for path in found.files:
        match = expression.fullmatch(path.relative_to(base).as_posix())
        if match is not None:
            where = "".join(part for at, part in enumerate(match.groups(), 1) if at != expression.groupindex["name"])
            _add(named, (where if folders else "") + match["name"], path, text)
    for name in named.doubles:
        named.files.pop(name, None)
    return named


def only_theirs(named: Named, other: Named) -> None:
    """Takes the files of `other` out of `named`."""
    theirs = set(other.files.values())
    named.files = {name: path for name, path in named.files.items() if path not in theirs}


def _add(named: Named, name: str, path: Path, text: str) -> None:
    if name in named.files:
        first = named.files[name]
        cure = "remove or rename one."
        if first.suffix != path.suffix and (text.endswith("{}") or not is_pattern(text)):
            start = text if text.endswith("{}") else f"{text.rstrip('/')}/{{}}"
            cure = f"remove or rename one, or say which is meant: {start}{first.suffix} or {start}{path.suffix}."
        if "**/" in text and first.parent != path.parent:
            cure = f"let {{}} hold the folders too: leave `**/` out of {text}."
        both = [file.relative_to(named.base).as_posix() for file in (first, path)]
        named.doubles[name] = f"{named.base}: {both[0]} and {both[1]} share one name; {cure}"
    named.files.setdefault(name, path)


def _with_name(text: str) -> str:
    signs = [sign for sign in TOKENS.finditer(text) if sign[0] == "*"]
    if not signs:
        return f"{text.rstrip('/*')}/{{}}"
    return text[: signs[-1].start()] + "{}" + text[signs[-1].end() :]
