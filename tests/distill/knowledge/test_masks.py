import numpy as np
import pytest
import torch

from segkd.distill.knowledge.masks import SoftMasks, gram, similarity
from segkd.types import InputError, Prediction
from tests.distill.knowledge.maps import maps


def planes(classes=3, ignored=0.3):
    student, teacher, _, valid = maps(classes, size=(9, 7), ignored=ignored)
    return student.softmax(dim=1), teacher.softmax(dim=1), valid


def slowly(a: np.ndarray, b: np.ndarray, inside: np.ndarray, i: int, j: int) -> float:
    """SSIM at one pixel of one plane: moments over the valid pixels of an 11 x 11 window inside the image."""
    rows, columns = np.indices(a.shape)
    near = (abs(rows - i) <= 5) & (abs(columns - j) <= 5) & inside
    weight = np.exp(-((rows - i) ** 2 + (columns - j) ** 2) / (2 * 1.5**2)) * near
    weight /= weight.sum()
    m_a, m_b = (weight * a).sum(), (weight * b).sum()
    v_a, v_b = (weight * (a - m_a) ** 2).sum(), (weight * (b - m_b) ** 2).sum()
    cov = (weight * (a - m_a) * (b - m_b)).sum()
    c1, c2 = 1e-4, 9e-4  # (.01 L)^2 and (.03 L)^2 for values in 0..L, L = 1
    return (2 * m_a * m_b + c1) * (2 * cov + c2) / ((m_a**2 + m_b**2 + c1) * (v_a + v_b + c2))


@pytest.mark.parametrize("scale", [1.0, 0.03])
def test_similarity_is_ssim_pixel_by_pixel_over_valid_pixels(scale):
    """Of faint planes too, where the constants decide."""
    a, b, valid = planes()
    a, b = scale * a, scale * b
    found = similarity(a, b, valid)
    for n, k, i, j in [(0, 0, 0, 0), (0, 2, 4, 3), (1, 1, 8, 6), (1, 0, 2, 5)]:
        expected = slowly(a[n, k].double().numpy(), b[n, k].double().numpy(), valid[n].numpy(), i, j)
        assert found[n, k, i, j].item() == pytest.approx(expected, abs=1e-4)
    torch.testing.assert_close(similarity(a, a, valid), torch.ones_like(a))


def test_a_gram_matrix_is_the_mean_of_products_and_sums_to_one():
    a, _, valid = planes()
    for b in range(2):
        inside = a[b][:, valid[b]].double()
        torch.testing.assert_close(gram(a, valid)[b], (inside @ inside.T / inside.shape[1]).float())
    torch.testing.assert_close(gram(a, valid).sum(dim=(1, 2)), torch.ones(2))


def test_the_loss_is_both_parts_by_their_weights_and_zero_for_the_same_masks(make_batch):
    batch = make_batch(3, ignored=0.3)
    student, target = (Prediction(torch.randn(2, 3, 32, 32, requires_grad=True)) for _ in range(2))
    p, q = student.logits.softmax(dim=1), target.logits.softmax(dim=1)
    apart = (1 - similarity(p, q, batch.valid)).mean(dim=1)[batch.valid].mean()
    gap = (gram(p, batch.valid) - gram(q, batch.valid)).abs().mean()
    found = SoftMasks(3.0, 5.0)(student, target.detached(), batch)
    torch.testing.assert_close(found, 3 * apart + 5 * gap)
    assert SoftMasks()(student, student.detached(), batch).item() == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(InputError, match="one of them above 0"):
        SoftMasks(0.0, 0.0)


def test_ignored_pixels_count_nothing_whatever_they_hold(make_batch):
    batch = make_batch(3, ignored=0.4)
    logits, target = torch.randn(2, 3, 32, 32, requires_grad=True), torch.randn(2, 3, 32, 32)
    found = SoftMasks()(Prediction(logits), Prediction(target), batch)
    wild = target.masked_fill(~batch.valid.unsqueeze(1), float("inf"))
    assert torch.equal(SoftMasks()(Prediction(logits), Prediction(wild), batch), found)
    (grad,) = torch.autograd.grad(found, logits)
    assert (grad.movedim(1, -1)[~batch.valid] == 0).all() and (grad != 0).any()


def test_half_precision_around_it_changes_nothing(make_batch):
    """A variance is a small difference of large numbers: in bfloat16 it would be noise."""
    batch = make_batch(3)
    student, target = (Prediction(0.1 * torch.randn(2, 3, 32, 32)) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        half = SoftMasks()(student, target, batch)
    torch.testing.assert_close(half, SoftMasks()(student, target, batch), rtol=1e-5, atol=0)


def test_it_pulls_a_mask_to_the_teacher_s(make_batch):
    batch, target = make_batch(2), Prediction(torch.randn(2, 2, 32, 32))
    logits = torch.zeros(2, 2, 32, 32, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.2)
    before = (logits.softmax(dim=1) - target.logits.softmax(dim=1)).abs()[:, 0][batch.valid].mean()
    for _ in range(40):
        optimizer.zero_grad()
        SoftMasks()(Prediction(logits), target, batch).backward()
        optimizer.step()
    after = (logits.softmax(dim=1) - target.logits.softmax(dim=1)).abs()[:, 0][batch.valid].mean()
    assert after < 0.3 * before
