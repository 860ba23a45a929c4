"""What scoring costs beside PySODMetrics, how it scales to two processes, and what reading PNG files costs.

    pip install '.[bench]'                       # in an environment of its own
    python benchmarks/metrics.py [--images 40] [--rounds 3] [--files 1000]

Both judge the same 352 x 352 maps in one process with one thread, in turns; ratios are of CPU time. The
last line is one JSON object. Without PySODMetrics, only what needs it not is measured.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from segkd.datasets.embedded import Embedded, draw_sample
from segkd.datasets.matching import MapPair
from segkd.engine.judge import Looker, MapScorer, look_at, score_maps
from segkd.metrics.counts import Depth, count_binary
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PYSOD

SIDE = 352
TWO = ["background", "foreground"]


def made_pair(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A map as a network gives it (sure within and far outside, unsure at the outline, some mistakes) and its mask."""
    _, label = draw_sample(Embedded(side=SIDE), number)
    draw = np.random.default_rng(number)
    coarse = cv2.resize(draw.standard_normal((12, 12)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    margin = cv2.GaussianBlur(label * 2.0 - 1, (0, 0), 4) * 6 + 2.5 * coarse
    return (255 / (1 + np.exp(-margin)) + 0.5).astype(np.uint8), label


def seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def beside_pysod(pairs: list[tuple[np.ndarray, np.ndarray]], rounds: int) -> dict[str, float]:
    """CPU time of PySODMetrics over ours: median over rounds of the sums over all images."""
    try:
        import py_sod_metrics as pysod
    except ImportError:
        print("PySODMetrics is not installed: pip install '.[bench]' in an environment of its own")
        return {}
    from py_sod_metrics.fmeasurev2 import FmeasureV2, IOUHandler

    warnings.simplefilter("ignore")
    ratios: dict[str, list[float]] = {"curves_over_pysod": [], "all_over_pysod": []}
    for _ in range(rounds):
        iou = FmeasureV2({"iou": IOUHandler(with_dynamic=False, with_adaptive=False, with_binary=True)})
        few = [pysod.Fmeasure(), pysod.Emeasure(), pysod.MAE(), iou]
        more = [pysod.Smeasure(), pysod.WeightedFmeasure()]
        # arms take turns over the whole set, as in use: image by image they would empty each other's caches
        curves = seconds(_theirs, few, pairs)
        ours = seconds(_ours, pairs, "curves")
        rest = seconds(_theirs, more, pairs)
        whole = seconds(_ours, pairs, "structure")
        ratios["curves_over_pysod"].append(curves / ours)
        ratios["all_over_pysod"].append((curves + rest) / whole)
        times = [f"{1e3 * spent / len(pairs):.2f}" for spent in (curves, ours, curves + rest, whole)]
        print("ms per image: curves {} theirs, {} ours; all {} theirs, {} ours".format(*times))
    return {name: round(float(np.median(values)), 2) for name, values in ratios.items()}


def _theirs(judges: list, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list:
    for levels, label in pairs:
        mask = label * np.uint8(255)
        for judge in judges:
            judge.step(levels, mask)
    return [judge.get_results() for judge in judges]


def _ours(pairs: list[tuple[np.ndarray, np.ndarray]], depth: Depth) -> dict[str, float]:
    meter = Meter(TWO, PYSOD)
    for number, (levels, label) in enumerate(pairs):
        meter.add(str(number), count_binary(levels, label, 0.5, PYSOD, depth))
    return meter.scores()


def from_files(pairs: list[tuple[np.ndarray, np.ndarray]], files: int) -> dict[str, float]:
    """Scaling of wall time to two processes, and the share of reading in scoring `files` pairs of PNG files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number in range(files):
            levels, label = pairs[number % len(pairs)]
            a, b = Path(folder) / f"{number}.png", Path(folder) / f"{number}-mask.png"
            cv2.imwrite(str(a), levels)
            cv2.imwrite(str(b), label * np.uint8(255))
            paths.append(MapPair(str(number), a, b))
        scorer = MapScorer.for_binary()
        wall = {}
        for processes in (1, 2):
            start = time.perf_counter()
            score_maps(paths, scorer, TWO, processes=processes)
            wall[processes] = time.perf_counter() - start
        reading = seconds(lambda: [(scorer.read_prediction(p, (SIDE, SIDE)), scorer.read_label(p)) for p in paths])
        looking = seconds(lambda: look_at(paths, Looker(2)))
        whole = seconds(lambda: score_maps(paths, scorer, TWO, processes=1))
    print(
        f"{files} files: {wall[1]:.1f} s with one process, {wall[2]:.1f} s with two; "
        f"{whole:.1f} s CPU, {reading:.1f} of it reading; the look at all files before it takes {looking:.1f}"
    )
    return {
        "process_scaling_2": round(wall[1] / wall[2], 2),
        "png_share": round(reading / whole, 3),
        "look_share": round(looking / whole, 3),
        "images_per_second": round(files / wall[1], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=1000)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = [made_pair(number) for number in range(arguments.images)]
    figures = beside_pysod(pairs, arguments.rounds) | from_files(pairs, arguments.files)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
