"""What every teacher and every knowledge must keep, pair by pair: a later one adds a line to a table."""

from collections.abc import Callable, Iterator

import pytest
import torch

from segkd.distill.base import Distiller, Knowledge, Teacher
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.learner import Learner
from segkd.losses import CrossEntropy
from segkd.models.network import FusionNet
from segkd.types import Batch, Prediction

TEACHERS: dict[str, Callable[[], Teacher]] = {
    "label_constant": lambda: LabelTeacher("constant"),
    "label_boundary": lambda: LabelTeacher("boundary"),
    "label_window": lambda: LabelTeacher("window"),
    "label_antialiased": lambda: LabelTeacher("antialiased"),
    "label_softmax_prob": lambda: LabelTeacher("boundary", soften="softmax_prob"),
}
KNOWLEDGE: dict[str, Callable[[], Knowledge]] = {
    "response": Response,
    "response_unsoftened": lambda: Response(temperature=4.0, soften_student=False),
}


def fits(teacher: Teacher, compare: Knowledge) -> bool:
    return compare.needs <= teacher.gives and not compare.needs <= teacher.mirrors


def pairs() -> Iterator[object]:
    for who, teacher in TEACHERS.items():
        for what, compare in KNOWLEDGE.items():
            if fits(teacher(), compare()):
                yield pytest.param(teacher, compare, id=f"{who}-{what}")


every_pair = pytest.mark.parametrize(("teacher", "compare"), list(pairs()))
both_kinds_of_task = pytest.mark.parametrize("classes", [2, 11])


def distilled(teacher: Callable[[], Teacher], compare: Callable[[], Knowledge], classes: int) -> Learner:
    torch.manual_seed(1)
    student = FusionNet(classes, "test_efficientnet", None, 16, exits=True)
    return Learner(student, Distiller(CrossEntropy(), teacher(), {"taught": compare()}), total=10)


def descend(learner: Learner, batch: Batch, steps: int) -> list[float]:
    """The loss before each of `steps` steps of plain gradient descent on one batch, and after the last."""
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for step in range(1, steps + 2):
        loss = torch.stack(list(learner(batch).values())).sum()
        losses.append(loss.item())
        if step <= steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            learner.follow(step)
    return losses


def move_apart(learner: Learner, batch: Batch) -> None:
    """One step, so that a teacher that began as the student's copy no longer equals it."""
    descend(learner, batch, 1)


def test_every_teacher_and_every_knowledge_is_in_some_pair():
    drawn = [param.values for param in pairs()]
    assert {teacher for teacher, _ in drawn} == set(TEACHERS.values())
    assert {compare for _, compare in drawn} == set(KNOWLEDGE.values())


@both_kinds_of_task
@every_pair
def test_the_loss_falls_on_one_batch(teacher, compare, classes, make_batch):
    losses = descend(distilled(teacher, compare, classes), make_batch(classes), 4)
    assert torch.tensor(losses).isfinite().all()
    assert losses[-1] < 0.98 * losses[0]


@both_kinds_of_task
@every_pair
def test_each_term_by_itself_gives_the_student_a_gradient(teacher, compare, classes, make_batch):
    learner, batch = distilled(teacher, compare, classes), make_batch(classes)
    move_apart(learner, batch)
    terms = learner(batch)
    assert {"task", "exits", "taught"} <= set(terms)
    learning = [p for p in learner.student.parameters() if p.requires_grad]
    for name, term in terms.items():
        grads = torch.autograd.grad(term, learning, retain_graph=True, allow_unused=True)
        size = torch.stack([grad.norm() for grad in grads if grad is not None]).norm()
        assert size.isfinite() and size > 1e-6, name
        # into the encoder's first layer, not into a head alone
        assert grads[0] is not None and grads[0].norm() > 0, name


@both_kinds_of_task
@every_pair
def test_ignored_pixels_have_no_gradient_in_the_logits(teacher, compare, classes, make_batch):
    learner, batch = distilled(teacher, compare, classes), make_batch(classes, ignored=0.3)
    move_apart(learner, batch)
    seen = learner.student(batch.image)
    logits = seen.logits.detach().requires_grad_()
    terms = learner.distiller(Prediction(logits, seen.features), batch, learner.student)
    (grad,) = torch.autograd.grad(terms["taught"], logits)
    hidden = ~batch.valid.unsqueeze(1).expand_as(grad)
    assert (grad[hidden] == 0).all() and (grad[~hidden] != 0).any()


@every_pair
def test_the_student_gets_nothing_through_the_teacher(teacher, compare, make_batch):
    """The target is a given: what flows back into it would teach the teacher to agree."""
    learner, batch = distilled(teacher, compare, 2), make_batch()
    seen = learner.student(batch.image)
    lesson = learner.distiller.teacher(batch, seen, learner.student)
    assert not lesson.target.logits.requires_grad


@every_pair
def test_a_learner_s_state_round_trips(teacher, compare, make_batch):
    batch, learner = make_batch(), distilled(teacher, compare, 2)
    descend(learner, batch, 1)
    twin = distilled(teacher, compare, 2)
    twin.load_state_dict(learner.state_dict())
    twin.distiller.progress = learner.distiller.progress
    assert descend(learner, batch, 1) == descend(twin, batch, 1)
    assert all(torch.equal(a, b) for a, b in zip(learner.state_dict().values(), twin.state_dict().values()))


@every_pair
def test_teaching_changes_no_batch(teacher, compare, make_batch):
    batch, untouched = make_batch(), make_batch()
    distilled(teacher, compare, 2)(batch)
    for name in ("image", "clean", "label", "soft"):
        assert torch.equal(getattr(batch, name), getattr(untouched, name)), name
