import pytest
import torch
from torch import nn

from segkd.models.complexity import complexity, latency
from segkd.models.decoder import resize
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.types import Prediction


class Counted(Network):
    """3x3 convolution 3 -> 8 at stride 2, BatchNorm, 3x3 depthwise, 1x1 to the classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.Conv2d(8, classes, 1),
        )

    def forward(self, image: torch.Tensor) -> Prediction:
        return Prediction(resize(self.body(image), image))


def counted_by_hand(classes: int, height: int, width: int) -> int:
    """kernel area * channels in / groups * channels out * pixels out, convolution by convolution."""
    pixels = -(-height // 2) * -(-width // 2)
    return pixels * (9 * 3 * 8 + 9 * 8 + 8 * classes)


@pytest.mark.parametrize(("classes", "size"), [(2, (16, 24)), (11, (33, 47))])
def test_macs_and_flops_are_those_counted_by_hand(classes, size):
    cost = complexity(Counted(classes), size)
    assert cost.macs == counted_by_hand(classes, *size)
    assert cost.flops == 2 * cost.macs
    assert cost.size == size


class Attentive(Network):
    """Patches of 8 x 8 to 16 channels, which attend to each other in four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.attention = nn.Conv2d(3, 16, 8, 8), nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, image: torch.Tensor) -> Prediction:
        rows = self.patches(image).flatten(2).transpose(1, 2)
        mixed, _ = self.attention(rows, rows, rows, need_weights=False)
        return Prediction(mixed.transpose(1, 2).unflatten(2, (image.shape[2] // 8, -1)))


def test_torch_s_own_attention_is_counted():
    """Four projections, the products of queries and keys, and those with values."""
    n = 4 * 3
    projections, products = 4 * n * 16 * 16, 2 * n * n * 16
    assert complexity(Attentive(), (32, 24)).macs == n * 16 * 3 * 64 + projections + products
    assert torch.backends.mha.get_fastpath_enabled()


def test_parameters_are_counted_and_split_into_trainable_and_frozen():
    network = Counted(2)
    every = (9 * 3 * 8 + 8) + 2 * 8 + 9 * 8 + (8 * 2 + 2)
    assert complexity(network, (16, 16)).parameters == complexity(network, (16, 16)).trainable == every
    network.layer("body.0").requires_grad_(False)
    cost = complexity(network, (16, 16))
    assert (cost.parameters, cost.trainable) == (every, every - (9 * 3 * 8 + 8))


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    network = Counted(2).train(training)
    network.body[1].train(not training)  # as a frozen layer is, against the rest
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    complexity(network, (16, 16))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_the_cost_of_a_fusion_net_grows_with_the_image_and_says_its_units():
    network = FusionNet(2, "test_efficientnet", None, 16)
    small, large = complexity(network, (32, 32)), complexity(network, (64, 64))
    assert 3.0 < large.macs / small.macs <= 4.0  # the pooled context does not grow
    assert small.parameters == sum(p.numel() for p in network.parameters())
    assert all(unit in str(large) for unit in ("GMACs", "GFLOPs", "64x64", "trainable"))


def test_latency_counts_calls_by_the_clock_it_is_given():
    ticks = iter([step for call in range(23) for step in (call, call + 0.001 * max(call - 2, 1))])
    found = latency(lambda: None, runs=20, clock=lambda: next(ticks))
    assert found.p50 == pytest.approx(10.5) and found.p95 == pytest.approx(19.05)
    assert str(found) == "p50 10.5 ms, p95 19.1 ms" or str(found) == "p50 10.5 ms, p95 19.0 ms"
