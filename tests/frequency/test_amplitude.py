import pytest
import torch

from segkd.frequency.amplitude import (
    APRP,
    APRS,
    FDA,
    AmpMix,
    amplitude_mix,
    fda,
    half_plane,
    low_window,
    mirrored,
    partners,
    recoloured,
    with_amplitude,
)
from segkd.types import InputError

SIZES = [(16, 16), (15, 21), (12, 17)]


def pair(size, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.rand(2, 2, 3, *size, dtype=dtype))


@pytest.mark.parametrize("size", SIZES)
def test_fda_is_the_paper_s_formula_on_the_full_plane(size):
    """Angle and amplitude written out; its inverse is real because the window has both its edges."""
    image, other = pair(size)
    source, target = torch.fft.fft2(image), torch.fft.fft2(other)
    reach = int(0.2 * min(size))
    ky, kx = ((torch.fft.fftfreq(n) * n).round().abs() <= reach for n in size)
    window = ky.unsqueeze(1) & kx
    full = torch.fft.ifft2(torch.where(window, target.abs(), source.abs()) * torch.exp(1j * source.angle()))
    assert full.imag.abs().max() < 1e-10
    torch.testing.assert_close(fda(image, other, 0.2), full.real, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_amplitude_mix_is_its_formula_and_ends_in_the_image_and_in_apr_p(size):
    image, other = pair(size)
    source, target = torch.fft.fft2(image), torch.fft.fft2(other)
    share = torch.tensor([0.3, 1.0], dtype=torch.float64).view(2, 1, 1, 1)
    mixed = (1 - share) * source.abs() + share * target.abs()
    expected = torch.fft.ifft2(mixed * torch.exp(1j * source.angle())).real
    torch.testing.assert_close(amplitude_mix(image, other, share), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(amplitude_mix(image, other, 0 * share), image, rtol=0, atol=1e-10)


def test_phases_stay_and_amplitudes_are_those_asked_for():
    image, other = pair((16, 16))
    out = with_amplitude(image, half_plane(other).abs())
    torch.testing.assert_close(half_plane(out).abs(), half_plane(other).abs(), rtol=1e-8, atol=1e-8)
    turn = (half_plane(out) * half_plane(image).conj()).angle().cos()
    assert turn.min() > 1 - 1e-8


def test_a_flat_image_has_no_phase_and_stays_finite():
    flat = torch.full((1, 3, 8, 8), 0.5)
    out = with_amplitude(flat, half_plane(torch.rand(1, 3, 8, 8)).abs())
    assert out.isfinite().all() and (out - out.mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-4


def test_the_window_of_share_zero_is_the_mean_alone():
    assert low_window(8, 9, 0.0, torch.device("cpu")).sum() == 1
    assert low_window(8, 8, 0.25, torch.device("cpu")).sum() == 5 * 3


def test_nobody_is_their_own_partner_and_one_image_has_none():
    for b in (2, 3, 7):
        for _ in range(20):
            other = partners(torch.zeros(b, 3, 1, 1))
            assert (other != torch.arange(b)).all() and sorted(other.tolist()) == list(range(b))
    with pytest.raises(InputError, match="batch_size must be at least 2"):
        partners(torch.zeros(1, 3, 1, 1))


def test_views_of_apr_s_keep_the_geometry_of_the_phase():
    image = torch.rand(8, 3, 12, 12)
    assert recoloured(image, 1e-9).sub(image).abs().max() < 1e-3
    out = mirrored(image)
    options = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    assert all(any(torch.equal(one, o[i]) for o in options) for i, one in enumerate(out))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FDA(0.7), "FDA: share"),
        (lambda: FDA(0.1, 0.0), "probability"),
        (lambda: APRP(2.0), "APRP: probability"),
        (lambda: APRS(-1.0), "APRS: strength"),
        (lambda: AmpMix(0.0), "AmpMix: most"),
    ],
)
def test_impossible_settings_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
