import copy
from dataclasses import replace

import pytest
import torch

from segkd.distill.base import Scene, Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.feature import Hint
from segkd.distill.teachers.copies import MeanTeacher, Snapshot, Start
from segkd.distill.teachers.peer import Peer
from segkd.engine.optim import Optim, rate_at
from segkd.models.taps import tapped
from segkd.types import InputError
from tests.distill.teachers.stage import Tiny, met, shaken


def test_a_mean_teacher_is_the_average_of_the_student_looking_at_clean_images(make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(MeanTeacher(0.5), student, batch)
    teacher.follow(student, 1)
    first = copy.deepcopy(student.state_dict())
    teacher.follow(shaken(student), 2)
    share = 1 - min(0.5, 2 / 11)
    expected = Tiny()
    expected.load_state_dict({n: v if not v.is_floating_point() else torch.lerp(first[n], v, share)
                              for n, v in student.state_dict().items()})  # fmt: skip
    target = teacher(batch, student(batch.image), student).target
    torch.testing.assert_close(target.logits, expected.eval()(batch.clean).logits)
    assert not target.logits.requires_grad


def test_a_snapshot_teaches_nothing_before_it_is_taken_and_then_stands_still(make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Snapshot(epochs=2), student, batch, steps_per_epoch=3)
    seen, asked = student(batch.image), []
    teacher.network.register_forward_pre_hook(lambda *_: asked.append(True))
    for step in range(1, 6):
        teacher.follow(shaken(student), step)
        assert not teacher(batch, seen, student).mask.any() and not asked
    teacher.follow(shaken(student), 6)
    taken = student.eval()(batch.clean).logits
    lesson = teacher(batch, seen, student)
    assert lesson.mask.all() and torch.equal(lesson.target.logits, taken)
    teacher.follow(shaken(student), 7)
    assert torch.equal(teacher(batch, seen, student).target.logits, taken)


def test_the_start_is_what_named_layers_gave_at_first_and_nothing_behind_them_runs(make_batch):
    batch, student = make_batch(3), Tiny()
    student(batch.image)  # statistics of its own, which the start looks through
    teacher, seen = Start(), tapped(student, batch.image, ["first"])
    begun = copy.deepcopy(student).eval()
    with pytest.raises(InputError, match=r"Start: .*--distiller.features '\[encoder\]'"):
        met(teacher, student, batch)
    teacher.meet(Scene(student, batch, seen, 4, Tiny, features=["first"]))
    assert not any(p.requires_grad for p in teacher.parameters())
    teacher.begun.second.register_forward_pre_hook(lambda *_: pytest.fail("went too far"))
    target = teacher.train()(batch, seen, shaken(student)).target
    assert torch.equal(target.features[0], begun.first(batch.clean)) and not target.features[0].requires_grad


def test_what_they_copied_is_in_their_state_and_learns_nothing(make_batch):
    batch, student = make_batch(3), Tiny()
    for teacher in (met(MeanTeacher(), student, batch), met(Snapshot(), student, batch)):
        for step in range(1, 5):
            teacher.follow(shaken(student), step)
        assert not any(p.requires_grad for p in teacher.parameters())
        twin = met(type(teacher)(), Tiny(), batch)
        twin.load_state_dict(teacher.state_dict())
        seen = student(batch.image)
        one, other = teacher(batch, seen, student), twin(batch, seen, student)
        assert torch.equal(one.target.logits, other.target.logits)


@pytest.mark.parametrize("steps", [30, 31, 32])
def test_a_snapshot_is_taken_where_a_cycle_of_the_rate_ends_however_long_the_training(make_batch, steps):
    batch, student = make_batch(3), Tiny()
    with torch.no_grad():
        seen = student.eval()(batch.clean)
    teacher, optim, taken = Snapshot(cycles=3), Optim(cycles=3), []
    teacher.meet(Scene(student, batch, seen, steps, Tiny, steps=steps))  # of one epoch: copies come within it
    for step in range(1, steps + 1):
        before = teacher(batch, seen, student).target.logits
        teacher.follow(shaken(student), step)
        if not torch.equal(teacher(batch, seen, student).target.logits, before):
            taken.append(step)
    rates = [rate_at(optim, step / steps) for step in range(steps)]
    restarts = [step for step in range(steps // 4, steps) if rates[step] > rates[step - 1]]
    assert len(restarts) == 2
    assert taken[:2] == restarts and taken[2:] == [steps] and teacher.doubts == ()


@pytest.mark.parametrize(
    "make", [lambda: MeanTeacher(1.0), lambda: Snapshot(0), lambda: Snapshot(cycles=1), lambda: Snapshot(2, 3)]
)
def test_impossible_settings_are_named(make):
    with pytest.raises(InputError, match="found"):
        make()


@pytest.mark.parametrize("make", [MeanTeacher, Snapshot, Peer])
def test_the_student_s_copies_give_the_features_that_are_asked_of_the_student(make, make_batch):
    batch, student = make_batch(3), Tiny()
    distiller = Distiller(
        teachers={"copy": make()}, terms={"hint": Term(Hint(adapt=False))}, features=["first.0", "first", "second"]
    )
    with torch.no_grad():
        seen = student.eval()(batch.clean)
    distiller.meet(Scene(student.train(), batch, seen, 4, Tiny))
    _, lessons = distiller.lessons(batch, student)
    assert [level.shape[1] for level in lessons["copy"].target.features] == [8, 8, 6]


def test_a_copy_that_comes_too_late_is_doubted(make_batch):
    batch, student = make_batch(3), Tiny()
    with torch.no_grad():
        scene = Scene(student, batch, student(batch.clean), 4, Tiny, steps=12)
    late, early = Snapshot(3), Snapshot(2)
    for teacher in (late, early):
        teacher.meet(scene)
    assert "first copy after 3 epochs, and the training has 3: it teaches nothing" in late.doubts[0]
    assert early.doubts == ()


def test_cycles_that_are_not_those_of_the_rate_are_doubted(make_batch):
    batch, student = make_batch(3), Tiny()
    with torch.no_grad():
        scene = Scene(student, batch, student(batch.clean), 4, Tiny, steps=12, cycles=1)
    doubted, fine = Snapshot(cycles=3), Snapshot(cycles=3)
    doubted.meet(scene)
    fine.meet(replace(scene, cycles=3))
    assert "ends of 3 cycles, and the learning rate has 1" in doubted.doubts[0] and fine.doubts == ()
