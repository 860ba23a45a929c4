"""Draws the pictures of docs/frequency.md: python -m docs.draw_frequency (about a minute).

All images come from the embedded data set, so the pictures can be drawn anywhere and their truth is known.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor, nn

from segkd.datasets.embedded import Embedded, draw_sample
from segkd.frequency.amplitude import APRP, APRS, FDA, AmpMix
from segkd.frequency.color import rgb_to_ycbcr
from segkd.frequency.dct import block_dct
from segkd.frequency.disturb import DctQuantization
from segkd.frequency.filters import BandStop, DctBandDrop, FrequencyDropout
from segkd.frequency.jpeg import RandomJpeg
from segkd.frequency.mix import CutMix
from segkd.frequency.spectrum import psnr
from segkd.frequency.tables import AnnexK, Flat, Ramp
from segkd.types import Batch, Disturbance

FOLDER = Path(__file__).parent / "pictures"
BAND = (0.15, 0.3)
"""The object's band in cycles per pixel."""


def main() -> None:
    """All pictures, into docs/pictures."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    batch = embedded(8, 128)
    save(draw_coefficients(batch), "coefficients.png")
    save(draw_tables(batch), "tables.png")
    save(draw_disturbances(batch), "disturbances.png")
    save(draw_learning(), "learning.png")


def embedded(n: int, side: int) -> Batch:
    """The first `n` images of an embedded set whose object is told by its band alone."""
    settings = Embedded(train=n, side=side, cue="band", band=BAND, contrast=1.0, seed=1)
    samples = [draw_sample(settings, index) for index in range(n)]
    image = torch.from_numpy(np.stack([image for image, _ in samples])).permute(0, 3, 1, 2).float() / 255
    label = torch.from_numpy(np.stack([label for _, label in samples])).long()
    return Batch(image, image, label, None, tuple(map(str, range(n))))


def frequency(n: int = 8) -> Tensor:
    """Cycles per pixel of every coefficient of a block, [n n]."""
    k = torch.arange(n) / (2 * n)
    return torch.hypot(k.unsqueeze(1), k)


class BandEnergy(nn.Module):
    """A small network that can measure local energy in a band: filters, squares, means, a logarithm."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, 12, 7, padding=3, bias=False)
        self.mix, self.head = nn.Conv2d(12, 16, 1), nn.Conv2d(16, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits [b 2 h w]."""
        energy = F.avg_pool2d(self.filters(image - 0.5).square(), 7, 1, 3, count_include_pad=False)
        return self.head(self.mix(torch.log(energy + 1e-3)).relu())


def learned_table(objective: str, steps: int, every: int = 0) -> list[Tensor]:
    """log2(step) of Y, Cb, Cr [3 8 8] after `steps` steps of training a network together with the table on images
    whose object is told by its band; with `every`, also all `every` steps before."""
    batch = embedded(48, 64)
    torch.manual_seed(0)
    network = BandEnergy()
    stage = DctQuantization(Flat(0.2), objective, color="ycbcr444", bounds=(0.01, 1.0))  # type: ignore[arg-type]
    groups = [{"params": network.parameters(), "lr": 4e-3}, {"params": stage.parameters(), "lr": 0.05}]
    optimizer = torch.optim.Adam(groups)
    found = []
    for step in range(steps):
        if every and step % every == 0:
            found.append(luma_chroma(stage))
        torch.manual_seed(step)
        few = torch.randperm(len(batch.ids))[:8]
        seen = Batch(batch.image[few], batch.image[few], batch.label[few], None, tuple(batch.ids[i] for i in few))
        loss = F.cross_entropy(network(stage(seen).image), seen.label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stage.follow((step + 1) / steps)
    return [*found, luma_chroma(stage)]


def luma_chroma(stage: DctQuantization) -> Tensor:
    """log2(step) [3 8 8] of a stage with one table per coefficient."""
    return stage.tables()[0].log2()[0, :, 0, :, 0].clone()


def draw_coefficients(batch: Batch) -> plt.Figure:
    """An image, the plane of its coefficients, their mean size, and how much of each is left."""
    luma = rgb_to_ycbcr(batch.image)[:, :1]
    planes = block_dct(luma - 0.5)
    size = planes.view(8, 16, 8, 16, 8).abs().mean(dim=(0, 1, 3))
    kept = DctQuantization(AnnexK(20.0), "fixed")(batch)
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.6), constrained_layout=True)
    show(axes[0], batch.image[0], "an image of the embedded set")
    axes[1].imshow(planes[0, 0].abs().clamp_min(1e-3).log2(), cmap="magma")
    axes[1].set_title("luma in plane layout, log2 |c|")
    plot = axes[2].imshow(size.log2(), cmap="magma")
    axes[2].set_title("mean |c| of each coefficient, log2")
    mark_band(axes[2])
    axes[2].set(xlabel="v", ylabel="u")
    figure.colorbar(plot, ax=axes[2], shrink=0.85)
    show(axes[3], kept.image[0], f"Annex K at quality 20, {float(psnr(kept.image, batch.image)[0]):.1f} dB")
    for axis in (axes[0], axes[1], axes[3]):
        axis.set_axis_off()
    return figure


def draw_tables(batch: Batch) -> plt.Figure:
    """Tables above, the images that they leave below."""
    tables = {
        "Annex K, quality 50": AnnexK(50.0),
        "Annex K, quality 10": AnnexK(10.0),
        "flat, step .1": Flat(0.1),
        "flat, step .4": Flat(0.4),
        "ramp, .02 to .6": Ramp(0.02, 0.6),
    }
    figure, axes = plt.subplots(2, len(tables), figsize=(2.6 * len(tables), 5.4), constrained_layout=True)
    norm = colors.LogNorm(0.0039, 1.0)
    for column, (name, table) in enumerate(tables.items()):
        plot = axes[0, column].imshow(table.steps(8, chroma=False), norm=norm, cmap="viridis")
        axes[0, column].set_title(name)
        axes[0, column].set(xticks=[0, 7], yticks=[0, 7])
        out = DctQuantization(table, "fixed")(batch)
        show(axes[1, column], out.image[1], f"{float(psnr(out.image, batch.image)[1]):.1f} dB")
    figure.colorbar(plot, ax=axes[0, :], label="luma step, image units", shrink=0.9)
    return figure


def draw_disturbances(batch: Batch) -> plt.Figure:
    """What each disturbance does to one image, and the difference below it."""
    arms: dict[str, Disturbance] = {
        "DctQuantization": DctQuantization(AnnexK(15.0), "fixed"),
        "RandomJpeg": RandomJpeg((10, 10), probability=1.0),
        "DctBandDrop": DctBandDrop((3, 3), probability=1.0),
        "BandStop": BandStop(0.15, (0.15, 0.15), probability=1.0),
        "FrequencyDropout": FrequencyDropout(0.3, probability=1.0),
        "FDA": FDA(0.05, probability=1.0),
        "AmpMix": AmpMix(probability=1.0),
        "APRP": APRP(probability=1.0),
        "APRS": APRS(probability=1.0),
        "CutMix": CutMix(probability=1.0),
    }
    figure, axes = plt.subplots(4, 6, figsize=(13, 9.2), constrained_layout=True)
    for axis in axes.flat:
        axis.set_axis_off()
    show(axes[0, 0], batch.image[2], "undisturbed")
    places = [(row, column) for row in (0, 2) for column in range(6) if (row, column) not in ((0, 0), (2, 0))]
    for (row, column), (name, arm) in zip(places, arms.items()):
        torch.manual_seed(7)
        image = arm(batch).image
        show(axes[row, column], image[2], name)
        difference = (image[2] - batch.image[2]).mean(dim=0)
        axes[row + 1, column].imshow(difference, cmap="RdBu_r", vmin=-1 / 6, vmax=1 / 6)
    for row in (1, 3):
        axes[row, 0].text(0.5, 0.5, "difference,\nred is brighter,\n-1/6 to +1/6", ha="center", va="center")
    return figure


def draw_learning(steps: int = 150) -> plt.Figure:
    """The luma table of both objectives as training goes on."""
    figure, axes = plt.subplots(2, 5, figsize=(13, 5.6), constrained_layout=True)
    for row, objective in enumerate(("cooperative", "adversarial")):
        tables = learned_table(objective, steps, every=steps // 4)
        for column, table in enumerate(tables[:4] + tables[-1:]):
            axis = axes[row, column]
            plot = axis.imshow(table[0].exp2(), norm=colors.LogNorm(0.01, 1.0), cmap="viridis")
            axis.set_title(f"{objective}, step {column * steps // 4 if column < 4 else steps}")
            axis.set(xticks=[0, 7], yticks=[0, 7])
            mark_band(axis)
    figure.colorbar(plot, ax=axes, label="luma step, image units (dark keeps)", shrink=0.8)
    return figure


def mark_band(axis: Axes) -> None:
    """The edges of the object's band as two arcs over a table [8 8]."""
    angle = np.linspace(0, np.pi / 2, 60)
    for edge in BAND:
        axis.plot(16 * edge * np.cos(angle), 16 * edge * np.sin(angle), color="white", linewidth=1.2)
    axis.set(xlim=(-0.5, 7.5), ylim=(7.5, -0.5))


def show(axis: Axes, image: Tensor, title: str) -> None:
    """An RGB image [3 h w]."""
    axis.imshow(image.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    axis.set_title(title)
    axis.set_axis_off()


def save(figure: plt.Figure, name: str) -> None:
    """Writes the picture and says so."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=72)
    plt.close(figure)
    # 256 colours are enough, and a third of the bytes
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)
    print(FOLDER / name)


if __name__ == "__main__":
    main()
