from dataclasses import replace

import pytest
import torch

from segkd.distill.teachers.guided import Guided
from segkd.types import IGNORE, InputError
from tests.distill.teachers.stage import Pointwise, Tiny, met


def test_it_gives_features_with_the_student_s_channels_and_takes_the_student_as_given(make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Guided(), student, batch)
    seen = student(batch.image)
    target = teacher(batch, seen, student).target
    assert teacher.head.in_channels == 8  # the student's finest features'
    assert [f.shape for f in target.features] == [f.shape for f in seen.features]
    (target.logits.square().mean() + sum(f.mean() for f in target.features)).backward()
    assert all(p.grad is not None for p in teacher.parameters())
    assert student.first[0].weight.grad is None


def test_a_share_of_cells_is_hidden_in_training_and_none_in_evaluation(make_batch):
    batch, student = make_batch(3, b=8, ignored=0.0), Tiny()
    teacher = met(Guided(hide=0.5, cell=8), student, batch)
    hidden = teacher._seen_label(batch, 3)[:, 3]
    cells = hidden.unfold(1, 8, 8).unfold(2, 8, 8).flatten(3)
    assert ((cells.mean(dim=3) == 0) | (cells.mean(dim=3) == 1)).all()  # whole cells
    assert 0.3 < float(hidden.mean()) < 0.7
    assert (teacher.eval()._seen_label(batch, 3)[:, 3] == 0).all()


def test_ignored_pixels_are_what_is_not_seen(make_batch):
    batch = make_batch(3, ignored=0.4)
    teacher = met(Guided(hide=0.0), Tiny(), batch)
    planes = teacher._seen_label(batch, 3)
    assert torch.equal(planes[:, 3] == 1, batch.label == IGNORE)
    other = replace(batch, label=batch.label.masked_fill(batch.label == 1, 0))
    student = Tiny()
    seen = student(batch.image)
    lessons = [teacher.eval()(one, seen, student).target.logits for one in (batch, other)]
    assert not torch.equal(*lessons)  # it does read the label


def test_impossible_settings_and_a_student_without_features_are_named(make_batch):
    with pytest.raises(InputError, match="hide is a share of cells"):
        Guided(hide=1.0)
    with pytest.raises(InputError, match="cell is a side"):
        Guided(cell=0)
    with pytest.raises(InputError, match="width is a number of channels"):
        Guided(width=0)
    with pytest.raises(InputError, match=r"there are none\. Name layers"):
        met(Guided(), Pointwise(), make_batch(3))
