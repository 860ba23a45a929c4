"""Layers that do not learn for a part of the training: `optim.freeze` as {progress: paths}."""

import copy

import pytest
import torch
import torch.distributed as dist

from segkd.distill.distiller import Distiller
from segkd.engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from segkd.engine.learner import Learner
from segkd.engine.optim import Optim
from segkd.engine.step import train_step
from segkd.models.adapted import AdaptedNet
from segkd.models.smp import SmpNet
from segkd.types import InputError
from tests.conftest import TINY
from tests.engine.test_step import engine_of

HALVES = {0.0: ["adapters"], 0.5: ["~adapters"]}


def engine(seed=0, clip=1e9, resting=None):
    """Ten steps in all, of which the adapters get the second five."""
    torch.manual_seed(seed)
    learner = Learner(AdaptedNet(2, TINY, None, 8, hidden=4), Distiller(), average=0.9, total=10,
                      resting=HALVES if resting is None else resting)  # fmt: skip
    made = engine_of(learner, Optim(lr=0.01, warmup=0.0), clip=clip)
    learner.arrive(0.0)
    return made


def changed(before, after) -> set[str]:
    names = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    return {name.split(".")[0] for name in names}


def state(made) -> dict[str, torch.Tensor]:
    return copy.deepcopy(made.bare.student.state_dict())


def test_each_part_learns_in_its_own_time_and_keeps_its_statistics_else(make_batch):
    made, batch = engine(), make_batch(b=4)
    begin = state(made)
    for _ in range(5):
        train_step(made, batch)
    half = state(made)
    for _ in range(3):
        train_step(made, batch)
    first, second = changed(begin, half), changed(half, state(made))
    assert "adapters" not in first and {"encoder", "decoder", "mix", "head"} <= first
    assert second == {"adapters"}
    assert all(p.grad is None or p.requires_grad for p in made.bare.student.parameters())


def test_a_training_that_stops_in_either_part_goes_on_bit_for_bit(make_batch, tmp_path):
    batches = [make_batch(b=4, seed=seed) for seed in range(9)]
    for stop in (3, 5, 7):
        made, twin = engine(), engine(seed=1)
        for batch in batches[:stop]:
            train_step(made, batch)
        save_checkpoint(tmp_path / "last.pt", made, Progress())
        load_checkpoint(tmp_path / "last.pt", twin)
        for batch in batches[stop:]:
            train_step(made, batch)
            train_step(twin, batch)
        one, two = made.bare.state_dict(), twin.bare.state_dict()
        assert all(torch.equal(tensor, two[name]) for name, tensor in one.items()), stop


def test_gradients_that_other_processes_wait_for_are_dropped_before_they_count(make_batch, monkeypatch):
    """As one of several processes, the same steps are taken as alone, however tight the norm is bound."""
    batch, alone = make_batch(b=4), engine(clip=0.1)
    several = engine(clip=0.1)
    rested = type(several.bare.student).rest

    def among_others(network, paths):
        with monkeypatch.context() as patch:
            patch.setattr(dist, "is_initialized", lambda: True)
            rested(network, paths)

    several.bare.student.rest = lambda paths: among_others(several.bare.student, paths)
    several.bare.arrive(0.0)
    assert all(p.requires_grad for p in several.bare.student.parameters())
    for _ in range(8):
        train_step(alone, batch)
        train_step(several, batch)
    assert all(torch.equal(a, b) for a, b in zip(state(alone).values(), state(several).values()))


def test_layers_are_named_one_by_one_or_all_but_one():
    network = AdaptedNet(2, TINY, None, 8)
    assert network.layers(["head", "decoder.context"]) == [network.head, network.decoder.context]
    others = network.layers(["~head"])
    assert network.head not in others and network.encoder in others and network.adapters in others
    network.freeze(["~head"])
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}


def test_all_but_one_of_a_network_within_a_network_is_all_but_that_one():
    network = SmpNet(2, "FPN", TINY, None)
    network.freeze(["~head"])
    learning = [name for name, p in network.named_parameters() if p.requires_grad]
    assert learning and all(name.startswith("network.segmentation_head.") for name in learning)
    network = SmpNet(2, "FPN", TINY, None)
    network.freeze(["~encoder"])
    assert any(p.requires_grad for p in network.layer("encoder").parameters())
    assert not any(p.requires_grad for p in network.layer("head").parameters())


def test_what_is_frozen_for_good_is_not_woken():
    network = AdaptedNet(2, TINY, None, 8)
    network.head.weight.requires_grad_(False)  # as a network of the user's may come
    network.rest(["head"])
    assert not network.head.bias.requires_grad
    network.rest([])
    assert network.head.bias.requires_grad and not network.head.weight.requires_grad


def test_what_cannot_be_is_refused_before_the_first_step():
    with pytest.raises(InputError, match="no layer 'neck'"):
        engine(resting={0.0: [], 0.7: ["~neck"]})
    with pytest.raises(InputError, match=r"nothing learns from 0\.5 on: optim\.freeze"):
        engine(resting={0.5: ["~head", "head"]})
    with pytest.raises(InputError, match=r"optim\.freeze: expected {progress in 0\.\.1: layer paths}, found .* 1\.5"):
        Optim(freeze={1.5: ["head"]})
    assert (Optim(freeze=["head"]).frozen, Optim(freeze=["head"]).resting) == (["head"], {})
    assert (Optim(freeze=HALVES).frozen, Optim(freeze=HALVES).resting) == ([], HALVES)
