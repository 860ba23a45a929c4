"""RGB through quantised planes of 4:2:0 and back, as one operation that goes through the batch a few images at a time.

The steps alone, one after the other on the whole batch, need buffers of four sizes, and between these an allocator
keeps gaps that nothing fits into (7.5 times the image at its peak). Here only the result and the residuals are of the
batch's size. `image.planes_of`, `quantize` and `color` are its witnesses.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkd.frequency.color import (
    doubled,
    doubled_back,
    halved_back,
    held_below_back,
    luma_and_small_chroma,
    rgb_to_ycbcr_back,
    ycbcr_to_rgb,
    ycbcr_to_rgb_back,
)
from segkd.frequency.quantize import CENTRE, PIECE, gradients, refuse_table, there_and_back, whole_rows
from segkd.frequency.rounding import Rounded

CENTRES = (CENTRE, 0.0)
"""The value that is exactly kept of luma and of chroma."""


def quantize_subsampled(
    image: Float[Tensor, "b 3 h w"],
    tables: Sequence[Tensor],
    rounding: Callable[[Tensor], Rounded],
    n: int,
    faithful: bool,
    rows: int | None = None,
) -> Float[Tensor, "b 3 h w"]:
    """The image with luma and halved chroma quantised by the tables of both; h and w are multiples of 2 n, and the
    first `rows` of h are no padding (all where None).

    Differentiable once, in image and tables; `faithful` bytes are rounded straight through.
    """
    b, _, h, w = image.shape
    for table in tables:
        refuse_table(table)
    with torch.autocast(image.device.type, enabled=False):
        luma = whole_rows(tables[0].to(image.dtype), (b, 1, h, w), n)
        chroma = whole_rows(tables[1].to(image.dtype), (b, 2, h // 2, w // 2), n)
        return _Subsampled.apply(image.contiguous(), luma, chroma, rounding, n, faithful, rows)


class _Subsampled(torch.autograd.Function):
    """image [b 3 h w] contiguous, row tables of luma and chroma -> image."""

    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        luma: Tensor,
        chroma: Tensor,
        rounding: Callable[[Tensor], Rounded],
        n: int,
        faithful: bool,
        height: int | None,
    ) -> Tensor:
        """To planes, through their coefficients, and back, few images at a time."""
        # kept, as they follow the number of threads, which may have changed when the gradient comes
        ctx.portions, learns = list(_few(image)), any(ctx.needs_input_grad[1:3])
        out, kept = torch.empty_like(image), []
        for here in ctx.portions:
            planes = []
            both = luma_and_small_chroma(image[here], faithful, height)
            for plane, rows, centre in zip(both, (luma, chroma), CENTRES):
                y, *rest = there_and_back(plane, _of(rows, here), rounding, n, centre, learns)
                planes.append(y)
                kept += rest
            out[here] = ycbcr_to_rgb(planes[0], doubled(planes[1], bilinear=faithful))
        ctx.save_for_backward(*kept)
        ctx.n, ctx.faithful, ctx.shapes = n, faithful, (luma.shape, chroma.shape)
        ctx.height = height if faithful else None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The transposes of all steps, in turn."""
        grad, kept, wants_image = grads[0], iter(ctx.saved_tensors), ctx.needs_input_grad[0]
        dimage = torch.empty_like(grad, memory_format=torch.contiguous_format) if wants_image else None
        dtables = [grad.new_zeros(shape) for shape in ctx.shapes]
        for here in ctx.portions:
            dluma, dchroma = ycbcr_to_rgb_back(grad[here]).split((1, 2), dim=1)
            back: list[Tensor | None] = []
            for dplane, dtable in zip((dluma.contiguous(), doubled_back(dchroma, ctx.faithful)), dtables):
                residual, slopes = next(kept), next(kept)
                into = None if residual is None else _of(dtable, here)
                back.append(gradients(dplane, residual, slopes, ctx.n, into, wants_image))
            luma, chroma = back
            if dimage is not None and luma is not None and chroma is not None:
                chroma = halved_back(held_below_back(chroma, ctx.height))
                dimage[here] = rgb_to_ycbcr_back(torch.cat([luma, chroma], dim=1))
        return dimage, *dtables, None, None, None, None


def _few(image: Tensor) -> Iterator[slice]:
    """The images that go through all steps together: on an accelerator all of them."""
    b, _, h, w = image.shape
    few = max(1, PIECE * torch.get_num_threads() // (h * w)) if image.device.type == "cpu" else b
    yield from (slice(i, i + few) for i in range(0, b, few))


def _of(rows: Tensor, here: slice) -> Tensor:
    """The part of a row table that belongs to some images."""
    return rows[here] if len(rows) > 1 else rows
