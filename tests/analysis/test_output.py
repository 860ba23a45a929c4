import pytest
import torch

from segkd.analysis.output import output_stride, planes, through_stride
from segkd.frequency.rings import ring_energy, ring_matrix
from segkd.models.fusion import FusionNet
from segkd.models.smp import SmpNet
from segkd.models.wrapped import WrappedNet
from segkd.types import IGNORE
from tests.analysis.networks import Constant
from tests.conftest import TINY


def test_planes_of_two_classes_are_the_foreground():
    label = torch.tensor([[[0, 1], [IGNORE, 1]]])
    shares = torch.tensor([[[[0.8, 0.1], [0.5, 0.3]], [[0.2, 0.9], [0.5, 0.7]]]])
    shown, truth = planes(shares, label)
    assert torch.equal(truth, torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
    assert torch.equal(shown, torch.tensor([[[[0.2, 0.9], [0.0, 0.7]]]]))
    shown, truth = planes(torch.rand(1, 3, 2, 2), label)
    assert shown.shape == (1, 3, 2, 2) and truth.sum() == 3


def test_both_classes_have_the_same_error_in_every_band():
    label = (torch.rand(2, 32, 32) > 0.6).long()
    shares = torch.randn(2, 2, 32, 32).softmax(dim=1)
    truth = torch.nn.functional.one_hot(label, 2).permute(0, 3, 1, 2)
    energy = ring_energy(shares - truth, ring_matrix(32, 32))
    assert torch.allclose(energy[:, 0], energy[:, 1], rtol=1e-4)


def test_an_independent_prediction_errs_as_theory_says():
    """E_b^2 = 1 + |P_b p|^2 / |P_b g|^2 where p and g are independent: to know nothing and say much is worse than 1."""
    label = (torch.rand(400, 24, 24) > 0.5).float()
    guess = torch.rand(400, 24, 24)
    matrix = ring_matrix(24, 24)
    label_energy, guess_energy, error = (
        ring_energy(field, matrix).sum(dim=0)[2:] for field in (label, guess, guess - label)
    )
    assert torch.allclose(error / label_energy, 1 + guess_energy / label_energy, rtol=0.03)


def test_a_label_drawn_at_a_stride_loses_high_bands_first():
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    label = (
        torch.hypot(rows - 45, columns - 50) < 22 + 5 * torch.sin(4 * torch.atan2(rows - 45, columns - 50))
    ).float()
    label = label.view(1, 1, 96, 96)
    matrix = ring_matrix(96, 96)
    below = ring_energy(label, matrix).sum(dim=(0, 1))
    errors = {}
    for stride in (1, 2, 4, 8):
        errors[stride] = (ring_energy(through_stride(label, stride) - label, matrix).sum(dim=(0, 1)) / below).sqrt()
    assert errors[1].max() == 0
    assert (errors[8] > errors[4])[:5].all() and (errors[4] > errors[2])[:5].all()
    assert errors[4][0] < 0.1 and errors[4][6] > 3 * errors[4][2]
    both = torch.cat([1 - label, label], dim=1)  # as two classes: the same drawing
    assert torch.allclose(through_stride(both, 4)[:, 1:], through_stride(label, 4), atol=0.02)


@pytest.mark.parametrize("architecture,stride", [("FPN", 4), ("Unet", 1), ("DeepLabV3Plus", 4), ("Segformer", 4)])
def test_the_stride_of_known_decoders_is_found(architecture, stride):
    assert output_stride(SmpNet(3, architecture, TINY, weights=None).eval(), 3, (64, 96)) == stride


def test_the_stride_of_ours_and_of_no_convolution():
    assert output_stride(FusionNet(2, TINY, weights=None).eval(), 2, (64, 64)) == 2
    assert output_stride(Constant(2), 2, (32, 32)) == 1


@pytest.mark.parametrize("side", [33, 65, 100, 128])
def test_the_stride_of_a_network_that_pads_is_that_of_the_padded_size(side):
    arguments = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 2}
    network = WrappedNet(2, "segmentation_models_pytorch.FPN", arguments)
    assert output_stride(network.eval(), 2, (side, side)) == 4
