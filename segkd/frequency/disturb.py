"""`DctQuantization`: images quantised in the frequency domain by a table that is fixed, drawn, or learned."""

import math
from collections.abc import Callable
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.frequency.budget import (
    along,
    passed_through,
    refuse_unreachable,
    reversed_gradient,
    with_distortion,
    with_mean,
)
from segkd.frequency.color import Color
from segkd.frequency.dct import refuse_block
from segkd.frequency.image import changed, planes_of, quantize_image, refuse_share
from segkd.frequency.layout import Granularity, lay_out
from segkd.frequency.rounding import Rounding, StraightThrough
from segkd.frequency.spectrum import bits_per_band, heat_maps, mean_table, psnr, ring_means
from segkd.frequency.tables import AnnexK, Table
from segkd.types import Batch, Disturbance, InputError, Report, Schedule, schedule_values, scheduled

Objective = Literal["cooperative", "adversarial", "random", "fixed"]


@final
class DctQuantization(Disturbance):
    """Quantises the block-DCT coefficients of the images with a table that may learn.

    The frequency stage of Chen, Cao, Zheng & Fang (IET Computer Vision 2023), whose abstract names a differentiable
    quantisation with a learnable pixel-wise table and no more; after AdvDrop (Duan et al., ICCV 2021). Departures: the
    table is parametrised in octaves within its bounds, on a budget (see `segkd.frequency.budget`); whether it should
    work with or against the network is left open by the source, so both are here.

    Args:
        table: where the table starts, and what `strength` multiplies; Annex K at quality 50 if not said.
        objective: "cooperative": descends the task and distillation loss, the mean of log2(step) held at that of
            strength * start table. "adversarial": ascends it, the distortion mean(step^2) / 12 held at that of
            strength * start table (in their planes: an error of a YCbCr plane counts about three times in RGB). Means
            are over the coefficients of the planes: at 4:2:0 two thirds of them are luma's.
            "random": every image draws strength * 2^U(-spread, spread). "fixed": as it is.
        granularity: what has an entry of its own: "coefficient" of a block; "pixel" of the coefficient plane (the
            source paper's); "block"; "image": a table for every image, back at its start with every batch and moved
            by signs of the task loss's gradient (`inner_steps`, as AdvDrop) in `seek`; `forward` has the start table
            alone, and so has `report`. Random `jitter` is drawn at this grain.
        color: the planes that are quantised.
        rounding: the derivative of rounding; straight-through if not said.
        probability: share of the images that are quantised.
        strength: factor on the start table, constant or {progress: factor}.
        bounds: smallest and largest step, in image units 0..1. A random draw that would leave them stops there.
        block: side of a block: 4, 8, 16 or 32.
        faithful: YCbCr as libjpeg (planes are bytes, 4:2:0 chroma comes back bilinearly); False is faster.
        size: height and width of the images, for granularity pixel and block; `segkd train` sets it from the data, but
            not within a teacher.
        spread: octaves by which "random" makes a whole image's table finer or coarser.
        jitter: octaves by which "random" moves each entry.
        inner_steps: steps of granularity "image" per batch; each costs a forward and a backward of the network.
        inner_step: octaves per inner step.
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    power: Tensor

    def __init__(
        self,
        table: Table | None = None,
        objective: Objective = "cooperative",
        granularity: Granularity = "coefficient",
        color: Color = "ycbcr420",
        rounding: Rounding | None = None,
        probability: float = 1.0,
        strength: Schedule = 1.0,
        bounds: tuple[float, float] = (0.0039, 1.0),
        block: int = 8,
        faithful: bool = True,
        size: tuple[int, int] | None = None,
        spread: float = 2.0,
        jitter: float = 0.0,
        inner_steps: int = 1,
        inner_step: float = 1.0,
    ) -> None:
        super().__init__()
        refuse_block(block)
        refuse_share("DctQuantization", "probability", probability)
        self.objective, self.granularity, self.color, self.block = objective, granularity, color, block
        self.learns = objective in ("cooperative", "adversarial")
        self.rounding, self.probability, self.strength = rounding or StraightThrough(), probability, strength
        self.bounds, self.faithful, self.size = bounds, faithful, size
        self.spread, self.jitter, self.inner_steps, self.inner_step = spread, jitter, inner_steps, inner_step
        self._refuse_settings()
        self.layout = lay_out(table or AnnexK(), color, block, granularity, size)
        low, high, power = self.layout.limits(bounds)
        weight = self.layout.weights()
        for name, values in (("low", low), ("high", high), ("weight", weight), ("power", weight * power)):
            self.register_buffer(name, values, persistent=False)
        for number, group in enumerate(self.layout.groups):
            self.register_buffer(f"start{number}", group.start, persistent=False)
        self.start_distortion = float(self.power.mean())
        self._refuse_start()
        self.theta: nn.Parameter | None = None
        if self.learns and granularity != "image":
            self.theta = nn.Parameter(self._held(torch.zeros(1, self.layout.entries))[0])

    def forward(self, batch: Batch) -> Batch:
        """The batch with `image` quantised.

        Raises:
            InputError: images that are none, or a table per image that should learn: only `seek` moves it.
        """
        if self.granularity == "image" and self.learns and torch.is_grad_enabled():
            raise InputError(
                "DctQuantization: granularity image moves its tables by the loss of the batch: call "
                "seek(batch, loss), with loss: Batch -> scalar, in place of forward."
            )
        return self._quantized(batch, self.octaves(len(batch.image)), self.probability)

    def octaves(self, b: int) -> Float[Tensor, "_b p"]:
        """log2(step / start step) of every entry now: one row for all images, or one for each of `b`."""
        if self.theta is not None:
            held = self._held(self.theta.unsqueeze(0))
            free = along(self.theta.unsqueeze(0), self._normal(held))
            return passed_through(held, free if self.objective == "cooperative" else reversed_gradient(free))
        level = self._undrawn()
        if self.objective == "random":
            if self.spread > 0:
                level = level + self.spread * _even(b, 1, like=level)
            if self.jitter > 0:
                rows = b if self.granularity == "image" else 1
                level = level + self.jitter * _even(rows, self.layout.entries, like=level)
        return level.clamp(self.low, self.high)

    def tables(self) -> list[Tensor]:
        """The steps of each group of planes now, as `quantize` takes them, without gradient."""
        with torch.no_grad():
            return self._tables(self.octaves(1))

    def seek(self, batch: Batch, loss: Callable[[Batch], Float[Tensor, ""]]) -> Batch:
        """As `forward`; with granularity "image", after `inner_steps` sign steps along the gradient of `loss`."""
        if self.granularity != "image" or not self.learns:
            return self(batch)
        sign = -1.0 if self.objective == "cooperative" else 1.0
        theta = self._held(torch.zeros(len(batch.image), self.layout.entries, device=self.low.device))
        for _ in range(self.inner_steps):
            with torch.enable_grad():
                free = theta.clone().requires_grad_()
                moved = passed_through(theta, along(free, self._normal(theta)))
                found = loss(self._quantized(batch, moved, 1.0))
                with torch.autocast(found.device.type, enabled=False):  # what is float32 forward must be so backward
                    # signs do not see the factor, but a mean over many pixels has gradients that float16 has not
                    (gradient,) = torch.autograd.grad(found.float() * 1024, free)
            theta = self._held(theta + sign * self.inner_step * gradient.sign())
        return self._quantized(batch, theta, self.probability)

    def follow(self, progress: float) -> None:
        """Takes the schedule to `progress` and puts the table back on its budget."""
        super().follow(progress)
        if self.theta is not None:
            with torch.no_grad():
                self.theta.copy_(self._held(self.theta.unsqueeze(0))[0])

    @torch.no_grad()
    def report(self, batch: Batch) -> Report:
        """Heat map of the table, bits per frequency band and PSNR on these images, and the table for `metrics.jsonl`.

        The PSNR is that of all of them, all quantised, and "random" shows the table that it draws around, so that
        curves follow the table and not who was drawn.
        log2(step) per ring (`rings`) is that of the first plane (luma, or red): halved chroma has other frequencies.
        """
        octaves = self._undrawn() if self.objective == "random" else self.octaves(1)
        tables = self._tables(octaves)
        levels = psnr(self._quantized(batch, octaves, 1.0).image, batch.image)
        quality = {"psnr": float(levels.mean())} if levels.isfinite().all() else {}
        bits = bits_per_band(planes_of(batch.image, self.color, self.block, self.faithful), tables, self.block)
        table = mean_table(tables, self.block)
        pictures = heat_maps(tables, table, self.bounds)
        steps = ring_means(table[0])
        record: dict[str, object] = {
            "bits": [round(b, 4) for b in bits],
            "log2_steps": [[[round(float(s), 3) for s in r] for r in c] for c in table],
            "log2_step_rings": [None if math.isnan(s) else round(s, 3) for s in steps],
        }
        scalars = {f"bits/band{i}": value for i, value in enumerate(bits)} | {"log2_step/mean": float(table.mean())}
        scalars |= {f"log2_step/ring{i}": value for i, value in enumerate(steps) if not math.isnan(value)}
        return Report(scalars | quality, pictures, record | quality)

    def _quantized(self, batch: Batch, octaves: Tensor, probability: float) -> Batch:
        size = (batch.image.shape[-2], batch.image.shape[-1])
        if self.granularity in ("pixel", "block") and size != tuple(self.size or ()):
            raise InputError(
                f"DctQuantization: a table per {self.granularity} for images of {self.size}, found images of {size}."
            )

        def change(image: Tensor, rows: Tensor) -> Tensor:
            return quantize_image(
                image,
                self._tables(octaves if len(octaves) == 1 else octaves[rows]),
                lambda u: self.rounding(u, self.progress),
                color=self.color,
                block=self.block,
                faithful=self.faithful,
            )

        return changed(batch, probability, change)

    def _tables(self, octaves: Tensor) -> list[Tensor]:
        starts = [self.get_buffer(f"start{number}") for number in range(len(self.layout.groups))]
        return self.layout.tables(octaves, starts)

    def _undrawn(self) -> Tensor:
        return torch.full((1, self.layout.entries), self._level(), device=self.low.device)

    def _level(self) -> float:
        return math.log2(scheduled(self.strength, self.progress))

    def _held(self, theta: Tensor) -> Tensor:
        """theta on its budget and within its bounds, without gradient."""
        with torch.no_grad():
            if self.objective == "cooperative":
                return with_mean(theta, self.low, self.high, self.weight, self._level())
            return with_distortion(theta, self.low, self.high, self.power, self._distortion(self._level()))

    def _distortion(self, level: float) -> float:
        return self.start_distortion * 4.0**level

    def _normal(self, theta: Tensor) -> Tensor:
        """The direction in which the budget changes."""
        if self.objective == "cooperative":
            return self.weight.expand_as(theta)
        return self.power * torch.exp2(2 * theta)

    def _strengths(self) -> list[float]:
        return schedule_values("DctQuantization: strength", self.strength)

    def _refuse_settings(self) -> None:
        for name, kinds in (("objective", Objective), ("granularity", Granularity), ("color", Color)):
            if getattr(self, name) not in get_args(kinds):
                one_of = ", ".join(get_args(kinds))
                raise InputError(f"DctQuantization: {name} is one of {one_of}; found {getattr(self, name)!r}.")
        (low, high), strength, drawn = self.bounds, min(self._strengths()), self.objective == "random"
        idle = not self.learns and (not drawn or self.jitter == 0) and self.granularity != "coefficient"
        image = self.learns and self.granularity == "image"
        why = f"granularity {self.granularity} changes nothing with objective {self.objective}"
        faults = [
            (0 < low < high < math.inf, f"bounds are [smallest, largest] step above 0, found {list(self.bounds)}"),
            (strength > 0, f"strength is a factor above 0, found {strength}"),
            (0 <= self.spread < math.inf, f"spread is a number of octaves, 0 or more, found {self.spread}"),
            (0 <= self.jitter < math.inf, f"jitter is a number of octaves, 0 or more, found {self.jitter}"),
            (self.inner_steps >= 1, f"inner_steps must be at least 1, found {self.inner_steps}"),
            (0 < self.inner_step < math.inf, f"inner_step is a number of octaves above 0, found {self.inner_step}"),
            (min(self.size or (1, 1)) >= 1, f"size is [h, w] in pixels, found {list(self.size or ())}"),
            (not drawn or self.spread + self.jitter > 0, "objective random with spread 0 and jitter 0 draws nothing"),
            (not idle, f"{why}{' and jitter 0' if drawn else ''}; leave it at coefficient"),
            (drawn or self.jitter == 0, f"jitter moves the entries of objective random, not of {self.objective}"),
            (image or self.inner_steps == 1, "inner_steps are those of granularity image with a table that learns"),
        ]
        for fine, fault in faults:
            if not fine:
                raise InputError(f"DctQuantization: {fault}.")

    def _refuse_start(self) -> None:
        low, high = self.bounds
        steps = torch.cat([group.start.flatten() for group in self.layout.groups])
        factors = [1.0] if self.learns else self._strengths()  # a learned table stays within them by its budget
        least, most = float(steps.min()) * min(factors), float(steps.max()) * max(factors)
        if least < low * 0.999 or most > high * 1.001:
            raise InputError(
                f"DctQuantization: the start table{'' if self.learns else ' times strength'} has steps in {least:.4g}.."
                f"{most:.4g}, beyond the bounds {low}..{high}. Widen `bounds` or start from another table."
            )
        for strength in self._strengths() if self.learns else ():
            level = math.log2(strength)
            if self.objective == "cooperative":
                edges = [float((self.weight * edge).mean()) for edge in (self.low, self.high)]
                refuse_unreachable("mean log2(step / start)", level, *edges)
            else:
                edges = [float((self.power * torch.exp2(2 * edge)).mean()) for edge in (self.low, self.high)]
                refuse_unreachable("distortion", self._distortion(level), *edges)


def _even(rows: int, columns: int, like: Tensor) -> Tensor:
    """Even draws from -1..1."""
    return 2 * torch.rand(rows, columns, device=like.device) - 1
