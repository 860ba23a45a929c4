from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.losses import (
    CrossEntropy,
    Focal,
    SoftDice,
    SoftIoU,
    Sum,
    common_mean,
    cross_entropy,
    focal,
    global_mean,
    one_hot,
    pixel_sums,
    soft_dice,
    soft_iou,
)
from segkd.structure import Structure
from segkd.types import IGNORE, InputError

LOSSES = {
    "ce": CrossEntropy(),
    "ce_soft": CrossEntropy("soft"),
    "ce_weighted": CrossEntropy(class_weights=[0.5, 2.0, 1.0]),
    "ce_soft_weighted": CrossEntropy("soft", class_weights=[0.5, 2.0, 1.0]),
    "focal": Focal(),
    "focal_soft": Focal("soft", gamma=0.5),
    "iou_l1": SoftIoU(),
    "iou_soft": SoftIoU("soft"),
    "iou_product": SoftIoU(form="product"),
    "dice_l1": SoftDice("soft"),
    "dice_product": SoftDice(form="product"),
    "structure": Structure(),
    "structure_alike": Structure(emphasis=0.0, cross_entropy=0.5),
    "sum": Sum([CrossEntropy(), SoftIoU("soft")], [1.0, 0.5]),
}


def at_probability(p: float, n: int = 4) -> torch.Tensor:
    """Logits [1 2 n n] whose foreground probability is `p` everywhere."""
    p = torch.tensor(p, dtype=torch.float64)
    return torch.stack([torch.log1p(-p), p.log()]).view(1, 2, 1, 1).expand(1, 2, n, n)


@pytest.mark.parametrize(
    ("loss", "form", "background", "best"),
    [
        (soft_iou, "l1", 0.0, 0.7),
        (soft_dice, "l1", 0.0, 0.7),
        (soft_iou, "product", 0.0, 0.995),
        (soft_dice, "product", 0.0, 0.995),
        # the mean over two classes: the background's term, minimal at 0.001, pulls nearly as hard the other way
        (soft_iou, "l1", 0.3, 0.7),
        (soft_dice, "l1", 0.3, 0.7),
        (soft_iou, "product", 0.3, 0.845),
    ],
)
def test_the_l1_form_is_minimal_at_the_soft_target_and_the_product_form_beyond_it(loss, form, background, best):
    grid = [i / 200 for i in range(1, 200)]
    shares = torch.tensor([background, 0.7]).double().view(1, 2, 1, 1).expand(1, 2, 4, 4)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    values = [float(loss(at_probability(p), shares, valid, form)) for p in grid]
    assert grid[values.index(min(values))] == best
    if form == "l1":
        assert min(values) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("form", ["l1", "product"])
def test_iou_and_dice_are_the_set_measures_for_hard_predictions(form):
    """A witness by counting: 2 x 2 squares that overlap in 2 of 6 pixels."""
    label, said = torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 4, 4, dtype=torch.long)
    label[0, 1:3, 0:2] = 1
    said[0, 1:3, 1:3] = 1
    logits, valid = one_hot(said, 2) * 200, torch.ones(1, 4, 4, dtype=torch.bool)
    iou = (2 / 6 + 10 / 14) / 2
    dice = (4 / 8 + 20 / 24) / 2
    assert float(soft_iou(logits, one_hot(label, 2), valid, form)) == pytest.approx(1 - iou)
    assert float(soft_dice(logits, one_hot(label, 2), valid, form)) == pytest.approx(1 - dice)


def test_cross_entropy_with_class_weights_is_torch_s_for_hard_and_soft_targets():
    logits, label = torch.randn(2, 3, 6, 6), torch.randint(0, 3, (2, 6, 6))
    label[0, :2] = IGNORE
    weights = torch.tensor([0.2, 3.0, 1.0])
    for w in (None, weights):
        expected = F.cross_entropy(logits, label, weight=w, ignore_index=IGNORE)
        valid = label != IGNORE
        torch.testing.assert_close(cross_entropy(logits, label, valid, w), expected)
        torch.testing.assert_close(cross_entropy(logits, one_hot(label, 3), valid, w), expected)
    assert CrossEntropy(class_weights=[0.2, 3.0, 1.0]).state_dict() == {}


