"""A teacher that remembers: what the student said of the same images one step ago."""

import hashlib
from typing import final

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segkd.datasets.sampler import Overlap
from segkd.device import processes, sent
from segkd.distill.base import Look, Scene, Teacher, named
from segkd.types import Batch, InputError, Lesson, Prediction


def carried(
    maps: Float[Tensor, "b k h w"], then: Float[Tensor, "b 2 3"], now: Float[Tensor, "b 2 3"]
) -> tuple[Float[Tensor, "b k h w"], Bool[Tensor, "b h w"]]:
    """Maps of one view at the pixels of another view of the same file, and where the first view saw them.

    `then` and `now` are the two views' `Batch.warp`. Bilinear; positions are float32 whatever the maps are.
    """
    with torch.autocast(then.device.type, enabled=False):
        across = between(then.float(), now.float())
        grid = F.affine_grid(across, [len(maps), 1, *maps.shape[2:]], align_corners=False)
        seen = F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)
    return seen, (grid.abs() <= 1).all(dim=3)


def between(then: Float[Tensor, "b 2 3"], now: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b 2 3"]:
    """Where places of the view `now` lie in the view `then`: (A, a)^-1 (B, b) = A^-1 (B, b - a).

    Written out, as `torch.linalg.inv` asks the device whether it succeeded, and waits for the answer.
    """
    (p, q), (r, s) = (row.unbind(dim=1) for row in then[:, :, :2].unbind(dim=1))
    turned = torch.stack([torch.stack([s, -q], dim=1), torch.stack([-r, p], dim=1)], dim=1)
    moved = torch.cat([now[:, :, :2], now[:, :, 2:] - then[:, :, 2:]], dim=2)
    return turned @ moved / (p * s - q * r).view(-1, 1, 1)


def names_as_numbers(ids: tuple[str, ...]) -> Int64[Tensor, " b"]:
    """A number for each name, the same on all processes and machines."""
    digests = [hashlib.blake2b(one.encode("utf-8", "surrogateescape"), digest_size=8).digest() for one in ids]
    return torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests])


def at_home(batch: Batch) -> Bool[Tensor, "b h w"]:
    """Where a batch shows its own images at their own places: everywhere, unless a disturbance moved pixels."""
    if batch.source is None:
        return torch.ones_like(batch.label, dtype=torch.bool)
    return batch.source == torch.arange(batch.source.numel(), device=batch.source.device).view_as(batch.source)


@final
class LastBatch(Teacher):
    """What the student predicted of the same images in the last step, warped to this step's view (DLB, Shen et al.,
    CVPR 2022); with `draw: Overlap`, half of every batch was there in the last step. Nothing is taught of other images,
    nor of pixels that a disturbance moved, then or now. With `engine.accumulate` above 1 a step is here a micro-step:
    what is remembered may be of the same weights.

    What is remembered is gathered from all processes and lies in the checkpoint: one batch of logits.
    """

    gives = frozenset({"logits"})
    remembers = True
    logits: Tensor
    home: Tensor
    warps: Tensor
    names: Tensor

    def meet(self, scene: Scene) -> None:
        """Makes room for a batch. Raises InputError where the loader does not say where its views lie, or no image
        comes twice in a row."""
        if scene.draw is not None and not isinstance(scene.draw, Overlap):
            raise InputError(
                f"{self.owner}: remembers one step, and with draw: {named(scene.draw)} hardly any image is in two "
                "steps in a row: nothing would be taught. Write draw: Overlap."
            )
        if scene.batch.warp is None:
            raise InputError("LastBatch needs Batch.warp, where each view lies in its file, but the loader gave none.")
        world = processes()
        b, k, h, w = scene.seen.logits.shape
        self.register_buffer("logits", torch.zeros(b * world, k, h, w))
        self.register_buffer("home", torch.zeros(b * world, 1, h, w))
        self.register_buffer("warps", torch.eye(2, 3).repeat(b * world, 1, 1))
        self.register_buffer("names", torch.zeros(b * world, dtype=torch.int64))

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What was said in the last step, where it was seen; then remembers this step."""
        names = sent(names_as_numbers(batch.ids), self.names.device)
        same = names.unsqueeze(1) == self.names
        known, at = same.any(dim=1), same.int().argmax(dim=1)
        assert batch.warp is not None
        both = torch.cat([self.logits, self.home], dim=1)[at]
        seen, inside = carried(both, self.warps[at], batch.warp)
        home = at_home(batch)
        mask = inside & known.view(-1, 1, 1) & home & (seen[:, -1] > 0.999)
        if self.training:
            for buffer, now in ((self.logits, student.logits.detach().float()), (self.warps, batch.warp),
                                (self.home, home.float().unsqueeze(1)), (self.names, names)):  # fmt: skip
                buffer.copy_(_gathered(now))
        return Lesson(Prediction(seen[:, :-1]), mask)


def _gathered(part: Tensor) -> Tensor:
    """The parts of all processes, one after the other."""
    if processes() == 1:
        return part
    part = part.contiguous()  # before its likes are made: what is gathered is memory, whatever its strides say
    parts = [torch.empty_like(part) for _ in range(processes())]
    dist.all_gather(parts, part)
    return torch.cat(parts)
