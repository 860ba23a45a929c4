import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from segkd.models.fusion import FusionNet
from segkd.models.network import Network, padding
from segkd.models.smp import SmpNet
from segkd.models.taps import evaluating, layers_alone, tapped
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError, Prediction
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


def test_layers_alone_are_those_of_the_whole_network_which_stops_there():
    network = FusionNet(2, TINY, None, 16).eval()
    image, asked = torch.rand(1, 3, 64, 64), []
    network.head.register_forward_pre_hook(lambda *_: asked.append(True))
    for paths in (["encoder"], ["mix:in", "encoder"]):
        whole, alone = tapped(network, image, paths).features, layers_alone(network, image, paths)
        assert len(asked) == 1 and len(whole) == len(alone) and all(map(torch.equal, whole, alone))
        asked.clear()
    with pytest.raises(InputError, match=r"no layer 'mixx'"):
        layers_alone(network, image, ["mixx"])
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


def test_what_a_layer_reads_and_the_names_that_any_network_knows():
    network, image = SmpNet(2, "FPN", TINY, None).eval(), torch.rand(1, 3, 32, 32)
    own = tapped(network, image, None)
    for path in ("network.segmentation_head:in", "head:in"):
        assert torch.equal(tapped(network, image, [path]).features[0], own.features[0])
    assert network.layer("encoder.model") is network.network.encoder.model
    plain = WrappedNet(2, "tests.models.test_taps.Plain", {"classes": 2})
    with pytest.raises(InputError, match="no layer 'head'"):
        plain.layer("head")
    named = WrappedNet(2, "tests.models.test_taps.Plain", {"classes": 2}, head_layer="last")
    assert named.layer("head") is named.network.last


def test_layers_that_give_their_channels_last_give_maps_like_all_others():
    network, image = FusionNet(2, "mambaout_femto", None, 16).eval(), torch.rand(1, 3, 64, 64)
    assert network.encoder.channels_last
    for paths in (["encoder", "encoder.body"], ["encoder.body.stages_1", "encoder.body.stages_1.blocks"]):
        one, other = (tapped(network, image, [path]).features for path in paths)
        assert len(one) == len(other) and all(map(torch.equal, one, other))
    (level,) = tapped(network, image, ["encoder.body.stages_1"]).features
    assert level.shape[1] == network.encoder.channels[1]
    (stem,) = tapped(network, image, ["encoder.body.stem.conv1"]).features
    assert stem.shape[1] == network.layer("encoder.body.stem.conv1").out_channels


class Body(Network):
    """A body of any library, without a head."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> Prediction:
        self.body(image)
        return Prediction(image[:, :2])


def swin(**settings) -> nn.Module:
    parts = {"patch_size": [4, 4], "embed_dim": 16, "depths": [1, 1], "num_heads": [1, 1], "window_size": [2, 2]}
    return torchvision.models.SwinTransformer(**parts | settings)


def timm_body(name: str, **settings) -> nn.Module:
    return timm.create_model(name, features_only=True, **settings)


@pytest.mark.parametrize("size", [(64, 64), (64, 128)])
@pytest.mark.parametrize(
    ("make", "path", "channels", "stride"),
    [
        (lambda: timm_body("test_mambaout"), "body.stem.act", 8, 2),
        (lambda: timm_body("test_mambaout"), "body.stem:in", 3, 1),
        (lambda: timm_body("test_mambaout"), "body.stages_1", 32, 8),
        (lambda: timm_body("test_maxvit", img_size=64), "body.stages_0.blocks.0.attn_block", 32, 4),
        (lambda: timm_body("test_maxvit", img_size=64), "body.stages_0.blocks.0.conv", 32, 4),
        (swin, "body.features.0.0", 16, 4),
        (swin, "body.features.1", 16, 4),
        (swin, "body.features.1.0.mlp:in", 16, 4),
        (swin, "body.features.2", 32, 8),
        (lambda: timm_body("test_convnext"), "body.stages_0", 24, 4),
    ],
)
def test_maps_are_read_as_they_lie_whatever_part_of_a_network_they_come_from(make, path, channels, stride, size):
    network, image = Body(make()).eval(), torch.rand(2, 3, *size)
    for read in (lambda: tapped(network, image, [path]).features, lambda: layers_alone(network, image, [path])):
        (level,) = read()
        assert level.shape == (2, channels, size[0] // stride, size[1] // stride)


def test_where_both_readings_fit_another_image_tells():
    image = torch.rand(1, 3, 64, 64)
    for body, path, turned in ((swin(), "body.features.1", True), (timm_body("test_convnext"), "body.stages_0", False)):
        square = image if turned else torch.rand(1, 3, 96, 96)  # 16 channels at 16 x 16, and 24 at 24 x 24
        network, seen = Body(body).eval(), []
        hook = network.layer(path).register_forward_hook(lambda _m, _i, output, seen=seen: seen.append(output))
        (level,) = tapped(network, square, [path]).features
        assert level.shape[1] == level.shape[2] == level.shape[3] and len(seen) == 2
        assert torch.equal(level, seen[0].movedim(-1, 1) if turned else seen[0])
        tapped(network, square, [path])
        assert len(seen) == 3  # it was told once
        hook.remove()


class Normed(nn.Module):
    """Normalises over channels, which it leaves last."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.movedim(1, -1))


