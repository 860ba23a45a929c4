"""Which images a run was trained on, in its folder: who never saw an image may teach it."""

from collections.abc import Sequence
from pathlib import Path

from segkd.disk import write_whole

FILE = "trained_on.txt"
"""In a run folder: the names of the images that it was trained on, a line each."""


def note_trained_on(folder: Path, ids: Sequence[str]) -> None:
    """Writes the names of the training images, those of earlier sessions of the run included."""
    before = read_trained_on(folder) or frozenset()
    names = [*ids, *sorted(before - set(ids))]
    write_whole(folder / FILE, "".join(f"{name}\n" for name in names))


def read_trained_on(folder: Path) -> frozenset[str] | None:
    """The names of the images that a run was trained on; None where it does not say."""
    try:
        # of bytes, and at newlines alone: names hold other signs that end a line of text
        return frozenset((folder / FILE).read_bytes().decode("utf-8", "surrogateescape").split("\n")) - {""}
    except OSError:
        return None
