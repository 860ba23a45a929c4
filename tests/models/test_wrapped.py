from types import SimpleNamespace

import pytest
import torch
from torch import nn

from segkd.models.taps import tapped
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError

UNET = "segmentation_models_pytorch.Unet"
SMALL_UNET = {
    "encoder_name": "resnet18",
    "encoder_weights": None,
    "classes": "$classes",
    "decoder_channels": [16, 16, 8, 8, 4],
}
USER_NETWORK = """
import torch
from torch import nn

class Halved(nn.Module):
    def __init__(self, outputs, twice=False):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.last = nn.Conv2d(5, outputs, 1)
        self.twice, self.seen = twice, None

    def forward(self, x):
        self.seen = x.detach()
        logits = self.last(self.first(x))
        return (logits, logits) if self.twice else logits
"""


@pytest.fixture
def user_network(tmp_path, monkeypatch):
    (tmp_path / "user_halved.py").write_text(USER_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    return "user_halved.Halved"


@pytest.mark.parametrize("classes", [1, 0])
def test_fewer_than_two_classes_are_refused(classes, user_network):
    with pytest.raises(InputError, match=f"at least 2.*found {classes}"):
        WrappedNet(classes, user_network, {"outputs": "$classes"})


@pytest.mark.parametrize("size", [(33, 47), (32, 64)])
@pytest.mark.parametrize("classes", [2, 11])
def test_an_smp_unet_is_a_student_at_any_size(classes, size):
    network = WrappedNet(classes, UNET, SMALL_UNET, encoder_layer="encoder").eval()
    layers = ["network.encoder.layer2", "network.encoder.layer3"]
    with torch.no_grad():
        prediction = tapped(network, torch.rand(1, 3, *size), layers)
    assert prediction.logits.shape == (1, classes, *size)
    padded = [-(-n // 32) * 32 for n in size]
    assert [tuple(f.shape) for f in prediction.features] == [
        (1, c, padded[0] // s, padded[1] // s) for c, s in ((128, 8), (256, 16))
    ]
    assert network.layer(network.encoder_path) is network.network.encoder


def test_a_user_s_class_is_a_student_with_its_features_by_layer_path(user_network):
    network = WrappedNet(3, user_network, {"outputs": "$classes"}, divisor=2)
    image = torch.rand(2, 3, 33, 47)
    prediction = tapped(network, image, ["network.first"])
    assert prediction.logits.shape == (2, 3, 33, 47)
    torch.testing.assert_close(prediction.features[0], network.network.first(network.network.seen))
    torch.stack([prediction.logits.sum(), prediction.features[0].sum()]).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_wrapped_network_is_given_normalised_images_whose_padding_repeats_the_border(user_network):
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    network = WrappedNet(2, user_network, {"outputs": 2}, mean=mean, std=std, divisor=8)
    image = torch.rand(1, 3, 9, 16)
    network(image)
    seen = network.network.seen
    for c in range(3):
        torch.testing.assert_close(seen[0, c, :9], (image[0, c] - mean[c]) / std[c])
    assert seen.shape == (1, 3, 16, 16)
    assert torch.equal(seen[:, :, 9:], seen[:, :, 8:9].expand(-1, -1, 7, -1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": "user_halved.Quartered"}, "import path.*user_halved.Quartered"),
        ({"network": "no_such_module.Net"}, "import path.*no_such_module"),
        ({"network": "Net"}, "import path.*'Net'"),
        ({"arguments": {"output": 2}}, "arguments.*do not fit.*output"),
        ({"divisor": 0}, "divisor must be at least 1"),
        ({"std": (0.2, 0.0, 0.2)}, "std above 0, found 32, .* and"),
        (
            {"network": "os.listdir", "arguments": {"path": "/nowhere"}},
            "os.listdir cannot be built: .*No such file.*switch",
        ),
    ],
)
def test_a_wrong_description_is_refused_when_the_network_is_built(changes, said, user_network):
    given = {"network": user_network, "arguments": {"outputs": "$classes"}, **changes}
    with pytest.raises(InputError, match=said):
        WrappedNet(2, **given)


class Fragile(nn.Module):
    """A network whose own constructor fails, and fetches nothing."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        raise (RuntimeError if depth % 2 else TypeError)("the depth must be even.")


def test_what_a_constructor_of_ones_own_says_is_not_hidden_behind_weights():
    with pytest.raises(InputError, match=r"Fragile cannot be built: the depth must be even \(.*test_wrapped\.py, line"):
        WrappedNet(2, f"{__name__}.Fragile")
    with pytest.raises(InputError) as found:
        WrappedNet(2, f"{__name__}.Fragile")
    assert "weights" not in str(found.value)
    with pytest.raises(InputError, match=r"do not fit: the depth must be even \(.*test_wrapped\.py, line"):
        WrappedNet(2, f"{__name__}.Fragile", {"depth": 2})
    with pytest.raises(InputError, match=r"do not fit: .*deep[^(]*$"):
        WrappedNet(2, f"{__name__}.Fragile", {"deep": 2})


def deepest(width: int = -1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3))  # its own code


def test_of_an_error_within_a_library_the_own_line_that_led_there_is_named():
    line = deepest.__code__.co_firstlineno + 1
    with pytest.raises(InputError, match=rf"cannot be built: .*test_wrapped\.py, line {line}\)"):
        WrappedNet(2, f"{__name__}.deepest")
    with pytest.raises(InputError, match=r"\(.*torch.*conv\.py, line \d+\)"):
        WrappedNet(2, "torch.nn.Conv2d", {"in_channels": 3, "out_channels": -1, "kernel_size": 3})


class Answers(nn.Module):
    """A network that returns its logits as told."""

    def __init__(self, outputs, how):
        super().__init__()
        self.last, self.how = nn.Conv2d(3, outputs, 1), how

    def forward(self, x):
        logits = self.last(x)
        return {
            "torchvision": {"out": logits, "aux": logits + 1},
            "transformers": SimpleNamespace(logits=logits, loss=None),
            "dictionary": {"loss": None, "logits": logits},
            "pair": (logits, logits),
            "other": {"masks": logits, "list": [logits], "none": None},
        }[self.how]


@pytest.mark.parametrize("how", ["torchvision", "transformers", "dictionary"])
def test_logits_are_found_in_what_other_libraries_return(how):
    network = WrappedNet(2, f"{__name__}.Answers", {"outputs": "$classes", "how": how})
    image = torch.rand(1, 3, 32, 64)
    expected = network.network.last((image - network.mean) / network.std)
    assert torch.equal(network(image).logits, expected)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("pair", r"a tuple of \(1, 2, 32, 32\), \(1, 2, 32, 32\)"),
        ("other", r"a dictionary of 'masks': \(1, 2, 32, 32\), 'list': a list of .*, 'none': NoneType"),
    ],
)
def test_other_answers_are_named_as_they_are(how, said):
    network = WrappedNet(2, f"{__name__}.Answers", {"outputs": 2, "how": how})
    with pytest.raises(InputError, match=said) as error:
        network(torch.rand(1, 3, 32, 32))
    assert "let its `forward` choose" in str(error.value) and "$classes" not in str(error.value)


def test_what_gives_no_network_is_refused():
    with pytest.raises(InputError, match=r"collections\.OrderedDict to give a torch\.nn\.Module, found OrderedDict"):
        WrappedNet(2, "collections.OrderedDict")


@pytest.mark.parametrize(
    ("arguments", "cure"), [({"outputs": 5}, r"\$classes"), ({"outputs": 2, "twice": True}, "choose")]
)
def test_a_network_that_gives_other_logits_is_refused_with_the_remedy(arguments, cure, user_network):
    network = WrappedNet(2, user_network, arguments)
    with pytest.raises(InputError, match=rf"expected logits \[b, 2, h, w\].*{cure}"):
        network(torch.rand(1, 3, 32, 32))


def test_arguments_without_weights_switch_off_what_would_be_fetched_and_nothing_else():
    arguments = {"encoder_weights": "imagenet", "classes": 2}
    bare = WrappedNet.without_weights({"classes": 2, "network": UNET, "arguments": arguments})
    assert bare["arguments"] == {"encoder_weights": None, "classes": 2}
    assert arguments["encoder_weights"] == "imagenet"
    assert WrappedNet.without_weights({"arguments": {"pretrained": True}})["arguments"] == {"pretrained": False}
    assert WrappedNet.without_weights({"network": UNET})["arguments"] == {"encoder_weights": None}  # smp's own default
    lraspp = {"network": "torchvision.models.segmentation.lraspp_mobilenet_v3_large"}
    assert WrappedNet.without_weights(lraspp)["arguments"] == {"weights": None, "weights_backbone": None}
    fcn = {"network": "torchvision.models.segmentation.fcn_resnet50", "arguments": {"weights": "DEFAULT"}}
    assert WrappedNet.without_weights(fcn)["arguments"]["aux_loss"]  # as torchvision builds it with weights
