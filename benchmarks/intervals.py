"""How often the 95 % interval of `segkd compare` holds the truth, by number of pairs.

    python -m benchmarks.intervals [--draws 1000]

Gains are drawn from a normal distribution around 0, as of seeds of one data set: an
interval that leaves out 0 is wrong.
"""

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

from segkd.ablation.statistics import bca_interval

PAIRS = (3, 4, 5, 6, 8, 10, 15, 20)


def coverage(pairs: int, draws: int) -> float:
    """The share of intervals of so many pairs that hold 0."""
    gains = np.random.default_rng(pairs).normal(0, 0.005, (draws, pairs))
    ends = [bca_interval(row.tolist(), seed) for seed, row in enumerate(gains)]
    return float(np.mean([end is not None and end[0] <= 0 <= end[1] for end in ends]))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="intervals of each row")
    draws = parser.parse_args().draws
    table = Table("pairs", "holds the truth", title=f"95 % BCa intervals, {draws} of each, no true gain")
    for pairs in PAIRS:
        share = coverage(pairs, draws)
        error = np.sqrt(share * (1 - share) / draws)
        table.add_row(str(pairs), f"{share:.3f} ± {error:.3f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
