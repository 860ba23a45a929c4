"""A file that cannot be used as it is: what many of them have in common is said once."""

from collections import Counter
from collections.abc import Mapping

from segkd.datasets.packed import File
from segkd.types import InputError


class Unfit(InputError):
    """A file that is not what is needed.

    Args:
        path: the file.
        kind: what was expected and found, as it holds for all files with this fault.
        cure: what to do, likewise.
        detail: what was found in this file alone.
        colours: for a mask in colours: pixels of each of its most frequent ones, packed as 0xRRGGBB.
    """

    def __init__(self, path: File, kind: str, cure: str, detail: str = "", colours: Mapping[int, int] | None = None):
        super().__init__(f"{path}: {kind}{': ' * bool(detail)}{detail}. {cure}.")
        self.path, self.kind, self.cure, self.detail = path, kind, cure, detail
        self.colours = Counter(colours or {})


def no_room(path: File) -> Unfit:
    """The fault of a picture that is sound, but larger than the memory allows."""
    return Unfit(path, "does not fit into the memory that is left", "Shrink it, or cut it into tiles")
