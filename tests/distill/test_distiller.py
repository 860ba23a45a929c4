from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segkd.distill.base import Knowledge, Look, Scene, Teacher, Term
from segkd.distill.distiller import Distiller
from segkd.distill.exits import Exits
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.losses import CrossEntropy, SoftIoU
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, Lesson, Prediction


class Fixed(Network):
    """Predicts the same logits whatever it sees; BatchNorm shows whether it looked in training mode."""

    def __init__(self, classes: int = 3, levels: int = 0) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.logits = nn.Parameter(torch.randn(2, classes, 32, 32))
        self.levels = nn.ParameterList(torch.randn(2, 4, 16 >> i, 16 >> i) for i in range(levels))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: torch.Tensor) -> Prediction:
        self.norm(image)
        return Prediction(self.logits + 0 * image.mean(), tuple(self.levels))


class Pointwise(Network):
    """Three logits from the three colours."""

    def forward(self, image: torch.Tensor) -> Prediction:
        return Prediction(image * 3 - 1)


class ReadsFeatures(Knowledge):
    """Reads features of both."""

    reads = needs = frozenset({"features"})

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> torch.Tensor:
        return (student.features[0] - target.features[0]).square().mean()


class Levels(Knowledge):
    """Compares exits with logits."""

    reads, needs, across = frozenset({"exits"}), frozenset({"logits"}), True

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> torch.Tensor:
        assert not target.logits.requires_grad
        return student.exits[0].square().mean() + target.logits.mean()


class Learns(Teacher):
    """A network of one number per class; notes who it met and whom it followed."""

    gives = frozenset({"logits"})
    learns = frozenset({"label", "student"})

    def __init__(self) -> None:
        super().__init__()
        self.followed = []

    def meet(self, scene: Scene) -> None:
        self.bias = nn.Parameter(torch.arange(float(scene.classes)))
        self.steps_per_epoch = scene.steps_per_epoch

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        return Lesson(Prediction(self.bias.view(1, -1, 1, 1).expand_as(student.logits).contiguous()))

    def follow(self, student: Network, step: int) -> None:
        self.followed.append(step)


