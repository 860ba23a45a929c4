"""A network's tensors and what describes them in one safetensors file, with a digest that a flipped bit breaks."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from segkd.disk import read_bytes
from segkd.types import InputError, reason_of

KEY = "segkd"
"""The one entry of the header's metadata: of several, safetensors would write the order as it comes."""


def student_of(run: str | Path) -> Path:
    """The student of a run folder; any other path is a file of weights itself."""
    # of os, which says False of a text that no file can be called, where pathlib raises OSError
    return Path(run) / "student.safetensors" if os.path.isdir(run) else Path(run)


def packed(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> bytes:
    """The bytes of a safetensors file that holds `tensors`, `card` (plain JSON) and a digest of both."""
    from safetensors.torch import save

    # clones, for safetensors refuses tied weights, which share their memory
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header, body = _parts(save(plain))
    about = {"card": card, "digest": _digest(card, header, body)}
    return save(plain, metadata={KEY: json.dumps(about, allow_nan=False)})


def unpacked(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None, dict[str, str]]:
    """Tensors by name, the card (None in a file that segkd did not write so), and the rest of the metadata.

    The file is read once, so that all of it is of one moment, whoever writes there meanwhile.

    Raises:
        InputError: no safetensors file, or one that changed after it was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = read_bytes(path, "a safetensors file")
    try:
        header, body = _parts(content)
        metadata = header.pop("__metadata__", None) or {}
        tensors = load(content)
        if KEY not in metadata and any('"digest"' in value for value in metadata.values()):
            raise ValueError("a card under another name: its header was damaged")
        about = json.loads(metadata[KEY]) if KEY in metadata else None
        if about is not None and about["digest"] != _digest(about["card"], header, body):
            raise ValueError("other bytes than were written: it was damaged or changed after the training wrote it")
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = reason_of(error)
        raise InputError(
            f"{path}: expected a whole safetensors file, found {reason}. Restore it, or train again."
        ) from error
    return tensors, about and about["card"], metadata


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the bytes of its tensors."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise ValueError("a file that ends too early")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _digest(card: Mapping[str, Any], header: Mapping[str, Any], body: bytes) -> str:
    found = hashlib.blake2b(digest_size=16)
    found.update(json.dumps([card, header], sort_keys=True).encode())
    found.update(body)
    return found.hexdigest()
