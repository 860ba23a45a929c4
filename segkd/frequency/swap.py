"""Cells of one class copied from image to image: the disturbance of intra-class patch swap."""

from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from segkd.device import sent
from segkd.frequency.amplitude import partners
from segkd.frequency.image import refuse_image, refuse_share
from segkd.frequency.mix import exchanged
from segkd.types import IGNORE, Batch, Disturbance, InputError


def same_class_cells(batch: Batch, other: Tensor, cell: int) -> Bool[Tensor, "b h w"]:
    """True in the whole cells that hold one class alone, the same one in an image and in its partner `other` [b]."""
    b, h, w = batch.label.shape
    rows, columns = h // cell, w // cell
    cells = batch.label[:, : rows * cell, : columns * cell].unflatten(1, (rows, cell)).unflatten(3, (columns, cell))
    lowest, highest = cells.amin(dim=(2, 4)), cells.amax(dim=(2, 4))
    pure = (lowest == highest) & (lowest != IGNORE)
    same = pure & pure[other] & (lowest == lowest[other])
    full = torch.zeros(b, h, w, dtype=torch.bool, device=same.device)
    full[:, : rows * cell, : columns * cell] = same.repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    return full


@final
class SwapPatches(Disturbance):
    """Cells of one class replaced by the same cells of another image of the batch, where that holds the class too
    (intra-class patch swap, Choi et al., Neurocomputing 2025, on cells of the label map; the paper swaps patches of
    images of one class, and its exact sizes were not at hand; here each image draws its own cells, so that few change
    places with each other).

    The label stays right by construction; `clean` stays as loaded, and `source` says where each pixel came from.

    Args:
        cell: side of a cell in pixels.
        share: share of the cells that could be replaced and are.
    """

    def __init__(self, cell: int = 16, share: float = 0.5) -> None:
        super().__init__()
        if cell < 1:
            raise InputError(f"SwapPatches: cell is a side in pixels, at least 1, found {cell}.")
        refuse_share("SwapPatches", "share", share)
        self.cell, self.share = cell, share

    def forward(self, batch: Batch) -> Batch:
        """The batch with cells replaced."""
        refuse_image(batch.image)
        b, _, h, w = batch.image.shape
        other = partners(batch.image)
        rows, columns = -(-h // self.cell), -(-w // self.cell)
        drawn = sent(torch.rand(b, rows, columns) < self.share, batch.label.device)
        chosen = drawn.repeat_interleave(self.cell, 1).repeat_interleave(self.cell, 2)[:, :h, :w]
        here = same_class_cells(batch, other, self.cell) & chosen
        return exchanged(batch, other, here)