class Half(Teacher):
    """Teaches the left half of every image by looking at the undisturbed one."""

    gives = frozenset({"logits"})
    looks = 0

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        self.looks += 1
        mask = torch.zeros_like(batch.valid)
        mask[..., : mask.shape[-1] // 2] = True
        with torch.no_grad():
            return Lesson(look(batch.clean), mask)


def taught(teacher: Teacher, weight=1.0, knowledge: Knowledge | None = None, **options) -> Distiller:
    return Distiller(teachers={"t": teacher}, terms={"kl": Term(knowledge or Response(), weight=weight)}, **options)


def met(distiller: Distiller, network: Network, batch: Batch) -> Distiller:
    with torch.no_grad():
        seen = network.eval()(batch.clean)
    network.train()
    distiller.meet(Scene(network, batch, seen, 5, type(network)))
    return distiller


def test_without_a_teacher_there_is_the_task_alone(make_batch):
    batch, network = make_batch(3), Fixed()
    terms = Distiller(SoftIoU())(batch, network)
    assert list(terms) == ["task"]
    torch.testing.assert_close(terms["task"], SoftIoU()(network.logits, batch))
    assert isinstance(Distiller().task, CrossEntropy) and not Distiller().meets


def test_the_mixture_of_the_paper_is_two_weights(make_batch):
    batch, network, teacher = make_batch(3), Fixed(), LabelTeacher("constant")
    terms = taught(teacher, 0.7, Response(4.0), task_weight=0.3)(batch, network)
    target = teacher(batch, Prediction(network.logits), Pointwise()).target
    torch.testing.assert_close(terms["task"], 0.3 * CrossEntropy()(network.logits, batch))
    torch.testing.assert_close(terms["kl"], 0.7 * Response(4.0)(Prediction(network.logits), target, batch))


def test_two_teachers_teach_at_once_each_its_own_term(make_batch):
    batch, network = make_batch(3), Fixed()
    both = Distiller(
        teachers={"a": LabelTeacher(), "b": LabelTeacher("window")},
        terms={"x": Term(Response(), "a", 0.5), "y": Term(Response(), "b", 2.0)},
    )(batch, network)
    one = taught(LabelTeacher(), 0.5)(batch, network)
    other = taught(LabelTeacher("window"), 2.0)(batch, network)
    assert both["x"] == one["kl"] and both["y"] == other["kl"] and both["x"] != both["y"]


SHARES = st.floats(0, 1).map(lambda share: round(share, 6))  # a schedule has no points 1e-308 apart


@settings(max_examples=50, deadline=None)
@given(points=st.dictionaries(SHARES, st.floats(0, 10), min_size=1, max_size=5), progress=SHARES)
def test_a_schedule_runs_straight_between_its_points(points, progress):
    distiller = taught(LabelTeacher(), points)
    distiller.progress = progress
    ordered = sorted(points.items())
    before = [point for point in ordered if point[0] <= progress] or ordered[:1]
    after = [point for point in ordered if point[0] >= progress] or ordered[-1:]
    (x0, y0), (x1, y1) = before[-1], after[0]
    naive = y0 if x1 <= x0 else y0 + (y1 - y0) * (progress - x0) / (x1 - x0)
    assert distiller.weight("kl") == pytest.approx(naive, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", ["constant", "boundary", "window", "antialiased"])
def test_distillation_of_weight_zero_is_the_baseline_bit_for_bit(kind, make_batch):
    batch, network = make_batch(3), Fixed()
    losses = [sum(one(batch, network).values()) for one in (Distiller(), taught(LabelTeacher(kind), 0.0))]
    grads = [torch.autograd.grad(loss, network.logits)[0] for loss in losses]
    assert losses[0] == losses[1] and torch.equal(*grads)


def test_a_term_of_weight_zero_costs_nothing_until_it_counts(make_batch):
    batch, network, teacher = make_batch(3), Pointwise(), Half()
    distiller = taught(teacher, {0.5: 0.0, 1.0: 1.0})
    assert list(distiller(batch, network)) == ["task"] and teacher.looks == 0
    distiller.progress = 0.75
    assert list(distiller(batch, network)) == ["task", "kl"] and teacher.looks == 1


def test_a_lesson_s_mask_bounds_the_knowledge_but_not_the_task(make_batch):
    batch, network = make_batch(3), Fixed()
    terms = taught(Half())(batch, network)
    (kl,) = torch.autograd.grad(terms["kl"], network.logits, retain_graph=True)
    (task,) = torch.autograd.grad(terms["task"], network.logits)
    assert (kl[..., 16:] == 0).all() and (task[..., 16:] != 0).any()
    pointwise = Pointwise()
    image = batch.image.clone().requires_grad_()
    terms = taught(Half())(replace(batch, image=image, clean=batch.image.flip(0)), pointwise)
    left = replace(batch, label=batch.label.clone())
    left.label[..., 16:] = IGNORE
    naive = Response()(pointwise(batch.image), pointwise(batch.image.flip(0)), left)
    torch.testing.assert_close(terms["kl"], naive)


def test_a_look_without_gradient_leaves_no_trace_in_batchnorm(make_batch):
    batch, network = make_batch(3), Fixed()
    network.train()
    before = network.norm.running_mean.clone()
    distiller = taught(Half())
    with torch.no_grad():
        distiller.see(network, batch.clean)
    assert torch.equal(network.norm.running_mean, before) and network.norm.training
    distiller(batch, network)
    once = network.norm.running_mean.clone()
    assert not torch.equal(once, before)
    network.norm.running_mean.copy_(before)
    Distiller()(batch, network)
    assert torch.equal(network.norm.running_mean, once)  # the teacher's look added nothing


def test_what_a_teacher_learns_is_declared_and_done_by_the_distiller(make_batch):
    batch, network = make_batch(3), Fixed()
    teacher = Learns()
    distiller = met(taught(teacher, {0.0: 0.0, 1.0: 1.0}), network, batch)
    assert teacher.steps_per_epoch == 5 and teacher.bias.shape == (3,)
    # at weight 0 too: in data-parallel training, processes wait for the gradient of all that learns
    assert list(distiller(batch, network)) == ["task", "kl", "kl.t", "t.task"]
    distiller.progress = 1.0
    terms = distiller(batch, network)
    seen, target = Prediction(network.logits), teacher(batch, Prediction(network.logits), network).target
    torch.testing.assert_close(terms["t.task"], CrossEntropy()(target.logits, batch))
    torch.testing.assert_close(terms["kl.t"], Response()(target, seen.detached(), batch))
    towards = {name: torch.autograd.grad(term, [network.logits, teacher.bias], retain_graph=True, allow_unused=True)
               for name, term in terms.items()}  # fmt: skip
    assert [name for name, (student, _) in towards.items() if student is not None] == ["task", "kl"]
    assert [name for name, (_, own) in towards.items() if own is not None] == ["kl.t", "t.task"]
    distiller.follow(network, 1)
    distiller.follow(network, 2)
    assert teacher.followed == [1, 2]


def test_the_student_is_its_own_teacher_across_its_levels(make_batch):
    batch, network = make_batch(3), Fixed(levels=2)
    distiller = met(Distiller(terms={"depth": Term(Levels())}, exits=Exits(0.5)), network, batch)
    terms = distiller(batch, network)
    assert list(terms) == ["task", "exits", "depth"]
    terms["depth"].backward()
    assert network.logits.grad is None and network.levels[0].grad is not None
