"""NumPy files that anyone wrote: an `.npy`, or the one array of an `.npz` that is meant. Nothing in them is run."""

import zipfile
from collections.abc import Callable
from io import BufferedIOBase
from math import prod
from typing import IO

import numpy as np

from segkd.datasets.heads import no_picture
from segkd.datasets.packed import File
from segkd.types import InputError

KNOWN = (
    "probabilities",
    "probability",
    "softmax",
    "probs",
    "prob",
    "prediction",
    "predictions",
    "pred",
    "mask",
    "label",
)
"""Names by which an array of an archive is taken before others; nnU-Net writes `probabilities` (2) or `softmax` (1)."""


def read_array(path: File, most: float) -> np.ndarray:
    """The array of a NumPy file, of any shape: numbers or yes and no, in this machine's byte order.

    The head is read first: an array of more than `most` numbers is refused before any of them is read. Of an archive
    with several arrays, the one with a name in `KNOWN` is taken.

    Raises:
        InputError: names the file that is damaged, too large, holds no numbers, or several arrays without a choice.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
        raise InputError(f"{path}: expected a NumPy file, found no regular file. Take it out of the folder.")
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                return _from_archive(file, path, most)
            return _from_stream(file, path, most)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: the array does not fit into the memory.") from error
    except Exception as error:  # a damaged head can raise anything: it is parsed as Python, or as a zip file
        if path.is_file() and (other := no_picture(path, "NumPy array")) is not None:
            raise other from error
        found = str(error) or type(error).__name__
        raise InputError(f"{path}: expected a NumPy array, found: {found}. Replace or remove the file.") from error


def _from_archive(file: IO[bytes] | BufferedIOBase, path: File, most: float) -> np.ndarray:
    with zipfile.ZipFile(file) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        known = [name for name in KNOWN if name in members]
        chosen = known if len(known) == 1 else list(members)
        if len(chosen) != 1:
            raise InputError(
                f"{path}: expected one array, or one that is called {KNOWN[0]} among others, found "
                f"{', '.join(list(members)[:8]) or 'none'}. Save the prediction alone: np.save(path, probabilities)."
            )
        with archive.open(members[chosen[0]]) as member:
            return _from_stream(member, path, most)


def _from_stream(file: IO[bytes] | BufferedIOBase, path: File, most: float) -> np.ndarray:
    file.seek(0)
    heads: dict[tuple[int, int], Callable] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in heads:  # only records with names that are no ASCII need it
        raise InputError(f"{path}: expected numbers, found records (format {version[0]}.{version[1]}).")
    shape, _, dtype = heads[version](file)
    if dtype.kind not in "fuib" or not 2 <= len(shape) <= 4 or prod(shape) == 0:
        raise InputError(f"{path}: expected numbers [h w] or [k h w], found {dtype} of shape {list(shape)}.")
    if prod(shape) > most:
        raise InputError(
            f"{path}: expected at most {most / 1e6:.0f} million numbers, found an array of shape {list(shape)}. If the "
            "file is sound, allow more with data.max_megapixels."
        )
    file.seek(0)
    array = np.lib.format.read_array(file, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