class Back(Normed):
    """Likewise, and puts them back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).movedim(-1, 1)


def test_layers_that_come_after_the_first_look_are_looked_at_themselves():
    network, image = Body(nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.Identity())).eval(), torch.rand(1, 3, 64, 64)
    for layer, turned in ((nn.Identity(), False), (Normed(), True), (Back(), False), (Normed(), True)):
        network.body[1] = layer
        (level,) = tapped(network, image, ["body.1"]).features  # 16 x 16 x 16 each time
        given = layer(network.body[0](image))
        assert torch.equal(level, given.movedim(-1, 1) if turned else given)


def test_what_is_no_map_of_each_image_or_cannot_be_told_is_refused():
    network, image = Body(swin()).eval(), torch.rand(1, 3, 64, 64)
    monkey = network.layer("body.features.0")
    hook = monkey.register_forward_pre_hook(lambda _m, given: fail() if given[0].shape[-1] != 64 else None)
    with pytest.raises(InputError, match=r"\(1, 16, 16, 16\), which reads as both. Choose another data.size, or name"):
        tapped(network, image, ["body.features.1"])
    hook.remove()
    network = Body(timm_body("test_maxvit", img_size=64)).eval()
    with pytest.raises(
        InputError, match=r"maps \[b c h w\] or \[b h w c\] of 2 images.*which is neither. Name another"
    ):
        tapped(network, torch.rand(2, 3, 128, 128), ["body.stages_0.blocks.0.attn_block.attn"])


def test_strips_of_a_network_of_convolutions_keep_their_order():
    network = Body(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.AdaptiveAvgPool2d((16, 1)))).eval()
    (level,) = tapped(network, torch.rand(1, 3, 64, 64), ["body.1"]).features
    assert level.shape == (1, 16, 16, 1)


def fail() -> None:
    raise RuntimeError("one size only")


class ByName(nn.Module):
    """Calls one layer with its image by name, and one with nothing at all."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.last, self.source = Plain(classes), Source()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x=x + self.source())


class Source(nn.Module):
    def forward(self) -> float:
        return 1.0


def test_what_a_layer_reads_may_be_given_to_it_by_name():
    network, image = WrappedNet(2, "tests.models.test_taps.ByName", {"classes": 2}).eval(), torch.rand(1, 3, 32, 32)
    whole = tapped(network, image, ["network.last", "network.last:in"])
    assert torch.equal(whole.features[1], tapped(network, image, ["network.last.last:in"]).features[0])
    assert whole.features[1].shape == image.shape
    with pytest.raises(InputError, match=r"expected layer 'network\.source:in' to give maps \[b c h w\], found"):
        tapped(network, image, ["network.source:in"])


def test_the_image_and_empty_levels_of_an_smp_encoder_are_no_features():
    network, image = SmpNet(2, "FPN", TINY, None).eval(), torch.rand(1, 3, 40, 40)
    handed = network.network.encoder(padding(image, 32))
    found = tapped(network, image, ["encoder"]).features
    assert handed[0].shape[1] == 3 and [one.shape for one in found] == [one.shape for one in handed[1:]]
    transformer = SmpNet(2, "Segformer", "pvt_v2_b0", None).eval()
    assert [one.shape[1] for one in tapped(transformer, image, ["encoder"]).features] == [32, 64, 160, 256]


class Plain(nn.Module):
    """A network of another package."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x)
