"""The page of a spectral analysis: what was found in words, the overview, then output and input clearly apart."""

import base64
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from segkd.analysis.evidence import Sentence
from segkd.analysis.outputs import first_band
from segkd.analysis.summary import Curve, Group
from segkd.engine.record import jsonable
from segkd.frequency.rings import EDGES
from segkd.report.page import head
from segkd.report.text import escape, table

TITLE = "Which frequencies are learned, and which are relied on"
APART = (
    "Two things are called frequency here. The frequencies of the <b>output</b> are those of the predicted mask: low "
    "ones are its coarse shape, high ones its outline and small parts. The frequencies of the <b>input</b> are those "
    "of the image that the network relies on. A network can draw coarse masks from fine texture, or fine outlines "
    "from coarse light and shade: what holds for one need not hold for the other."
)
CAPTIONS = {
    "overview": (
        "Overview",
        "Left and right are about the output, the middle is about the input. Shaded: 95 % interval over images (left: "
        "over seeds, from three on); small marks: single seeds. The hatched bands lie beyond what the decoder can draw "
        "at its stride, so nothing can be concluded about learning in them; where groups differ in this, the white "
        "markers tell which.",
    ),
    "learning": (
        "How the error of each band fell",
        "Relative error of the output by band at each validation; 1 is the error of a constant prediction. It shows "
        "the order in which bands were learned under this schedule. It cannot tell why: a band with little energy in "
        "the labels contributes little to the loss, and learning rate, schedule and stride act on all bands. Between "
        "two validations the course is not known.",
    ),
    "spectra": (
        "Energy and final error by band",
        "Left: nearly all energy of a label lies in its lowest bands, which is why only the relative error on the "
        "right can compare bands. The dashed line is the error of the label drawn at the decoder's stride: a network "
        "can come near it, and with outlines placed within a cell below it. Softer predictions lower the error without "
        "a better decision.",
    ),
    "outline": (
        "Outlines and encoder levels",
        "IoU within a band along the outline, and away from it: high frequencies of a mask are mostly its outline. "
        "The share of feature energy above the next level's Nyquist frequency, where shown, is what is folded when "
        "the encoder goes down without a filter; that this harms the mask is not shown by it.",
    ),
    "reliance": (
        "Four measurements of reliance",
        "Gradient: what a small wave of that frequency would change, per unit; noise: what the same energy in each "
        "band costs; left out: what the removal costs, which is confounded with how much the image had there (natural "
        "images have most in low bands); passes: what the low or the high bands alone suffice for. Images without a "
        "band are not those that the network was trained on, so a loss is an upper bound of what the band is needed "
        "for. Where the four agree, a statement is safer; where they differ, it is about the measurement.",
    ),
    "reliance_f_mean": (
        "The same by F-beta",
        "As above, by the mean of F-beta over all thresholds, which also asks how sure the network is.",
    ),
    "dct": (
        "Sensitivity in blocks of 8 x 8",
        "The gradient's block DCT: the coefficients that a JPEG-like table quantises. Bright coefficients are those "
        "in which a small error changes the output most. It says nothing of large errors, nor of training with them.",
    ),
    "heatmap": (
        "Is the gradient to be trusted?",
        "Single waves were added to the images and the change was measured. Points near the line, and a rank "
        "correlation near 1, say that the gradient tells the order of the frequencies rightly; it needs one pass back "
        "instead of one pass for each wave.",
    ),
    "maps": (
        "Both planes in two dimensions",
        "Mean power over horizontal and vertical frequency, with the edges of the bands as rings. Anything that is "
        "not round here is averaged away in all figures by band: crosses can come from the frame of the image, and "
        "grids from the decoder's stride.",
    ),
}
SECTIONS = {
    "Output: what the network draws": ("learning", "spectra", "outline"),
    "Input: what the network relies on": ("reliance", "reliance_f_mean", "dct", "heatmap"),
    "Both in two dimensions": ("maps",),
}
QUANTITIES = {
    "error": "OUTPUT relative error",
    "ceiling": "OUTPUT error of the label drawn at the stride",
    "untrained_error": "OUTPUT relative error with random weights",
    "half": "OUTPUT epoch at half error",
    "sensitivity": "INPUT gradient",
    "untrained_sensitivity": "INPUT gradient with random weights",
}


def spectra_page(
    groups: Sequence[Group], sentences: Sequence[Sentence], figures: Mapping[str, Path], about: Mapping[str, Any]
) -> str:
    """One HTML file that holds everything, opens from disk and fetches nothing.

    Args:
        groups: for the table, the notes and the costs.
        sentences: what was found, read first.
        figures: the PNG of each figure by its name, see `analysis.figures`; those that are missing are left out.
        about: what is needed to repeat it; "title" is the heading and "command" (a text or a list of words) is shown
            as such, the rest as one line.
    """
    title = str(about.get("title", TITLE))
    said = ", ".join(f"{key} {value}" for key, value in about.items() if key not in ("title", "command"))
    parts = [
        head(title),
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(said)}</p>" if said else "",
        _sentences(sentences),
        f"<p>{APART}</p>",
        _figure("overview", figures),
    ]
    for section, names in SECTIONS.items():
        shown = [_figure(name, figures) for name in names if name in figures]
        parts += [f"<h2>{section}</h2>", *shown] if shown else []
    parts += [_table(groups), _notes(groups), _costs(groups), _command(about), "</body></html>"]
    return "\n".join(part for part in parts if part) + "\n"


