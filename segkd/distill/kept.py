"""What a teacher says of the whole training images, kept in memory and seen through each view."""

from collections.abc import Callable, Sequence
from typing import final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Float16
from torch import Tensor

from segkd.device import processes, sent
from segkd.distill.base import Scene
from segkd.types import Batch

BLOCK = 64
"""Maps that processes send each other at a time: on an accelerator they lie in its memory meanwhile."""


@final
class Kept:
    """log of the class probabilities of whole images, by name, and a sentence on what they take (`said`)."""

    def __init__(self, names: Sequence[str], maps: Float16[Tensor, "n k h w"], said: str) -> None:
        self.rows, self.maps, self.said = {name: row for row, name in enumerate(names)}, maps, said

    def __contains__(self, name: str) -> bool:
        return name in self.rows

    def seen(self, names: Sequence[str], warp: Float[Tensor, "b 2 3"], size: Sequence[int]) -> Float[Tensor, "b k h w"]:
        """Probabilities of the named images where each view lies in its file (`Batch.warp`), bilinear; their log."""
        shares = sent(self.maps[[self.rows[name] for name in names]], warp.device).float().exp()
        with torch.autocast(warp.device.type, enabled=False):
            grid = F.affine_grid(warp.float(), [len(names), 1, *size], align_corners=False)
            found = F.grid_sample(shares, grid, padding_mode="border", align_corners=False)
        return (found / found.sum(dim=1, keepdim=True)).clamp_min(1e-12).log()


def keep(scene: Scene, size: tuple[int, int], look: Callable[[Batch], Float[Tensor, "b k h w"]], room: float) -> Kept:
    """What is said of the first training images that fit into `room` bytes, one at least, those without a label last;
    each is looked at once, by one of the processes.

    Args:
        scene: knows the images.
        size: height and width at which they are looked at. What is kept has at most twice the views' sides: more would
            not be seen.
        look: logits of a batch.
        room: bytes, in each process: all keep the same maps, and as much again over their number while they gather.
    """
    high, wide = scene.size
    small = min(size[0], 2 * high), min(size[1], 2 * wide)
    every, each = (scene.ids or scene.batch.ids) + scene.others, 2 * scene.classes * small[0] * small[1]
    names = every[: max(1, int(min(room / each, len(every))))]  # room may be endless
    # in a rehearsal there is one made batch, which each process looks at by itself
    spread = scene.images is not None and processes() > 1
    rank, world = (dist.get_rank(), dist.get_world_size()) if spread else (0, 1)
    maps, first = torch.zeros(-(-len(names) // world), scene.classes, *small, dtype=torch.float16), 0
    for batch in scene.whole(size, range(rank, len(names), world)):
        shares = look(batch).float().softmax(dim=1)
        if shares.shape[2:] != small:
            shares = F.interpolate(shares, small, mode="bilinear", align_corners=False, antialias=True)
        found = shares.clamp_min(1e-12).log().half().cpu()[: len(maps) - first]
        maps[first : first + len(found)] = found
        first += len(found)
    few = "" if len(names) == len(every) else f" (of {len(every)}; a larger cache_gb spares the looks at the others)"
    said = f"keeps what it says of {len(names)} training images{few}, {len(names) * each / 1e9:.2f} GB"
    return Kept(names, _of_all(maps, world)[: len(names)], said)


def _of_all(maps: Float16[Tensor, "_m k h w"], world: int) -> Float16[Tensor, "_n k h w"]:
    """The maps of all processes in the order of the images, which were dealt out in turn."""
    if world == 1:
        return maps
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else maps.device
    every, rows = maps.new_empty(len(maps), world, *maps.shape[1:]), max(1, BLOCK // world)
    for own, block in zip(maps.split(rows), every.split(rows)):
        part = own.to(device).view(torch.uint8)  # every backend sends bytes
        parts = [torch.empty_like(part) for _ in range(world)]
        dist.all_gather(parts, part)
        for rank, one in enumerate(parts):
            block[:, rank] = one.view(torch.float16)
    return every.flatten(0, 1)
