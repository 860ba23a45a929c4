import io
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from segkd.frequency.color import doubled, eight_bit, halved, luma_and_small_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from segkd.frequency.image import changed, plane_groups, quantize_image, refuse_image, refuse_range, refuse_share
from segkd.frequency.quantize import per_coefficient
from segkd.frequency.rounding import straight_through
from segkd.frequency.spectrum import psnr
from segkd.frequency.tables import annex_k
from segkd.types import InputError


def natural(side: int, seed: int) -> np.ndarray:
    """A colour image uint8 with a 1/f spectrum, as photographs have; channels are correlated as theirs are."""
    draw = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    radius[0, 0] = np.inf
    fields = [
        np.fft.irfft2(np.fft.rfft2(draw.standard_normal((side, side))) / radius, s=(side, side)) for _ in range(3)
    ]
    light, *colour = [field / field.std() for field in fields]
    image = np.stack([light + 0.3 * colour[0], light - 0.15 * sum(colour), light + 0.3 * colour[1]], axis=-1)
    return (np.clip(0.5 + 0.18 * image, 0, 1) * 255 + 0.5).astype(np.uint8)


def tables(quality: float) -> list[torch.Tensor]:
    luma, chroma = annex_k(quality, False), annex_k(quality, True)
    return [per_coefficient(luma.expand(1, 8, 8)), per_coefficient(chroma.expand(2, 8, 8))]


def decoded(image: np.ndarray, quality: float, subsampling: int) -> torch.Tensor:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality), subsampling=subsampling)
    return to_tensor(np.asarray(Image.open(file)))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255


def distance(one: torch.Tensor, two: torch.Tensor) -> float:
    return float(psnr((one.clamp(0, 1) * 255).round() / 255, two))


@pytest.mark.parametrize("quality", [10.0, 30.0, 50.0, 80.0, 95.0])
def test_it_is_libjpeg_at_43_db_and_more(quality):
    found = []
    for seed in range(6):
        image = natural(256, seed)
        ours = quantize_image(to_tensor(image), tables(quality), straight_through, color="ycbcr420")
        found.append(distance(ours, decoded(image, quality, subsampling=2)))
    assert min(found) >= 43


@pytest.mark.parametrize("quality", [1.0, 10.0, 50.0])
@pytest.mark.parametrize("color", ["ycbcr420", "ycbcr444", "rgb"])
def test_grey_128_stays_128(color, quality):
    """JPEG's level shift: with .5 in its place the coarsest tables make it 127."""
    laid = tables(quality) if color == "ycbcr420" else [torch.cat(tables(quality), dim=1)]
    grey = torch.full((1, 3, 32, 32), 128 / 255)
    torch.testing.assert_close(quantize_image(grey, laid, straight_through, color=color), grey, rtol=0, atol=1e-6)


def test_without_chroma_subsampling_it_is_libjpeg_too():
    image = natural(256, 0)
    both = torch.cat([tables(50.0)[0], tables(50.0)[1]], dim=1)
    ours = quantize_image(to_tensor(image), [both], straight_through, color="ycbcr444")
    assert distance(ours, decoded(image, 50, subsampling=0)) >= 44.5


def test_faithful_is_nearer_to_libjpeg_than_fast():
    image = natural(128, 0)
    near, far = (
        distance(quantize_image(to_tensor(image), tables(80.0), straight_through, faithful=b), decoded(image, 80, 2))
        for b in (True, False)
    )
    assert near > far + 3


def test_colours_round_trip_and_grey_has_no_chroma():
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    there = rgb_to_ycbcr(image)
    torch.testing.assert_close(ycbcr_to_rgb(there[:, :1], there[:, 1:]), image, rtol=0, atol=1e-6)
    grey = rgb_to_ycbcr(torch.full((1, 3, 2, 2), 0.3, dtype=torch.float64))
    torch.testing.assert_close(grey[0, :, 0, 0], torch.tensor([0.3, 0, 0], dtype=torch.float64), rtol=0, atol=1e-8)
    corners = torch.stack(torch.meshgrid(*[torch.tensor([0.0, 1.0])] * 3, indexing="ij"), dim=-1).view(8, 3, 1, 1)
    assert rgb_to_ycbcr(corners)[:, 1:].abs().max() <= 0.5 + 1e-6


def test_halved_and_doubled():
    chroma = torch.rand(1, 2, 6, 4)
    assert torch.equal(halved(doubled(chroma, bilinear=False)), chroma)
    line = doubled(torch.tensor([[[[0.0, 1.0]]]]), bilinear=True)[0, 0, 0]
    assert line.tolist() == [0.0, 0.25, 0.75, 1.0]
    chroma = chroma.double().requires_grad_()
    assert torch.autograd.gradcheck(halved, [chroma])
    assert torch.autograd.gradcheck(partial(doubled, bilinear=False), [chroma])


@pytest.mark.parametrize("color", ["rgb", "ycbcr444", "ycbcr420"])
@pytest.mark.parametrize("size", [(1, 1), (13, 22), (32, 16)])
def test_any_size_and_a_fine_table_changes_nothing(color, size):
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    if color == "ycbcr420":  # chroma without detail, or halving it would lose some
        image = image.mean(dim=1, keepdim=True).repeat(1, 3, 1, 1)
    fine = [torch.full((1, 1, 1, 1, 1, 1), 1e-4, dtype=torch.float64)] * len(plane_groups(color))
    out = quantize_image(image, fine, straight_through, color=color, faithful=False)
    torch.testing.assert_close(out, image, rtol=0, atol=1e-3)


