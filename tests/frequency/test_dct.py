import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from segkd.frequency.dct import BLOCKS, block_dct, block_idct, cropped, dct_matrix, padded
from segkd.types import InputError

blocks = pytest.mark.parametrize("n", BLOCKS)


@blocks
def test_scipy_in_float64_coefficient_by_coefficient(n):
    planes = torch.rand(2, 3, 2 * n, 3 * n, dtype=torch.float64)
    coefficients = block_dct(planes, n)
    for i in range(2):
        for j in range(3):
            block = planes[1, 2, i * n : (i + 1) * n, j * n : (j + 1) * n].numpy()
            expected = torch.from_numpy(dctn(block, type=2, norm="ortho"))
            found = coefficients[1, 2, i * n : (i + 1) * n, j * n : (j + 1) * n]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(n=st.sampled_from(BLOCKS), rows=st.integers(1, 3), columns=st.integers(1, 4), seed=st.integers(0, 99))
def test_round_trip_and_parseval(n, rows, columns, seed):
    planes = torch.randn(3, rows * n, columns * n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    coefficients = block_dct(planes, n)
    torch.testing.assert_close(block_idct(coefficients, n), planes, rtol=0, atol=1e-12)
    torch.testing.assert_close(coefficients.square().sum(), planes.square().sum())


@blocks
def test_the_matrix_is_orthonormal_and_its_first_row_is_the_mean(n):
    matrix = dct_matrix(n, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-13)
    assert (matrix[0] == n**-0.5).all()


def test_gradients():
    planes = torch.rand(1, 2, 8, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block_dct, (planes,)) and torch.autograd.gradcheck(block_idct, (planes,))


def test_it_works_in_float32_whatever_autocast_says():
    planes = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = block_dct(planes)
        half = block_dct(planes.bfloat16())
    assert inside.dtype == half.dtype == torch.float32
    assert torch.equal(inside, block_dct(planes))


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 16), (17, 3)])
def test_any_size_is_padded_by_its_edge_and_cropped_back(size):
    image = torch.rand(2, 3, *size)
    large = padded(image, 8)
    assert large.shape[-2] % 8 == large.shape[-1] % 8 == 0
    assert torch.equal(cropped(large, size), image)
    assert (large[..., size[0] :, : size[1]] == image[..., -1:, :]).all()


def test_blocks_that_do_not_fit_are_named():
    with pytest.raises(InputError, match="blocks of 8 do not fit into 12 x 16"):
        block_dct(torch.rand(1, 12, 16))
    with pytest.raises(InputError, match="found 5"):
        block_dct(torch.rand(1, 10, 10), 5)
