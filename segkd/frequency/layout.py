"""How the entries of a learnable table lie over the image: one flat vector of octaves, and tables made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.frequency.color import Color
from segkd.frequency.image import plane_groups
from segkd.frequency.quantize import Table, per_image
from segkd.frequency.tables import Table as StartTable
from segkd.types import InputError

Granularity = Literal["coefficient", "pixel", "block", "image"]


@dataclass(frozen=True)
class Group:
    """Planes of one size.

    Attributes:
        start: their start table.
        rows: block rows that have entries of their own.
        columns: and block columns.
        per_block: whether a block has one entry, in place of one for each coefficient.
        weight: of an entry, as many coefficients of the image as it stands for, beside those of other groups.
    """

    start: Float[Tensor, "c n n"]
    rows: int
    columns: int
    per_block: bool
    weight: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Entries as (channel, block row, u, block column, v)."""
        c, n, _ = self.start.shape
        return (c, self.rows, 1, self.columns, 1) if self.per_block else (c, self.rows, n, self.columns, n)

    @property
    def entries(self) -> int:
        """How many there are."""
        return int(torch.Size(self.shape).numel())

    def spread(self, values: Float[Tensor, "c n n"]) -> Float[Tensor, " p"]:
        """A value per coefficient, as one per entry (of entries per coefficient)."""
        return values[:, None, :, None, :].expand(self.shape).reshape(-1)


@dataclass(frozen=True)
class Layout:
    """The groups of planes that a table covers."""

    groups: tuple[Group, ...]

    @property
    def entries(self) -> int:
        """Length of theta."""
        return sum(group.entries for group in self.groups)

    def tables(self, theta: Float[Tensor, "b p"], starts: Sequence[Tensor] | None = None) -> list[Table]:
        """start * 2^theta per group; b is 1 for all images, or the number of images. `starts` are the groups' start
        tables where theta lies, if they are there already."""
        if starts is None:
            starts = [group.start.to(theta) for group in self.groups]
        parts = theta.split([group.entries for group in self.groups], dim=1)
        return [
            per_image(start.unsqueeze(0)) * torch.exp2(part).view(len(theta), *group.shape)
            for group, start, part in zip(self.groups, starts, parts)
        ]

    def weights(self) -> Float[Tensor, " p"]:
        """What each entry counts in the budget: as many coefficients of an image as it stands for, 1 on average."""
        weights = torch.cat([torch.full((group.entries,), group.weight) for group in self.groups])
        return weights / weights.mean()

    def limits(self, bounds: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
        """Per entry: lowest and highest theta with every step within `bounds`, and start step^2 / 12."""
        limits = []
        for group in self.groups:
            below, above = torch.log2(bounds[0] / group.start), torch.log2(bounds[1] / group.start)
            square = group.start.square() / 12
            if group.per_block:  # one entry moves a whole block: the tightest coefficient decides
                below, above = below.amax((1, 2), keepdim=True), above.amin((1, 2), keepdim=True)
                square = square.mean((1, 2), keepdim=True)
            limits.append([group.spread(values) for values in (below, above, square)])
        low, high, power = (torch.cat(values) for values in zip(*limits))
        return low, high, power


def lay_out(
    table: StartTable, color: Color, block: int, granularity: Granularity, size: tuple[int, int] | None
) -> Layout:
    """The layout of a table that starts from `table`.

    Raises:
        InputError: entries per pixel or block without a size of the images they lie over.
    """
    everywhere = granularity in ("coefficient", "image")
    if not everywhere and size is None:
        raise InputError(
            f"DctQuantization: granularity {granularity} has entries for every {granularity} of an image: give the "
            "images' size [h, w]. (`segkd train` sets that of the root key `disturbance` from data.size, but of none "
            "within a teacher.)"
        )
    groups = []
    for channels, smaller in plane_groups(color):
        kinds = [color != "rgb" and (smaller > 1 or channel > 0) for channel in range(channels)]
        start = torch.stack([table.steps(block, chroma) for chroma in kinds])
        # padded to whole blocks of the smallest plane
        cells = (1, 1) if everywhere or size is None else blocks_over(size, color, block, smaller)
        weight = 1 / smaller**2 if everywhere else 1.0  # with an entry per place, fewer places have fewer entries
        groups.append(Group(start, *cells, granularity == "block", weight))
    return Layout(tuple(groups))


def blocks_over(size: tuple[int, int], color: Color, block: int, smaller: int) -> tuple[int, int]:
    """Block rows and columns of a plane `smaller` times smaller than images of `size`, padding included."""
    unit = block * (2 if color == "ycbcr420" else 1)
    rows, columns = -(-size[0] // unit), -(-size[1] // unit)
    return rows * unit // block // smaller, columns * unit // block // smaller