def test_the_gradient_reaches_image_and_both_tables():
    image = torch.rand(1, 3, 20, 36, dtype=torch.float64, requires_grad=True)
    parts = [table.double().requires_grad_() for table in tables(30.0)]
    out = quantize_image(image, parts, straight_through)
    grads = torch.autograd.grad((out * torch.randn_like(out)).sum(), [image, *parts])
    assert all(grad.isfinite().all() and (grad != 0).any() for grad in grads)


def test_changed_keeps_the_rest_of_the_batch_and_the_memory_order(make_batch):
    batch = make_batch(b=4)
    image = batch.image.contiguous(memory_format=torch.channels_last)
    batch = type(batch)(image, image, batch.label, batch.soft, batch.ids)
    out = changed(batch, 1.0, lambda x, rows: x + 0.7)
    assert out.image.is_contiguous(memory_format=torch.channels_last)
    assert out.image.max() == 1 and out.clean is image and out.label is batch.label and out.ids == batch.ids


def test_probability_is_the_share_of_images_that_change(make_batch):
    batch, shares = make_batch(b=8, size=(8, 8)), []

    def inverted(x, rows):
        assert torch.equal(x, batch.image[rows])
        return 1 - x

    for _ in range(60):
        out = changed(batch, 0.25, inverted)
        shares.append(float((out.image != batch.image).flatten(1).any(dim=1).float().mean()))
    assert sum(shares) / 60 == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.full((1, 3, 8, 8), float("nan")), "NaN"),
        (torch.full((1, 3, 8, 8), 200.0), r"200\.\.200.*Divide by 255"),
        (torch.full((1, 3, 8, 8), -0.5), r"-0\.5"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 1, 8, 8), r"\(1, 1, 8, 8\)"),
    ],
)
def test_images_that_are_not_rgb_in_0_to_1_are_named(image, words):
    with pytest.raises(InputError, match=words):
        refuse_image(image)


def test_settings_out_of_range_are_named():
    refuse_share("X", "p", 1.0)
    refuse_range("X", "r", (0.1, 0.1), 0.0, 1.0)
    with pytest.raises(InputError, match=r"X: p must be above 0.*found 0"):
        refuse_share("X", "p", 0.0)
    with pytest.raises(InputError, match=r"X: r is \[low, high\].*\[0.5, 0.1\]"):
        refuse_range("X", "r", (0.5, 0.1), 0.0, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_chroma_is_libjpegs_where_a_mean_of_four_bytes_is_a_half(dtype):
    image = torch.rand(2, 3, 32, 48, dtype=dtype, generator=torch.Generator().manual_seed(1))
    bytes_ = (rgb_to_ycbcr(image)[:, 1:] * 255).round().long() + 128
    four = bytes_.unflatten(2, (16, 2)).unflatten(4, (24, 2)).sum(dim=(3, 5))
    expected = (four + torch.tensor([1, 2]).repeat(12)) // 4  # h2v2_downsample
    assert (four % 4 == 2).sum() > 300
    _, small = luma_and_small_chroma(image, faithful=True)
    torch.testing.assert_close(small * 255 + 128, expected.to(dtype), rtol=0, atol=1e-3)


def test_bytes_have_the_gradient_of_what_they_round():
    planes = torch.rand(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    out = eight_bit(planes)
    torch.testing.assert_close(out * 255, (planes * 255).round())
    assert torch.equal(torch.autograd.grad(out.sum(), planes)[0], torch.ones_like(planes))


def test_when_nobody_is_chosen_nothing_changes_and_what_learns_stays_in_the_graph(make_batch):
    batch, level = make_batch(b=2), torch.zeros((), requires_grad=True)
    out = changed(batch, 1e-9, lambda x, rows: x + level)
    assert torch.equal(out.image, batch.image)
    assert torch.autograd.grad(out.image.sum(), level)[0] == 0


@pytest.mark.parametrize("wrong", [200.0, math.nan, math.inf])
def test_an_image_that_is_none_is_refused(wrong):
    with pytest.raises(InputError, match="Divide by 255" if wrong == 200 else str(wrong).replace("nan", "NaN")):
        quantize_image(torch.full((1, 3, 16, 16), wrong), tables(50.0), straight_through)
    with pytest.raises(InputError, match=r"\(0, 3, 16, 16\)"):
        quantize_image(torch.zeros(0, 3, 16, 16), tables(50.0), straight_through)


def test_tables_that_do_not_fit_the_planes_are_refused():
    image = torch.rand(1, 3, 16, 16)
    with pytest.raises(InputError, match="ycbcr420 takes 2 table"):
        quantize_image(image, tables(50.0)[:1], straight_through)
    with pytest.raises(InputError, match=r"ycbcr444 takes 1 table.* of 3 channels"):
        quantize_image(image, [per_coefficient(torch.full((2, 8, 8), 0.1))], straight_through, color="ycbcr444")


@pytest.mark.parametrize("color", ["rgb", "ycbcr444", "ycbcr420"])
def test_a_half_image_is_worked_on_in_float32(color):
    image = torch.rand(2, 3, 16, 16).bfloat16()
    table = [per_coefficient(torch.full((1, 8, 8), 0.02))] * len(plane_groups(color))
    exact = quantize_image(image.float(), table, straight_through, color=color)
    with torch.autocast("cpu", torch.bfloat16):
        half = quantize_image(image, table, straight_through, color=color)
        assert torch.equal(quantize_image(image.float(), table, straight_through, color=color), exact)
    assert half.dtype == torch.bfloat16 and torch.equal(half, exact.bfloat16())
