"""Images without a label: which pixels a term counts there, and who teaches them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from segkd.distill.base import Term, counted
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.copies import MeanTeacher, Snapshot
from segkd.distill.teachers.frozen import Frozen
from segkd.distill.teachers.label import LabelTeacher
from segkd.distill.teachers.refined import Refined
from segkd.types import IGNORE, InputError, Lesson, Prediction
from tests.distill.teachers.stage import Pointwise, met


@pytest.fixture
def batch(make_batch):
    """Two images, the second without a label."""
    made = make_batch(3, size=(16, 16), ignored=0.1)
    label = made.label.clone()
    label[1] = IGNORE
    return replace(made, label=label, soft=None, unlabelled=1)


def test_where_the_teacher_is_sure_its_class_is_the_label_and_nothing_else_changes(batch):
    logits = 6 * torch.randn(2, 3, 16, 16)
    found = counted(batch, Lesson(Prediction(logits)), 0.9)
    for i in range(2):
        for row in range(16):
            for column in range(16):
                shares = logits[i, :, row, column].exp() / logits[i, :, row, column].exp().sum()
                expected = batch.label[i, row, column]
                if i == 1 and shares.max() >= 0.9:
                    expected = shares.argmax()
                assert found.label[i, row, column] == expected
    assert 0.1 < found.valid[1].float().mean() < 0.9
    assert torch.equal(counted(batch, Lesson(Prediction(logits)), None).label, batch.label)
    mask = torch.rand(2, 16, 16) < 0.5
    masked = counted(batch, Lesson(Prediction(logits), mask), 0.9)
    assert torch.equal(masked.label, found.label.masked_fill(~mask, IGNORE))


def test_a_pixel_that_a_disturbance_moved_into_another_image_is_still_without_a_label(batch):
    source = torch.randperm(2 * 16 * 16).view(2, 16, 16)
    mixed = replace(batch, label=batch.label.flatten()[source], source=source)
    found = counted(mixed, Lesson(Prediction(torch.zeros(2, 3, 16, 16))), 0.0)
    assert all(0 < share < 1 for share in mixed.unknown.float().mean(dim=(1, 2)))
    assert (found.label[mixed.unknown] == 0).all()
    assert torch.equal(found.label[~mixed.unknown], mixed.label[~mixed.unknown])


def distiller(teacher, **more):
    return Distiller(teachers={"t": teacher}, terms={"x": Term(Response())}, **more)


def pull(whole, batch):
    """How much a term moves the student's logits of each image."""
    student = Pointwise(3)
    met_distiller = met(whole, student, batch)
    with torch.no_grad():  # a slow copy that equals the student pulls nowhere
        for p in student.parameters():
            p.add_(0.3 * torch.randn_like(p))
    logits = student(batch.image).logits.detach().requires_grad_()
    lesson = met_distiller.asked["t"](batch, Prediction(logits), student)
    term = met_distiller._compared("x", 1.0, Prediction(logits), {"t": lesson}, batch)["x"]
    if not term.requires_grad:
        return torch.zeros(2)
    return torch.autograd.grad(term, logits)[0].flatten(1).norm(dim=1)


@pytest.mark.parametrize("make", [MeanTeacher, lambda: Frozen(network=Pointwise)], ids=["mean", "frozen"])
def test_who_needs_no_label_teaches_them(batch, make):
    assert (pull(distiller(make(), sure=0.0), batch) > 0).all()
    first, second = pull(distiller(make(), sure=1.0), batch)
    assert first > 0 and second == 0, "nobody is that sure"


def test_who_is_made_of_labels_does_not(batch):
    first, second = pull(distiller(LabelTeacher(), sure=0.0), batch)
    assert first > 0 and second == 0
    assert not Refined.everywhere and Snapshot.everywhere


@pytest.mark.parametrize("sure", [-0.1, 1.5, float("nan")])
def test_how_sure_is_a_share(sure):
    with pytest.raises(InputError, match=r"distiller.sure is a probability, from 0 to 1"):
        distiller(MeanTeacher(), sure=sure)


def test_without_such_images_nothing_is_looked_at(make_batch):
    batch = make_batch(3)
    assert counted(batch, Lesson(Prediction(torch.full((2, 3, 32, 32), float("nan")))), 0.5) is batch
    assert isinstance(distiller(MeanTeacher()), nn.Module)
