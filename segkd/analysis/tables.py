"""`segkd analyse tables RUN`: how a quantisation table changed while a run trained, as one picture."""

from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from segkd.analysis.learning import arrays_of
from segkd.disk import write_whole
from segkd.engine.record import read_lines
from segkd.types import InputError

COLUMNS = 6


def analyse_tables(arguments: list[str]) -> int:
    """`segkd analyse tables RUN`: writes RUN/tables.png, or what --out says."""
    parser = ArgumentParser("segkd analyse tables", description="Draw the quantisation table over training.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder whose disturbance was DctQuantization")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE.png", help="the picture; RUN/tables.png")
    options = parser.parse_args(arguments)
    notes = table_notes(options.run)
    path = options.out or options.run / "tables.png"
    draw_tables(notes, path)
    print(f"{len(notes)} validation{'' if len(notes) == 1 else 's'} drawn: {path}")
    return 0


def table_notes(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that hold a table.

    Raises:
        InputError: there is none.
    """
    notes = [line for line in read_lines(run / "metrics.jsonl") if "log2_steps" in line]
    if not notes:
        raise InputError(
            f"expected a run folder with quantisation tables in its metrics.jsonl, found none in {run}. They are "
            "written at every validation of a run with disturbance: DctQuantization."
        )
    path = run / "metrics.jsonl"
    arrays_of(notes, "log2_steps", 3, path)
    arrays_of(notes, "bits", 1, path)
    return notes


def span_of(values: Float[np.ndarray, " n"]) -> tuple[float, float] | None:
    """The ends of an axis for values in dB: at least 1 dB apart, so that what nobody sees is no slope; None of none."""
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = float(known.min()), float(known.max())
    room = max(0.05 * (high - low), (1 - high + low) / 2)
    return low - room, high + room


def draw_tables(notes: Sequence[dict[str, Any]], path: Path) -> None:
    """Tables of up to six validations (a row per plane, dark keeps), bits per band and PSNR over all of them."""
    from matplotlib import colormaps, colors
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    chosen = [notes[i] for i in np.unique(np.linspace(0, len(notes) - 1, COLUMNS).round().astype(int))]
    steps = np.exp2(np.array([note["log2_steps"] for note in chosen]))
    planes = steps.shape[1]
    figure = Figure(figsize=(2.1 * len(chosen) + 4.5, 2.1 * planes + 0.6), layout="constrained")
    parts = figure.subfigures(1, 2, squeeze=False, width_ratios=(2.1 * len(chosen) + 0.5, 4.5))
    left, right = parts[0, 0], parts[0, 1]
    axes = left.subplots(planes, len(chosen), squeeze=False)
    norm = colors.LogNorm(steps.min() * 0.999, steps.max() * 1.001)
    for column, note in enumerate(chosen):
        for plane in range(planes):
            drawn = axes[plane, column].imshow(steps[column, plane], norm=norm, cmap="viridis")
            axes[plane, column].set(xticks=[], yticks=[])
            if column == 0:
                axes[plane, column].set_ylabel(f"plane {plane}")
        axes[0, column].set_title(f"step {note['step']}")
    left.colorbar(drawn, ax=axes, label="quantisation step, image units", shrink=0.8, aspect=30)
    above, below = right.subplots(2, 1, sharex=True)
    at = [note["step"] for note in notes]
    bits = np.array([note["bits"] for note in notes])
    shades = colormaps["plasma"](np.linspace(0, 0.9, bits.shape[1]))
    for band, shade in enumerate(shades):
        above.plot(at, bits[:, band], color=shade, marker=".", label=f"{band}")
    above.set(ylabel="bits per coefficient", ylim=(0, 1.4 * bits.max() + 0.1))
    above.legend(title="band, low to high", ncol=4, fontsize=7, title_fontsize=8)
    psnr = np.array([note.get("psnr", np.nan) for note in notes], float)
    below.plot(at, psnr, color="black", marker=".")
    below.set(ylabel="PSNR, dB", xlabel="optimiser step", ylim=span_of(psnr))
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    try:
        write_whole(path, partial(figure.savefig, format=path.suffix[1:] or "png", dpi=90))
    except ValueError as error:  # matplotlib knows the formats
        raise InputError(f"--out {path}: expected a picture file to write (tables.png), found: {error}") from error
