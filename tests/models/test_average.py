import copy

import torch

from segkd.models.average import Average
from segkd.models.fusion import FusionNet
from tests.conftest import TINY


def network() -> FusionNet:
    return FusionNet(2, TINY, None, 16)


def shaken(student: FusionNet) -> FusionNet:
    """The network after a step: other weights, other BatchNorm statistics."""
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        student.train()(torch.rand(2, 3, 32, 32))
    return student


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_it_is_the_exponential_average_of_weights_and_statistics():
    student = network()
    average, naive = Average(student, 0.9), None
    for n in range(5):
        average.follow(shaken(student))
        now = state(student)
        # a young average follows faster: (1 + n) / (10 + n) up to the decay; the first one is a copy
        share = 0.0 if naive is None else min(0.9, (1 + n) / (10 + n))
        old = now if naive is None else naive
        naive = {k: share * old[k] + (1 - share) * v if v.is_floating_point() else v for k, v in now.items()}
    kept = average.network.state_dict()
    assert set(kept) == set(naive)
    for name, expected in naive.items():
        torch.testing.assert_close(kept[name], expected, rtol=1e-5, atol=1e-6, msg=name)


def test_infinity_in_a_mask_stays():
    student = network()
    student.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    average = Average(student, 0.9)
    for _ in range(3):
        average.follow(student)
    assert torch.equal(average.network.mask, student.mask)


def test_infinity_in_a_mask_that_the_first_forward_fills_stays():
    student = network()
    student.register_buffer("mask", torch.zeros(3, 3))
    average = Average(student, 0.9)
    student.mask.fill_(-torch.inf)
    for _ in range(3):
        average.follow(student)
    assert torch.equal(average.network.mask, student.mask)


def test_it_equals_torch_s_to_the_last_bit():
    """The same formula in the same order as torch's AveragedModel, without a look-up of names in each step."""
    from torch.optim.swa_utils import AveragedModel

    def follow(slow, fast, updates):
        share = 1 - min(0.9, (1 + int(updates)) / (10 + int(updates)))
        if slow[0].is_floating_point():
            torch._foreach_lerp_(list(slow), list(fast), share)
        else:
            torch._foreach_copy_(list(slow), list(fast))

    student = network()
    ours, theirs = Average(student, 0.9), AveragedModel(student, multi_avg_fn=follow, use_buffers=True)
    for _ in range(4):
        shaken(student)
        ours.follow(student)
        theirs.update_parameters(student)
    a, b = ours.network.state_dict(), theirs.module.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_average_goes_on_where_it_was():
    student = network()
    unbroken = Average(student, 0.9)
    for _ in range(3):
        unbroken.follow(shaken(student))
    resumed = Average(network(), 0.9)
    resumed.load_state_dict(state(unbroken))
    shaken(student)
    for one in (unbroken, resumed):
        one.follow(student)
    assert all(torch.equal(a, b) for a, b in zip(unbroken.state_dict().values(), resumed.state_dict().values()))


def test_it_neither_learns_nor_trains():
    average = Average(network(), 0.9)
    average.train()
    assert not any(part.training for part in average.modules())
    assert not any(p.requires_grad for p in average.parameters())


def test_the_decay_bounds_how_slow_an_old_average_is():
    student = network()
    average = Average(student, 0.2)
    for _ in range(4):
        average.follow(student)
    before = copy.deepcopy(average.network.state_dict())
    average.follow(shaken(student))
    name = "decoder.context.own.0.weight"
    expected = 0.2 * before[name] + 0.8 * student.state_dict()[name]
    torch.testing.assert_close(average.network.state_dict()[name], expected)
