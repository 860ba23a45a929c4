"""Images that look alike: copies, neighbours in a video, the same picture at another size or quality."""

from collections.abc import Iterator, Mapping, Sequence

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


def twins(prints: Mapping[str, np.ndarray], first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """The names of `second`, each with the one of `first` whose print is the nearest, if all but `ALIKE` bits agree."""
    ours, theirs = ([name for name in names if name in prints] for names in (first, second))
    return [(name, ours[apart.argmin()]) for name, apart in _apart(prints, theirs, ours) if apart.min() <= ALIKE]


def all_twins(prints: Mapping[str, np.ndarray], stems: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names whose prints are the same but for `ALIKE` bits: as few as connect all that such pairs connect."""
    names, found = [stem for stem in stems if stem in prints], []
    group = np.arange(len(names))
    for i, (name, apart) in enumerate(_apart(prints, names, names)):
        alike = i + np.flatnonzero(apart[i:] <= ALIKE)
        _, first = np.unique(group[alike], return_index=True)
        for j in alike[first].tolist():
            if group[j] != group[i]:
                found.append((name, names[j]))
                group[group == group[j]] = group[i]
    return found


def _apart(
    prints: Mapping[str, np.ndarray], names: Sequence[str], others: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Each name, and in how many bits its print differs from that of each of the others."""
    if not names or not others:
        return
    ours, theirs = (np.stack([prints[name] for name in some]).astype(np.float32) * 2 - 1 for some in (names, others))
    step = max(1, BLOCK // len(others))
    for at in range(0, len(names), step):
        yield from zip(names[at : at + step], (ours.shape[1] - ours[at : at + step] @ theirs.T) / 2)
