from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from segkd.distill.base import Term
from segkd.distill.distiller import Distiller
from segkd.distill.exits import Exits, shrunk
from segkd.distill.knowledge.channel import Correlation
from segkd.distill.knowledge.exits import AllPairs, AtExits, at_size
from segkd.distill.knowledge.feature import Hint
from segkd.distill.knowledge.response import Response, response
from segkd.distill.knowledge.universal import Universal
from segkd.types import IGNORE, InputError, Prediction


def seen(classes=3, sizes=((16, 16), (8, 8)), grows=True) -> Prediction:
    exits = tuple(torch.randn(2, classes, *size, requires_grad=grows) for size in sizes)
    return Prediction(torch.randn(2, classes, 32, 32, requires_grad=grows), exits=exits)


def test_every_exit_is_compared_with_the_output_at_its_own_size(make_batch):
    batch, student = make_batch(3, ignored=0.0), seen()
    losses = []
    for one in student.exits:
        goal = F.avg_pool2d(student.logits.detach(), 32 // one.shape[-1])
        losses.append(response(one, goal, shrunk(batch, one).valid, 3.0, True))
    found = AtExits(Response(3.0))(student, student.detached(), batch)
    torch.testing.assert_close(found, torch.stack(losses).mean())
    found.backward()
    assert student.logits.grad is None and all(one.grad is not None for one in student.exits)


def test_exits_of_a_teacher_teach_those_of_the_student_one_by_one(make_batch):
    batch, student, teacher = make_batch(3), seen(), seen(grows=False)
    found = AtExits(Response(1.0), target="exits")(student, teacher, batch)
    losses = [response(a, b, shrunk(batch, a).valid, 1.0, True) for a, b in zip(student.exits, teacher.exits)]
    torch.testing.assert_close(found, torch.stack(losses).mean())
    with pytest.raises(InputError, match="the student has 2 exits, the teacher 1"):
        AtExits(Response(), target="exits").meet(student, replace(teacher, exits=teacher.exits[:1]))


def test_exits_that_nobody_teaches_are_refused():
    terms = {"depth": Term(AtExits(Response(), target="exits"))}
    with pytest.raises(InputError, match="has no teacher: it would compare the student with itself"):
        Distiller(exits=Exits(), terms=terms)
    Distiller(exits=Exits(), terms={"output": Term(AtExits(Response()))})


def test_only_knowledge_about_logits_can_be_asked_of_exits():
    with pytest.raises(InputError, match="AtExits: expected a knowledge about logits, found Hint"):
        AtExits(Hint())
    with pytest.raises(InputError, match="AtExits: expected a knowledge about logits, found Universal"):
        AtExits(Universal())  # reads the student's logits, and needs exits of the target
    two = seen(classes=2)
    with pytest.raises(InputError, match="Write between: 0"):
        AtExits(Correlation()).meet(two, two)  # what does not fit an output does not fit an exit


def test_all_pairs_are_all_ordered_pairs_of_outputs(make_batch):
    batch, student = make_batch(3, ignored=0.0), seen()
    outputs, losses = (student.logits, *student.exits), []
    for j, one in enumerate(outputs):
        for k, other in enumerate(outputs):
            if k != j:
                small = min(one.shape[-1], other.shape[-1])
                a, b = (F.avg_pool2d(x, x.shape[-1] // small) for x in (one, other.detach()))
                losses.append(response(a, b, shrunk(batch, a).valid, 1.0, True))
    assert len(losses) == 6
    found = AllPairs()(student, student.detached(), batch)
    torch.testing.assert_close(found, torch.stack(losses).mean())
    found.backward()
    assert all(one.grad is not None for one in outputs)


def test_maps_shrink_over_the_valid_pixels_and_grow_bilinearly(make_batch):
    batch, x = make_batch(2, b=1, size=(8, 8), ignored=0.0), torch.randn(1, 2, 8, 8)
    assert at_size(x, x, batch)[0] is x
    torch.testing.assert_close(at_size(x, torch.zeros(1, 2, 4, 4), batch)[0], F.avg_pool2d(x, 2))
    grown, _ = at_size(x, torch.zeros(1, 2, 16, 16), batch)
    torch.testing.assert_close(grown, F.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False))
    batch.label[0, :2, 0] = IGNORE
    batch.label[0, 2:4, :2] = IGNORE
    small, counts = at_size(x, torch.zeros(1, 2, 4, 4), batch)
    torch.testing.assert_close(small[0, :, 0, 0], x[0, :, :2, 1].mean(dim=1))  # the valid half of the cell
    assert (small[0, :, 1, 0] == 0).all() and torch.equal(~counts[0], batch.label[0, 1::2, 1::2] == IGNORE)


def test_a_cell_whose_parts_have_no_label_counts_nothing_though_its_middle_has_one(make_batch):
    batch, exits = make_batch(3, size=(8, 8), ignored=0.0), seen(sizes=((4, 4), (2, 2)), grows=False).exits
    batch.label[:, :4, :4] = IGNORE
    batch.label[:, 2, 2] = 0  # what the exit of 2 x 2 reads there, and none of the four of the exit of 4 x 4
    _, counts = at_size(exits[0], exits[1], batch)
    assert shrunk(batch, exits[1]).valid.all() and counts.tolist() == [[[False, True], [True, True]]] * 2
    losses = []
    for value in (0.0, 9.0):
        exits[1][:, 0, 0, 0] = value
        student, teacher = (Prediction(torch.zeros(2, 3, 8, 8), exits=(one,)) for one in exits[::-1])
        losses.append(AtExits(Response(), target="exits")(student, teacher, batch))
    assert losses[0] == losses[1] > 0
