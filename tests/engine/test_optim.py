import copy

import pytest
import torch
from torch import nn

from segkd.distill.distiller import Distiller
from segkd.engine.learner import Learner
from segkd.engine.optim import Optim, build_optimizer, build_schedule, rate_at
from segkd.frequency.disturb import DctQuantization
from segkd.models.decoder import Head
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.types import InputError, Prediction
from tests.conftest import TINY


@pytest.fixture
def learner():
    return Learner(FusionNet(2, TINY, None, width=16), Distiller(), average=0.9)


def test_every_learning_parameter_is_in_one_group_and_no_other_is(learner):
    learner.distiller.teacher = FusionNet(2, TINY, None, width=16)  # one that learns
    optimizer = build_optimizer(Optim(name="sgd", lr=0.01, encoder_lr=0.1, weight_decay=0.3), learner)
    members = [id(p) for group in optimizer.param_groups for p in group["params"]]
    networks = (learner.student, learner.distiller.teacher)
    assert sorted(members) == sorted(id(p) for one in networks for p in one.parameters() if p.requires_grad)
    encoder = {id(p) for one in networks for p in one.encoder.parameters()}
    for group in optimizer.param_groups:
        for p in group["params"]:
            assert group["lr"] == pytest.approx(0.001 if id(p) in encoder else 0.01)
            assert group["weight_decay"] == (0.3 if p.ndim > 1 else 0.0)


