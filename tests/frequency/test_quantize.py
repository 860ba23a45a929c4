from functools import partial

import pytest
import torch

import segkd.frequency.quantize as room
from segkd.frequency.dct import block_dct
from segkd.frequency.quantize import CENTRE, per_block, per_coefficient, per_image, per_pixel, quantize, quantize_plain
from segkd.frequency.rounding import fourier, straight_through, tanh
from segkd.types import InputError

B, C, H, W, N = 2, 3, 24, 32, 8
GRAINS = {
    "coefficient": (per_coefficient, (C, N, N)),
    "one plane for all": (per_coefficient, (1, N, N)),
    "pixel": (lambda t: per_pixel(t, N), (C, H, W)),
    "block": (per_block, (C, H // N, W // N)),
    "image": (per_image, (B, C, N, N)),
    "block times coefficient": (lambda t: per_block(t) * per_coefficient(torch.full((C, N, N), 0.5).to(t)), (C, 3, 4)),
}
every_grain = pytest.mark.parametrize(("lay", "shape"), GRAINS.values(), ids=GRAINS)


def draw(shape, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    image = torch.rand(B, C, H, W, dtype=dtype, requires_grad=True)
    return image, (0.03 + 0.3 * torch.rand(shape, dtype=dtype)).requires_grad_()


@every_grain
@pytest.mark.parametrize("piece", [1, 1000, 65536])
def test_the_fast_form_is_the_plain_one_with_its_gradients(lay, shape, piece, monkeypatch):
    monkeypatch.setattr(room, "PIECE", piece)
    image, table = draw(shape)
    grad = torch.randn(B, C, H, W, dtype=torch.float64)
    for rounding in (partial(tanh, sharpness=4.0), partial(fourier, terms=3)):
        fast, plain = (form(image, lay(table), rounding) for form in (quantize, quantize_plain))
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)
        for one, two in zip(
            torch.autograd.grad(fast, (image, table), grad), torch.autograd.grad(plain, (image, table), grad)
        ):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@every_grain
def test_straight_through_gives_every_entry_the_rounding_residual(lay, shape):
    """dy/dT = round(u) - u and dy/dx = 1, type by type: the witness is written out."""
    image, table = draw(shape)
    out = quantize(image, lay(table), straight_through)
    torch.testing.assert_close(out, quantize_plain(image, lay(table), straight_through), rtol=0, atol=1e-12)
    grad = torch.randn_like(out)
    dx, dt = torch.autograd.grad(out, (image, table), grad)
    assert torch.equal(dx, grad)
    six = (B, C, H // N, N, W // N, N)
    leaf = lay(table).detach().expand(six).clone()
    u = block_dct(image.detach() - CENTRE).view(six) / leaf
    residual = (u.round() - u) * block_dct(grad).view(six)
    wide = lay(table).expand(six)
    (expected,) = torch.autograd.grad(wide, table, residual)
    torch.testing.assert_close(dt, expected, rtol=1e-9, atol=1e-9)
    assert (dt != 0).all()


@pytest.mark.parametrize("n", [4, 8, 16, 32])
def test_gradcheck_in_image_and_table(n):
    torch.manual_seed(1)
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    table = (0.2 + 0.3 * torch.rand(1, n, n, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, t: quantize(x, per_coefficient(t), partial(fourier, terms=2), n), (image, table), fast_mode=True
    )


def test_a_finer_table_keeps_more_and_coefficients_lie_on_multiples():
    image = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    errors = []
    for step in (0.02, 0.1, 0.5):
        table = torch.full((3, 8, 8), step, dtype=torch.float64)
        out = quantize(image, per_coefficient(table), straight_through)
        multiples = block_dct(out - CENTRE) / step
        torch.testing.assert_close(multiples, multiples.round(), rtol=0, atol=1e-9)
        errors.append(float((out - image).square().mean()))
        assert errors[-1] <= step**2 / 4
    assert errors == sorted(errors)
    assert errors[0] == pytest.approx(0.02**2 / 12, rel=0.1)


def test_half_types_are_worked_on_in_float32():
    image, table = torch.rand(1, 3, 16, 16), per_coefficient(torch.full((3, 8, 8), 0.02))
    exact = quantize(image.bfloat16().float(), table, straight_through)
    with torch.autocast("cpu", torch.bfloat16):
        half = quantize(image.bfloat16(), table, straight_through)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, exact.bfloat16())


def test_any_memory_order_gives_the_same():
    image, table = torch.rand(2, 3, 16, 16), per_coefficient(torch.full((3, 8, 8), 0.1))
    out = quantize(image, table, straight_through)
    assert torch.equal(quantize(image.contiguous(memory_format=torch.channels_last), table, straight_through), out)


def test_without_gradients_nothing_is_kept():
    image = torch.rand(1, 3, 16, 16)
    assert quantize(image, per_coefficient(torch.full((3, 8, 8), 0.1)), straight_through).grad_fn is None


@pytest.mark.parametrize("wrong", [0.0, -0.1, float("nan"), float("inf")])
def test_a_step_that_is_none_is_named(wrong):
    table = torch.full((3, 8, 8), 0.1)
    table[1, 2, 3] = wrong
    with pytest.raises(InputError, match=str(wrong)):
        quantize(torch.rand(1, 3, 16, 16), per_coefficient(table), straight_through)


def test_a_table_of_another_size_is_named():
    with pytest.raises(InputError, match=r"found \(1, 3, 4, 8, 4, 8\)"):
        quantize(torch.rand(1, 3, 16, 16), per_pixel(torch.full((3, 32, 32), 0.1), 8), straight_through)
    with pytest.raises(InputError, match="blocks of 8 do not fit into 12 x 16"):
        quantize(torch.rand(1, 3, 12, 16), per_coefficient(torch.full((3, 8, 8), 0.1)), straight_through)


def test_a_rounding_may_hand_back_what_it_was_given():
    def whole(u):
        return u, torch.full_like(u, 0.5)

    image, table = torch.rand(1, 3, 16, 16), per_coefficient(torch.full((3, 8, 8), 0.1)).requires_grad_()
    out = quantize(image, table, whole)
    torch.testing.assert_close(out, image, rtol=0, atol=1e-5)
    (grad,) = torch.autograd.grad(out.sum(), table)
    u = block_dct(image - CENTRE).view(1, 3, 2, 8, 2, 8) / 0.1
    expected = (0.5 * u * block_dct(torch.ones_like(image)).view_as(u)).sum(dim=(0, 2, 4), keepdim=True)
    torch.testing.assert_close(grad, expected, rtol=1e-3, atol=1e-3)
