import copy

import pytest
import torch
from torch import nn

from segkd.distill.distiller import Distiller
from segkd.engine.compiling import compile_student
from segkd.engine.learner import Learner
from segkd.engine.recomputing import blocks_of, recompute_encoder
from segkd.engine.step import train_step
from segkd.frequency.disturb import DctQuantization
from segkd.models.fusion import FusionNet
from segkd.models.taps import tapped
from segkd.types import InputError
from tests.conftest import TINY
from tests.engine.test_step import Linear, engine_of


def learner_of(encoder=TINY, recompute=False, disturbance=None) -> Learner:
    torch.manual_seed(2)
    learner = Learner(FusionNet(2, encoder, None, width=16), Distiller(), disturbance, average=0.9)
    compile_student(learner, False, recompute)
    return learner


def kept_bytes(learner, batch) -> int:
    """What the graph of one loss keeps for the backward pass, parameters left out."""
    own = {p.data_ptr() for p in learner.parameters()}
    held: dict[int, int] = {}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            held[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = learner(batch)
    assert kept
    return sum(held.values())


@pytest.mark.parametrize("encoder", [TINY, "resnet10t"])
def test_steps_are_the_same_to_the_bit_and_less_is_kept(make_batch, encoder):
    plain, again = learner_of(encoder), learner_of(encoder, recompute=True)
    for part in (*plain.modules(), *again.modules()):
        if isinstance(part, nn.Dropout):
            part.p = 0.5  # what is drawn is drawn again
    for _ in range(2):
        for one in (plain, again):
            train_step(engine_of(one), make_batch(b=2, size=(64, 64)))
    assert list(plain.state_dict()) == list(again.state_dict())
    differing = [name for name, value in plain.state_dict().items() if not torch.equal(value, again.state_dict()[name])]
    assert differing == []
    batch = make_batch(b=2, size=(64, 64))
    assert kept_bytes(again, batch) < 0.9 * kept_bytes(plain, batch)


def test_a_table_per_image_follows_the_loss_through_blocks_that_are_computed_again(make_batch):
    states = []
    for recompute in (False, True):
        seeking = DctQuantization(objective="adversarial", granularity="image")
        learner = learner_of(recompute=recompute, disturbance=seeking)
        train_step(engine_of(learner), make_batch(b=2, size=(64, 64)))
        states.append(learner.state_dict())
        assert all(part.training for part in learner.student.modules())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_copies_compute_with_their_own_weights_and_layers_within_can_be_read(make_batch):
    learner = learner_of(recompute=True)
    image = make_batch(size=(64, 64)).image
    twin = copy.deepcopy(learner.student).eval()
    before = twin(image).logits.detach()
    with torch.no_grad():
        for parameter in learner.student.parameters():
            parameter.zero_()
    assert torch.equal(twin(image).logits, before) and before.abs().sum() > 0
    path = next(path for path, part in twin.named_modules() if part in [*blocks_of(twin.encoder)])
    level = tapped(twin, image, [path]).features[0]
    (gradient,) = torch.autograd.grad(level.sum(), [next(twin.encoder.parameters())])
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("chain", [nn.Sequential, lambda *parts: nn.ModuleList(parts)])
def test_of_chains_of_chains_the_blocks_are_found(chain):
    parts = [nn.ModuleDict({"conv": nn.Conv2d(1, 1, 1)}) for _ in range(3)]
    stages = chain(chain(*parts[:2]), chain(parts[2]))
    assert list(blocks_of(nn.ModuleDict({"stages": stages}))) == parts


def test_a_network_without_chains_of_blocks_is_refused():
    with pytest.raises(InputError, match=r"engine\.recompute: expected chains of blocks"):
        recompute_encoder(Linear(2))
