import pytest
import torch
import torch.nn.functional as F

from segkd.distill.knowledge.response import Response
from segkd.losses import CrossEntropy, SoftIoU
from segkd.structure import Structure, structure_weights
from segkd.types import IGNORE, Batch, InputError, Prediction


def drawn(size=(11, 14), classes=3, seed=0):
    """Logits and a batch whose labels hold all classes and ignored pixels."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (2, *size), generator=draw)
    label[:, 2:4, 5:9] = IGNORE
    image = torch.rand(2, 3, *size, generator=draw)
    return torch.randn(2, classes, *size, generator=draw), Batch(image, image, label, None, ("a", "b"))


def weight_slowly(label, row, column, reach, emphasis):
    """Of one pixel, by looking at every other."""
    own, there = 0, 0
    for r in range(max(0, row - reach), min(label.shape[0], row + reach + 1)):
        for c in range(max(0, column - reach), min(label.shape[1], column + reach + 1)):
            there += label[r, c] != IGNORE
            own += label[r, c] == label[row, column]
    return 1 + emphasis * (1 - float(own) / float(there))


@pytest.mark.parametrize(("size", "reach"), [((11, 14), 1), ((47, 60), 2)])
def test_the_weights_are_those_of_a_count_pixel_by_pixel(size, reach):
    _, batch = drawn(size)
    found = structure_weights(batch.label, batch.valid, 3, 5.0)
    for image, label in enumerate(batch.label):
        for row, column in [(0, 0), (0, 7), (3, 4), (4, 9), (size[0] - 1, size[1] - 1), (5, 5), (6, 2)]:
            expected = weight_slowly(label, row, column, reach, 5.0)
            assert float(found[image, row, column]) == pytest.approx(expected, abs=1e-5)
    assert not found[~batch.valid].any()


def test_for_two_classes_they_are_f3nets_away_from_the_image_s_border():
    mask = torch.zeros(1, 352, 352)
    mask[:, 100:220, 80:200] = 1
    theirs = 1 + 5 * (F.avg_pool2d(mask, 31, stride=1, padding=15) - mask).abs()
    ours = structure_weights(mask.long(), torch.ones_like(mask, dtype=torch.bool), 2, 5.0)
    inner = slice(15, -15)
    torch.testing.assert_close(ours[:, inner, inner], theirs[:, inner, inner], atol=1e-5, rtol=0)
    assert theirs.max() > 4 and torch.equal(ours[0, 0], torch.ones(352))


def test_without_emphasis_it_is_cross_entropy_and_soft_iou():
    logits, batch = drawn()
    plain = 0.3 * CrossEntropy()(logits, batch) + SoftIoU()(logits, batch)
    torch.testing.assert_close(Structure(emphasis=0.0, cross_entropy=0.3)(logits, batch), plain)
    teacher = Prediction(drawn(seed=1)[0])
    alike = Response(emphasis=1e-9)(Prediction(logits), teacher, batch)
    torch.testing.assert_close(alike, Response()(Prediction(logits), teacher, batch))


def test_response_is_the_mean_of_kl_under_the_weights():
    (logits, batch), teacher = drawn(), drawn(seed=1)[0]
    weights = structure_weights(batch.label, batch.valid, 3, 5.0)
    p, log_q = (teacher / 2).softmax(dim=1), (logits / 2).log_softmax(dim=1)
    kl = (p * (p.log() - log_q)).sum(dim=1)
    expected = 4 * (kl * weights).sum() / weights.sum()
    found = Response(temperature=2.0, emphasis=5.0)(Prediction(logits), Prediction(teacher), batch)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, Response(temperature=2.0)(Prediction(logits), Prediction(teacher), batch))


def test_the_gradient_is_right_and_nothing_on_ignored_pixels():
    logits, batch = drawn((6, 7))
    inputs = logits.double().requires_grad_()
    for loss in (Structure(), lambda x, b: Response(emphasis=5.0)(Prediction(x), Prediction(x.detach() * 0.5), b)):
        value = loss(inputs, batch)
        (gradient,) = torch.autograd.grad(value, inputs)
        assert torch.isfinite(gradient).all()
        assert not gradient.masked_select(~batch.valid.unsqueeze(1)).any()
    assert torch.autograd.gradcheck(lambda x: Structure()(x, batch), inputs)


def test_negative_factors_are_refused():
    with pytest.raises(InputError, match="0 or more, found -1"):
        Structure(emphasis=-1.0)
    with pytest.raises(InputError, match="emphasis must be a finite number of 0 or more"):
        Response(emphasis=-1.0)