def test_soft_cross_entropy_is_the_naive_double_sum():
    logits, shares = torch.randn(1, 3, 4, 5), torch.rand(1, 3, 4, 5).softmax(dim=1)
    log_p = logits.log_softmax(dim=1)
    pixels = [(y, x) for y in range(4) for x in range(5)]
    naive = -sum(float(shares[0, k, y, x] * log_p[0, k, y, x]) for k in range(3) for y, x in pixels) / 20
    assert float(cross_entropy(logits, shares, torch.ones(1, 4, 5, dtype=torch.bool))) == pytest.approx(naive, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(gamma=st.floats(0.5, 5), seed=st.integers(0, 1000))
def test_focal_with_hard_targets_is_the_formula_of_the_paper(gamma, seed):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 4, generator=draw).double()
    label = torch.randint(0, 3, (2, 4, 4), generator=draw)
    p = logits.softmax(dim=1).gather(1, label[:, None])[:, 0]
    naive = (-((1 - p) ** gamma) * p.log()).mean()
    valid = torch.ones_like(label, dtype=torch.bool)
    torch.testing.assert_close(focal(logits, one_hot(label, 3), valid, gamma), naive, rtol=1e-6, atol=1e-9)


def test_focal_without_focus_is_cross_entropy(make_batch):
    batch, logits = make_batch(3), torch.randn(2, 3, 32, 32)
    for target in ("hard", "soft"):
        plain = CrossEntropy(target)(logits, batch)
        torch.testing.assert_close(Focal(target, gamma=0.0)(logits, batch), plain)
        assert Focal(target)(logits, batch) < plain


@pytest.mark.parametrize("name", LOSSES)
def test_an_ignored_pixel_has_exactly_no_gradient_and_no_say(name, make_batch):
    """Nor when its logits are infinite: an ignored pixel may hold anything."""
    loss, batch = LOSSES[name], make_batch(3, ignored=0.3)
    hidden = ~batch.valid.unsqueeze(1).expand(-1, 3, -1, -1)
    plain = torch.randn(2, 3, 32, 32)
    wild = plain.clone()
    wild[:, 0].masked_fill_(~batch.valid, float("inf"))
    values = []
    for logits in (plain, plain.masked_fill(hidden, 9.0), wild):
        logits.requires_grad_()
        values.append(loss(logits, batch))
        (grad,) = torch.autograd.grad(values[-1], logits)
        assert (grad[hidden] == 0).all() and grad.isfinite().all() and (grad[~hidden] != 0).any()
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_a_valid_pixel_is_zero_with_a_gradient_of_zero(name, make_batch):
    batch = make_batch(3)
    batch = replace(batch, label=torch.full_like(batch.label, IGNORE))
    logits = torch.randn(2, 3, 32, 32, requires_grad=True)
    loss = LOSSES[name](logits, batch)
    (grad,) = torch.autograd.grad(loss, logits)
    assert loss == 0 and (grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name, make_batch):
    batch = make_batch(3, b=1, size=(4, 4))
    module = LOSSES[name]
    batch = replace(batch, soft=batch.soft.double())
    module = {"ce_weighted": CrossEntropy(), "ce_soft_weighted": CrossEntropy("soft")}.get(name, module)
    weights = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64) if "weighted" in name else None
    logits = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    if weights is None:
        assert torch.autograd.gradcheck(lambda x: module(x, batch), logits)
    else:
        target = batch.soft if "soft" in name else batch.label
        assert torch.autograd.gradcheck(lambda x: cross_entropy(x, target, batch.valid, weights), logits)


def test_a_sum_is_the_weighted_sum_and_asks_for_what_its_parts_read(make_batch):
    batch, logits = make_batch(3), torch.randn(2, 3, 32, 32)
    parts = [CrossEntropy(), SoftIoU("soft")]
    expected = 1.5 * parts[0](logits, batch) + 0.25 * parts[1](logits, batch)
    torch.testing.assert_close(Sum(parts, [1.5, 0.25])(logits, batch), expected)
    assert Sum(parts).needs_soft and not Sum([CrossEntropy()]).needs_soft
    with pytest.raises(InputError, match="1 for 2"):
        Sum(parts, [1.0])
    with pytest.raises(InputError, match="found 0"):
        Sum([])


