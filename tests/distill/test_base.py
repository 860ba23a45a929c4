from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.distill.base import Distiller, Knowledge, Teacher
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.losses import CrossEntropy, SoftIoU, resize_label
from segkd.types import IGNORE, Batch, InputError, Lesson, Prediction


class Hint(Knowledge):
    """Reads features."""

    needs = frozenset({"features"})

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> torch.Tensor:
        return (student.features[0] - target.features[0]).square().mean()


class Mirror(Teacher):
    """Gives logits of its own and the student's features back."""

    gives = frozenset({"logits", "features"})
    mirrors = frozenset({"features"})

    def forward(self, batch: Batch, student: Prediction, network) -> Lesson:
        return Lesson(Prediction(torch.zeros_like(student.logits), student.features))


class Half(Teacher):
    """Teaches the left half of every image, has a loss of its own, looks again, and counts its steps."""

    gives = frozenset({"logits"})
    followed: tuple = ()

    def forward(self, batch: Batch, student: Prediction, network) -> Lesson:
        mask = torch.zeros_like(batch.valid)
        mask[..., : mask.shape[-1] // 2] = True
        target = network(batch.clean)
        return Lesson(target, mask, (("own", target.logits.mean()),))

    def follow(self, student: torch.nn.Module, step: int) -> None:
        self.followed = (*self.followed, (student, step))


def seen(classes: int = 3, exits: tuple = ()) -> Prediction:
    return Prediction(torch.randn(2, classes, 32, 32, requires_grad=True), exits=exits)


def look(image: torch.Tensor) -> Prediction:
    return Prediction(image * 3 - 1)


def test_a_knowledge_that_reads_what_the_teacher_does_not_give_is_a_misfit():
    said = r"'hint' \(Hint\) compares \['features'\], but LabelTeacher gives only \['logits'\]\. .*gives \['features'\]"
    with pytest.raises(InputError, match=said):
        Distiller(teacher=LabelTeacher("constant"), knowledge={"response": Response(), "hint": Hint()})


def test_comparing_the_student_with_itself_is_a_misfit():
    with pytest.raises(InputError, match=r"'hint' \(Hint\) would compare.*\['features'\] with itself: Mirror"):
        Distiller(teacher=Mirror(), knowledge={"hint": Hint()})
    assert Distiller(teacher=Mirror(), knowledge={"response": Response()}).teacher is not None


def test_a_teacher_without_knowledge_and_knowledge_without_a_teacher_are_misfits():
    with pytest.raises(InputError, match="LabelTeacher teaches nothing"):
        Distiller(teacher=LabelTeacher("constant"))
    with pytest.raises(InputError, match=r"\['response'\], but there is no distiller.teacher"):
        Distiller(knowledge={"response": Response()})


def test_a_weight_of_no_term_names_the_terms():
    with pytest.raises(InputError, match=r"\['respnse'\].*task, exits, response"):
        Distiller(None, LabelTeacher("constant"), {"response": Response()}, {"respnse": 0.5})


@pytest.mark.parametrize("weight", [{}, {2.0: 1.0}, {0.0: float("nan")}, float("inf")])
def test_a_weight_that_is_no_schedule_is_named(weight):
    with pytest.raises(InputError, match=r"distiller\.weights\.task is a number or .progress in 0\.\.1"):
        Distiller(weights={"task": weight})


@pytest.mark.parametrize("name", ["task", "exits"])
def test_a_knowledge_may_not_take_the_task_s_own_name(name):
    with pytest.raises(InputError, match=name):
        Distiller(teacher=LabelTeacher("constant"), knowledge={name: Response()})


def test_without_a_teacher_there_is_the_task_alone(make_batch):
    batch, student = make_batch(3), seen()
    terms = Distiller(SoftIoU())(student, batch, look)
    assert list(terms) == ["task"]
    torch.testing.assert_close(terms["task"], SoftIoU()(student.logits, batch))
    assert isinstance(Distiller().task, CrossEntropy)


def test_the_mixture_of_the_paper_is_two_weights(make_batch):
    batch, student, teacher = make_batch(3), seen(), LabelTeacher("constant")
    terms = Distiller(None, teacher, {"kl": Response(4.0)}, {"task": 0.3, "kl": 0.7})(student, batch, look)
    target = teacher(batch, student, look).target
    torch.testing.assert_close(terms["task"], 0.3 * CrossEntropy()(student.logits, batch))
    torch.testing.assert_close(terms["kl"], 0.7 * Response(4.0)(student, target, batch))


SHARES = st.floats(0, 1).map(lambda share: round(share, 6))  # a schedule has no points 1e-308 apart


@settings(max_examples=50, deadline=None)
@given(points=st.dictionaries(SHARES, st.floats(0, 10), min_size=1, max_size=5), progress=SHARES)
def test_a_schedule_runs_straight_between_its_points(points, progress):
    distiller = Distiller(weights={"task": points})
    distiller.progress = progress
    ordered = sorted(points.items())
    before = [point for point in ordered if point[0] <= progress] or ordered[:1]
    after = [point for point in ordered if point[0] >= progress] or ordered[-1:]
    (x0, y0), (x1, y1) = before[-1], after[0]
    naive = y0 if x1 <= x0 else y0 + (y1 - y0) * (progress - x0) / (x1 - x0)
    assert distiller.weight("task") == pytest.approx(naive, rel=1e-6, abs=1e-9)


def test_a_schedule_need_not_be_written_in_order_and_an_unnamed_term_weighs_one(make_batch):
    distiller = Distiller(None, LabelTeacher("constant"), {"kl": Response()}, {"kl": {1.0: 0.0, 0.5: 2.0, 0.0: 0.0}})
    batch, student = make_batch(3), seen()
    values = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        distiller.progress = progress
        values.append(distiller(student, batch, look)["kl"].item())
    full = values[2] / 2
    assert values == pytest.approx([0.0, full, 2 * full, 0.0]) and full > 0
    assert distiller.weight("task") == 1.0


@pytest.mark.parametrize("kind", ["constant", "boundary", "window", "antialiased"])
def test_distillation_of_weight_zero_is_the_baseline_bit_for_bit(kind, make_batch):
    batch, student = make_batch(3), seen()
    plain = sum(Distiller()(student, batch, look).values())
    taught = sum(Distiller(None, LabelTeacher(kind), {"kl": Response()}, {"kl": 0.0})(student, batch, look).values())
    grads = [torch.autograd.grad(loss, student.logits, retain_graph=True)[0] for loss in (plain, taught)]
    assert plain == taught and torch.equal(*grads)


def test_a_lesson_s_mask_bounds_the_knowledge_but_not_the_task(make_batch):
    batch, student = make_batch(3), seen()
    terms = Distiller(None, Half(), {"kl": Response()})(student, batch, look)
    (taught,) = torch.autograd.grad(terms["kl"], student.logits, retain_graph=True)
    (task,) = torch.autograd.grad(terms["task"], student.logits)
    assert (taught[..., 16:] == 0).all() and (taught[..., :16] != 0).any() and (task[..., 16:] != 0).any()
    left = replace(batch, label=batch.label.clone())
    left.label[..., 16:] = IGNORE
    torch.testing.assert_close(terms["kl"], Response()(student, look(batch.clean), left))


def test_a_teacher_s_own_terms_are_passed_on(make_batch):
    batch = make_batch(3)
    terms = Distiller(None, Half(), {"kl": Response()})(seen(), batch, look)
    assert list(terms) == ["task", "kl", "own"]
    torch.testing.assert_close(terms["own"], (batch.clean * 3 - 1).mean())


def test_the_teacher_is_told_of_every_step_and_a_baseline_needs_none():
    teacher, student = Half(), torch.nn.Identity()
    distiller = Distiller(None, teacher, {"kl": Response()})
    distiller.follow(student, 1)
    distiller.follow(student, 2)
    assert teacher.followed == ((student, 1), (student, 2))
    Distiller().follow(student, 1)


def test_exits_descend_the_task_at_their_own_sizes(make_batch):
    batch = make_batch(3)
    sizes = [(16, 16), (5, 7)]
    exits = tuple(torch.randn(2, 3, *size, requires_grad=True) for size in sizes)
    terms = Distiller(weights={"exits": 0.5})(seen(exits=exits), batch, look)
    labels = [resize_label(batch.label, size) for size in sizes]
    naive = sum(torch.nn.functional.cross_entropy(e, y, ignore_index=IGNORE) for e, y in zip(exits, labels)) / 2
    torch.testing.assert_close(terms["exits"], 0.5 * naive)
    for grad, label in zip(torch.autograd.grad(terms["exits"], exits), labels):
        hidden = (label == IGNORE).unsqueeze(1).expand_as(grad)
        assert hidden.any() and (grad[hidden] == 0).all()


def test_exits_read_soft_targets_by_area_over_the_valid_part(make_batch):
    """What stands on ignored pixels reaches no coarse one: half of every 2 x 2 block is ignored here."""
    batch = make_batch(3, ignored=0.0)
    label = batch.label.clone()
    label[..., ::2] = IGNORE
    side = torch.randn(2, 3, 16, 16)
    losses = []
    for noise in (0.0, 5.0):
        soft = batch.soft.clone()
        soft[..., ::2] += noise
        losses.append(
            Distiller(CrossEntropy("soft"))(seen(exits=(side,)), replace(batch, label=label, soft=soft), look)
        )
    blocks = batch.soft[..., 1::2].unfold(2, 2, 2).mean(dim=-1)
    naive = -(blocks * side.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(losses[0]["exits"], naive)
    assert torch.equal(losses[0]["exits"], losses[1]["exits"])


@pytest.mark.parametrize(
    ("task", "kind", "needed"),
    [(None, "constant", False), (CrossEntropy("soft"), "constant", True), (None, "antialiased", True)],
)
def test_class_shares_are_asked_for_when_task_or_teacher_reads_them(task, kind, needed):
    assert Distiller(task, LabelTeacher(kind), {"kl": Response()}).needs_soft == needed
    assert Distiller(task).needs_soft == (task is not None)
