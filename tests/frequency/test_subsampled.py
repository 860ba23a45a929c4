import pytest
import torch

from segkd.frequency import subsampled
from segkd.frequency.color import doubled, luma_and_small_chroma, ycbcr_to_rgb
from segkd.frequency.quantize import per_coefficient, per_image, quantize
from segkd.frequency.rounding import straight_through, tanh
from segkd.frequency.subsampled import quantize_subsampled


def step_by_step(image, tables, rounding, n, faithful, rows):
    """The same, each step an operation of its own on the whole batch."""
    luma, chroma = luma_and_small_chroma(image, faithful, rows)
    luma, chroma = quantize(luma, tables[0], rounding, n), quantize(chroma, tables[1], rounding, n, centre=0.0)
    return ycbcr_to_rgb(luma, doubled(chroma, bilinear=faithful))


@pytest.mark.parametrize("at_once", [1, 2, 5])
@pytest.mark.parametrize("faithful", [True, False])
@pytest.mark.parametrize("rounding", [straight_through, lambda u: tanh(u, 4.0)], ids=["straight", "slopes"])
@pytest.mark.parametrize("each", [True, False], ids=["a table for each image, padded", "one table"])
def test_values_and_gradients_are_those_of_the_steps_one_by_one(monkeypatch, at_once, faithful, rounding, each):
    torch.manual_seed(1)
    image = torch.rand(5, 3, 32, 48, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    tables = [torch.rand(5 if each else 1, c, 8, 8, dtype=torch.float64) * 0.1 + 0.05 for c in (1, 2)]
    leaves = [image.requires_grad_(), *(table.requires_grad_() for table in tables)]
    laid = [per_image(table) if each else per_coefficient(table[0]) for table in tables]
    weight = torch.randn(5, 3, 32, 48, dtype=torch.float64)
    monkeypatch.setattr(subsampled, "PIECE", at_once * 32 * 48)
    found = []
    for form in (quantize_subsampled, step_by_step):
        out = form(image, laid, rounding, 8, faithful, 22 if each else None)
        found.append((out.detach(), *torch.autograd.grad((out * weight).sum(), leaves, retain_graph=True)))
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_gradient_goes_through_the_portions_that_the_values_went_through(monkeypatch):
    """They follow the number of threads: with another one, residuals of an image met gradients of its neighbours."""
    image, tables = torch.rand(4, 3, 32, 32), [torch.full((1, c, 1, 8, 1, 8), 0.1, requires_grad=True) for c in (1, 2)]
    monkeypatch.setattr(subsampled.torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(subsampled, "PIECE", 32 * 32)
    out = quantize_subsampled(image, tables, straight_through, 8, True)
    weight = torch.randn_like(out)
    found = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(subsampled.torch, "get_num_threads", lambda threads=threads: threads)
        found.append(torch.autograd.grad(out, tables, weight, retain_graph=True))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other))


def test_what_nobody_wants_has_no_gradient():
    image, tables = torch.rand(2, 3, 16, 16), [torch.full((1, c, 1, 8, 1, 8), 0.1) for c in (1, 2)]
    assert not quantize_subsampled(image, tables, straight_through, 8, True).requires_grad
    tables[0].requires_grad_()
    out = quantize_subsampled(image, tables, straight_through, 8, True)
    assert torch.autograd.grad(out.sum(), tables[0])[0].isfinite().all()
    image.requires_grad_()
    alone = quantize_subsampled(image, [table.detach() for table in tables], straight_through, 8, True)
    torch.testing.assert_close(torch.autograd.grad(alone.sum(), image)[0].sum(), torch.tensor(2 * 3 * 256.0))
