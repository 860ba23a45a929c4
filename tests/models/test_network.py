import copy

import pytest
import torch
from torch import nn

from segkd.models import network
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError, Prediction


@pytest.mark.parametrize("own", [FusionNet, WrappedNet])
def test_the_names_in_files_stay_where_the_classes_once_stood(own):
    assert getattr(network, own.__name__) is own
    assert f"{own.__module__}.{own.__qualname__}" == f"segkd.models.network.{own.__name__}"
    with pytest.raises(AttributeError, match="no attribute 'FussionNet'"):
        network.FussionNet  # noqa: B018


def test_arguments_hold_no_weights_unless_a_network_says_so():
    assert Network.without_weights({"classes": 3}) == {"classes": 3}


def test_a_wrong_layer_path_names_the_choices_where_it_goes_wrong():
    network = FusionNet(2, "test_efficientnet", None, 16)
    assert network.layer("decoder.context.mix") is network.decoder.context.mix
    with pytest.raises(InputError, match=r"decoder has no 'kontext'.*lateral, context, down"):
        network.layer("decoder.kontext.mix")
    with pytest.raises(InputError, match=r"FusionNet has no 'body'.*encoder, decoder"):
        network.layer("body")


class Token(Network):
    """A vector of its own, and one inside the layer around its head."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3))
        self.last = nn.ModuleDict({"scale": nn.LayerNorm(3), "head": nn.Conv2d(3, 2, 1)})
        self.last.register_parameter("gamma", nn.Parameter(torch.ones(3)))

    def forward(self, image: torch.Tensor) -> Prediction:
        return Prediction(self.last["head"](image * self.last.gamma.view(3, 1, 1) + self.token.view(3, 1, 1)))


def test_all_but_one_layer_means_vectors_of_the_layers_above_it_too():
    network = Token()
    network.rest(["~last.head"])
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"last.head.weight", "last.head.bias"}
    network.rest([])
    assert all(p.requires_grad for p in network.parameters())
    network.freeze(["~last.head"])
    copied = copy.deepcopy(network)
    assert {name for name, p in copied.named_parameters() if p.requires_grad} == {"last.head.weight", "last.head.bias"}
    assert copied.state_dict().keys() == Token().state_dict().keys()
    tied = Token()
    tied.last.register_parameter("bias", tied.last["head"].bias)
    tied.freeze(["~last.head"])
    assert tied.last["head"].bias.requires_grad and not tied.last.gamma.requires_grad
