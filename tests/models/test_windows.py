import numpy as np
import pytest
import torch

from segkd.models.network import Network
from segkd.models.windows import hill, slide, starts
from segkd.types import InputError, Prediction


class Copy(Network):
    """Logits that are the pixels, scaled by what the window's mean is not: any two windows that see alike agree."""

    def __init__(self, uneven: bool = False) -> None:
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))
        self.uneven, self.sizes = uneven, []

    def forward(self, image: torch.Tensor) -> Prediction:
        self.sizes.append(tuple(image.shape))
        return Prediction(image[:, :2] + (image.mean(dim=(1, 2, 3), keepdim=True) if self.uneven else 0))


def picture(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(70, 50), (16, 24), (10, 90), (33, 24)])
@pytest.mark.parametrize("stride", [0.3, 0.5, 1.0])
def test_windows_that_agree_give_the_whole_image(size, stride):
    image, network = picture(size), Copy()
    bands = list(slide(network, image, (16, 24), stride))
    expected = torch.from_numpy(image).permute(2, 0, 1)[:2].float() / 255
    torch.testing.assert_close(torch.cat(bands, dim=1), expected)
    assert {shape[2:] for shape in network.sizes} == {(16, 24)}
    assert max(band.shape[1] for band in bands) <= 16  # no more than a row of windows is held


def test_windows_that_differ_are_blended_without_a_seam():
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, 40:] = 255
    blended = torch.cat(list(slide(Copy(uneven=True), image, (32, 32), 0.5)), dim=1)[0, 16]
    hard = torch.cat(list(slide(Copy(uneven=True), image, (32, 32), 1.0)), dim=1)[0, 16]
    inside = [n for n in range(95) if n != 39]  # the image's own edge
    step = [max(abs(float(row[n + 1] - row[n])) for n in inside) for row in (blended, hard)]
    assert step[0] < step[1] / 2


class Place(Network):
    """Says where in the window a pixel lies, and how bright the window is."""

    def forward(self, image):
        ramp = torch.arange(image.shape[2])[:, None] + 10.0 * torch.arange(image.shape[3])
        return Prediction(torch.cat([ramp.expand_as(image[:, :1]), image.mean(dim=1, keepdim=True) * ramp], dim=1))


@pytest.mark.parametrize(
    ("size", "window", "stride"), [((9, 31), (6, 8), 0.4), ((5, 20), (7, 9), 0.7), ((14, 8), (5, 8), 1.0)]
)
def test_each_pixel_is_the_mean_of_its_windows_by_how_far_it_lies_from_their_middles(size, window, stride):
    image, (h, w), (high, wide) = picture(size), size, window
    found = torch.cat(list(slide(Place(), image, window, stride)), dim=1)

    def begins(side, one):
        step, steps = max(1, round(one * stride)), 1
        while (steps - 1) * step < side - one:
            steps += 1
        return [round(i * (side - one) / (steps - 1)) if steps > 1 else 0 for i in range(steps)]

    for y, x in np.ndindex(h, w):
        above, below = np.zeros(2), 0.0
        for top in begins(max(h, high), high):
            for left in begins(max(w, wide), wide):
                i, j = y - top, x - left
                if 0 <= i < high and 0 <= j < wide:
                    near = ((i - (high - 1) / 2) / (high / 8)) ** 2 + ((j - (wide - 1) / 2) / (wide / 8)) ** 2
                    weight = max(np.exp(-near / 2), 1e-3)
                    above += weight * (i + 10 * j) * np.array([1, image[y, x].mean() / 255])
                    below += weight
        np.testing.assert_allclose(found[:, y, x], above / below, rtol=1e-4, atol=1e-4)


def test_windows_reach_both_ends_and_lie_no_further_apart_than_asked():
    for side in (32, 33, 100, 257):
        found = starts(side, 32, 0.5)
        assert found[0] == 0 and found[-1] == side - 32 and max(np.diff(found), default=0) <= 16


def test_the_middle_of_a_window_counts_most_and_nothing_counts_naught():
    weights = hill((8, 16))
    assert weights.min() >= 1e-3 and weights[3:5, 7:9].min() > 0.7 and weights.argmax() in (3 * 16 + 7, 3 * 16 + 8)
    torch.testing.assert_close(weights, weights.flip(0, 1))


@pytest.mark.parametrize("stride", [0.0, 1.2, float("nan")])
def test_a_stride_that_is_no_share_is_refused(stride):
    with pytest.raises(InputError, match="stride"):
        list(slide(Copy(), picture((8, 8)), (4, 4), stride))
