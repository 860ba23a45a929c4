"""The whole table of scores against the definitions of docs/metrics.md, from lists of pixels: what is ignored has holes
in the middle of an image, sizes are odd, and some images are empty, full, constant or ignored whole."""

import math

import numpy as np
import pytest

from segkd.metrics.counts import count_binary, count_classes
from segkd.metrics.meter import Meter, score_names
from segkd.metrics.protocol import PLAIN, PYSOD
from segkd.types import IGNORE

NAN = float("nan")
SIZES = [(11, 9), (8, 13), (1, 12), (3, 85), (10, 10), (7, 8), (9, 6), (6, 5)]
WIDTHS = {"boundary_iou_005": 0.005, "boundary_iou_010": 0.01, "boundary_iou": 0.02}


def share(above, below):
    return above / below if below else NAN


def mean(values):
    defined = [one for one in values if not math.isnan(one)]
    return sum(defined) / len(defined) if defined else NAN


def f_beta(predicted, truth):
    """(1 + .3) P R / (.3 P + R) of two rows of pixels, true where they are foreground."""
    hits = np.count_nonzero(predicted & truth)
    if not truth.any():
        return NAN
    precision, recall = hits / max(np.count_nonzero(predicted), 1), hits / np.count_nonzero(truth)
    return 1.3 * precision * recall / (0.3 * precision + recall) if hits else 0.0


def e_measure(predicted, truth, unbiased):
    """Mean of the enhanced alignment (Fan et al., 2018, eq. 2-4)."""
    n, p, y = len(truth), predicted.astype(float), truth.astype(float)
    if not y.any() or y.all():
        total = (p == y).sum()
    else:
        a, b = p - p.mean(), y - y.mean()
        total = ((2 * a * b / (a * a + b * b) + 1) ** 2 / 4).sum()
    return total / (n - 1) if unbiased and n > 1 else total / n


def s_measure(pixels):
    """Fan et al., 2017: `pixels` are (row, column, p, truth)."""
    p, y = np.array([one[2] for one in pixels]), np.array([one[3] for one in pixels], float)
    if not y.any() or y.all():
        return p.mean() if y.all() else 1 - p.mean()

    def of_object(x):
        return 2 * x.mean() / (x.mean() ** 2 + 1 + (x.std(ddof=1) if len(x) > 1 else 0))

    objects = y.mean() * of_object(p[y == 1]) + (1 - y.mean()) * of_object(1 - p[y == 0])
    middle = [round(sum(one[axis] for one in pixels if one[3]) / int(y.sum())) for axis in (0, 1)]
    regions = 0.0
    for below in (False, True):
        for right in (False, True):
            part = [one for one in pixels if (one[0] > middle[0]) == below and (one[1] > middle[1]) == right]
            if part:
                x, g = np.array([one[2] for one in part]), np.array([one[3] for one in part], float)
                regions += len(part) / len(pixels) * similarity(x, g)
    return max(0.0, (objects + regions) / 2)


def similarity(x, g):
    n = max(len(x) - 1, np.spacing(1))
    vx, vg = ((x - x.mean()) ** 2).sum() / n, ((g - g.mean()) ** 2).sum() / n
    above = 4 * x.mean() * g.mean() * ((x - x.mean()) * (g - g.mean())).sum() / n
    below = (x.mean() ** 2 + g.mean() ** 2) * (vx + vg)
    if len(set(x.tolist())) == 1 or len(set(g.tolist())) == 1:  # rounding would leave something of either
        return 1.0 if below == 0 or (len(set(x.tolist())) == len(set(g.tolist())) == 1) else 0.0
    return above / below


def weighted_f(p, label):
    """Margolin et al., 2014; beyond the image and on ignored pixels there is nothing."""
    figure = [tuple(at) for at in np.argwhere(label == 1)]
    if not figure:
        return NAN
    error = {at: abs(p[at] - label[at]) for at in map(tuple, np.argwhere(label != IGNORE))}
    filled, away = {}, {}
    for at in error:  # among pixels as near, the leftmost, then the topmost
        near = min(figure, key=lambda one: ((one[0] - at[0]) ** 2 + (one[1] - at[1]) ** 2, one[1], one[0]))
        filled[at], away[at] = error[near], math.dist(near, at)
    kernel = {(i, j): math.exp(-(i * i + j * j) / 50) for i in range(-3, 4) for j in range(-3, 4)}
    whole, lowered, alarms = sum(kernel.values()), 0.0, 0.0
    for (y, x), value in error.items():
        if label[y, x] == 1:
            smooth = sum(k * filled.get((y + i, x + j), 0.0) for (i, j), k in kernel.items()) / whole
            lowered += min(value, smooth)
        else:
            alarms += value * (2 - 0.5 ** (away[y, x] / 5))
    hits = len(figure) - lowered
    precision, recall = share(hits, hits + alarms) if hits + alarms else 0.0, hits / len(figure)
    return 2 * precision * recall / (precision + recall) if precision + recall > 1e-12 else 0.0


