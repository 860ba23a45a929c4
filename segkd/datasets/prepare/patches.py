"""What an object covers, as the part of its picture that holds it: most objects are small, and pictures are large."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

Size = tuple[int, int]
"""(height, width) of a picture."""


@dataclass(frozen=True)
class Patch:
    """A rectangle of a picture, its first pixel at (top, left): where `inside` is 1, the object is; beyond, nowhere."""

    top: int
    left: int
    inside: UInt8[np.ndarray, "h w"]

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the picture that the rectangle takes."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def whole(self, size: Size) -> Bool[np.ndarray, "h w"]:
        """The same in a picture of (height, width)."""
        mask = np.zeros(size, bool)
        mask[self.window] = self.inside
        return mask

    def edges(self, size: Size) -> int:
        """Edges between pixels inside and outside, in a picture of (height, width)."""
        (rows, columns), one = self.window, self.inside
        within = sum(int((np.diff(one, axis=axis) != 0).sum()) for axis in (0, 1))
        sides = ((one[:1], rows.start > 0), (one[-1:], rows.stop < size[0]),
                 (one[:, :1], columns.start > 0), (one[:, -1:], columns.stop < size[1]))  # fmt: skip
        return within + sum(int(side.sum()) for side, more in sides if more)


EMPTY = Patch(0, 0, np.zeros((0, 0), np.uint8))


def union(patches: Sequence[Patch]) -> Patch:
    """What any of the patches covers."""
    some = [patch for patch in patches if patch.inside.size]
    if len(some) < 2:
        return some[0] if some else EMPTY
    top, left = min(one.top for one in some), min(one.left for one in some)
    below, right = max(one.window[0].stop for one in some), max(one.window[1].stop for one in some)
    inside = np.zeros((below - top, right - left), np.uint8)
    for one in some:
        inside[one.top - top :, one.left - left :][: one.inside.shape[0], : one.inside.shape[1]] |= one.inside
    return Patch(top, left, inside)


def of_outline(corners: Float[np.ndarray, "n 2"], size: Size) -> Patch:
    """The pixels of a picture of (height, width) whose middles lie within an outline of corners (x, y), so that
    outlines which share an edge share no pixel. (OpenCV fills those that it runs through, too: half a pixel too many
    all around.)"""
    start = corners - 0.5  # now the middles of pixels are whole numbers
    after = np.roll(start, -1, axis=0)
    way = after - start
    # an edge ends where the next begins to the last bit, or a row that one of them alone crosses is filled to its end
    ends = np.ceil([start[:, 1], after[:, 1]]).clip(0, size[0]).astype(int)
    first, number = ends.min(axis=0), np.ptp(ends, axis=0)  # rows whose middles an edge crosses
    edge = np.repeat(np.arange(len(corners)), number)
    if not len(edge):
        return EMPTY
    rows = first[edge] + np.arange(len(edge)) - (np.cumsum(number) - number)[edge]
    at = start[edge, 0] + (rows - start[edge, 1]) * way[edge, 0] / way[edge, 1]
    columns = np.ceil(at).clip(0, size[1]).astype(int)
    top, left = int(rows.min()), int(columns.min())
    crossed = np.zeros((int(rows.max()) + 1 - top, int(columns.max()) + 1 - left), np.uint8)
    np.bitwise_xor.at(crossed, (rows - top, columns - left), 1)
    return Patch(top, left, np.bitwise_xor.accumulate(crossed, axis=1)[:, :-1])  # the last column ends all runs


def of_runs(starts: Int[np.ndarray, " n"], ends: Int[np.ndarray, " n"], size: Size, by_columns: bool) -> Patch:
    """Runs of ones in a picture of (height, width), from a pixel (the first is 0) up to another, counted down the
    columns or along the rows. They lie within it."""
    starts, ends = starts[starts < ends], ends[starts < ends]
    if not len(starts):
        return EMPTY
    length = size[0] if by_columns else size[1]
    first, last = int(starts.min()) // length, (int(ends.max()) - 1) // length
    flat = np.zeros((last + 1 - first) * length, np.uint8)
    for start, end in zip((starts - first * length).tolist(), (ends - first * length).tolist(), strict=True):
        flat[start:end] = 1
    lines = flat.reshape(-1, length)
    across = np.flatnonzero(lines.any(axis=0))
    begin = int(across[0])
    lines = lines[:, begin : int(across[-1]) + 1]
    return Patch(begin, first, lines.T) if by_columns else Patch(first, begin, lines)


def scaled(patch: Patch, size: Size, to: Size) -> Patch:
    """A patch of a picture of (height, width) in one of the size `to`, by the nearest pixels of the whole picture."""
    taken = [_nearest(old, new) for old, new in zip(size, to, strict=True)]
    meant = [
        np.flatnonzero((at >= part.start) & (at < part.stop)) for at, part in zip(taken, patch.window, strict=True)
    ]
    if not all(map(len, meant)):
        return EMPTY
    rows, columns = (at[kept] - part.start for at, kept, part in zip(taken, meant, patch.window, strict=True))
    return Patch(int(meant[0][0]), int(meant[1][0]), patch.inside[rows][:, columns])


def _nearest(old: int, new: int) -> Int[np.ndarray, " n"]:
    """Which pixel of a line of `old` each of one of `new` is, as OpenCV's nearest-exact has it."""
    line = np.arange(old, dtype=np.float32)[:, None]  # exact below 2^24
    return np.asarray(cv2.resize(line, (1, new), interpolation=cv2.INTER_NEAREST_EXACT))[:, 0].astype(int)
