from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segkd.distill.base import Knowledge, Look, Scene, Teacher, Term
from segkd.distill.distiller import Distiller
from segkd.distill.exits import Exits
from segkd.distill.knowledge.across import AttentionAcross
from segkd.distill.knowledge.exits import AtExits
from segkd.distill.knowledge.feature import Hint, MeanFeatures
from segkd.distill.knowledge.response import Response
from segkd.distill.knowledge.universal import Universal
from segkd.distill.teachers.label import LabelTeacher
from segkd.distill.teachers.peer import Peer
from segkd.losses import CrossEntropy, SoftIoU
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, InputError, Lesson, Prediction
from tests.conftest import TINY


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


def test_meeting_draws_after_the_student_and_leaves_modes_and_weights_alone(make_batch):
    batch, network = make_batch(2), FusionNet(2, TINY, None, 16)
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    met(Distiller(exits=Exits()), network, batch)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(part.training for part in network.modules())


def test_misfits_are_named_when_they_are_built(make_batch):
    said = r"terms\.hint \(ReadsFeatures\) compares \['features'\], but LabelTeacher gives only \['logits'\]"
    with pytest.raises(InputError, match=said):
        Distiller(teachers={"label": LabelTeacher()}, terms={"hint": Term(ReadsFeatures())})
    with pytest.raises(InputError, match=r"teachers\.label \(LabelTeacher\) teaches nothing"):
        Distiller(teachers={"label": LabelTeacher()})
    with pytest.raises(
        InputError, match=r"terms\.kl \(Response\) has no teacher: it would compare the student with itself"
    ):
        Distiller(terms={"kl": Term(Response())})
    with pytest.raises(InputError, match=r"terms\.kl names no teacher, and there are a, b"):
        Distiller(teachers={"a": LabelTeacher(), "b": LabelTeacher()}, terms={"kl": Term(Response())})
    with pytest.raises(InputError, match=r"terms\.kl\.teacher: expected one of distiller\.teachers \(a\), found 'c'"):
        Distiller(teachers={"a": LabelTeacher()}, terms={"kl": Term(Response(), "c")})
    for name in ("task", "exits", "student", "a.b"):
        with pytest.raises((InputError, KeyError), match=name.replace(".", r"\.")):
            Distiller(teachers={"a": LabelTeacher()}, terms={name: Term(Response())})
        with pytest.raises((InputError, KeyError), match=name.replace(".", r"\.")):  # keys of the loss are of both
            Distiller(teachers={name: LabelTeacher()}, terms={"kl": Term(Response())})


def test_beside_a_teacher_a_term_may_ask_for_the_student_itself(make_batch):
    batch, network = make_batch(3), Fixed(levels=2)
    label, depth = {"label": LabelTeacher()}, Term(AttentionAcross(), "student")
    distiller = met(Distiller(teachers=label, terms={"kl": Term(Response()), "depth": depth}), network, batch)
    alone = met(Distiller(terms={"depth": Term(AttentionAcross())}), network, batch)
    terms = distiller(batch, network)
    assert list(terms) == ["task", "kl", "depth"] and torch.equal(terms["depth"], alone(batch, network)["depth"])
    with pytest.raises(InputError, match=r"there are a, b, student: name one"):
        Distiller(teachers={"a": Half(), "b": Half()}, terms={"depth": Term(AttentionAcross())})
    with pytest.raises(InputError, match=r"Choose a teacher that gives \['features'\], or student"):
        Distiller(teachers={"a": Half()}, terms={"depth": Term(AttentionAcross())})
    with pytest.raises(InputError, match=r"\(Response\) has no teacher: it would compare the student with itself"):
        Distiller(teachers={"a": Half()}, terms={"kl": Term(Response(), "student"), "other": Term(Response())})


@pytest.mark.parametrize("knowledge", [Hint, partial(MeanFeatures, adapt=True)])
def test_a_map_that_is_learned_serves_one_direction(knowledge, make_batch):
    """One convolution from the student's features to its peer's would also be taken for the way back."""
    batch, network = make_batch(3), Fixed(levels=2)
    for mutual in (True, False):
        peer = Peer(lambda _: Fixed(levels=2), mutual)
        distiller = Distiller(teachers={"peer": peer}, terms={"f": Term(knowledge())})
        if mutual:
            with pytest.raises(InputError, match=r"terms\.f .*learns a map from student to teacher.*mutual: false"):
                met(distiller, network, batch)
        else:
            assert met(distiller, network, batch)(batch, network)["f"] > 0


def test_exits_of_weight_0_that_a_term_reads_cost_no_loss_of_their_own(make_batch):
    batch, network = make_batch(3), Fixed(levels=2)
    terms = {"depth": Term(Levels(), weight={0.0: 1.0, 0.5: 0.0})}
    distiller = met(Distiller(terms=terms, exits=Exits(weight=0.0)), network, batch)
    assert list(distiller(batch, network)) == ["task", "depth"]
    distiller.arrive(0.5)
    assert list(distiller(batch, network)) == ["task", "exits"], "or they would have no gradient that others wait for"