def band(mask, d):
    """Pixels of a mask from which one that is not of it, or none at all, lies at most d away in the maximum norm."""
    h, w = mask.shape
    found = set()
    for y, x in np.argwhere(mask):
        around = [(y + i, x + j) for i in range(-d, d + 1) for j in range(-d, d + 1)]
        if not all(0 <= v < h and 0 <= u < w and mask[v, u] for v, u in around):
            found.add((int(y), int(x)))
    return found


def bands(one, other):
    """Intersection and union of the bands of two masks at each width."""
    for name, width in WIDTHS.items():
        d = max(1, round(width * math.hypot(*one.shape)))
        yield name, len(band(one, d) & band(other, d)), len(band(one, d) | band(other, d))


def hd95(one, other):
    def outline(mask):
        steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
        wide = np.pad(mask, 1)
        return [(y, x) for y, x in np.argwhere(mask) if not all(wide[y + 1 + i, x + 1 + j] for i, j in steps)]

    if not one.any() or not other.any():
        return 0.0 if one.any() == other.any() else math.hypot(*one.shape)
    a, b = outline(one), outline(other)
    return max(np.percentile([min(math.dist(i, j) for j in x) for i in y], 95) for x, y in ((a, b), (b, a)))


def slow_row(given, label, protocol):
    """Scores of one image of two classes, its curves, and (p, bin, truth) of each pixel."""
    exact = given.astype(float) / 255 if given.dtype == np.uint8 else given.astype(float)
    if protocol is PYSOD:
        levels = np.rint(exact * 255)
        low, high = levels.min(), levels.max()
        exact = (levels - low) / (high - low) if high > low else levels / 255
    level = np.floor(exact * 255 + 1e-5).astype(int)
    eight_bit = np.rint(exact * 255) / 255 if protocol is PLAIN else exact
    at = [tuple(one) for one in np.argwhere(label != IGNORE)]
    truth = np.array([label[one] == 1 for one in at])
    p = np.array([exact[one] for one in at])
    steps = np.array([level[one] for one in at])
    calibration = [(exact[one], min(level[one] // 17, 14), bool(label[one])) for one in at]
    if not at:
        return dict.fromkeys(score_names(2), NAN), np.full((2, 256), NAN), calibration
    cut = p > 0.5 if protocol.strict else p >= 0.5
    curves = [[f_beta(steps >= t, truth) for t in range(256)],
              [e_measure(steps >= t, truth, protocol.unbiased) for t in range(256)]]  # fmt: skip
    if protocol is PLAIN:
        adaptive = steps >= max(min(2 * sum(steps) / len(steps), 255), 1)
    else:
        adaptive = p >= min(2 * sum(p) / len(p), 1) - 1e-9
    counts = {(y, c): sum(a == y and b == c for a, b in zip(truth, cut)) for y in (0, 1) for c in (0, 1)}
    hit, alarm, missed, right = counts[1, 1], counts[0, 1], counts[1, 0], counts[0, 0]
    wrong = [share(alarm, alarm + right), share(missed, missed + hit)]
    mask = np.zeros(label.shape, bool)
    mask[tuple(np.array(at).T)] = cut
    row = {
        "f_adaptive": f_beta(adaptive, truth),
        "e_adaptive": e_measure(adaptive, truth, protocol.unbiased),
        "f_weighted": weighted_f(eight_bit, label),
        "s_measure": s_measure([(*one, eight_bit[one], bool(label[one])) for one in at]),
        "mae": sum(abs(one - y) for one, y in zip(p, truth)) / len(p),
        "ber": mean(wrong) if protocol is PLAIN else sum(1.0 if math.isnan(one) else one for one in wrong) / 2,
        "dice": share(2 * hit, 2 * hit + alarm + missed),
        "iou_fg_image": share(hit, hit + alarm + missed),
        "miou_image": mean([share(hit, hit + alarm + missed), share(right, right + alarm + missed)]),
        "pixel_accuracy": (hit + right) / len(at),
        "hd95": hd95(mask, label == 1),
        **{name: both / either if either else 1.0 for name, both, either in bands(mask, label == 1)},
    }
    empty = 1.0 if protocol is PLAIN else 0.0
    row |= {name: empty for name in ("dice", "iou_fg_image") if math.isnan(row[name])}
    if protocol is PYSOD:
        row |= {name: 0.0 for name in ("f_adaptive", "f_weighted") if math.isnan(row[name])}
        curves[0] = [0.0 if math.isnan(one) else one for one in curves[0]]
    return row, np.array(curves), calibration


def slow_table(images, protocol):
    """Scores of a data set from what `slow_row` says of each image."""
    rows, curves, calibration = zip(*images)
    table = {name: mean([row[name] for row in rows]) for name in rows[0]}
    for number, name in enumerate("fe"):
        course = [mean([one[number, t] for one in curves]) for t in range(256)]
        table |= {f"{name}_max": max(course), f"{name}_mean": sum(course) / 256}
    pixels = [one for image in calibration for one in image]
    apart = [[p - y for p, bin, y in pixels if bin == number] for number in range(15)]
    table["ece"] = sum(abs(sum(one)) for one in apart) / len(pixels)
    truth = [y for *_, y in pixels]
    cut = [p > 0.5 if protocol.strict else p >= 0.5 for p, *_ in pixels]
    of = [share(sum(a == b == c for a, b in zip(truth, cut)), sum(c in (a, b) for a, b in zip(truth, cut)))
          for c in (False, True)]  # fmt: skip
    table |= {"iou_fg_dataset": of[1], "miou_dataset": mean(of)}
    table["pixel_accuracy"] = sum(a == b for a, b in zip(truth, cut)) / len(pixels)
    return table


def images_of_two(dtype):
    """Maps that know something of their labels; empty, full, constant, black and ignored whole are among them."""
    draw = np.random.default_rng(5)
    for number, size in enumerate(SIZES):
        label = (draw.random(size) < (0.4, 0.4, 0.5, 0.5, 0.0, 1.0, 0.5, 0.5)[number]).astype(np.uint8)
        p = np.clip(draw.normal(0.3 + 0.4 * label, 0.3), 0, 1)
        p = p if number != 6 else np.full(size, 0.31)
        label[draw.random(size) < 0.25] = IGNORE
        if number == 7:
            label[:] = IGNORE
        yield (p * 255).round().astype(np.uint8) if dtype is np.uint8 else p.astype(np.float32), label


@pytest.mark.parametrize("protocol", [PLAIN, PYSOD], ids=lambda one: one.name)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_the_table_of_two_classes(protocol, dtype):
    images, meter = list(images_of_two(dtype)), Meter(["ground", "object"], protocol)
    domains = ["even" if number % 2 == 0 else "odd" for number in range(len(images))]
    for number, (given, label) in enumerate(images):
        meter.add(str(number), count_binary(given, label, 0.5, protocol), domains[number])
    slow = [slow_row(*one, protocol) for one in images]
    for number, (expected, *_) in enumerate(slow):
        row = meter.rows[str(number)]
        known = {name: expected[name] for name in row if name in expected}
        assert len(known) >= 14 and row == pytest.approx(row | known, abs=2e-7, nan_ok=True), number
    parts = {name: slow_table(slow[start::2], protocol) for start, name in enumerate(("even", "odd"))}
    for name, expected in parts.items():
        assert meter.by_part()[name] == pytest.approx(expected, abs=2e-7, nan_ok=True)
    both = {name: mean([one[name] for one in parts.values()]) for name in score_names(2)}
    assert meter.scores() == pytest.approx(both, abs=2e-7, nan_ok=True)


@pytest.mark.parametrize("classes", [3, 6])
def test_the_table_of_many_classes(classes):
    """The last class is nowhere, and the one before it is only predicted."""
    draw, meter, pixels, rows = np.random.default_rng(6), Meter([str(c) for c in range(classes)]), [], {}
    pooled = {name: np.zeros((classes, 2)) for name in WIDTHS}
    for number, size in enumerate(SIZES):
        label = draw.integers(0, classes - 2, size).astype(np.uint8)
        predicted = np.where(draw.random(size) < 0.6, label, draw.integers(0, classes - 1, size)).astype(np.uint8)
        label[draw.random(size) < (1.0 if number == 4 else 0.2)] = IGNORE
        meter.add(str(number), count_classes(predicted, label, classes))
        here = [(int(label[one]), int(predicted[one])) for one in map(tuple, np.argwhere(label != IGNORE))]
        pixels, own = pixels + here, {name: [] for name in WIDTHS}
        for c in range(classes):
            for name, both, either in bands((predicted == c) & (label != IGNORE), label == c):
                pooled[name][c] += both, either
                own[name].append(share(both, either))
        rows[str(number)] = {
            "miou_image": mean(ious(here, classes)),
            "pixel_accuracy": share(sum(y == p for y, p in here), len(here)),
            **{name: mean(values) for name, values in own.items()},
        }
    for id, row in rows.items():
        assert meter.rows[id] == pytest.approx(row, nan_ok=True)
    assert meter.scores() == pytest.approx({
        "miou_image": mean([row["miou_image"] for row in rows.values()]),
        "miou_dataset": mean(ious(pixels, classes)),
        "dice": mean([2 * one / (1 + one) for one in ious(pixels, classes)]),
        "pixel_accuracy": sum(y == p for y, p in pixels) / len(pixels),
        "class_accuracy": mean([share(sum(y == p == c for y, p in pixels), sum(y == c for y, _ in pixels))
                                for c in range(classes)]),
        **{name: mean([share(*one) for one in table]) for name, table in pooled.items()},
    })  # fmt: skip


def ious(pixels, classes):
    return [share(sum(y == p == c for y, p in pixels), sum(c in (y, p) for y, p in pixels)) for c in range(classes)]
