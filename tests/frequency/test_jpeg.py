import pytest
import torch

from segkd.frequency.jpeg import RandomJpeg, libjpeg
from segkd.frequency.spectrum import psnr
from segkd.types import InputError
from tests.frequency.test_image import decoded, natural, to_tensor


def test_it_is_libjpeg_byte_for_byte():
    image = natural(64, 0)
    pair = torch.cat([to_tensor(image)] * 2)
    out = libjpeg(pair, [20, 90])
    for one, quality in zip(out, (20.0, 90.0)):
        expected = decoded(image, quality, subsampling=2)[0]
        assert float(psnr(one[None], expected[None])) > 45  # two builds of libjpeg may round apart


def test_greys_become_the_nearest_byte_and_stay_it_at_the_highest_quality():
    greys = torch.arange(0, 256, 5).view(-1, 1, 1, 1).expand(-1, 3, 8, 8) / 255
    for off in (-0.4, 0.4):
        torch.testing.assert_close(libjpeg(greys + off / 255, [100] * len(greys)), greys, rtol=0, atol=1e-6)


def test_both_codecs_draw_a_quality_per_image_and_agree(make_batch):
    image = torch.cat([to_tensor(natural(64, seed)) for seed in range(3)])
    batch = make_batch(b=3, size=(64, 64))
    batch = type(batch)(image, image, batch.label, batch.soft, batch.ids)
    outs = []
    for codec in ("cv2", "kornia"):
        torch.manual_seed(5)
        outs.append(RandomJpeg((20, 80), codec, 1.0)(batch).image)
    assert psnr(*outs).min() > 30
    assert psnr(outs[0], image).max() < 45
    assert torch.equal(RandomJpeg((30, 30), probability=1.0)(batch).image, libjpeg(image, [30] * 3))


def test_impossible_settings_are_named():
    with pytest.raises(InputError, match=r"RandomJpeg: quality is \[low, high\].*\[80.0, 20.0\]"):
        RandomJpeg((80, 20))