def test_exits_that_are_heard_and_that_nobody_teaches_are_refused(make_batch):
    batch, network = make_batch(3), Fixed(levels=2)
    ranks = {"ranks": Term(Universal())}
    for weight in (0.0, {0.0: 0.0, 1.0: 0.0}):
        with pytest.raises(InputError, match=r"terms\.ranks \(Universal\) listens to .* Write a weight above 0"):
            Distiller(terms=ranks, exits=Exits(weight))
    taught_by = {0.1: ranks, 0.0: {**ranks, "depth": Term(Levels())}}
    for weight, terms in taught_by.items():
        distiller = met(Distiller(terms=terms, exits=Exits(weight)), network, batch)
        sum(distiller(batch, network).values()).backward()
        assert all(p.grad is not None for p in distiller.exits.heads[0].parameters())


def test_what_the_student_lacks_is_named_before_the_first_step(make_batch):
    batch = make_batch(3)
    with pytest.raises(
        InputError, match=r"terms\.depth \(Levels\) reads exits, but there are none\. .*distiller\.exits"
    ):
        met(Distiller(terms={"depth": Term(Levels())}), Fixed(levels=1), batch)
    with pytest.raises(InputError, match=r"exits: the network gives no features .*distiller\.features: \["):
        met(Distiller(exits=Exits()), Pointwise(), batch)


@pytest.mark.parametrize("weight", [{}, {2.0: 1.0}, {0.0: float("nan")}, float("inf")])
def test_a_weight_that_is_no_schedule_is_named(weight):
    with pytest.raises(InputError, match=r"distiller\.task_weight is a number or .progress in 0\.\.1"):
        Distiller(task_weight=weight)
    with pytest.raises(InputError, match=r"distiller\.terms\.kl\.weight is a number or"):
        taught(LabelTeacher(), weight)
    with pytest.raises(InputError, match=r"distiller\.exits\.weight is a number or"):
        Exits(weight)


@pytest.mark.parametrize("weight", [-1.0, {0.0: 1.0, 1.0: -0.5}])
def test_no_loss_is_climbed(weight):
    with pytest.raises(InputError, match=r"distiller\.task_weight: expected 0 or more throughout"):
        Distiller(task_weight=weight)
    with pytest.raises(InputError, match=r"distiller\.terms\.kl\.weight: expected 0 or more throughout"):
        taught(LabelTeacher(), weight)
    with pytest.raises(InputError, match=r"distiller\.exits\.weight: expected 0 or more throughout"):
        Exits(weight)


@pytest.mark.parametrize(
    ("task", "kind", "needed"),
    [(None, "constant", False), (CrossEntropy("soft"), "constant", True), (None, "antialiased", True)],
)
def test_class_shares_are_asked_for_when_task_or_teacher_reads_them(task, kind, needed):
    assert taught(LabelTeacher(kind), task=task).needs_soft == needed
    assert Distiller(task).needs_soft == (task is not None)


class Remembers(Half):
    """Keeps the mean of every batch that it is shown."""

    remembers = True

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.progress = [], []

    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        self.kept.append(float(batch.image.mean()))
        return super().forward(batch, student, look)

    def arrive(self, progress: float) -> None:
        self.progress.append(progress)


def test_who_remembers_is_asked_in_every_step_and_not_for_a_look(make_batch):
    """A memory of a step long ago would teach as if it were of the last one, when its term begins to count."""
    batch, network, teacher = make_batch(3), Fixed(), Remembers()
    distiller = taught(teacher, {0.5: 0.0, 1.0: 1.0})
    assert list(distiller(batch, network)) == ["task"] and len(teacher.kept) == 1
    silent = taught(Half(), {0.5: 0.0, 1.0: 1.0})
    silent(batch, network)
    assert silent.teachers["t"].looks == 0
    distiller.eval()
    distiller(batch, network)
    assert len(teacher.kept) == 1
    distiller.arrive(0.75)
    assert teacher.progress == [0.75] and distiller.weight("kl") == 0.5


def test_a_teacher_that_learns_of_the_student_must_give_what_is_read_of_it(make_batch):
    batch, network = make_batch(3, size=(32, 32)), Fixed(levels=2)
    distiller = Distiller(teachers={"peer": Peer()}, terms={"pair": Term(AtExits(Response()))}, exits=Exits(weight=1.0))
    with pytest.raises(InputError, match=r"compares exits, and distiller\.teachers\.peer \(Peer\) gives none here"):
        distiller.meet(Scene(network, batch, network(batch.clean), 1, lambda: Fixed(levels=2)))
