"""TensorBoard beside a run: a view of it, whose trouble never costs the run."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import UInt8

PATIENCE = 20
"""Seconds that closing may take: its thread waits for a queue that an interruption may have left in any state."""


@final
class Board:
    """Writes TensorBoard events until they cannot be written; `faults` then says so, once.

    Args:
        folder: where the events lie.
        purge: events of this step and later ones, of an earlier session, are forgotten.
    """

    def __init__(self, folder: Path, purge: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import; only training needs it

        self.folder, self.fault = folder, ""
        self.writer: Any = None
        self.former = threading.excepthook
        threading.excepthook = self._thread_died
        self._try(lambda: setattr(self, "writer", SummaryWriter(str(folder), purge_step=purge)))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Writes a number."""
        self._try(lambda: self.writer and self.writer.add_scalar(name, value, step))

    def picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Writes a picture."""
        self._try(lambda: self.writer and self.writer.add_image(name, picture, step, dataformats="HWC"))

    def flush(self) -> None:
        """Writes what waits."""
        self._try(lambda: self.writer and self.writer.flush())

    def faults(self) -> list[str]:
        """What went wrong since the last call: one sentence at most."""
        faults, self.fault = [self.fault] if self.fault else [], ""
        return faults

    def close(self) -> None:
        """Writes what waits and ends, within `PATIENCE` seconds."""
        if self.writer is not None:
            closing = threading.Thread(target=self._try, args=(self.writer.close,), daemon=True)
            closing.start()
            closing.join(PATIENCE)
        threading.excepthook = self.former

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # whatever its thread met: a full disk, a folder that is gone, ...
            self.writer = None
            reason = getattr(error, "strerror", None) or error
            self.fault = (
                f"{self.folder}: TensorBoard's events cannot be written any more ({reason}). The training and its "
                "metrics.jsonl go on."
            )

    def _thread_died(self, found: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread hands its error to the next call, where we speak of it: no traceback beside that."""
        if type(found.thread).__name__ != "_AsyncWriterThread":
            self.former(found)
