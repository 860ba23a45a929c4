"""The check of the gradient: single waves added to the images, one at a time, as Yin et al. (NeurIPS 2019) did."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segkd.analysis.evidence import HeatMap
from segkd.analysis.reliance import contrasts
from segkd.metrics.rows import mean_defined
from segkd.models.network import Network
from segkd.types import Batch


def wave(size: tuple[int, int], place: tuple[int, int], phase: float) -> Float[Tensor, "h w"]:
    """The real wave of a coefficient (row, column) of the half plane, root mean square 1."""
    h, w = size
    turns = torch.arange(h).unsqueeze(1) * place[0] / h + torch.arange(w) * place[1] / w
    field = torch.cos(2 * math.pi * turns.double() + phase).float()
    return field / field.square().mean().sqrt().clamp_min(1e-12)


def places(size: tuple[int, int], cells: int) -> list[tuple[int, int]]:
    """About `cells` coefficients spread evenly over the half plane, the mean left out."""
    h, w = size
    half = w // 2 + 1
    across = max(2, min(half, round(math.sqrt(cells / 2))))
    down = max(2, min(h, round(cells / across)))
    rows = np.unique(np.linspace(0, h - 1, down).round().astype(int))
    columns = np.unique(np.linspace(0, half - 1, across).round().astype(int))
    return [(int(row), int(column)) for row in rows for column in columns if (row, column) != (0, 0)]


class WaveProbe:
    """Adds waves and measures; `measure` once per batch, then `result`.

    Args:
        size: (h, w) that the network sees.
        cells: about how many waves.
        amplitude: root mean square of a wave, in image units 0..1.
        score: (logits, batch) -> a score of each image.
    """

    def __init__(
        self, size: tuple[int, int], cells: int, amplitude: float, score: Callable[[Tensor, Batch], np.ndarray]
    ) -> None:
        self.size, self.amplitude, self.score = size, amplitude, score
        self.places = places(size, cells)
        self.gains: list[np.ndarray] = []
        self.drops: list[np.ndarray] = []
        self.gradients: list[np.ndarray] = []

    @torch.no_grad()
    def measure(
        self, network: Network, batch: Batch, logits: Tensor, powers: Float[Tensor, "b h k"], seeds: Sequence[int]
    ) -> None:
        """One pass for each wave; `logits` and `powers` are those of the undisturbed images."""
        signs = contrasts(batch.label, logits.shape[1], seeds)
        margin = torch.einsum("bkhw,bk->bhw", logits, signs)
        before = self.score(logits, batch)
        gains, drops = [], []
        for place in self.places:
            disturbed = batch.image + self.amplitude * torch.stack([self._waves(place, s) for s in seeds]).to(margin)
            after = network(disturbed).logits.float()
            moved = torch.einsum("bkhw,bk->bhw", after, signs) - margin
            gains.append(moved.square().mean(dim=(1, 2)).sqrt().cpu().numpy() / self.amplitude)
            drops.append(before - self.score(after, batch))
        self.gains.append(np.stack(gains, axis=1))
        self.drops.append(np.stack(drops, axis=1))
        self.gradients.append(self._around(powers.cpu().numpy()))

    def result(self) -> HeatMap:
        """What was measured, means over the images (of squares for the gains)."""
        gains, drops, gradients = (np.concatenate(x) for x in (self.gains, self.drops, self.gradients))
        h, w = self.size
        fy, fx = np.fft.fftfreq(h), np.fft.rfftfreq(w)
        rows, columns = np.array(self.places).T
        return HeatMap(
            np.array(self.places),
            np.hypot(fy[rows], fx[columns]),
            np.sqrt(np.square(gains).mean(axis=0)),
            np.sqrt(gradients.mean(axis=0)),
            np.array([mean_defined(column) for column in drops.T]),
            len(gains),
        )

    def _around(self, powers: Float[np.ndarray, "b h k"]) -> Float[np.ndarray, "b m"]:
        """Mean power over the coefficients nearest to each wave: a single one of one probe is mostly chance."""
        rows, columns = (np.unique(axis) for axis in np.array(self.places).T)
        row_of = np.abs(np.arange(powers.shape[1])[:, None] - rows).argmin(axis=1)
        column_of = np.abs(np.arange(powers.shape[2])[:, None] - columns).argmin(axis=1)
        found = [
            powers[:, row_of == np.searchsorted(rows, row)][:, :, column_of == np.searchsorted(columns, column)]
            for row, column in self.places
        ]
        return np.stack([one.mean(axis=(1, 2)) for one in found], axis=1)

    def _waves(self, place: tuple[int, int], seed: int) -> Float[Tensor, "3 h w"]:
        """The wave in a random phase, and in each channel with a random sign: channels must not be taken as grey."""
        draw = np.random.default_rng([seed, *place])
        signs = torch.tensor(draw.choice([-1.0, 1.0], 3), dtype=torch.float32)
        return signs.view(3, 1, 1) * wave(self.size, place, float(draw.uniform(0, 2 * math.pi)))
