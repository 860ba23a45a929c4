import pytest
import torch

from segkd.distill.teachers.refined import Refined
from segkd.types import InputError
from tests.distill.teachers.stage import Pointwise, Tiny, met


def test_a_neck_gives_logits_at_the_image_s_size_and_a_refined_pyramid(make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Refined(width=5), student, batch)
    seen = student(batch.image)
    lesson = teacher(batch, seen, student)
    assert lesson.target.logits.shape == (2, 3, 32, 32)
    assert [tuple(f.shape[1:]) for f in lesson.target.features] == [(5, 16, 16), (5, 8, 8)]
    as_finest = met(Refined(), student, batch)(batch, seen, student)
    assert [level.shape[1] for level in as_finest.target.features] == [8, 8]


def test_its_task_loss_goes_back_into_the_trunk(make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Refined(), student, batch)
    teacher(batch, student(batch.image), student).target.logits.square().mean().backward()
    assert student.first[0].weight.grad.abs().sum() > 0
    assert all(p.grad is not None for p in teacher.parameters())


def test_a_constructor_draws_nothing_and_one_level_is_refused(make_batch):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    teacher = Refined()
    assert torch.equal(before, torch.random.get_rng_state()) and not list(teacher.parameters())
    with pytest.raises(InputError, match=r"the student has 0 levels of features\. Name two or more"):
        met(teacher, Pointwise(), make_batch(3))
    with pytest.raises(InputError, match="width is a number of channels"):
        Refined(0)
