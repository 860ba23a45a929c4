from dataclasses import replace

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


def faint(make_batch, b: int = 2):
    """Images of so little contrast that no result is cut at 0 or 1."""
    image = 0.5 + 0.02 * torch.rand(b, 3, 16, 16, dtype=torch.float64)
    return replace(make_batch(b=b, size=(16, 16)), image=image, clean=image)


def test_of_two_images_each_takes_the_amplitudes_of_the_other(make_batch):
    batch = faint(make_batch)
    image, other = batch.image, batch.image.flip(0)
    torch.testing.assert_close(FDA(0.2, 1.0)(batch).image, fda(image, other, 0.2))
    torch.testing.assert_close(APRP(1.0)(batch).image, amplitude_mix(image, other, torch.ones(2, 1, 1, 1)))


def test_amplitudes_are_mixed_in_a_share_of_each_image_s_own_up_to_the_largest(make_batch):
    batch, shares = faint(make_batch), []
    own = half_plane(batch.image).abs()
    gap = own.flip(0) - own
    for _ in range(20):
        found = half_plane(AmpMix(0.4, 1.0)(batch).image).abs() - own
        share = (found * gap).sum(dim=(1, 2, 3), keepdim=True) / gap.square().sum(dim=(1, 2, 3), keepdim=True)
        torch.testing.assert_close(found, share * gap, rtol=0, atol=1e-6)
        shares.append(share.flatten())
    found = torch.stack(shares)
    assert 0 <= found.min() < 0.05 and 0.35 < found.max() <= 0.4 + 1e-6 and (found[:, 0] != found[:, 1]).all()


def test_apr_s_has_its_own_phases_and_its_own_amplitudes_or_those_of_its_mirror_image(make_batch):
    batch = faint(make_batch, b=8)
    out = APRS(0.0, 1.0)(batch).image  # nothing is recoloured
    turned = with_amplitude(batch.image, half_plane(batch.image.flip(-1)).abs())
    like = [torch.isclose(out, one).flatten(1).all(dim=1) for one in (batch.image, turned)]
    assert (like[0] != like[1]).all() and like[0].any() and like[1].any()


@pytest.mark.parametrize("drawn", [0.0, 0.25, 1.0])
def test_recolouring_is_gain_gamma_and_shift_within_its_strength(drawn, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, drawn))
    x, octaves = torch.linspace(0.01, 1, 48).view(1, 3, 4, 4), 0.8 * (2 * drawn - 1)
    torch.testing.assert_close(recoloured(x, 0.8), (x**2**octaves * 2**octaves + octaves / 4).clamp(0, 1))


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