def _sentences(sentences: Sequence[Sentence]) -> str:
    if not sentences:
        return ""
    items = "".join(
        f'<li><span class="verdict {one.verdict.replace(" ", "-")}">{one.verdict}</span>'
        f"<span>{escape(one.text)}</span></li>"
        for one in sentences
    )
    return f'<h2>What was found</h2><ul class="found">{items}</ul>'


def _figure(name: str, figures: Mapping[str, Path]) -> str:
    if name not in figures:
        return ""
    heading, text = CAPTIONS[name]
    data = base64.b64encode(figures[name].read_bytes()).decode()
    shades = " shades" if name in ("dct", "maps") else ""  # brightness is what they tell: not turned round in the dark
    return (
        f'<figure class="plate"><figcaption>{heading} <span class="faint tap">tap to enlarge</span></figcaption>'
        f'<label class="paper{shades}"><input type="checkbox" class="zoom" aria-label="{heading}: larger"><img '
        f'id="{name}" src="data:image/png;base64,{data}" alt="{heading}: {escape(text)}"></label><p>{text}</p></figure>'
    )


def _table(groups: Sequence[Group]) -> str:
    """A row per group and quantity, a column per band: mean and interval."""
    heads = ["group and quantity", *(f"{low:.3g} to {high:.3g}" for low, high in pairwise(EDGES))]
    rows = []
    for one in groups:
        for name, text in (QUANTITIES | _of_scores(one)).items():
            start = first_band(name)
            if name in one.curves and start is not None:
                curve = one.curves[name]
                cells = [_cell(curve, i - start) for i in range(len(EDGES) - 1)]
                rows.append(f"<tr><td>{escape(f'{one.name}: {text}')}</td>{''.join(cells)}</tr>")
    return (
        "<h2>Numbers by band</h2><p>Bands in cycles per pixel of the image as the network sees it; in brackets the "
        "95 % interval over images, or over seeds where there is none.</p>"
        + table("Numbers by band", heads, rows, "bands")
    )


def _of_scores(one: Group) -> dict[str, str]:
    found: dict[str, str] = {}
    for score in one.scores:
        found |= {
            f"noise_drop/{score}": f"INPUT loss of {score} under noise",
            f"stop_drop/{score}": f"INPUT loss of {score} without the band",
            f"low/{score}": f"INPUT {score} with bands up to it",
            f"high/{score}": f"INPUT {score} with bands from it on",
        }
    return found


def _cell(curve: Curve, i: int) -> str:
    if not 0 <= i < len(curve.mean) or not math.isfinite(curve.mean[i]):
        return "<td>–</td>"
    low, high = curve.low[i], curve.high[i]
    if not math.isfinite(low) and curve.seed_interval is not None:
        low, high = (end[i] for end in curve.seed_interval)
    ends = f' <span class="faint">[{low:.3g}, {high:.3g}]</span>' if math.isfinite(low) else ""
    return f"<td>{curve.mean[i]:.3g}{ends}</td>"


def _notes(groups: Sequence[Group]) -> str:
    """Each note once, with the runs it is about."""
    about: dict[str, list[str]] = {}
    for run in (run for one in groups for run in one.runs):
        for note in run.notes:
            about.setdefault(note, []).append(f"{run.name} seed {run.seed}")
    items = "".join(
        f'<li>{escape(note)} <span class="faint">({escape(", ".join(runs))})</span></li>'
        for note, runs in about.items()
    )
    return f'<h2>Notes</h2><ul class="warning">{items}</ul>' if items else ""


def _costs(groups: Sequence[Group]) -> str:
    rows = []
    for run in (run for one in groups for run in one.runs):
        cells = (run.name, run.seed, len(run.ids), f"{run.size[0]} x {run.size[1]}", run.stride,
                 f"{run.forwards:.1f}", f"{run.seconds:.1f}", run.run)  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    names = ("group", "seed", "images", "size", "decoder stride", "forwards per image", "seconds", "folder")
    return "<h2>What it took</h2><p>A pass back counts as two forwards.</p>" + table("What it took", names, rows)


def _command(about: Mapping[str, Any]) -> str:
    command = about.get("command", "")
    text = command if isinstance(command, str) else shlex.join(map(str, command))
    rest = json.dumps(jsonable(dict(about)), indent=1, default=str)
    blocks = {"Command": text, "About": rest} if text else {"About": rest}
    return "".join(
        f"<details><summary>{key}</summary><pre>{escape(value)}</pre></details>" for key, value in blocks.items()
    )
