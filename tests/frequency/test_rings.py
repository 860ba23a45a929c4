import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segkd.frequency.rings import EDGES, power, ring_energy, ring_matrix, ring_names, ring_of

SIDES = st.integers(1, 13)
CUTS = st.lists(st.floats(0.01, 0.49), min_size=0, max_size=7, unique=True).map(lambda cuts: [0.0, *sorted(cuts), 0.5])


@given(SIDES, SIDES, CUTS, st.integers(0, 99))
def test_rings_and_mean_hold_all_the_energy(h, w, edges, seed):
    """Parseval: sum x^2 = sum of the rings + h w mean^2."""
    field = torch.randn(2, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.5
    energy = ring_energy(field, ring_matrix(h, w, edges))
    total = energy.sum(dim=-1) + h * w * field.mean(dim=(1, 2)).square()
    assert energy.shape == (2, len(edges) - 1)
    torch.testing.assert_close(total, field.square().sum(dim=(1, 2)))


@given(SIDES, SIDES, CUTS, st.integers(0, 99))
def test_the_half_plane_counts_as_the_full_one(h, w, edges, seed):
    """The witness: every coefficient of fft2 by itself, its frequency worked out from its indices."""
    field = torch.randn(h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    squares = torch.fft.fft2(field, norm="ortho").abs().square()
    half, expected = ring_of(h, w, edges), [0.0] * (len(edges) - 1)
    for y in range(h):
        for x in range(w):
            fy, fx = min(y, h - y) / h, min(x, w - x) / w
            ring = sum(math.hypot(fy, fx) >= edge for edge in edges[1:-1]) if (y, x) != (0, 0) else -1
            if x <= w // 2:
                assert half[y, x] == ring
            if ring >= 0:
                expected[ring] += float(squares[y, x])
    assert ring_energy(field, ring_matrix(h, w, edges)).tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("h", "w"), [(64, 64), (48, 80), (60, 36)])
@pytest.mark.parametrize(("y", "x"), [(1, 0), (0, 3), (5, 7), (12, 0), (20, 14), (-9, 4)])
def test_a_cosine_lies_in_the_ring_of_its_frequency(h, w, y, x):
    rows, columns = torch.arange(h).unsqueeze(1), torch.arange(w)
    wave = torch.cos(2 * math.pi * (y * rows / h + x * columns / w)) + 3
    energy, frequency = ring_energy(wave, ring_matrix(h, w)), math.hypot(y / h, x / w)
    ring = int(energy.argmax())
    edges = [*EDGES[:-1], math.inf]  # the last ring takes the corners
    assert edges[ring] <= frequency < edges[ring + 1]
    assert energy[ring] == pytest.approx(h * w / 2, rel=1e-4)
    assert float(energy.sum() - energy[ring]) < 1e-4 * h * w


def test_edges_are_those_of_the_rings():
    assert ring_of(64, 64)[0, [1, 2, 3, 4, 8, 12, 16, 23, 24, 32]].tolist() == [1, 2, 2, 3, 4, 5, 6, 6, 7, 7]
    assert ring_names()[:2] == ["0-.01562", ".01562-.03125"] and len(ring_names()) == 8
    assert ring_of(64, 64)[0, 0] == -1 and ring_of(64, 64)[32, 32] == 7


@pytest.mark.parametrize("side", [196, 392, 412, 428, 644])
def test_a_frequency_on_an_edge_belongs_to_the_ring_above_it_at_every_size(side):
    """1 / side is rounded, so that its multiples are not the frequencies: 49 (1 / 196) < 1 / 4."""
    at = {number: int(side * edge) for number, edge in enumerate(EDGES[:-1]) if number and side * edge % 1 == 0}
    down, across = ring_of(side, 2)[:, 0], ring_of(2, side)[0]
    assert at and all(down[k] == down[-k] == across[k] == number for number, k in at.items())


def test_half_types_are_widened_and_doubles_stay():
    field = torch.rand(9, 8)
    assert power(field.bfloat16()).dtype == torch.float32
    assert ring_energy(field.bfloat16(), ring_matrix(9, 8)).dtype == torch.float32
    assert ring_energy(field.double(), ring_matrix(9, 8)).dtype == torch.float64
