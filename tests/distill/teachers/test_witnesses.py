"""Teachers against slow formulas of their own: what they say, whom a gradient reaches, and what a resumed one knows."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from segkd.distill.base import Scene, Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.feature import Hint
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.copies import MeanTeacher, Snapshot
from segkd.distill.teachers.frozen import Frozen
from segkd.distill.teachers.guided import Guided
from segkd.distill.teachers.partner import Twin
from segkd.distill.teachers.peer import Peer
from segkd.distill.teachers.refined import Refined
from segkd.types import IGNORE, Disturbance
from tests.distill.knowledge.slowly import bilinear, cell_mean, divergence, log_softmax
from tests.distill.teachers.stage import Pointwise, Tiny, met, shaken


class Darker(Disturbance):
    """A second view that is the same in each step."""

    def forward(self, batch):
        return replace(batch, image=batch.image * 0.5 + 0.1)


def trained(student, batch):
    """A step: other weights, and statistics of the batch."""
    student.train()(batch.image)
    return shaken(student)


def values(network) -> dict[str, np.ndarray]:
    return {name: one.detach().double().numpy().copy() for name, one in network.state_dict().items()}


def filled(network, state):
    network.load_state_dict({name: torch.tensor(one) for name, one in state.items()})
    return network.eval()


def test_a_mean_teacher_of_many_steps_resumed_in_the_midst(make_batch):
    batch, student = make_batch(11, b=1, size=(9, 7)), Tiny(11)
    teacher, slow = met(MeanTeacher(0.6), student, batch), None
    for step in range(1, 13):
        trained(student, batch)
        teacher.follow(student, step)
        now, share = values(student), min(0.6, step / (9 + step))
        if slow is None:
            slow = now
        for name, one in now.items():
            slow[name] = one if name.endswith("tracked") else share * slow[name] + (1 - share) * one
        if step == 5:
            saved = copy.deepcopy(teacher.state_dict())
            teacher = met(MeanTeacher(0.6), Tiny(11), batch)
            teacher.load_state_dict(saved)
        found = teacher(batch, student(batch.image), student).target
        torch.testing.assert_close(found.logits, filled(Tiny(11), slow)(batch.clean).logits, rtol=1e-4, atol=1e-5)
    before = found.logits.clone()
    trained(student, batch)  # without `follow`: nothing of the teacher is the student's own memory
    assert torch.equal(teacher(batch, student(batch.image), student).target.logits, before)


@pytest.mark.parametrize("settings", [{"epochs": 2}, {"cycles": 3}])
def test_a_snapshot_of_every_stretch_resumed_in_the_midst(settings, make_batch):
    batch, student = make_batch(2, b=1, size=(9, 7)), Tiny(2)
    with torch.no_grad():
        scene = Scene(student, batch, student.eval()(batch.clean), 3, Tiny, steps=20)

    def made():
        teacher = Snapshot(**settings)
        teacher.meet(replace(scene, student=Tiny(2)))
        return teacher.train()

    ends = {6, 12, 18} if "epochs" in settings else {7, 14, 20}  # the first steps past 20 / 3 and 40 / 3
    teacher, taken = made(), None
    for step in range(1, 21):
        trained(student, batch)
        teacher.follow(student, step)
        taken = values(student) if step in ends else taken
        if step in (4, 9):
            saved = copy.deepcopy(teacher.state_dict())
            teacher = made()
            teacher.load_state_dict(saved)
        lesson = teacher(batch, student(batch.image), student)
        assert lesson.mask.all() if taken is not None else not lesson.mask.any()
        if taken is not None:
            assert torch.equal(lesson.target.logits, filled(Tiny(2), taken)(batch.clean).logits)
    assert len(taken) > 4


def convolved(x, layer):
    """A convolution of stride 1, tap by tap."""
    weight, bias = layer.weight.detach().double().numpy(), layer.bias
    high, wide = weight.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (high // 2,) * 2, (wide // 2,) * 2))
    found = np.zeros((len(x), len(weight), *x.shape[2:]))
    each = len(weight) // layer.groups
    for n, y, z in np.ndindex(len(weight), high, wide):
        own = slice(n // each * weight.shape[1], (n // each + 1) * weight.shape[1])
        part = padded[:, own, y : y + x.shape[2], z : z + x.shape[3]]
        found[:, n] += np.einsum("bchw,c->bhw", part, weight[n, :, y, z])
    return found if bias is None else found + bias.detach().double().numpy().reshape(1, -1, 1, 1)


def run(x, layers):
    """A sequence of convolutions, normalisations in evaluation mode, and ReLUs."""
    for layer in layers if isinstance(layers, nn.Sequential) else [layers]:
        if isinstance(layer, nn.Conv2d):
            x = convolved(x, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            mean, var, weight, bias = (one.detach().double().numpy().reshape(1, -1, 1, 1) for one in
                                       (layer.running_mean, layer.running_var, layer.weight, layer.bias))  # fmt: skip
            x = (x - mean) / np.sqrt(var + layer.eps) * weight + bias
        else:
            x = np.maximum(x, 0)
    return x


@pytest.mark.parametrize(("classes", "b", "size"), [(2, 1, (9, 7)), (11, 2, (8, 10))])
def test_guided_reads_the_label_s_shares_beside_the_features(classes, b, size, make_batch):
    batch, student = make_batch(classes, b=b, size=size, ignored=0.3), Tiny(classes)
    teacher = met(Guided(width=5), student, batch)
    for _ in range(2):  # statistics that are not 0 and 1
        teacher(batch, student(batch.image), student)
    seen, label = student(batch.image), batch.label.numpy()
    found = teacher.eval()(batch, seen, student).target
    planes = np.stack([label == c for c in range(classes)] + [label == IGNORE], axis=1).astype(float)
    levels, total = [], 0.0
    for at, level in enumerate(seen.features):
        x = level.detach().double().numpy()
        shares = np.empty((b, classes + 1, *x.shape[2:]))
        for n, i, j in np.ndindex(b, *x.shape[2:]):
            shares[n, :, i, j] = cell_mean(planes, label < 300, x.shape[2:], n, i, j)
        joined = run(np.concatenate([x, convolved(shares, teacher.embed[at])], axis=1), teacher.join[at])
        levels.append(run(joined, teacher.think[at]))
        gathered = convolved(levels[-1], teacher.gather[at])
        total = total + (gathered if at == 0 else bilinear(gathered, total.shape[2:]))
    for ours, theirs in zip(found.features, levels, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-3, atol=1e-5)
    logits = bilinear(convolved(total, teacher.head), size)
    np.testing.assert_allclose(found.logits.detach().numpy(), logits, rtol=1e-3, atol=1e-5)


def test_guided_does_not_read_what_is_hidden(make_batch):
    batch, student = make_batch(3, size=(30, 21), ignored=0.2), Tiny()
    teacher = met(Guided(hide=0.5, cell=8), student, batch)
    seen, said = student(batch.image), []
    torch.manual_seed(5)
    shown = torch.rand(2, 1, 4, 3) >= 0.5  # cells of 8 x 8, those at the borders cut
    hidden = ~shown[:, 0, torch.arange(30) // 8][:, :, torch.arange(21) // 8]
    assert 0.2 < hidden.float().mean() < 0.8
    other = torch.where(hidden & (batch.label != IGNORE), (batch.label + 1) % 3, batch.label)
    seen_too = torch.where(~hidden, (batch.label + 1) % 3, batch.label)
    for label in (batch.label, other, seen_too):
        torch.manual_seed(5)
        said.append(teacher(replace(batch, label=label), seen, student).target.logits)
    assert torch.equal(said[0], said[1]) and not torch.equal(said[0], said[2])


def pointwise(state, image):
    """Logits [b k h w] of a network of one 1x1 convolution."""
    return np.einsum("kc,bchw->bkhw", state["mix.weight"][:, :, 0, 0], image) + state["mix.bias"].reshape(1, -1, 1, 1)


def losses(ours, theirs, label, temperature):
    """Cross-entropy of one side, and its divergence from the other, means over the pixels with a class."""
    at = [(b, y, x) for b, y, x in np.argwhere(label != IGNORE)]
    hard = np.mean([-log_softmax(ours[b, :, y, x])[label[b, y, x]] for b, y, x in at])
    return hard, np.mean([divergence(ours[b, :, y, x], theirs[b, :, y, x], temperature) for b, y, x in at])


@pytest.mark.parametrize(("classes", "b"), [(2, 1), (11, 2)])
@pytest.mark.parametrize("kind", ["twin", "peer", "alone"])
def test_two_that_learn_of_each_other(kind, classes, b, make_batch):
    """Each from the labels and from what the other says, taken as given; a peer alone from the labels."""
    batch, student = make_batch(classes, b=b, size=(4, 5), ignored=0.3), Pointwise(classes)
    batch = replace(batch, image=(batch.clean + 0.3) * 0.8)
    teacher = Twin(Darker()) if kind == "twin" else Peer(Pointwise, mutual=kind == "peer")
    distiller = Distiller(teachers={"other": teacher}, terms={"kl": Term(Response(3.0), weight=0.7)})
    with torch.no_grad():
        distiller.meet(Scene(student, batch, student(batch.clean), 4, lambda: Pointwise(classes)))
    image, clean, label = batch.image.double().numpy(), batch.clean.double().numpy(), batch.label.numpy()
    second = student if kind == "twin" else teacher.network
    view = clean * 0.5 + 0.1 if kind == "twin" else image
    given = pointwise(values(student), image), pointwise(values(second), view)

    def total(ours, theirs):
        first, other = losses(pointwise(ours, image), given[1], label, 3.0), pointwise(theirs, view)
        hard, back = losses(other, given[0], label, 3.0)
        return first[0] + 0.7 * first[1] + hard + (0.7 * back if kind != "alone" else 0.0)

    terms = distiller(batch, student)
    found, states = sum(terms.values()), [values(student), values(second)]
    assert found.item() == pytest.approx(total(*states), rel=1e-5)
    found.backward()
    for which, network in ((0, student), (1, second)) if kind != "twin" else ((None, student),):
        step = {name: np.random.default_rng(1).standard_normal(one.shape) for name, one in states[0].items()}
        sides = [
            total(*({name: one + sign * 1e-5 * step[name] * (which in (None, at)) for name, one in state.items()}
                    for at, state in enumerate(states)))
            for sign in (1, -1)
        ]  # fmt: skip
        slope = sum(float((p.grad.double().numpy() * step[name]).sum()) for name, p in network.named_parameters())
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-3)


@pytest.mark.parametrize(
    "make",
    [Guided, Refined, lambda: Peer(mutual=False), MeanTeacher, lambda: Frozen(network=Tiny), lambda: Snapshot(1)],
    ids=["guided", "refined", "peer", "mean", "frozen", "snapshot"],
)
def test_a_term_is_learned_by_the_student_alone(make, make_batch):
    """What is taught is a given: no term reaches the teacher, nor the student through what the teacher read of it."""
    batch, student, teacher = make_batch(3), Tiny(), make()
    terms = {"kl": Term(Response(2.0)), "hint": Term(Hint())}
    distiller = Distiller(teachers={"other": teacher}, terms=terms)
    with torch.no_grad():
        distiller.meet(Scene(student, batch, student.eval()(batch.clean), 1, Tiny))
    student.train()
    distiller.follow(student, 1)
    if isinstance(teacher, Frozen):
        assert not any(one.training for one in teacher.members[0].network.modules())
    torch.manual_seed(2)
    state = copy.deepcopy(student.state_dict())
    found = distiller(batch, student)
    assert found["kl"] > 0 and found["hint"] > 0
    ours, theirs = list(student.parameters()), [p for p in teacher.parameters() if p.requires_grad]
    assert bool(theirs) == (type(teacher) in (Guided, Refined, Peer))
    grads = torch.autograd.grad(found["kl"] + found["hint"], [*ours, *theirs], allow_unused=True)
    assert all(one is None or (one == 0).all() for one in grads[len(ours) :])
    student.load_state_dict(state)
    torch.manual_seed(2)
    seen = student(batch.image)
    given = teacher(batch, seen.detached(), student).target.detached()
    naive = sum(term.knowledge(seen, given, batch) for term in terms.values())
    torch.testing.assert_close(grads[: len(ours)], torch.autograd.grad(naive, ours, allow_unused=True))
