"""One training at a time in a run folder."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from segkd.disk import writing
from segkd.types import InputError

LOCK = "lock"
"""The file that a training holds locked and names itself in; the system lets go of it when the process ends,
however it ends."""

PATIENCE = 5
"""Seconds to wait for a training that is about to leave."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that know no locks: some network shares."""


@contextmanager
def holding(folder: Path, option: str) -> Iterator[str]:
    """Holds the run folder, made when missing, for one training; gives a sentence to say, or "".

    Args:
        folder: the run folder.
        option: `--out` or `--resume`, for the error.

    Raises:
        InputError: another training holds it, or nothing can be written there.
    """
    path, said = folder / LOCK, ""
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        holder = path.read_text(encoding="utf-8", errors="replace")[:200] if path.is_file() else ""
        lock = FileLock(path)
        try:
            lock.acquire(timeout=PATIENCE)
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        except Timeout as error:
            raise InputError(
                f"{option} {folder}: another training is at work there ({holder or 'it did not say which'}). "
                "Wait for it or stop it, then go on with --resume; or give another folder with --out."
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            said = f"{folder}: this file system knows no locks: see to it that no second training writes there."
    try:
        yield said
    finally:
        lock.release()
