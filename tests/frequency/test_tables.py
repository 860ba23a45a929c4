import io

import numpy as np
import pytest
from PIL import Image

from segkd.frequency.tables import CHROMA, LUMA, AnnexK, Flat, Ramp, annex_k, at_block
from segkd.types import InputError


@pytest.mark.parametrize("quality", [1.0, 10.0, 30.0, 49.0, 50.0, 51.0, 75.0, 90.0, 95.0, 100.0])
def test_annex_k_is_what_libjpeg_writes(quality):
    """The tables in the file itself; Pillow gives them row by row."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(file, "JPEG", quality=int(quality))
    written = Image.open(file).quantization
    for number, chroma in ((0, False), (1, True)):
        found = (annex_k(quality, chroma) * 255).round().int().flatten().tolist()
        assert found == list(written[number])


def test_the_standard_s_tables_at_quality_50():
    assert (annex_k(50.0, False) * 255).round().int().tolist() == [list(row) for row in LUMA]
    assert (annex_k(50.0, True) * 255).round().int().tolist() == [list(row) for row in CHROMA]


@pytest.mark.parametrize("n", [4, 16, 32])
def test_a_table_of_another_block_has_the_same_steps_at_the_same_frequencies(n):
    table, other = annex_k(50.0, False), at_block(annex_k(50.0, False), n)
    assert other.shape == (n, n)
    for u in range(8):
        for v in range(8):
            if u * n % 8 == 0 and v * n % 8 == 0:
                assert other[u * n // 8, v * n // 8] == table[u, v]
    if n > 8:  # a straight line between two, and the last one is held
        assert float(other[1, 0]) == pytest.approx(float(table[0, 0] + (table[1, 0] - table[0, 0]) * 8 / n))
        assert other[-1, -1] == table[-1, -1]


def test_flat_and_ramp():
    assert (Flat(0.2).steps(4, True) == 0.2).all()
    ramp = Ramp(0.1, 0.4).steps(8, False)
    assert float(ramp[0, 0]) == pytest.approx(0.1) and float(ramp[7, 7]) == pytest.approx(0.4)
    assert float(ramp[3, 4]) == float(ramp[7, 0]) == pytest.approx(0.25)


def test_impossible_settings_are_named():
    for make, found in ((lambda: AnnexK(0.0), "0.0"), (lambda: Flat(0.0), "0.0"), (lambda: Ramp(0.1, -1.0), "-1.0")):
        with pytest.raises(InputError, match=f"found {found}"):
            make()
