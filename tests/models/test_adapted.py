import pytest
import torch

from segkd.models.adapted import AdaptedNet, Adapter
from segkd.models.complexity import complexity
from segkd.models.fusion import FusionNet
from segkd.models.start import start_from
from segkd.models.store import ModelCard, load_model, save_student
from segkd.types import InputError
from tests.conftest import TINY


def pair() -> tuple[FusionNet, AdaptedNet]:
    """Both of one seed."""
    networks = []
    for kind in (FusionNet, AdaptedNet):
        torch.manual_seed(5)
        networks.append(kind(2, TINY, None, 16).eval())
    return networks[0], networks[1]


def shaken(network: AdaptedNet) -> AdaptedNet:
    for parameter in network.adapters.parameters():
        torch.nn.init.normal_(parameter)
    return network


def test_an_adapter_adds_a_bottleneck_of_one_by_one_convolutions():
    adapter, x = Adapter(6, 2), torch.randn(1, 6, 3, 4)
    assert torch.equal(adapter(x), x)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    down, up = (part.weight[:, :, 0, 0] for part in (adapter.down, adapter.up))
    pixel = x[0, :, 1, 2]
    inner = (down @ pixel + adapter.down.bias).clamp_min(0)
    torch.testing.assert_close(adapter(x)[0, :, 1, 2], pixel + up @ inner + adapter.up.bias)


def test_it_begins_as_the_plain_network_and_every_level_is_adapted():
    plain, adapted = pair()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(plain(image).logits, adapted(image).logits)
    own = {name: tensor for name, tensor in adapted.state_dict().items() if not name.startswith("adapters.")}
    assert own.keys() == plain.state_dict().keys() and len(adapted.adapters) == len(plain(image).features)
    shaken(adapted)
    for level, (before, after) in enumerate(zip(plain(image).features, adapted(image).features)):
        torch.testing.assert_close(after, adapted.adapters[level](before))
        assert not torch.equal(before, after)


def test_parameters_and_macs_count_the_adapters():
    plain, adapted = (complexity(network, (64, 64)) for network in pair())
    assert adapted.parameters - plain.parameters == 4 * (2 * 16 * 16 + 16 + 16)
    pixels = sum((64 // stride) ** 2 for stride in (4, 8, 16, 32))
    assert adapted.macs - plain.macs == pixels * 2 * 16 * 16


def test_a_plain_run_starts_it_and_its_own_file_opens_without_trust(tmp_path):
    plain, adapted = pair()
    arguments = {"classes": 2, "encoder": TINY, "weights": None, "width": 16}
    save_student(tmp_path, plain, ModelCard("segkd.models.network.FusionNet", arguments, ["a", "b"], (64, 64)))
    other = AdaptedNet(**arguments, hidden=8)
    said = start_from(other, tmp_path)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(other.eval()(image).logits, plain(image).logits) and "not there: adapters.0" in said
    (tmp_path / "b").mkdir()
    card = ModelCard("segkd.models.adapted.AdaptedNet", arguments | {"hidden": 16}, ["a", "b"], (64, 64))
    save_student(tmp_path / "b", shaken(adapted), card)
    opened = load_model(tmp_path / "b").network.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(opened(image).logits, adapted(image).logits)


def test_no_channels_are_refused():
    with pytest.raises(InputError, match="hidden is a number of channels"):
        AdaptedNet(2, TINY, None, 16, hidden=0)