def test_what_a_loss_cannot_read_is_refused(make_batch):
    logits = torch.randn(2, 3, 32, 32)
    with pytest.raises(InputError, match="SoftIoU: target: soft"):
        SoftIoU("soft")(logits, make_batch(3, soft=False))
    with pytest.raises(InputError, match=r"expected 3 class_weights.*found 2"):
        CrossEntropy(class_weights=[1.0, 2.0])(logits, make_batch(3))


@pytest.mark.parametrize("wrong", [[1.0, -3.0], [0.0, 0.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_weights_that_teach_nothing_or_the_opposite_are_refused(wrong):
    with pytest.raises(InputError, match=r"CrossEntropy\.class_weights: expected finite numbers of 0 or more"):
        CrossEntropy(class_weights=wrong)
    with pytest.raises(InputError, match=r"Sum\.weights: expected finite numbers of 0 or more"):
        Sum([CrossEntropy(), SoftIoU()], wrong)


@pytest.mark.parametrize("wrong", [-2.0, float("nan"), float("inf")])
def test_a_focus_below_nothing_is_refused(wrong):
    with pytest.raises(InputError, match=r"Focal\.gamma: expected a finite number of 0 or more"):
        Focal(gamma=wrong)


def test_class_weights_may_be_any_numbers(make_batch):
    """Shares are counted in NumPy, whose floats are wider than logits."""
    batch, logits = make_batch(size=(8, 8)), torch.randn(2, 2, 8, 8)
    wide = CrossEntropy(class_weights=list(np.array([1.0, 3.0])))
    assert wide(logits, batch) == CrossEntropy(class_weights=[1.0, 3.0])(logits, batch)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=12))
def test_a_global_mean_is_the_mean_of_what_counts(values):
    kept = [value for value, counts in values if counts]
    mean = global_mean(torch.tensor([v for v, _ in values], dtype=torch.float64), torch.tensor([c for _, c in values]))
    assert float(mean) == pytest.approx(sum(kept) / len(kept) if kept else 0.0, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_room_for_more_pixels_than_it_can_count(dtype):
    values = torch.full((1, 300, 300), 1.5, dtype=dtype)
    everywhere = torch.ones(1, 300, 300, dtype=torch.bool)
    assert global_mean(values, everywhere) == 1.5 and common_mean(values, everywhere) == 1.5
    logits = torch.randn(1, 2, 300, 300)
    label = torch.zeros(1, 300, 300, dtype=torch.long)
    exact = cross_entropy(logits, label, everywhere)
    assert float(cross_entropy(logits.to(dtype), label, everywhere)) == pytest.approx(float(exact), rel=1e-2)


def test_one_hot_leaves_ignored_pixels_empty():
    label = torch.tensor([[[0, 2, IGNORE]]])
    assert one_hot(label, 3)[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_sums_over_pixels_do_not_overflow_in_mixed_precision():
    many = torch.ones(1, 70_000)
    with torch.autocast("cpu", torch.float16):
        assert pixel_sums("an,bn->ab", many, many).item() == 70_000
        assert not torch.einsum("an,bn->ab", many, many).isfinite().all()  # what it is there for


@pytest.mark.parametrize(
    "loss", [CrossEntropy("soft"), Focal("soft"), SoftIoU("soft"), SoftDice("soft"), Structure()], ids=repr
)
def test_half_precision_is_that_of_the_logits_alone(loss, make_batch):
    batch, half = make_batch(5, size=(33, 47)), (3 * torch.randn(2, 5, 33, 47)).bfloat16()
    values, gradients = [], []
    for logits in (half, half.float()):
        inputs = logits.requires_grad_()
        values.append(loss(inputs, batch))
        gradients.append(torch.autograd.grad(values[-1], inputs)[0].float())
    torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=0)
    assert (gradients[0] - gradients[1]).norm() < 0.003 * gradients[1].norm()


def test_a_common_mean_is_a_number_over_what_counts():
    values = torch.tensor([1.0, 3.0, float("inf")], requires_grad=True)
    mean = common_mean(values, torch.tensor([True, True, False]))
    assert mean.item() == 2.0 and not mean.requires_grad
    assert common_mean(values, torch.zeros(3, dtype=torch.bool)).item() == 0.0
