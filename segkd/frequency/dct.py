"""The orthonormal block DCT in plane layout: coefficient (u, v) of a block stands where its pixel (u, v) stood.

So a plane of coefficients has the shape of the image, and a table per coefficient, block, pixel or image is
a broadcast. Letters: n block side, u v frequency in a block (u down, v across; v / 2n cycles per pixel).
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from segkd.device import constant
from segkd.types import InputError

BLOCKS = (4, 8, 16, 32)
"""Block sides that are offered; 8 is JPEG's."""


def dct_matrix(n: int, like: Tensor) -> Float[Tensor, "n n"]:
    """Row u is the u-th cosine of the orthonormal DCT-II: D x = coefficients, D^T D = 1 (Ahmed et al., 1974).

    Computed in float64, then rounded to the dtype of `like`, on its device.
    """
    return constant(_cosines(n), like.dtype, like.device)


@cache
def _cosines(n: int) -> tuple[tuple[float, ...], ...]:
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * k + 1) * k.unsqueeze(1) / (2 * n)) * math.sqrt(2 / n)
    matrix[0] = math.sqrt(1 / n)
    return tuple(map(tuple, matrix.tolist()))


def block_dct(planes: Float[Tensor, "*c h w"], n: int = 8) -> Float[Tensor, "*c h w"]:
    """DCT-II of every n x n block, in plane layout; h and w are multiples of n. A half type becomes float32."""
    return _both_ways(planes, n, inverse=False)


def block_idct(planes: Float[Tensor, "*c h w"], n: int = 8) -> Float[Tensor, "*c h w"]:
    """DCT-III, the inverse of `block_dct` and its transpose."""
    return _both_ways(planes, n, inverse=True)


def padded(image: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c H W"]:
    """The image with its last row and column repeated until both sides are multiples; `image` itself if they are."""
    down, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    return F.pad(image, (0, right, 0, down), mode="replicate") if down or right else image


def cropped(image: Float[Tensor, "b c H W"], size: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """The top left `size` (h, w) of the image: undoes `padded`."""
    return image if image.shape[-2:] == size else image[..., : size[0], : size[1]]


def refuse_block(n: int, size: tuple[int, int] | None = None) -> None:
    """Raises InputError for a block side that is not offered, or that does not divide `size` (h, w)."""
    if n not in BLOCKS:
        raise InputError(f"block is the side of a DCT block, one of {', '.join(map(str, BLOCKS))}; found {n}.")
    if size is not None and (size[0] % n or size[1] % n):
        raise InputError(f"blocks of {n} do not fit into {size[0]} x {size[1]}: pad to a multiple of {n} (dct.padded).")


def work_type(planes: Tensor) -> torch.dtype:
    """float32 for half types (2.7 % of the indices of a fine table differ in bfloat16), else the type itself."""
    return torch.float32 if planes.dtype in (torch.float16, torch.bfloat16) else planes.dtype


def _both_ways(planes: Tensor, n: int, inverse: bool) -> Tensor:
    height, width = planes.shape[-2:]
    refuse_block(n, (height, width))
    with torch.autocast(planes.device.type, enabled=False):
        x = planes.to(work_type(planes))
        matrix = dct_matrix(n, x)
        matrix = matrix.T if inverse else matrix
        # rows of blocks as [8, w] and columns as [w / 8, 8]: neither needs a permuted copy
        x = matrix @ x.reshape(-1, n, width)
        return (x.reshape(-1, n) @ matrix.T).view(planes.shape)
