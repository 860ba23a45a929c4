"""Of a grid on several domains: the mean and the worst domain of each arm, and how often each domain was seen.

    python benchmarks/domains.py GRID [--split val] [--score miou_image]

GRID is the folder of `segkd ablate`; means over the seeds of the cells that are done, the standard deviation behind.
"""

import argparse
import statistics
from collections.abc import Iterable
from pathlib import Path

from segkd.ablation.cell import State, read_state


def main() -> None:
    """Prints the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--score", default="miou_image")
    options = parser.parse_args()
    arms = cells_of(options.grid, options.split)
    if not arms:
        raise SystemExit(f"{options.grid}: no cell of several domains is done there.")
    domains = sorted(next(iter(arms.values()))[0].domains[options.split])
    print(f"{options.score} on {options.split}; in brackets, how often each training image was drawn")
    print(f"| arm | seeds | mean | worst | {' | '.join(domains)} |\n|---|---|{'---|' * (2 + len(domains))}")
    for arm, states in arms.items():
        print(line_of(arm, states, options.split, options.score, domains))


def cells_of(grid: Path, split: str) -> dict[str, list[State]]:
    """Arm -> the states of its cells that are done and were scored by domain."""
    arms: dict[str, list[State]] = {}
    for path in sorted((grid / "cells").glob("*/*/seed-*/cell.json")):
        state = read_state(path.parent)
        if state is not None and state.status == "done" and state.domains.get(split):
            arms.setdefault(path.parent.parent.name, []).append(state)
    return arms


def line_of(arm: str, states: list[State], split: str, score: str, domains: list[str]) -> str:
    """The row of an arm; the worst domain is that of each seed by itself."""
    each = {name: [numbers(state, split, score)[name] for state in states] for name in domains}
    mean = [statistics.fmean(found) for found in zip(*each.values())]
    worst = [min(found) for found in zip(*each.values())]
    cells = [
        f"{spread(each[name])} ({statistics.fmean(state.seen.get(name, 0.0) for state in states):.1f})"
        for name in domains
    ]
    return f"| {arm} | {len(states)} | {spread(mean)} | {spread(worst)} | {' | '.join(cells)} |"


def numbers(state: State, split: str, score: str) -> dict[str, float]:
    """The score of each domain; one that is not defined counts as 0."""
    return {name: float(scores.get(score) or 0.0) for name, scores in state.domains[split].items()}


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation."""
    found = list(values)
    return f"{statistics.fmean(found):.4f}" + (f" ± {statistics.stdev(found):.4f}" if len(found) > 1 else "")


if __name__ == "__main__":
    main()
