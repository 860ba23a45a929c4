import pytest
import segmentation_models_pytorch as smp
import torch

from segkd.models.fusion import FusionNet
from segkd.models.smp import SmpNet
from segkd.types import InputError
from tests.conftest import TINY

HEADS = ["FPN", "Unet", "UnetPlusPlus", "DeepLabV3Plus", "Segformer"]


@pytest.mark.parametrize("architecture", HEADS)
def test_every_head_gives_logits_at_an_odd_size_and_learns(architecture):
    network = SmpNet(3, architecture, TINY, None)
    out = network(torch.rand(2, 3, 50, 70))
    assert out.logits.shape == (2, 3, 50, 70)
    out.logits.square().mean().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    assert not any(p.requires_grad and p.grad is None for p in network.parameters())


def test_starts_from_the_tensors_that_fusionnet_starts_from():
    ours, theirs = FusionNet(2).encoder.body.state_dict(), SmpNet(2, "FPN").network.encoder.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_encoder_path_names_the_pretrained_part():
    network = SmpNet(2, "FPN", TINY, None)
    assert network.layer(SmpNet.encoder_path) is network.network.encoder


def test_normalises_inside():
    network = SmpNet(2, "FPN", TINY, None).eval()
    grey = network.mean.expand(1, 3, 32, 32)
    levels = network.network.encoder(torch.zeros(1, 3, 32, 32))
    expected = network.network.segmentation_head(network.network.decoder(levels))
    torch.testing.assert_close(network(grey).logits, expected)


def test_an_architecture_with_another_encoder_is_refused_with_a_way_out(monkeypatch):
    other = smp.Unet("tu-test_byobnet", encoder_weights=None, classes=2)
    monkeypatch.setattr("segkd.models.smp._architecture", lambda *_: other)
    with pytest.raises(InputError, match=r"DPT makes another encoder of .*--model WrappedNet"):
        SmpNet(2, "DPT", TINY, None)


def test_a_wrong_architecture_is_named():
    with pytest.raises(InputError, match="Unettt with encoder"):
        SmpNet(2, "Unettt", TINY, None)
    with pytest.raises(InputError, match=r"FPN with encoder .* cannot be built"):
        SmpNet(2, "FPN", TINY, None, {"nonsense": 1})
