"""What a data set is, in short: a digest of every file, to notice that it is another one when a run goes on."""

import hashlib
from collections.abc import Mapping, Sequence

from segkd.datasets.packed import File
from segkd.datasets.pairing import Pair

Digests = dict[str, dict[str, str]]
"""Split -> id -> the digest of the image's file and, after a space, of the mask's."""


def digest_of(pair: Pair) -> str:
    """Digests of the bytes of a pair's image and mask, 64 bits each, in hexadecimal; "" when one cannot be read.

    The system still holds the bytes of files that were just decoded, so this costs little beside decoding them.
    """
    try:
        return " ".join(digest_of_file(path) for path in (pair.image, pair.mask))
    except OSError:
        return ""


def digest_of_file(path: File) -> str:
    """The digest of a file's bytes, 64 bits in hexadecimal. Raises OSError where it cannot be read."""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def digest_of_all(digests: Digests) -> str:
    """One digest of all splits, of their names and files."""
    lines = [f"{split} {id} {digest}" for split in sorted(digests) for id, digest in sorted(digests[split].items())]
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def differences(then: Digests, now: Digests) -> list[str]:
    """What is another in each split: how many and the first names; [] when all is as it was."""
    found = []
    for split in sorted(then.keys() | now.keys()):
        before, after = then.get(split, {}), now.get(split, {})
        parts = [
            _named(sorted(after.keys() - before.keys()), "added"),
            _named(sorted(before.keys() - after.keys()), "removed"),
            _named(_others(before, after, 0), "with another image"),
            _named(_others(before, after, 1), "with another mask"),
        ]
        found += [f"{split}: {', '.join(part for part in parts if part)}"] if any(parts) else []
    return found


def reordered(then: Digests, now: Digests) -> list[str]:
    """A sentence where the images to train on are in another order: epochs draw them by their place."""
    apart = list(then.get("train", {})) != list(now.get("train", {}))
    return ["train: the same images in another order"] * apart


def _others(before: Mapping[str, str], after: Mapping[str, str], place: int) -> list[str]:
    shared = sorted(before.keys() & after.keys())
    return [id for id in shared if before[id].split(" ")[place:][:1] != after[id].split(" ")[place:][:1]]


def _named(ids: Sequence[str], what: str) -> str:
    names = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
    return f"{len(ids)} {what} ({names})" if ids else ""
