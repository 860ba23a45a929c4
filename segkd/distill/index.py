"""The nearest of millions of keys by faiss, which compares a query with those keys alone that lie in similar cells."""

from types import ModuleType
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Int64
from torch import Tensor

from segkd.types import InputError

SHARE = 32
"""One of so many cells is looked into: benchmarks/store.py prints what that finds and what it costs."""

SAMPLE = 64
"""Keys per cell from which the cells' centres are made."""


def evenly(most: int, total: int) -> Int64[Tensor, " n"]:
    """`most` numbers below `total`, evenly spread from the first to the last; all where there are no more."""
    # in float32 the last of 2^24 numbers and more may be one that there is not
    return torch.linspace(0, total - 1, min(most, total), dtype=torch.float64).long()


def library() -> ModuleType:
    """faiss. Raises InputError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "Retrieval: keys: more than 1e6 need faiss: pip install 'segkd[retrieval]'. Or write keys: 1000000: all of "
            "them are compared."
        ) from error
    return faiss


@final
class Index:
    """An inverted file of keys in half precision (Sivic and Zisserman, ICCV 2003; Johnson, Douze and Jegou, 2017): keys
    lie in 4 sqrt(m) cells around centres, and a query looks into the closest of those (`SHARE`). On the CPU, with as
    many threads as torch has; the same keys make the same index.

    Args:
        keys: of unit length.
    """

    def __init__(self, keys: Float16[Tensor, "m d"]) -> None:
        faiss = library()
        self.cells = min(len(keys), 4 * int(len(keys) ** 0.5))
        faiss.omp_set_num_threads(torch.get_num_threads())
        metric, half = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_fp16
        centres = faiss.IndexFlatIP(keys.shape[1])
        self.found: Any = faiss.IndexIVFScalarQuantizer(centres, keys.shape[1], self.cells, half, metric)
        self.found.cp.min_points_per_centroid = 1  # else faiss prints advice where keys are few
        self.found.train(keys[evenly(SAMPLE * self.cells, len(keys))].float().numpy())
        for part in keys.split(2**18):
            self.found.add(part.float().numpy())

    def nearest(
        self, queries: Float32[Tensor, "b n d"], barred: Bool[Tensor, "b m"], k: int
    ) -> tuple[Float32[Tensor, "b n k"], Int64[Tensor, "b n k"]]:
        """As `Store.nearest`, but for keys in cells that are not looked into; inf where those held no more."""
        faiss, found = library(), []
        for asked, out in zip(queries.cpu().numpy(), barred.cpu().numpy()):
            open_ = np.packbits(~out, bitorder="little")
            search = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(open_), nprobe=max(8, self.cells // SHARE))
            found.append(self.found.search(np.ascontiguousarray(asked), k, params=search))
        alike, at = (torch.from_numpy(np.stack(part)).to(queries.device) for part in zip(*found))
        return (2 - 2 * alike).clamp_min(0).masked_fill(at < 0, torch.inf), at.clamp_min(0)
