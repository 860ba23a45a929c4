"""How the output error of each band fell while a run trained: read from metrics.jsonl, no network needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from segkd.analysis.evidence import Learning
from segkd.engine.record import read_lines
from segkd.types import InputError

LEARNED = 0.05
"""A band whose error never falls this far below 1 was not learned: when it did so means nothing."""


def read_learning(run: Path) -> Learning | None:
    """E_b(t) of a run; None where it recorded none (see `evaluation.band_errors`)."""
    lines = read_lines(run / "metrics.jsonl")
    spectra = [line for line in lines if line.get("kind") == "spectrum"]
    if not spectra:
        return None
    path = run / "metrics.jsonl"
    errors = arrays_of(spectra, "errors", 1, path)
    arrays_of(spectra, "epoch", 0, path)
    tables = [line for line in lines if "log2_step_rings" in line]
    epoch_of = {line["step"]: float(line["epoch"]) for line in spectra}
    tables = [line for line in tables if line["step"] in epoch_of]
    return Learning(
        np.array([float(line["epoch"]) for line in spectra]),
        errors,
        arrays_of(tables, "log2_step_rings", 1, path) if tables else None,
        np.array([epoch_of[line["step"]] for line in tables]) if tables else None,
    )


def arrays_of(lines: Sequence[Mapping[str, Any]], key: str, dimensions: int, path: Path) -> np.ndarray:
    """What all `lines` of a record hold under `key`, as one array of float64 with a row per line; null is NaN.

    Raises:
        InputError: a line has no such numbers, or others of another shape; names the file and the step.
    """
    found: list[np.ndarray] = []
    for line in lines:
        try:
            one = np.array(line.get(key), float)
        except (TypeError, ValueError, OverflowError):
            one = np.array("")
        if one.dtype != float or one.ndim != dimensions or (found and one.shape != found[0].shape):
            raise InputError(
                f"{path}: expected {key!r} of step {line.get('step')} to be numbers as in the other lines of its kind, "
                f"found {str(line.get(key))[:80]}. Take that line out."
            )
        found.append(one)
    return np.stack(found)


def half_epochs(learning: Learning) -> tuple[Float[np.ndarray, " rings"], Float[np.ndarray, " rings"]]:
    """The epoch at which each band had half of what the network ever learned of it: interpolated linearly, and the
    first validation that saw it. Between two validations the course is not known, so orders are told by the latter.

    What is learned of a band is 1 - E_b: 1 is the error of a constant prediction, which knows nothing of it. NaN in a
    band that was not learned (`LEARNED`).
    """
    epochs, errors = learning.epochs, learning.errors
    if epochs[0] > 0:  # the recording starts after the first epochs: before them nothing was known
        epochs = np.concatenate([[0.0], epochs])
        errors = np.concatenate([np.ones((1, errors.shape[1])), errors])
    known = 1 - np.nan_to_num(errors, nan=1.0)
    found, seen = np.full(errors.shape[1], np.nan), np.full(errors.shape[1], np.nan)
    for band in range(errors.shape[1]):
        most = known[:, band].max()
        if most < LEARNED:
            continue
        after = int(np.argmax(known[:, band] >= most / 2))
        seen[band] = epochs[after]
        if after == 0:
            found[band] = epochs[0]
            continue
        before, then = known[after - 1, band], known[after, band]
        found[band] = np.interp(most / 2, [before, then], epochs[after - 1 : after + 1])
    return found, seen