class Scaled(Network):
    """What torchvision's ConvNeXt and Swin learn beside weights: a scale [c 1 1], biases of positions in a table."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 2, 1)
        self.layer_scale = nn.Parameter(torch.ones(2, 1, 1))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(4, 2))
        self.attention = nn.MultiheadAttention(2, 1)

    def forward(self, image):
        return Prediction(self.body(image))


def test_weights_alone_decay_whatever_shape_other_parameters_have():
    learner = Learner(Scaled(), Distiller())
    optimizer = build_optimizer(Optim(weight_decay=0.3), learner)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    decaying = {name for name, p in learner.student.named_parameters() if decays[id(p)]}
    assert decaying == {"body.weight", "attention.in_proj_weight", "attention.out_proj.weight"}


def test_a_disturbance_learns_at_a_rate_of_its_own_and_never_decays():
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller(), DctQuantization())
    optimizer = build_optimizer(Optim(lr=0.01, disturbance_lr=7.0), learner)
    (group,) = [g for g in optimizer.param_groups if g["params"][0] is learner.disturbance.theta]
    assert group["params"] == [learner.disturbance.theta]
    assert group["lr"] == pytest.approx(0.07) and group["weight_decay"] == 0
    learner.disturbance.filter = nn.Conv2d(3, 3, 1)  # one of anyone's, with weights
    groups = build_optimizer(Optim(lr=0.01, weight_decay=0.3), learner).param_groups
    assert [g["weight_decay"] for g in groups if any(p is learner.disturbance.filter.weight for p in g["params"])] == [
        0
    ]
    with pytest.raises(InputError, match="disturbance_lr must be above 0"):
        Optim(disturbance_lr=0.0)


def moved(inputs: int, name: str) -> float:
    """How far a step moves the logits of a head whose inputs are all 1, by its weights alone."""
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller())
    learner.student.head = head = Head(inputs, 2)
    head.bias.requires_grad_(False)
    optimizer, x = build_optimizer(Optim(name=name, lr=1e-3), learner), torch.ones(1, inputs, 4, 4)
    before = head(x).detach()
    head(x)[:, 0].mean().backward()
    optimizer.step()
    return (before - head(x))[0, 0].mean().item()


def test_a_slim_head_is_slower_by_the_root_of_its_width_and_no_more():
    assert moved(128, "adamw") == pytest.approx(0.128, rel=1e-2)
    assert moved(16, "adamw") == pytest.approx(0.128 / 8**0.5, rel=1e-2)
    assert moved(16, "sgd") == pytest.approx(moved(128, "sgd") / 8, rel=1e-3)  # no part of the rule


def test_the_decay_of_a_head_does_not_follow_its_speed():
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller())
    optimizer = build_optimizer(Optim(lr=0.01, weight_decay=0.3), learner)
    (group,) = [g for g in optimizer.param_groups if g["params"][0] is learner.student.head.weight]
    assert group["lr"] * group["weight_decay"] == pytest.approx(0.01 * 0.3) and group["lr"] == pytest.approx(
        0.01 * 8**0.5
    )


def test_frozen_parameters_are_left_out():
    network = FusionNet(2, TINY, None, width=16)
    network.freeze(["encoder"])
    learner = Learner(network, Distiller())
    members = {id(p) for group in build_optimizer(Optim(), learner).param_groups for p in group["params"]}
    assert members and not members & set(map(id, learner.student.encoder.parameters()))


def test_nothing_left_to_learn_is_refused():
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller())
    learner.requires_grad_(False)
    with pytest.raises(InputError, match=r"optim\.freeze"):
        build_optimizer(Optim(), learner)


@pytest.mark.parametrize("schedule", ["poly", "cosine", "linear"])
def test_schedules_rise_from_near_zero_then_fall_to_zero(schedule):
    optim = Optim(schedule=schedule, warmup=0.1)
    rates = [rate_at(optim, t / 1000) for t in range(1001)]
    assert 0 < rates[0] < 0.01 and rates[100] == pytest.approx(1) and rates[1000] == pytest.approx(0, abs=1e-9)
    assert all(a <= b for a, b in zip(rates[:100], rates[1:101]))
    assert all(a >= b for a, b in zip(rates[100:], rates[101:]))


def test_schedule_formulas_halfway():
    halfway = {"poly": 0.5**0.9, "cosine": 0.5, "linear": 0.5, "constant": 1.0}
    for name, value in halfway.items():
        assert rate_at(Optim(schedule=name, warmup=0.0), 0.5) == pytest.approx(value)


def test_the_schedule_scales_each_group(learner):
    optim = Optim(name="sgd", lr=0.01, encoder_lr=0.1, schedule="linear", warmup=0.0)
    optimizer = build_optimizer(optim, learner)
    schedule = build_schedule(optim, optimizer, total=4)
    for _ in range(2):
        optimizer.step()
        schedule.step()
    assert sorted({round(r, 6) for r in schedule.get_last_lr()}) == [0.0005, 0.005]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"warmup": 1.0},
        {"average": 1.5},
        {"clip": 0.0},
        {"encoder_lr": -1.0},
        {"power": -1.0},
        {"cycles": 0},
        {"momentum": 1.0},
        {"weight_decay": -1e-3},
        {"freeze": {1.5: []}},
        {"lr": 1e308},
        {"encoder_lr": 1e308},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=f"optim.{next(iter(wrong))}"):
        Optim(**wrong)


def test_sgd_goes_on_with_nesterov_s_momentum(learner):
    optimizer = build_optimizer(Optim(name="sgd", lr=0.1, momentum=0.5), learner)
    bias = learner.student.head.bias
    start, bias.grad = bias.detach().clone(), torch.ones_like(bias)
    build_optimizer(Optim(name="sgd", momentum=0.0), learner)  # torch refuses Nesterov's without any
    for way in (1.5, 1.5 + 1.75):  # g + m v, v = m v + g
        optimizer.step()
        torch.testing.assert_close(start - bias.detach(), torch.full_like(start, 0.1 * way))


def descended(fused: bool, start: dict | None = None) -> dict:
    """The learner and the optimiser after three steps along fixed gradients, by the fused kernel or by the loop."""
    torch.manual_seed(5)
    learner = Learner(FusionNet(2, TINY, None, width=16).to(memory_format=torch.channels_last), Distiller())
    optimizer = build_optimizer(Optim(lr=0.01), learner, fused=fused)
    if start is not None:
        optimizer.load_state_dict(copy.deepcopy(start))
    for _ in range(3):
        for p in learner.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    return {"learner": learner.state_dict(), "optimizer": optimizer.state_dict()}


def test_the_fused_kernel_does_what_the_loop_does():
    loop, fused = descended(fused=False)["learner"], descended(fused=True)["learner"]
    for name, value in loop.items():
        torch.testing.assert_close(fused[name], value, rtol=1e-5, atol=1e-6)


def test_gradients_lie_in_memory_as_their_parameters_do_for_the_fused_kernel_looks_at_no_strides(learner):
    learner.to(memory_format=torch.channels_last)
    for image in (torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)):
        learner.zero_grad()
        learner.student(image).logits.square().mean().backward()
        assert all(p.grad.stride() == p.stride() for p in learner.parameters() if p.grad is not None)


def test_a_parameter_with_gaps_in_memory_is_never_given_to_the_fused_kernel(learner):
    assert build_optimizer(Optim(), learner).defaults["fused"]
    learner.student.gaps = torch.nn.Parameter(torch.rand(4, 8)[:, ::2])
    assert not build_optimizer(Optim(), learner).defaults["fused"]


def test_an_old_checkpoint_of_the_loop_goes_on_as_the_loop():
    old = descended(fused=False)["optimizer"]
    for group in old["param_groups"]:
        group["fused"] = None  # what runs before the fused kernel wrote
    loop, now = descended(fused=False, start=old), descended(fused=True, start=old)
    assert all(torch.equal(loop["learner"][name], value) for name, value in now["learner"].items())


def test_cycles_are_equal_parts_of_the_training_so_that_snapshots_are_taken_where_they_end():
    optim = Optim(schedule="linear", warmup=0.1, cycles=3)
    rates = [rate_at(optim, t / 300) for t in range(301)]
    assert rates[30] == rates[100] == rates[200] == pytest.approx(1)
    assert max(rates[99], rates[199], rates[300]) < 0.02
    assert rates[65] == pytest.approx(0.5) and rates[150] == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", ["linear", "poly", "cosine"])
def test_every_cycle_begins_at_its_peak_however_many_there_are(schedule):
    """15 / 22 * 22 is just below 15, in a computer."""
    for cycles in range(1, 60):
        optim = Optim(schedule=schedule, warmup=0.0, cycles=cycles)
        assert all(rate_at(optim, 7 * c / (7 * cycles)) == pytest.approx(1) for c in range(1, cycles)), cycles
