"""IoU over all classes and over the rarer half, of the cells of a grid: rare classes are lost in a mean over pixels.

    python -m benchmarks.rare_classes GRID DATASET

Read from what each cell noted of its best validation. The rarer half: the k // 2 classes with the fewest labels in val.
"""

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
from jsonargparse import Namespace

from segkd.datasets.opening import open_data
from segkd.engine.record import read_lines
from segkd.experiment.settings import instantiate, parse, training_parser


def main() -> None:
    """Prints a line for each arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("dataset")
    options = parser.parse_args()
    runs = sorted(options.grid.glob(f"cells/{options.dataset}/*/seed-*/run"))
    if not runs:
        parser.error(f"no cells of {options.dataset} below {options.grid}")
    names, counts = labels_of(runs[0])
    rare = sorted(np.argsort(counts)[: len(names) // 2].tolist())
    print(f"rarer half: {', '.join(names[c] for c in rare)}")
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in runs:
        iou = best_iou(run)
        found[run.parts[-3]].append((float(np.nanmean(iou)), float(np.nanmean(iou[rare]))))
    print("| arm | cells | mean IoU | of the rarer half |\n|---|---:|---:|---:|")
    for arm, pairs in found.items():
        print(f"| {arm} | {len(pairs)} | {said([p[0] for p in pairs])} | {said([p[1] for p in pairs])} |")


def labels_of(run: Path) -> tuple[list[str], np.ndarray]:
    """The classes of a run, and how many labels of each there are in val at the images' own sizes."""
    parser = training_parser()
    config = parse(parser, ["--config", str(run / "config.yaml")])
    data = instantiate(parser, Namespace(data=config.data)).data
    records = open_data(data, ["val"], lambda _: None)[0]["val"]
    counts = sum(np.bincount(records.load(i)[1].ravel(), minlength=256) for i in range(len(records)))
    return data.classes, np.asarray(counts)[: len(data.classes)]


def best_iou(run: Path) -> np.ndarray:
    """IoU of each class at the run's best validation."""
    lines = [line for line in read_lines(run / "metrics.jsonl") if line["kind"] == "val"]
    best = max(lines, key=lambda line: line["miou_dataset"] or 0.0)
    return np.array([np.nan if one is None else one for one in best["iou"].values()])


def said(numbers: list[float]) -> str:
    """Mean and standard deviation over the seeds."""
    spread = f" +- {statistics.stdev(numbers):.4f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.4f}{spread}"


if __name__ == "__main__":
    main()
