import pytest
import torch

from segkd.models.fusion import FusionNet
from segkd.types import InputError

ENCODER = "test_efficientnet"


@pytest.mark.parametrize("classes", [2, 11])
@pytest.mark.parametrize("size", [(33, 47), (64, 32)])
def test_logits_stand_at_the_size_of_the_image(classes, size):
    with torch.no_grad():
        prediction = FusionNet(classes, ENCODER, None, 16).eval()(torch.rand(2, 3, *size))
    assert prediction.logits.shape == (2, classes, *size)
    assert prediction.exits == ()


@pytest.mark.parametrize("encoder", [ENCODER, "test_convnext"])  # finest stride 2, and 4
def test_features_are_the_fused_pyramid_finest_first(encoder):
    with torch.no_grad():
        features = FusionNet(2, encoder, None, 16).eval()(torch.rand(1, 3, 64, 96)).features
    assert [tuple(f.shape) for f in features] == [(1, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)]


@pytest.mark.parametrize("encoder", [ENCODER, "test_convnext"])
def test_every_trainable_parameter_gets_a_gradient(encoder):
    network = FusionNet(3, encoder, None, 16)
    prediction = network(torch.rand(2, 3, 64, 64))
    prediction.logits.square().mean().backward()
    learning = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert [name for name, p in learning.items() if p.grad is None] == []
    # a BatchNorm's shift may be undone by the next BatchNorm; a convolution's weights may not
    assert [name for name, p in learning.items() if p.ndim == 4 and not p.grad.any()] == []


def test_a_prediction_does_not_depend_on_its_neighbours_in_the_batch():
    network = FusionNet(2, ENCODER, None, 16).eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(images).logits[1:2], network(images[1:2]).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 0])
def test_fewer_than_two_classes_are_refused(classes):
    with pytest.raises(InputError, match=f"at least 2.*found {classes}"):
        FusionNet(classes, ENCODER, None)


def test_without_weights_nothing_is_fetched():
    assert FusionNet.without_weights({"classes": 2, "weights": "hub"}) == {"classes": 2, "weights": None}
    network = FusionNet(2, ENCODER, None, 16)
    assert network.rebuilt_by({"classes": 2, "weights": "hub"}) == {"classes": 2, "weights": None}


def test_a_deeper_one_fuses_again_and_starts_with_the_same_encoder_and_first_fusion():
    torch.manual_seed(1)
    plain = FusionNet(2, ENCODER, None, 16)
    torch.manual_seed(1)
    deep, image = FusionNet(2, ENCODER, None, 16, depth=3), torch.rand(2, 3, 64, 64)
    same = [name for name in plain.state_dict() if name.startswith(("encoder.", "decoder."))]
    assert all(torch.equal(plain.state_dict()[name], deep.state_dict()[name]) for name in same) and same
    assert {name.split(".")[0] for name in deep.state_dict().keys() - plain.state_dict().keys()} == {"deeper"}
    seen, shallow = deep(image), plain(image)
    assert [f.shape for f in seen.features] == [f.shape for f in shallow.features]
    assert not torch.equal(seen.features[0], shallow.features[0])
    seen.logits.square().mean().backward()
    assert all(p.grad is not None for p in deep.parameters() if p.requires_grad)
    with pytest.raises(InputError, match="depth must be at least 1"):
        FusionNet(2, ENCODER, None, 16, depth=0)
    with pytest.raises(InputError, match="width and depth must be at least 1, found 0"):
        FusionNet(2, ENCODER, None, 0)
