"""The numbers of a page in words: one headline, every score with its meaning, what the classes are mistaken for."""

import math

import numpy as np

from segkd.datasets.palette import class_colours
from segkd.metrics.meter import LOWER_IS_BETTER, Meter
from segkd.report.text import escape, table

MEANINGS = {
    "f_max": ("F-measure, max", "beta^2 = .3, at the threshold that is best for all images"),
    "f_mean": ("F-measure, mean", "beta^2 = .3, over all thresholds"),
    "f_adaptive": ("F-measure, adaptive", "at twice the mean of each map"),
    "f_weighted": ("Weighted F-measure", "errors count by where they lie"),
    "s_measure": ("S-measure", "likeness of regions and object"),
    "e_max": ("E-measure, max", "alignment, at the best threshold"),
    "e_mean": ("E-measure, mean", "alignment, over all thresholds"),
    "e_adaptive": ("E-measure, adaptive", "alignment, at twice the mean of each map"),
    "mae": ("Mean absolute error", "of the probability"),
    "ber": ("Balanced error rate", "mean of the shares of object and ground that are wrong"),
    "dice": ("Dice", "2 |A and B| / (|A| + |B|)"),
    "iou_fg_image": ("Foreground IoU, by image", "mean over images"),
    "iou_fg_dataset": ("Foreground IoU", "of the pixels of all images together"),
    "miou_image": ("Mean IoU, by image", "mean over images of the mean over classes that occur"),
    "miou_dataset": ("Mean IoU", "mean over classes, of the pixels of all images together"),
    "boundary_iou": ("Boundary IoU, 2 %", "within 2 % of the diagonal along the outline"),
    "boundary_iou_010": ("Boundary IoU, 1 %", "within 1 % of the diagonal"),
    "boundary_iou_005": ("Boundary IoU, 0.5 %", "within half a percent of the diagonal"),
    "hd95": ("Hausdorff distance, 95 %", "between outlines, in pixels"),
    "ece": ("Calibration error", "how far probabilities are from shares that are right"),
    "pixel_accuracy": ("Pixel accuracy", "share of all pixels that are right"),
    "class_accuracy": ("Class accuracy", "mean over classes of the share of pixels that are right"),
}
"""Score -> its name in the field, and what it is in a few words."""

MOST_CLASSES = 40
"""Classes of a confusion matrix that is shown whole."""


def headline(meter: Meter) -> str:
    """The one number, what it is, and how many images have no foreground."""
    name = "iou_fg_dataset" if len(meter.classes) == 2 else "miou_dataset"
    title, meaning = MEANINGS[name]
    empty, number = len(meter.without_foreground), len(meter.rows)
    rule = "IoU and Dice of these are 1 where nothing is predicted and 0 otherwise, F-measures leave them out"
    if meter.protocol.zero_when_empty:
        rule = "IoU, Dice and F-measures of these are 0"
    said = (
        f'<p class="aloud"><b>{empty} of {number} labels hold no foreground.</b> By image, {rule}; they are not among '
        "the median and the best below.</p>"
        if empty
        else ""
    )
    return (
        f'<p class="headline"><b>{number_of(name, meter.scores()[name])}</b> <span>{title} <code>{name}</code>, '
        f"{meaning}; {number} image{'' if number == 1 else 's'}</span></p>{said}"
    )


def scores(meter: Meter) -> str:
    """A table of all scores, with what they mean and which way is better."""
    rows = []
    for name, value in meter.scores().items():
        title, meaning = MEANINGS.get(name, (name, ""))
        better = "lower" if name in LOWER_IS_BETTER else "higher"
        rows.append(
            f'<tr><th scope="row">{title}</th><td class="number">{number_of(name, value)}</td><td>{better}</td>'
            f"<td><code>{name}</code></td><td>{escape(meaning)}</td></tr>"
        )
    return table("Scores", ("score", "value", "better", "name in files", "meaning"), rows, "scores")


def headlines(classes: int) -> tuple[str, ...]:
    """The scores that a short table shows of so many classes."""
    return ("miou_image", "iou_fg_dataset", "f_mean", "mae") if classes == 2 else ("miou_dataset", "miou_image")


