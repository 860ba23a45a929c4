"""Quantisation of block-DCT coefficients, y = T R((c - s) / T) + s, as one operation that stays in the cache.

The plain form is three lines (`quantize_plain`). The fast form does the same in pieces of the image that fit into a
core's cache, works in place, and keeps for the backward pass only what it needs: the residual e = R - u R' where a
table learns, the slope R' where it is not 1. It needs no compiler; on an accelerator the whole batch is one piece.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkd.device import VALUES
from segkd.frequency.dct import block_dct, block_idct, dct_matrix, refuse_block, work_type
from segkd.frequency.rounding import Rounded
from segkd.types import InputError

PIECE = 65536
"""Pixels that are worked on at a time on a CPU, per thread: with two buffers beside it, a piece fits into 1 MiB."""

CENTRE = 128 / 255
"""The value that is exactly kept of planes in 0..1: JPEG's level shift. With .5 the steps of a block's mean
would lie beside JPEG's."""

Table = Float[Tensor, "_b _c _n _u _m _v"]
"""A table as it is broadcast: image, channel, block row, u, block column, v; each axis is 1 or full."""


def per_coefficient(table: Float[Tensor, "c n n"]) -> Float[Tensor, "1 c 1 n 1 n"]:
    """The table of a block, the same everywhere, per channel."""
    return table[None, :, None, :, None, :]


