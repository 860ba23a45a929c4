"""What the first bytes of a file tell: how a picture is stored, and what lies there where none does."""

from collections.abc import Callable
from typing import TypeVar

from PIL import Image

from segkd.datasets.dicom import CURE, WHAT, is_dicom
from segkd.datasets.packed import File
from segkd.datasets.unfit import Unfit

T = TypeVar("T")

LOOKED_AT = 64
"""Bytes that tell what a file is."""

HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
"""The brands of HEIF's files that hold HEVC, as telephones write them."""

PAGES = "pages after the first"
"""What is left out of a file of several pages."""

SLICES = (
    "If they are slices or times, save each as a file of its own, those of image and mask under one name (in Python: "
    "for n, page in enumerate(PIL.ImageSequence.Iterator(PIL.Image.open(FILE))): page.save(f'{n:04d}.png'))"
)
"""What to do with pages."""


def by_head(path: File, tell: Callable[[Image.Image], T]) -> T | None:
    """What the head of a picture tells, undecoded; None for what cannot be opened: reading it says why, in words."""
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        with path.open("rb") as file, Image.open(file) as picture:
            return tell(picture)
    except Exception:
        return None


def pages_of(path: File) -> int:
    """The pages of a picture file that are pictures of their own; 0 for what cannot be opened."""
    return by_head(path, pages_in) or 0


def pages_in(picture: Image.Image) -> int:
    """The pages of an open picture; the second one of a photo (MPO) is a preview or a gain map, which nobody misses."""
    return 1 if picture.format in ("JPEG", "MPO") else getattr(picture, "n_frames", 1)


def no_picture(path: File, what: str = "image") -> Unfit | None:
    """The fault of a file that is known to be something else in place of a `what`, or empty; None for any other."""
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    if head.startswith(b"version https://git-lfs"):
        return Unfit(path, f"a pointer of Git LFS, whose {what} was not fetched", "Fetch it with `git lfs pull`")
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return Unfit(path, f"a web page in place of the {what}, as servers answer where a file cannot be had",
                     "Download it once more")  # fmt: skip
    if head[4:8] == b"ftyp" and head[8:12] in HEIC:
        return Unfit(path, "a HEIC photo, which is not read, whatever its name says", "Convert it to JPEG or PNG")
    if is_dicom(path):
        return Unfit(path, WHAT, CURE)
    return (
        None
        if head
        else Unfit(path, f"expected a readable {what}, found", "Replace or remove the file", "an empty file")
    )