def domain_rows(meter: Meter) -> dict[str, tuple[int, dict[str, float]]]:
    """Images and the short table's scores of each domain, then their mean and, score by score, the worst; {} where
    there is one data set."""
    names, each = headlines(len(meter.classes)), meter.by_part()
    if not each:
        return {}
    rows = {
        domain: (len(meter.parts[domain].rows), {name: one[name] for name in names}) for domain, one in each.items()
    }
    whole, number = meter.scores(), len(meter.rows)
    worst = {name: (np.nanmax if name in LOWER_IS_BETTER else np.nanmin)([one[name] for one in each.values()])
             for name in names if not math.isnan(whole[name])}  # fmt: skip
    # in brackets where a domain is called so
    mean, lowest = (f"({name})" if name in rows else name for name in ("mean", "worst"))
    return rows | {
        mean: (number, {name: whole[name] for name in names}),
        lowest: (number, {name: float(worst.get(name, math.nan)) for name in names}),
    }


def domains(meter: Meter) -> str:
    """A table with a row for each domain, their mean and the worst; "" where there is one data set."""
    rows = domain_rows(meter)
    if not rows:
        return ""
    body = (
        f'<tr><th scope="row">{escape(domain)}</th><td class="number">{number}</td>'
        + "".join(f'<td class="number">{number_of(name, value)}</td>' for name, value in found.items())
        + "</tr>"
        for domain, (number, found) in rows.items()
    )
    return (
        "<h2>Domains</h2><p>All scores of this page are means over the domains; curves and confusions are of all "
        "images together.</p>" + table("Domains", ("domain", "images", *headlines(len(meter.classes))), body, "scores")
    )


def class_key(meter: Meter) -> str:
    """The colour of each class with its IoU and its share of the labels' pixels; "" for two classes."""
    if len(meter.classes) == 2:
        return ""
    pixels = meter.confusion.sum(axis=1)
    items = []
    for name, value, colour, share in zip(
        meter.classes, meter.per_class().values(), class_colours(len(meter.classes)), pixels / max(1, pixels.sum())
    ):
        part = f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"
        text = f"{escape(name)} <b>{number_of('iou', value)}</b> <span class='faint'>{part} %</span>"
        items.append(f'<li><i style="background:rgb({",".join(map(str, colour.tolist()))})"></i>{text}</li>')
    return (
        '<h3>Classes: colour, IoU, share of the pixels</h3><ul class="classes">'
        f'{"".join(items)}<li><i style="background:#6e6e6e"></i>ignored</li></ul>'
    )


def confusions(meter: Meter) -> str:
    """What each class was taken for; the whole matrix up to `MOST_CLASSES`. "" for two classes."""
    if len(meter.classes) == 2:
        return ""
    shares = meter.confusion / np.maximum(1, meter.confusion.sum(axis=1, keepdims=True))
    wrong = [(shares[i, j], i, j) for i, j in np.argwhere(shares > 0) if i != j]
    names = [escape(name) for name in meter.classes]
    lines = "".join(
        f"<li>{100 * share:.1f} % of <b>{names[i]}</b> is taken for <b>{names[j]}</b></li>"
        for share, i, j in sorted(wrong, reverse=True)[:5]
    )
    matrix = _matrix(shares, names) if len(names) <= MOST_CLASSES else ""
    return f"<h2>What is mistaken for what</h2><ul>{lines}</ul>{matrix}"


def _matrix(shares: np.ndarray, names: list[str]) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for name, row in zip(names, shares):
        cells = "".join(
            f'<td style="--share:{share:.3f}">{100 * share:.0f}</td>' if share >= 0.005 else "<td></td>"
            for share in row
        )
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    return (
        "<p>Rows are labels, columns predictions; percent of each row.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix"><table class="matrix">'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def number_of(name: str, value: float) -> str:
    """A score as it is printed."""
    return "–" if math.isnan(value) else f"{value:.2f}" if name == "hd95" else f"{value:.4f}"
