import numpy as np
import pytest
import torch

from segkd.analysis.evidence import Condition
from segkd.analysis.reliance import (
    block_sensitivity,
    by_ring,
    changed,
    conditions,
    contrasts,
    flat_noise,
    sensitivity,
)
from segkd.frequency.rings import EDGES, power, ring_energy, ring_matrix, ring_of
from segkd.types import IGNORE
from tests.analysis.networks import WEIGHTS, Constant, Filter

SIZES = [(16, 16), (15, 20), (24, 17)]


@pytest.mark.parametrize("size", SIZES)
def test_flat_noise_has_modulus_one_at_every_frequency(size):
    noise = flat_noise(*size, seed=3)
    spectrum = torch.fft.rfft2(noise.double(), norm="ortho").abs()
    assert torch.allclose(spectrum, torch.ones_like(spectrum), atol=1e-5)
    assert not torch.equal(noise, flat_noise(*size, seed=4))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [0, 7])
def test_the_sensitivity_of_a_linear_filter_is_its_squared_response(size, seed):
    network = Filter(2, torch.randn(5, 5, generator=torch.Generator().manual_seed(seed)))
    image = torch.rand(2, 3, *size)
    found = sensitivity(network, image, torch.zeros(2, *size, dtype=torch.long), [seed, seed + 1]).power
    expected = network.response(*size).abs().square() * sum(w**2 for w in WEIGHTS)
    error = (found - expected).abs().max() / expected.max()
    assert error < 1e-6


def test_a_constant_network_is_sensitive_to_nothing():
    found = sensitivity(Constant(2), torch.rand(1, 3, 16, 16), torch.zeros(1, 16, 16, dtype=torch.long), [0])
    assert found.power.abs().max() == 0 and found.dct.abs().max() == 0


def test_the_block_sensitivity_holds_the_energy_of_the_gradient():
    gradient = torch.randn(2, 3, 16, 24)
    found = block_sensitivity(gradient)
    assert torch.allclose(found.sum(dim=(1, 2)) * 6, gradient.square().sum(dim=(1, 2, 3)), rtol=1e-4)
    assert torch.isnan(block_sensitivity(torch.randn(1, 3, 4, 4))).all()


def test_the_block_sensitivity_places_a_cosine_at_its_coefficient():
    x = torch.arange(16) + 0.5
    gradient = torch.cos(np.pi * 3 * x / 8).expand(1, 3, 16, 16)  # coefficient v = 3 of every block
    found = block_sensitivity(gradient)[0]
    assert found.argmax() == 3 and found[0, 3] > 0.999 * found.sum()


def test_rings_of_a_power_are_means_over_the_full_plane():
    field = torch.randn(2, 12, 15)
    full = torch.fft.fft2(field, norm="ortho").abs().square()
    rho = torch.hypot(torch.fft.fftfreq(12).unsqueeze(1), torch.fft.fftfreq(15))
    found = by_ring(power(field), 15)
    for number, (low, high) in enumerate(zip(EDGES, [*EDGES[1:-1], 2.0])):
        inside = (rho >= low) & (rho < high) & (rho > 0)
        expected = full[:, inside].mean(dim=1) if inside.any() else torch.zeros(2)
        assert torch.allclose(found[:, number], expected, rtol=1e-4), number


def test_every_band_is_left_out_passed_and_disturbed():
    found = conditions()
    assert len(found) == len(set(found)) == 1 + 8 + 7 + 7 + 8 and found[0] == Condition("clean")


@pytest.mark.parametrize(
    "kind,kept", [("stop", lambda r: r != 3), ("low", lambda r: r <= 3), ("high", lambda r: r >= 3)]
)
def test_filters_keep_their_bands_and_the_mean(kind, kept):
    image = torch.rand(2, 3, 64, 48)
    after = changed(image, Condition(kind, 3), 0.1, [0, 1])
    matrix = ring_matrix(64, 48)
    before_energy, energy = ring_energy(image, matrix), ring_energy(after, matrix)
    for ring in range(8):
        expected = before_energy[..., ring] if kept(ring) else torch.zeros(2, 3)
        assert torch.allclose(energy[..., ring], expected, rtol=1e-3, atol=1e-6), ring
    assert torch.allclose(after.mean(dim=(2, 3)), image.mean(dim=(2, 3)), atol=1e-5)


def test_noise_has_its_energy_in_one_band_and_is_the_same_for_every_network():
    image = torch.rand(3, 3, 64, 64)
    after = changed(image, Condition("noise", 5), 0.1, [4, 5, 6])
    added = after - image
    assert torch.allclose(added.square().mean(dim=(1, 2, 3)).sqrt(), torch.full((3,), 0.1), rtol=1e-4)
    energy = ring_energy(added, ring_matrix(64, 64)).sum(dim=(0, 1))
    assert energy[5] > 0.9999 * energy.sum()
    alone = changed(image[1:2], Condition("noise", 5), 0.1, [5])
    assert torch.equal(alone[0], after[1])


def test_a_band_that_the_size_does_not_have_gets_no_noise():
    image = torch.rand(1, 3, 32, 32)
    assert not (ring_of(32, 32) == 0).any()
    assert torch.equal(changed(image, Condition("noise", 0), 0.1, [0]), image)


def test_contrasts_compare_classes_that_are_there():
    label = torch.full((4, 8, 8), IGNORE)
    label[:, :4] = 1
    label[:, 4:6] = 4
    signs = contrasts(label, 6, [0, 1, 2, 3])
    assert torch.equal(signs, torch.tensor([0.0, -1, 0, 0, 1, 0]).expand(4, 6))
    assert torch.equal(contrasts(label.clamp(max=1), 2, [0, 1, 2, 3]), torch.tensor([-1.0, 1.0]).expand(4, 2))
    nothing = contrasts(torch.full((1, 4, 4), IGNORE), 3, [0])
    assert sorted(nothing[0].tolist()) == [-1, 0, 1]
