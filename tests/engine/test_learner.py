import copy
from dataclasses import replace

import pytest
import torch

from segkd.distill.base import Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.learner import Learner
from segkd.models.fusion import FusionNet
from segkd.types import Batch, Disturbance, InputError, scheduled


class Darker(Disturbance):
    """Scales the image by a number that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.light = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, batch: Batch) -> Batch:
        return replace(batch, image=batch.image * self.light)


def student() -> FusionNet:
    return FusionNet(2, "test_efficientnet", None, 16)


def learner(**options) -> Learner:
    teach = {"teachers": {"label": LabelTeacher("constant")}, "terms": {"response": Term(Response())}}
    network = options.pop("student", None) or student()
    network.freeze(options.pop("frozen", []))
    return Learner(network, Distiller(None, **teach, task_weight={0.0: 1.0, 1.0: 0.0}), **options)


def steps(module: Learner, batch: Batch, n: int) -> None:
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.05)
    for step in range(1, n + 1):
        optimizer.zero_grad()
        sum(module(batch).values()).backward()
        optimizer.step()
        module.follow(step)


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("paths", [["encoder"], ["encoder.body.blocks.0", "decoder.context"]])
def test_frozen_layers_stay_bit_equal_with_their_statistics_while_the_rest_learns(paths, make_batch):
    module = learner(frozen=paths)
    before = snapshot(module.student)
    module.train()
    steps(module, make_batch(), 3)
    moved = changed(module.student, before)
    inside = {name for name in before if any(name.startswith(f"{path}.") for path in paths)}
    assert any("running_mean" in name for name in inside) and not moved & inside
    # a BatchNorm's shift may be undone by the next BatchNorm; a convolution's weights may not
    outside = {name for name, p in module.student.named_parameters() if p.requires_grad and p.ndim == 4}
    assert outside <= moved and any("running_mean" in name for name in moved)


@pytest.mark.parametrize("touch", [lambda m: m.train(), lambda m: m.student.eval() and m.student.train()])
def test_frozen_layers_stay_frozen_whoever_switches_to_training(touch, make_batch):
    """An evaluation switches the student itself to evaluation and back, past the learner."""
    module = learner(frozen=["encoder"])
    before = snapshot(module.student.encoder)
    module.eval()
    assert not any(part.training for part in module.modules())
    touch(module)
    steps(module, make_batch(), 1)
    assert not changed(module.student.encoder, before)
    assert module.student.decoder.training


def test_a_wrong_layer_path_is_refused():
    with pytest.raises(InputError, match=r"no layer 'encoder.bdy'.*body"):
        learner(frozen=["encoder.bdy"])


def test_what_is_kept_is_the_average_if_there_is_one_else_the_student():
    plain, averaged = learner(), learner(average=0.9)
    assert plain.kept is plain.student
    assert averaged.kept is not averaged.student and isinstance(averaged.kept, FusionNet)
    image = torch.rand(1, 3, 32, 32)
    averaged.student.eval()
    with torch.no_grad():
        assert torch.equal(averaged.kept(image).logits, averaged.student(image).logits)


def test_following_moves_the_schedules(make_batch):
    module, batch = learner(total=8), make_batch()
    first = module(batch)["task"].item()
    weights = []
    for step in (2, 4, 8):
        module.follow(step)
        weights.append(scheduled(module.distiller.task_weight, module.distiller.progress))
    assert weights == pytest.approx([0.75, 0.5, 0.0]) and module.distiller.progress == 1.0
    assert first > 0 and module(batch)["task"].item() == 0


def test_following_tells_the_teacher_of_the_student_and_the_step(monkeypatch):
    module, told = learner(average=0.9), []
    monkeypatch.setattr(LabelTeacher, "follow", lambda self, student, step: told.append((student, step)))
    module.follow(1)
    module.follow(2)
    assert told == [(module.student, 1), (module.student, 2)]


def test_the_student_sees_the_disturbed_image_and_the_disturbance_learns(make_batch):
    batch, disturbance = make_batch(), Darker()
    module = learner(disturbance=disturbance).eval()
    darker = replace(batch, image=batch.image * 0.5)
    plain = learner(student=copy.deepcopy(module.student)).eval()
    terms = module(batch)
    for name, expected in plain(darker).items():
        torch.testing.assert_close(terms[name], expected)
    assert not torch.allclose(terms["task"], plain(batch)["task"])
    sum(terms.values()).backward()
    assert disturbance.light.grad is not None and disturbance.light.grad != 0


def test_the_terms_are_those_of_the_distiller(make_batch):
    module, batch = learner().eval(), make_batch()
    assert list(module(batch)) == ["task", "response"]
    expected = module.distiller(batch, module.student)
    assert all(torch.equal(term, expected[name]) for name, term in module(batch).items())


def test_the_whole_state_round_trips(make_batch):
    """Frozen part, average and its count included: a resumed learner averages on as if never stopped."""
    options = {"frozen": ["encoder"], "average": 0.9}
    module, batch = learner(**options), make_batch()
    steps(module, batch, 3)
    twin = learner(**options)
    twin.load_state_dict(module.state_dict())
    twin.distiller.progress = module.distiller.progress
    for one in (module, twin):
        steps(one, batch, 2)
    assert not changed(twin, module.state_dict())
