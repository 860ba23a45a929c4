import numpy as np
import torch

from segkd.analysis.heatmap import WaveProbe, places, wave
from segkd.analysis.reliance import sensitivity
from segkd.analysis.summary import spearman
from segkd.types import Batch
from tests.analysis.networks import Filter


def test_waves_are_where_they_say():
    for place in ((3, 2), (0, 5), (15, 0), (8, 8)):
        field = wave((16, 16), place, 0.7)
        spectrum = torch.fft.rfft2(field).abs()
        row, column = divmod(int(spectrum.argmax()), 9)
        assert column == place[1] and row in (place[0], -place[0] % 16)
        assert abs(field.square().mean() - 1) < 1e-5


def test_places_cover_the_half_plane_without_the_mean():
    found = places((32, 48), 100)
    rows, columns = np.array(found).T
    assert (0, 0) not in found and len(set(found)) == len(found) and 60 <= len(found) <= 140
    assert rows.max() == 31 and columns.max() == 24


def test_on_a_linear_filter_waves_and_gradient_agree():
    """Every coefficient asked for alone: the change of the margin is the gradient's."""
    network = Filter(2, torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    image, label = torch.rand(6, 3, 8, 8), torch.zeros(6, 8, 8, dtype=torch.long)
    batch = Batch(image, image, label, None, tuple("abcdef"))
    probe = WaveProbe((8, 8), 10**4, 0.05, lambda logits, batch: np.full(len(logits), np.nan))
    found = sensitivity(network, image, label, range(6))
    probe.measure(network, batch, found.logits, found.power, range(6))
    heat = probe.result()
    assert len(heat.gain) == 8 * 5 - 1 and heat.images == 6
    assert np.isnan(heat.drop).all()  # no image has a score: no loss is defined, and nothing is warned of
    # signs per channel are random, so single waves scatter around the sum over channels
    assert spearman(heat.gain, heat.gradient) > 0.9
    assert abs(np.log(heat.gain / heat.gradient).mean()) < 0.15
