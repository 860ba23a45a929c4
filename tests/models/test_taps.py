import copy

import pytest
import torch
from torch import nn

from segkd.models.fusion import FusionNet
from segkd.models.taps import evaluating, tapped
from segkd.types import InputError
from tests.conftest import TINY


def test_every_part_gets_its_own_mode_back_even_after_an_error():
    network = FusionNet(2, TINY, None, 16)
    network.freeze(["encoder"])
    modes = [part.training for part in network.modules()]
    assert any(modes) and not all(modes)
    with pytest.raises(RuntimeError), evaluating(network):
        assert not any(part.training for part in network.modules())
        raise RuntimeError
    assert [part.training for part in network.modules()] == modes


def test_layers_become_features_and_a_list_of_maps_gives_all():
    network = FusionNet(2, TINY, None, 16).eval()
    image = torch.rand(1, 3, 64, 64)
    seen: list[torch.Tensor] = []
    hook = network.mix.register_forward_hook(lambda _m, _i, output: seen.append(output))
    own = tapped(network, image, None)
    hook.remove()
    prediction = tapped(network, image, ["mix", "encoder"])
    assert torch.equal(prediction.features[0], seen[0])
    assert len(prediction.features) == 1 + len(network.encoder.channels)
    assert torch.equal(prediction.logits, own.logits) and len(own.features) == 4
    assert not any(part._forward_hooks for part in network.modules())


def test_a_copy_reports_to_itself():
    network = FusionNet(2, TINY, None, 16).eval()
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.mix[0].weight.zero_()
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(tapped(twin, image, ["mix"]).features[0], tapped(network, image, ["mix"]).features[0])


def test_a_path_that_is_no_layer_or_gives_no_map_is_refused():
    network, image = FusionNet(2, TINY, None, 16).eval(), torch.rand(1, 3, 32, 32)
    with pytest.raises(InputError, match=r"no layer 'mixx'"):
        tapped(network, image, ["mixx"])
    network.mix = nn.Sequential(network.mix, nn.Identity())
    network.mix[1].forward = lambda x: x.flatten(1).unflatten(1, x.shape[1:])
    network.odd = nn.Identity()
    with pytest.raises(InputError, match=r"expected layer 'odd' to give maps \[b c h w\], found \['NoneType'\]"):
        tapped(network, image, ["odd"])
