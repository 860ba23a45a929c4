"""What is done to images of a batch: the check at the door, who is changed, and the quantisation of RGB."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from segkd.device import VALUES, sent
from segkd.frequency.color import Color, eight_bit, luma_and_small_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from segkd.frequency.dct import cropped, padded, work_type
from segkd.frequency.quantize import Table, quantize
from segkd.frequency.rounding import Rounded
from segkd.frequency.subsampled import quantize_subsampled
from segkd.types import Batch, InputError

SLACK = 1e-3
"""How far a warp's rounding may leave 0..1."""


def changed(batch: Batch, probability: float, change: Callable[[Tensor, Tensor], Tensor]) -> Batch:
    """The batch with each image changed with this probability, cut to 0..1 and in its memory order; the rest stays.

    `change` gets the images that are changed and their rows in the batch, on the same device; the others cost nothing.
    The cut is what a decoder or a camera does; its gradient is its own (none where a pixel is saturated).
    """
    image = batch.image
    refuse_image(image)
    with torch.autocast(image.device.type, enabled=False):  # colours in half precision are not those of the bytes
        if probability == 1:
            disturbed = change(image, torch.arange(len(image), device=image.device)).clamp(0, 1).to(image.dtype)
        else:
            chosen = (torch.rand(len(image)) < probability).nonzero()[:, 0]
            few = sent(chosen if len(chosen) else torch.zeros(1, dtype=torch.int64), image.device)
            out = change(image[few], few).clamp(0, 1).to(image.dtype)
            # nobody is chosen: what learns stays in the graph all the same, as DDP waits for every gradient
            out = out if len(chosen) else image[few] + 0 * out
            disturbed = image.index_copy(0, few, out)
    if not image.is_contiguous() and image.is_contiguous(memory_format=torch.channels_last):
        disturbed = disturbed.contiguous(memory_format=torch.channels_last)
    return replace(batch, image=disturbed)


def refuse_image(image: Tensor) -> None:
    """Raises InputError unless the image is RGB in 0..1 (one pass over it); on an accelerator that is told a call later
    (see `Verdicts`)."""
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point() or not image.numel():
        found = f"{image.dtype} {tuple(image.shape)}"
        raise InputError(f"a disturbance takes floating-point RGB images [b 3 h w] in 0..1, found {found}.")
    VALUES.judge(torch.stack(image.detach().aminmax()), _refuse_values)


def _refuse_values(extremes: list[float]) -> None:
    low, high = extremes
    if math.isnan(low):
        raise InputError("a disturbance takes images in 0..1, found NaN.")
    if low < -SLACK or high > 1 + SLACK:
        hint = " Divide by 255." if 2 < high <= 255 and low >= 0 else ""
        raise InputError(f"a disturbance takes images in 0..1, found values in {low:.4g}..{high:.4g}.{hint}")


def refuse_share(owner: str, name: str, value: float) -> None:
    """Raises InputError unless `value` is a share above 0 (or it would do nothing) and at most 1."""
    if not 0 < value <= 1:
        raise InputError(f"{owner}: {name} must be above 0 and at most 1, found {value}.")


def refuse_range(owner: str, name: str, pair: tuple[float, float], least: float, most: float) -> None:
    """Raises InputError unless least <= pair[0] <= pair[1] <= most."""
    if not least <= pair[0] <= pair[1] <= most:
        raise InputError(f"{owner}: {name} is [low, high] with {least} <= low <= high <= {most}, found {list(pair)}.")


def plane_groups(color: Color) -> tuple[tuple[int, int], ...]:
    """Planes that are quantised together: (number of channels, how many times smaller than the image)."""
    return ((1, 1), (2, 2)) if color == "ycbcr420" else ((3, 1),)


def planes_of(
    image: Float[Tensor, "b 3 h w"], color: Color, n: int, faithful: bool = False
) -> list[Float[Tensor, "b _c _h _w"]]:
    """The planes that are quantised, padded to whole blocks, one entry per group of `plane_groups`; `faithful` ones
    are bytes."""
    rows = image.shape[-2]
    image = padded(image, 2 * n if color == "ycbcr420" else n)
    if color == "rgb":
        return [image]
    if color == "ycbcr420":
        return list(luma_and_small_chroma(image, faithful, rows))
    return [eight_bit(rgb_to_ycbcr(image)) if faithful else rgb_to_ycbcr(image)]


def quantize_image(
    image: Float[Tensor, "b 3 h w"],
    tables: Sequence[Table],
    rounding: Callable[[Tensor], Rounded],
    *,
    color: Color = "ycbcr420",
    block: int = 8,
    faithful: bool = True,
) -> Float[Tensor, "b 3 h w"]:
    """The image after a round trip through quantised block-DCT coefficients; may leave 0..1 a little.

    Args:
        image: RGB in 0..1, of any size: blocks that stick out repeat the last row and column. A half type is worked on
            in float32.
        tables: one per group of `plane_groups(color)`, for the padded planes.
        rounding: u -> (R(u), R'(u)), see `segkd.frequency.rounding`.
        color: what is quantised: "rgb", "ycbcr444", or "ycbcr420" (chroma at half size, as JPEG).
        block: side of a block.
        faithful: as libjpeg, whose planes are bytes and whose chroma comes back bilinearly; False is faster: no bytes,
            and every chroma value becomes four pixels.

    With Annex-K tables, straight-through rounding and 4:2:0 it is libjpeg at 43 dB or more on images with a 1/f
    spectrum.

    Raises:
        InputError: an image out of 0..1 or not RGB, a step of 0 or below, or tables that do not fit the planes.
    """
    refuse_image(image)
    _refuse_tables(tables, color)
    n, size, given = block, (image.shape[-2], image.shape[-1]), image.dtype
    image = image.to(work_type(image))
    if color == "rgb":
        return cropped(quantize(padded(image, n), tables[0], rounding, n), size).to(given)
    if color == "ycbcr420":
        whole = quantize_subsampled(padded(image, 2 * n), tables, rounding, n, faithful, size[0])
        return cropped(whole, size).to(given)
    luma, chroma = planes_of(image, color, n, faithful)[0].split((1, 2), dim=1)
    luma = quantize(luma, _channels(tables[0], 0, 1), rounding, n)
    chroma = quantize(chroma, _channels(tables[0], 1, 3), rounding, n, centre=0.0)
    return cropped(ycbcr_to_rgb(luma, chroma), size).to(given)


def _refuse_tables(tables: Sequence[Table], color: Color) -> None:
    wanted = [channels for channels, _ in plane_groups(color)]
    found = [tuple(table.shape) for table in tables]
    if len(found) != len(wanted) or any(shape[1] not in (1, c) for shape, c in zip(found, wanted) if len(shape) == 6):
        raise InputError(
            f"{color} takes {len(wanted)} table(s) [image, channel, block row, u, block column, v] of "
            f"{' and '.join(map(str, wanted))} channels (or 1), found {found}. See per_coefficient and its like."
        )


def _channels(table: Tensor, start: int, stop: int) -> Tensor:
    return table if table.shape[1] == 1 else table[:, start:stop]
