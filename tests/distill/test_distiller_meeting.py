"""Who meets whom before the first step, and what is refused then."""

from functools import partial

import pytest
import torch

from segkd.distill.base import Look, Scene, Term
from segkd.distill.distiller import Distiller
from segkd.distill.exits import Exits
from segkd.distill.knowledge.across import AttentionAcross
from segkd.distill.knowledge.exits import AtExits
from segkd.distill.knowledge.feature import Hint, MeanFeatures
from segkd.distill.knowledge.response import Response
from segkd.distill.knowledge.universal import Universal
from segkd.distill.teachers.label import LabelTeacher
from segkd.distill.teachers.peer import Peer
from segkd.losses import CrossEntropy
from segkd.models.fusion import FusionNet
from segkd.types import Batch, InputError, Lesson, Prediction
from tests.conftest import TINY
from tests.distill.test_distiller import Fixed, Half, Levels, Pointwise, ReadsFeatures, met, taught


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
