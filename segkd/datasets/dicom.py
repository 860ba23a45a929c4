"""DICOM files, which are not read: recognised by content, and what to convert them with."""

from pathlib import Path

from segkd.datasets.packed import File
from segkd.datasets.walk import GLANCE, walk

WHAT = "a DICOM file, which segkd does not read"

CURE = (
    "Convert each to a PNG of 16 bits with DCMTK (dcmj2pnm --write-16-bit-png scan.dcm scan.png; in newer versions "
    "dcm2img), then say which values are black and white with data.range"
)

KINDS = frozenset({".dcm", ".dicom", ".ima", ""})
"""Extensions (lower case) that such files have."""


def is_dicom(path: File) -> bool:
    """Whether the file begins as DICOM's files do (PS3.10, 7.1): 128 bytes of anything, then the letters DICM."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def find_dicom(folder: Path) -> str:
    """The sentence on DICOM files below a folder, "" where a glance finds none."""
    files = [path for path in walk(folder, KINDS, GLANCE).files[:1000] if is_dicom(path)]
    return f"{files[0]} is {WHAT}. {CURE}" if files else ""