def per_pixel(table: Float[Tensor, "c h w"], n: int) -> Float[Tensor, "1 c _ n _ n"]:
    """A step for every address of the coefficient plane (the source paper's pixel-wise table)."""
    c, h, w = table.shape
    refuse_block(n, (h, w))
    return table.reshape(1, c, h // n, n, w // n, n)


def per_block(table: Float[Tensor, "c rows columns"]) -> Float[Tensor, "1 c rows 1 columns 1"]:
    """A step for every block."""
    return table[None, :, :, None, :, None]


def per_image(table: Float[Tensor, "b c n n"]) -> Float[Tensor, "b c 1 n 1 n"]:
    """A table of a block for every image of the batch."""
    return table[:, :, None, :, None, :]


def quantize(
    planes: Float[Tensor, "b c h w"],
    table: Table,
    rounding: Callable[[Tensor], Rounded],
    block: int = 8,
    centre: float = CENTRE,
) -> Float[Tensor, "b c h w"]:
    """The planes with every coefficient c of a block at a multiple of its step T: T R((c - s) / T) + s.

    Args:
        planes: image planes, h and w multiples of `block`. A half type is worked on in float32.
        table: steps in the unit of the planes, above 0, laid out by `per_coefficient`, `per_pixel`, `per_block` or
            `per_image`, or products of these.
        rounding: u -> (R(u), R'(u)), see `segkd.frequency.rounding`.
        block: side of a block.
        centre: the value that is exactly kept, s = block * centre in the coefficient (0, 0): JPEG's 128 (of 255) for
            planes in 0..1, 0 for signed chroma.

    Differentiable once, in planes and table.
    """
    refuse_block(block, (planes.shape[-2], planes.shape[-1]))
    refuse_table(table)
    with torch.autocast(planes.device.type, enabled=False):
        x = planes.to(work_type(planes)).contiguous()
        rows = whole_rows(table.to(x.dtype), x.shape, block)
        return _Quantize.apply(x, rows, rounding, block, centre).to(planes.dtype)


def quantize_plain(
    planes: Float[Tensor, "b c h w"],
    table: Table,
    rounding: Callable[[Tensor], Rounded],
    block: int = 8,
    centre: float = CENTRE,
) -> Float[Tensor, "b c h w"]:
    """What `quantize` computes, written out: the witness it is tested against, seven times the memory.

    Its gradient is the true one of R only where R itself is differentiable; `rounding`'s slope is not used.
    """
    b, c, h, w = planes.shape
    coefficients = block_dct(planes - centre, block).view(b, c, h // block, block, w // block, block)
    value, _ = rounding(coefficients / table)
    return block_idct((value * table).reshape(b, c, h, w), block) + centre


def refuse_table(table: Tensor) -> None:
    """Raises InputError unless every step is above 0 and finite; of an accelerator, a call later (see `Verdicts`)."""
    VALUES.judge(torch.stack(table.detach().aminmax()), _refuse_steps)


def _refuse_steps(extremes: list[float]) -> None:
    low, high = extremes
    if not (low > 0 and high < float("inf")):  # NaN fails both
        raise InputError(f"a table holds steps above 0, in image units 0..1; found {high if low > 0 else low}.")


def whole_rows(table: Tensor, shape: Sequence[int], n: int) -> Float[Tensor, "_b _c _n n w"]:
    """The table for planes of this shape, with whole rows of steps, so that the innermost loop runs along the width.

    Raises:
        InputError: the table does not fit the planes.
    """
    b, c, h, w = shape
    full = (b, c, h // n, n, w // n, n)
    fits = all(have in (1, want) for have, want in zip(table.shape, full))
    if table.ndim != 6 or not fits:
        raise InputError(
            f"a table for planes {tuple(shape)} in blocks of {n} broadcasts to (image, channel, block row, u, block "
            f"column, v) = {full}; found {tuple(table.shape)}. See per_coefficient, per_pixel, per_block, per_image."
        )
    wide = table.expand(-1, -1, -1, n, w // n, n)
    return wide.reshape(*table.shape[:3], n, w)


class _Quantize(torch.autograd.Function):
    """x [b c h w] contiguous, rows [b|1 c|1 h/n|1 n w] -> y [b c h w]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, rows: Tensor, rounding: Callable[[Tensor], Rounded], n: int, centre: float
    ) -> Tensor:
        """`there_and_back`."""
        y, residual, slopes = there_and_back(x, rows, rounding, n, centre, ctx.needs_input_grad[1])
        ctx.save_for_backward(residual, slopes)
        ctx.n, ctx.rows = n, rows.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """`gradients`."""
        residual, slopes = ctx.saved_tensors
        grad = grads[0].contiguous()
        dtable = grad.new_zeros(ctx.rows) if ctx.needs_input_grad[1] else None
        dx = gradients(grad, residual, slopes, ctx.n, dtable, ctx.needs_input_grad[0])
        return dx, dtable, None, None, None


def there_and_back(
    x: Float[Tensor, "b c h w"],
    rows: Float[Tensor, "_b _c _n n w"],
    rounding: Callable[[Tensor], Rounded],
    n: int,
    centre: float,
    learns: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Transforms, rounds and transforms back, piece by piece: y, what a table that `learns` needs for its gradient
    (the residual e = R - u R'), and the slope R' where it is not 1."""
    y = torch.empty_like(x)
    inverse = rows.reciprocal()
    shift = x.new_zeros(n, x.shape[-1])
    shift[0, ::n] = n * centre
    offset = -shift * inverse
    residual = torch.empty_like(x) if learns else None
    slopes: Tensor | None = None
    work = _Work(x, n)
    for here in work.pieces:
        u = work.there(_blocks(x, n, here))
        torch.addcmul(_part(offset, here), u, _part(inverse, here), out=u)
        value, slope = rounding(u)
        if slope is not None:
            slopes = torch.empty_like(x) if slopes is None else slopes
            _blocks(slopes, n, here).copy_(slope)
            u = u * slope  # not in place: a rounding may hand u back as its value
        if residual is not None:
            torch.sub(value, u, out=_blocks(residual, n, here))
        torch.addcmul(shift, value, _part(rows, here), out=value)
        work.back(value, _blocks(y, n, here))
    return y, residual, slopes


def gradients(
    grad: Float[Tensor, "b c h w"],
    residual: Tensor | None,
    slopes: Tensor | None,
    n: int,
    dtable: Float[Tensor, "_b _c _n n w"] | None,
    wants_x: bool,
) -> Tensor | None:
    """dx = IDCT(R' DCT(dy)), None where nobody wants it; adds to `dtable` e DCT(dy), summed over what shares an
    entry."""
    # slope 1: the DCT is orthonormal, so the gradient of the image passes unchanged
    dx = None if not wants_x else grad if slopes is None else torch.empty_like(grad)
    if dtable is None and (slopes is None or not wants_x):
        return dx
    work = _Work(grad, n)
    for here in work.pieces:
        g = work.there(_blocks(grad, n, here))
        if dtable is not None:
            assert residual is not None
            share = torch.mul(g, _blocks(residual, n, here))
            entry = _part(dtable, here)
            entry += share.sum_to_size(entry.shape)
        if dx is not None and slopes is not None:
            work.back(g.mul_(_blocks(slopes, n, here)), _blocks(dx, n, here))
    return dx


class _Work:
    """The buffers and matrices of one pass, and the pieces it goes through."""

    def __init__(self, x: Tensor, n: int) -> None:
        self.n, self.width = n, x.shape[-1]
        self.matrix = dct_matrix(n, x)
        # two blocks side by side: matrices of 16 multiply faster than of 8, and only half of it is zeros
        pair = n < 16 and self.width % (2 * n) == 0
        self.across = torch.block_diag(self.matrix, self.matrix) if pair else self.matrix
        self.pieces = list(_pieces(x, n))
        most = max(_blocks(x, n, here).numel() for here in self.pieces)
        self.one, self.two = x.new_empty(most), x.new_empty(most)

    def there(self, x: Tensor) -> Tensor:
        """The coefficients of x [b c n' n w], in a buffer that the next call overwrites."""
        a, b = self.one[: x.numel()], self.two[: x.numel()]
        torch.bmm(self._down(self.matrix, x), x.reshape(-1, self.n, self.width), out=a.view(-1, self.n, self.width))
        side = len(self.across)
        torch.mm(a.view(-1, side), self.across.T, out=b.view(-1, side))
        return b.view(x.shape)

    def back(self, coefficients: Tensor, out: Tensor) -> None:
        """Writes the pixels of `coefficients` to `out`."""
        a, side = self.one[: out.numel()], len(self.across)
        torch.mm(coefficients.reshape(-1, side), self.across, out=a.view(-1, side))
        shape = (-1, self.n, self.width)
        torch.bmm(self._down(self.matrix.T, out), a.view(shape), out=out.view(shape))

    def _down(self, matrix: Tensor, x: Tensor) -> Tensor:
        return matrix.expand(x.numel() // (self.n * self.width), self.n, self.n)


Piece = tuple[slice, slice, slice]


def _pieces(x: Tensor, n: int) -> Iterator[Piece]:
    """Slices of images, channels and block rows that are contiguous in memory and fit into the cache."""
    b, c, h, w = x.shape
    whole = slice(None)
    most = PIECE * torch.get_num_threads() if x.device.type == "cpu" else x.numel()
    if c * h * w <= most:
        images = max(1, most // (c * h * w))
        yield from ((slice(i, i + images), whole, whole) for i in range(0, b, images))
        return
    rows = max(1, min(h // n, most // (n * w)))
    for i in range(b):
        for j in range(c):
            yield from ((slice(i, i + 1), slice(j, j + 1), slice(k, k + rows)) for k in range(0, h // n, rows))


def _blocks(x: Tensor, n: int, here: Piece) -> Tensor:
    """The piece of x [b c h w] as [b c block-rows n w]."""
    b, c, h, w = x.shape
    return x.view(b, c, h // n, n, w)[here]


def _part(rows: Tensor, here: Piece) -> Tensor:
    """The part of a row table [b|1 c|1 n'|1 n w] that belongs to a piece."""
    return rows[tuple(s if size > 1 else slice(None) for s, size in zip(here, rows.shape))]
