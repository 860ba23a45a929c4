"""How often the 95 % interval of `segkd compare` holds the truth, by number of pairs, beside a BCa bootstrap's.

    python -m benchmarks.intervals [--draws 1000]

Gains are drawn around 0: normal ones, and skewed ones (exponential, as where few pairs gain much). An interval that
leaves out 0 is wrong.
"""

import argparse

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import bootstrap

from segkd.ablation.statistics import student_interval

PAIRS = (3, 4, 5, 6, 8, 10, 15, 25)


def held(gains: np.ndarray) -> tuple[bool, bool]:
    """Whether Student's and the BCa interval of these gains hold 0."""
    low, high = student_interval(gains.tolist()) or (np.nan, np.nan)
    # `random_state`, because `rng` came with scipy 1.15 and we ask for 1.11
    draw = np.random.default_rng(0)
    bca = bootstrap((gains,), np.mean, n_resamples=2000, method="BCa", random_state=draw).confidence_interval
    return low <= 0 <= high, bca.low <= 0 <= bca.high


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="intervals of each row")
    draws = parser.parse_args().draws
    table = Table("pairs", "Student, normal", "BCa, normal", "Student, skewed", "BCa, skewed",
                  title=f"Share of 95 % intervals that hold the truth, {draws} of each")  # fmt: skip
    for pairs in track(PAIRS):
        rng, cells = np.random.default_rng(pairs), []
        for gains in (rng.normal(size=(draws, pairs)), rng.exponential(size=(draws, pairs)) - 1):
            shares = np.mean([held(row) for row in gains], axis=0)
            cells += [f"{share:.3f} ± {np.sqrt(share * (1 - share) / draws):.3f}" for share in shares]
        table.add_row(str(pairs), *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
