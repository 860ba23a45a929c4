"""How far each rounding's gradient of a table entry is from the truth: `estimate / truth`, 1 is right, below 0 wrong.

    python -m benchmarks.rounding

The truth is the derivative of the expected loss of the hard quantiser over Laplace coefficients of scale b, by finite
differences; witness and losses are those of tests/frequency/test_rounding.py. No timing: the figures are exact.
"""

from functools import partial

from rich.console import Console
from rich.table import Table

from segkd.frequency.rounding import cubic, fourier, straight_through, tanh
from tests.frequency.test_rounding import LOSSES, SCALE, estimate, truth

ROUNDINGS = {
    "StraightThrough": straight_through,
    "Fourier(10)": partial(fourier, terms=10),
    "Tanh(10)": partial(tanh, sharpness=10.0),
    "Cubic": cubic,
}
SHARES = (0.25, 0.5, 1.0, 2.0)


def main() -> None:
    table = Table("loss", "T / b", *ROUNDINGS, title="estimate / truth of dL/dT")
    for name, loss in LOSSES.items():
        for share in SHARES:
            true = truth(loss, share * SCALE)
            ratios = [estimate(loss, share * SCALE, rounding) / true for rounding in ROUNDINGS.values()]
            table.add_row(name, f"{share:g}", *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
