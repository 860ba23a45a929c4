import pytest
import torch
import torch.nn.functional as F

import segkd
from segkd.distill.loss import virtual_teacher_loss
from segkd.types import InputError


def given(classes=3, size=(6, 5)):
    logits = torch.randn(2, classes, *size, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(0, classes, (2, *size))


def slow(logits, label, weight, a, temperature):
    """Pixel by pixel."""
    values = []
    classes = logits.shape[1]
    for b, y, x in [(b, y, x) for b in range(2) for y in range(label.shape[1]) for x in range(label.shape[2])]:
        teacher = torch.full((classes,), (1 - a) / (classes - 1), dtype=torch.float64)
        teacher[label[b, y, x]] = a
        p = (teacher.log() / temperature).softmax(0)
        q = (logits[b, :, y, x] / temperature).softmax(0)
        kl = (p * (p.log() - q.log())).sum()
        hard = -logits[b, :, y, x].log_softmax(0)[label[b, y, x]]
        values.append((1 - weight) * hard + weight * temperature**2 * kl)
    return torch.stack(values).mean()


@pytest.mark.parametrize(("weight", "a", "temperature"), [(0.5, 0.99, 2.0), (1.0, 0.9, 4.0), (0.0, 0.99, 1.0)])
def test_it_is_the_formula_at_every_pixel(weight, a, temperature):
    logits, label = given()
    found = virtual_teacher_loss(logits, label, weight, a, temperature)
    expected = slow(logits, label, weight, a, temperature)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    (one,), (other,) = torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_without_the_teacher_it_is_cross_entropy_and_ignored_pixels_count_nowhere():
    logits, label = given()
    label[:, :2] = -100
    found = virtual_teacher_loss(logits, label, weight=0.0, ignore=-100)
    torch.testing.assert_close(found, F.cross_entropy(logits, label))
    whole = virtual_teacher_loss(logits, label, ignore=-100)
    cut = virtual_teacher_loss(logits[:, :, 2:], label[:, 2:])
    torch.testing.assert_close(whole, cut)
    (gradient,) = torch.autograd.grad(whole, logits)
    assert (gradient[:, :, :2] == 0).all() and (gradient[:, :, 2:] != 0).any()
    assert virtual_teacher_loss(logits, torch.full_like(label, 255)) == 0


def test_one_plane_is_that_of_a_sigmoid():
    logits, label = given(2)
    one = virtual_teacher_loss(logits[:, 1:] - logits[:, :1], label.bool())
    torch.testing.assert_close(one, virtual_teacher_loss(logits, label))


ZEROS = torch.zeros(2, 6, 5)


@pytest.mark.parametrize(("label", "weight"), [(ZEROS, 0.5), (ZEROS[:, 3:].long(), 0.5), (ZEROS.long(), 2.0)])
def test_what_is_no_label_is_refused(label, weight):
    with pytest.raises(InputError, match="expected class numbers"):
        virtual_teacher_loss(given()[0], label, weight)


def test_numbers_that_are_no_class_and_a_temperature_of_0_are_refused():
    logits, label = given()
    for wrong, ignore in ((3, 255), (-1, 255), (255, -1)):
        label[1, 2, 3] = wrong
        with pytest.raises(InputError, match=rf"0\.\.2 or {ignore} \(ignore\), found {wrong}"):
            virtual_teacher_loss(logits, label, ignore=ignore)
    with pytest.raises(InputError, match="temperature must be a finite number above 0, found 0"):
        virtual_teacher_loss(logits, label, temperature=0.0)


def test_more_classes_than_labels_have_numbers_are_refused():
    """Class 255 would count nowhere."""
    logits, label = given(255, (2, 2))
    label[0, 0, 0] = 254
    assert virtual_teacher_loss(logits, label, ignore=-1).isfinite()
    with pytest.raises(InputError, match=r"expected at most 255 classes, .* found 256\. Join"):
        virtual_teacher_loss(given(256, (2, 2))[0], label, ignore=-1)


def test_it_is_found_where_one_looks():
    assert "virtual_teacher_loss" in dir(segkd) and segkd.virtual_teacher_loss is virtual_teacher_loss
    assert {"load_model", "InputError"} <= set(dir(segkd)) and not {"Any", "models"} & set(dir(segkd))
