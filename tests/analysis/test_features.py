import math

import torch

from segkd.analysis.features import above_nyquist, aliasing, encoder_levels
from segkd.models.fusion import FusionNet
from segkd.models.smp import SmpNet
from segkd.models.wrapped import WrappedNet
from tests.conftest import TINY


def wave(f: float, across: bool) -> torch.Tensor:
    x = torch.cos(2 * math.pi * f * torch.arange(40))
    return (x.expand(40, 40) if across else x.unsqueeze(1).expand(40, 40)).expand(2, 3, 40, 40)


def test_energy_above_the_next_levels_nyquist():
    for across in (True, False):
        assert above_nyquist(wave(0.2, across) + 5, 2.0).max() < 1e-6
        assert above_nyquist(wave(0.3, across) + 5, 2.0).min() > 1 - 1e-6
        assert above_nyquist(wave(0.2, across), 4.0).min() > 1 - 1e-6
    both = wave(0.1, True) + wave(0.4, False)
    assert torch.allclose(above_nyquist(both, 2.0), torch.full((2,), 0.5), atol=1e-4)
    assert above_nyquist(torch.ones(1, 2, 8, 8), 2.0).item() == 0


def test_white_noise_has_three_quarters_above():
    share = above_nyquist(torch.randn(8, 4, 64, 64), 2.0).mean()
    assert abs(share - 0.75) < 0.02  # |fy| and |fx| below 1/4 is a quarter of the plane


def test_levels_of_encoders_are_found_without_being_asked_for():
    image = torch.rand(2, 3, 64, 64)
    for network in (FusionNet(2, TINY, weights=None), SmpNet(2, "FPN", TINY, weights=None)):
        with encoder_levels(network.eval()) as levels, torch.no_grad():
            network(image)
        strides = [stride for stride, _ in aliasing(levels, (64, 64))]
        assert strides == [2, 4, 8, 16], type(network)
        assert all(((share >= 0) & (share <= 1)).all() for _, share in aliasing(levels, (64, 64)))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_an_encoder_has_no_levels():
    network = WrappedNet(2, "torch.nn.Conv2d", {"in_channels": 3, "out_channels": "$classes", "kernel_size": 1})
    with encoder_levels(network) as levels:
        network(torch.rand(1, 3, 32, 32))
    assert levels == [] and aliasing(levels, (32, 32)) == []
