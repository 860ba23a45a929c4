"""Images that look alike: copies, neighbours in a video, the same picture at another size or quality."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

ALIKE = 6
"""Bits of 128 that the prints of two pictures of one thing differ in at most."""

FLAT = 3.0
"""Standard deviation of grey levels below which a picture shows too little to be told from others."""

BLOCK = 2**24
"""Pairs of prints that are compared at a time: 64 MB."""


def print_of(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "128"] | None:
    """A difference hash: whether grey levels rise to the right and downwards, on a grid of 8 x 8 each.

    It survives another size, quality and brightness. None for a picture that is nearly of one grey.
    (N. Krawetz, "Kind of like that", 2013: its rows, and its columns as well.)
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    across = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    down = cv2.resize(grey, (8, 9), interpolation=cv2.INTER_AREA).astype(int)
    if across.std() < FLAT:
        return None
    return np.concatenate([(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()])


def twins(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """The names of `second`, each with the first of `first` whose print is the same but for `ALIKE` bits."""
    if not first or not second:
        return []
    names, found = list(first), []
    ours = np.stack(list(first.values())).astype(np.float32) * 2 - 1
    others, step = list(second), max(1, BLOCK // len(names))
    for at in range(0, len(others), step):
        few = others[at : at + step]
        theirs = np.stack([second[name] for name in few]).astype(np.float32) * 2 - 1
        apart = (ours.shape[1] - theirs @ ours.T) / 2
        nearest = apart.argmin(axis=1)
        found += [(few[i], names[n]) for i, n in enumerate(nearest.tolist()) if apart[i, n] <= ALIKE]
    return found


def all_twins(prints: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Pairs of names whose prints are the same but for `ALIKE` bits: as few as connect all that such pairs connect."""
    names, found = list(prints), []
    if not names:
        return []
    group = np.arange(len(names))
    signs = np.stack(list(prints.values())).astype(np.float32) * 2 - 1
    step = max(1, BLOCK // len(names))
    for at in range(0, len(names), step):
        apart = (signs.shape[1] - signs[at : at + step] @ signs[at:].T) / 2
        for i, row in enumerate(apart <= ALIKE):
            alike = at + np.flatnonzero(row)
            _, first = np.unique(group[alike], return_index=True)
            for j in alike[first].tolist():
                if group[j] != group[at + i]:
                    found.append((names[at + i], names[j]))
                    group[group == group[j]] = group[at + i]
    return found


def of(prints: Mapping[str, np.ndarray | None], stems: Sequence[str]) -> dict[str, np.ndarray]:
    """The prints of some names, those that have one."""
    return {stem: known for stem in stems if (known := prints.get(stem)) is not None}
