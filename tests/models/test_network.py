import pytest

from segkd.models import network
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError


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
