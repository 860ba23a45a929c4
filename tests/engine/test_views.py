import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkd.engine.views import Looking, Looks, untouched
from segkd.models.network import Network
from segkd.models.windows import slide
from segkd.types import InputError, Prediction


class Pixelwise(Network):
    """Reads each pixel by itself and remembers the sizes it saw."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, image):
        self.sizes.append(tuple(image.shape[-2:]))
        return Prediction(torch.cat([-image[:, :1], image[:, 1:2]], dim=1))


class LeftOnly(Network):
    """Predicts a ramp from left to right, whatever it sees."""

    def forward(self, image):
        ramp = torch.linspace(0, 1, image.shape[-1]).expand(image.shape[0], 1, *image.shape[-2:])
        return Prediction(torch.cat([-ramp, ramp], dim=1))


@pytest.mark.parametrize("size", [(64, 64), (70, 131), (40, 90), (30, 20)])
@pytest.mark.parametrize("stride", [0.5, 1.0])
def test_a_sliding_window_sees_every_pixel_once_on_average(size, stride):
    image = torch.rand(1, 3, *size)
    network = Pixelwise()
    found = Looking(network, Looks(slide=True, stride=stride), (64, 64))(image).logits
    torch.testing.assert_close(found, network(image).logits)
    assert set(network.sizes[:-1]) == {(64, 64)}


class Place(Network):
    """Predicts where in the window a pixel lies."""

    def forward(self, image):
        ramp = torch.linspace(0, 1, image.shape[-1]).expand(image.shape[0], 1, *image.shape[-2:])
        down = torch.linspace(0, 2, image.shape[-2])[:, None].expand_as(ramp)
        return Prediction(torch.cat([image[:, :1] - ramp, down], dim=1))


@pytest.mark.parametrize("size", [(64, 64), (70, 131), (30, 20)])
@pytest.mark.parametrize("stride", [0.4, 1.0])
def test_what_is_scored_through_a_window_is_what_predict_writes(size, stride):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    scored = Looking(Place(), Looks(slide=True, stride=stride), (32, 48))(image).logits[0]
    written = torch.cat(list(slide(Place(), pixels, (32, 48), stride)), dim=1)
    torch.testing.assert_close(scored, written)


def test_a_mirrored_look_makes_the_prediction_symmetric():
    found = Looking(LeftOnly(), Looks(flip=True), (32, 32))(torch.rand(2, 3, 32, 40)).logits
    torch.testing.assert_close(found, found.flip(-1))


def test_scales_look_at_other_sizes_and_answer_at_the_images():
    network = Pixelwise()
    image = torch.full((1, 3, 64, 96), 0.3)
    found = Looking(network, Looks(scales=(0.5, 1.0, 1.5), flip=True), (64, 96))(image).logits
    assert network.sizes == [(32, 48)] * 2 + [(64, 96)] * 2 + [(96, 144)] * 2
    torch.testing.assert_close(found, network(image).logits)


class Mean(Network):
    """Predicts the mean of all that it is shown."""

    def forward(self, image):
        mean = image.mean(dim=(1, 2, 3), keepdim=True).expand(-1, 1, *image.shape[-2:])
        return Prediction(torch.cat([-mean, mean], dim=1))


def test_a_window_beyond_a_small_image_shows_more_of_its_border():
    image = torch.full((1, 3, 30, 20), 0.3)
    found = Looking(Mean(), Looks(slide=True), (64, 64))(image).logits
    torch.testing.assert_close(found, Mean()(image).logits)


def test_no_look_is_smaller_than_networks_can_be_shown():
    network = Pixelwise()
    Looking(network, Looks(scales=(0.1,)), (64, 96))(torch.rand(1, 3, 64, 400))
    assert network.sizes == [(32, 40)]


def test_a_smaller_look_sees_all_pixels():
    """Stripes of one pixel are grey from afar; read every third pixel bilinearly they would be stripes still."""
    seen = []

    class Watching(Pixelwise):
        def forward(self, image):
            seen.append(image)
            return super().forward(image)

    image = torch.rand(1, 3, 96, 192)
    Looking(Watching(), Looks(scales=(1 / 3,)), (96, 192))(image)
    torch.testing.assert_close(seen[0], F.avg_pool2d(image, 3))
    Looking(Watching(), Looks(scales=(0.75,)), (96, 192))(image)
    torch.testing.assert_close(seen[1].mean(), image.mean())  # each pixel counts by its area


def test_what_was_done_is_said_and_nonsense_refused():
    assert Looks().said == "none"
    assert Looks(True, (0.75, 1.0), True).said == "flip, scales 0.75 1, by area, window stride 0.5, blended"
    for wrong in (
        {"scales": (0.0,)},
        {"scales": (8.5,)},
        {"scales": (1.0, float("nan"))},
        {"scales": ()},
        {"stride": 0.0},
        {"stride": 1.5},
    ):
        with pytest.raises(InputError):
            Looks(**wrong)


def test_a_window_sees_the_image_at_its_own_size():
    image, label = np.zeros((7, 9, 3), np.uint8), np.zeros((7, 9), np.uint8)
    view = untouched(image, label, np.random.default_rng(0))
    assert view.image.shape == (7, 9, 3) and view.label.shape == (7, 9) and view.soft is None
