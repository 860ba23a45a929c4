"""What `examine` gathers, against slow witnesses; and the truth: on the embedded set it finds the object's band."""

import numpy as np
import pytest
import torch
from torch import nn

from segkd.analysis.evidence import Condition
from segkd.analysis.examine import Examination, examine, untrained
from segkd.analysis.summary import group
from segkd.datasets.data import Data, Records
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.opening import open_data
from segkd.datasets.transforms import Transform
from segkd.frequency.rings import ring_of
from segkd.metrics.boundary import inside_label
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.store import Model, ModelCard, load_model, save_student
from segkd.types import IGNORE
from tests.analysis.networks import Constant, TextureNet
from tests.conftest import TINY

NAMES = ["ground", "one", "two", "three"]


def embedded(band=(0.14, 0.18), side=64, classes=2, train=4, val=12) -> dict[str, Records]:
    settings = Embedded(train=train, val=val, test=1, side=side, cue="band", band=band, contrast=1.0)
    return open_data(Data(embedded=settings, classes=NAMES[:classes], size=side), ["train", "val"], lambda n: None)[0]


def saved(network: Network, folder, classes=2, size=(64, 64), **arguments):
    kind = type(network)
    card = ModelCard(f"{kind.__module__}.{kind.__name__}", {"classes": classes, **arguments}, NAMES[:classes], size)
    save_student(folder, network, card)
    return folder


def test_a_constant_predictor_knows_nothing_and_relies_on_nothing(tmp_path):
    evidence = examine("c", saved(Constant(2), tmp_path), embedded()["val"], Examination(batch_size=5, trust=True))
    found = group([evidence])[0].curves
    there = ~np.isnan(found["error"].mean)
    assert there.sum() >= 6 and np.allclose(found["error"].mean[there], 1, atol=1e-5)
    for key in (
        "sensitivity",
        "stop_drop/miou_image",
        "noise_drop/miou_image",
        "stop_drop/f_mean",
        "noise_drop/f_mean",
    ):
        assert np.isnan(found[key].mean[0]), "64 pixels have no frequency below 1/64"
        assert np.allclose(found[key].mean[1:], 0)


def test_what_it_costs_is_what_it_says(tmp_path, monkeypatch):
    seen = {"forward": 0, "backward": 0}
    forward, grad = TextureNet.forward, torch.autograd.grad

    def counted(self, image):
        seen["forward"] += len(image) * (not self.training)
        return forward(self, image)

    def counted_grad(outputs, inputs):
        seen["backward"] += len(inputs)
        return grad(outputs, inputs)

    monkeypatch.setattr(TextureNet, "forward", counted)
    monkeypatch.setattr(torch.autograd, "grad", counted_grad)
    evidence = examine("t", saved(TextureNet(2), tmp_path), embedded()["val"], Examination(batch_size=5, trust=True))
    passes = (seen["forward"] - 1 + 2 * seen["backward"]) / 12  # one more looks for the decoder's stride
    assert passes == evidence.forwards == Examination().passes <= 40


def test_it_gives_the_same_whatever_the_batches(tmp_path):
    run, records = saved(TextureNet(2).eval(), tmp_path), embedded()["val"]
    one = examine("t", run, records, Examination(images=6, batch_size=2, heatmap=12, trust=True))
    other = examine("t", run, records, Examination(images=6, batch_size=4, heatmap=12, trust=True))
    assert one.ids == other.ids and len(one.ids) == 6
    for key in one.energy:
        assert np.allclose(one.energy[key], other.energy[key], rtol=1e-4, atol=1e-7), key
    assert np.allclose(one.sensitivity, other.sensitivity, rtol=1e-3)
    for condition, values in one.scores["miou_image"].items():
        assert np.allclose(values, other.scores["miou_image"][condition], atol=2e-3), condition
    assert np.allclose(one.heatmap.gain, other.heatmap.gain, rtol=1e-3)


def test_several_classes_any_size_and_an_encoder(tmp_path):
    run = saved(FusionNet(4, TINY, weights=None), tmp_path, 4, (48, 64), encoder=TINY, weights=None)
    evidence = examine("m", run, embedded(classes=4)["val"], Examination(images=4, trust=True))
    assert set(evidence.scores) == {"miou_image"} and evidence.size == (48, 64)
    assert [stride for _, stride, _ in evidence.aliasing] == [2, 4, 8, 16] and evidence.notes == ()
    found = group([evidence])[0]
    assert evidence.stride == 2 and found.representable[1:4].all()  # 48 x 64 has no frequency below 1/64
    assert (found.curves["untrained_error"].mean[1:] > 0.9).all()


def test_the_clean_scores_are_those_of_evaluate(tmp_path):
    from accelerate import Accelerator

    from segkd.engine.evaluate import evaluate

    torch.manual_seed(1)
    run, records = saved(TextureNet(2).eval(), tmp_path), embedded()["val"]
    evidence = examine("t", run, records, Examination(trust=True))
    dataset = SegmentationDataset(records, Transform((64, 64), None, 2, False), 0)
    meter = evaluate(load_model(run, trust=True).network, dataset, NAMES[:2], Accelerator(cpu=True), batch_size=4)
    for key in ("f_mean", "miou_image"):
        expected = [meter.rows[id][key] for id in evidence.ids]
        assert np.allclose(evidence.scores[key][Condition("clean")], expected, atol=2e-3)
    assert np.allclose(evidence.boundary[:, 2], [meter.rows[id]["boundary_iou"] for id in evidence.ids], atol=2e-2)


def test_the_untrained_network_passes_signals_on():
    torch.manual_seed(0)
    card = ModelCard(
        "segkd.models.network.FusionNet", {"classes": 2, "encoder": TINY, "weights": None}, NAMES[:2], (64, 64)
    )
    model = Model(FusionNet(2, TINY, weights=None), card)
    blank = untrained(model, seed=3)
    with torch.no_grad():
        logits = blank(torch.rand(2, 3, 64, 64)).logits
    assert logits.std() > 1e-3 and not blank.training
    again = untrained(model, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(blank.state_dict().values(), again.state_dict().values()))


def test_inside_label_is_a_distance_in_the_maximum_norm():
    label = np.zeros((40, 30), np.uint8)
    label[10:25, 8:20] = 1
    label[0:3, 0:3] = IGNORE
    found = inside_label(label, 0.05)
    d = max(1, round(0.05 * np.hypot(40, 30)))
    for row in range(40):
        for column in range(30):
            window = label[max(0, row - d) : row + d + 1, max(0, column - d) : column + d + 1]
            expected = label[row, column] if (window == label[row, column]).all() else IGNORE
            assert found[row, column] == expected, (row, column)


def trained_on(band, seed: int) -> TextureNet:
    """A network that tells the objects of the embedded set by their band, taught for a few seconds."""
    records = embedded(band, train=96)["train"]
    dataset = SegmentationDataset(records, Transform((64, 64), None, 2, False), 0)
    batch = collate([dataset[0, i] for i in range(len(dataset))])
    torch.manual_seed(seed)
    network = TextureNet(2)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(120):
        rows = torch.randint(len(dataset), (8,))
        nn.functional.cross_entropy(network(batch.image[rows]).logits, batch.label[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.eval()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("band", [(0.07, 0.12), (0.2, 0.24), (0.28, 0.36), (0.4, 0.48)])
def test_the_objects_band_is_found(band, seed, tmp_path):
    truth = int(np.searchsorted([1 / 64, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8], sum(band) / 2))
    run = saved(trained_on(band, seed), tmp_path)
    evidence = examine("t", run, embedded(band)["val"], Examination(noise=0.25, trust=True))
    found = group([evidence])[0].curves
    assert found["clean/miou_image"].mean[0] > 0.6
    stop, noise = found["stop_drop/miou_image"], found["noise_drop/miou_image"]
    assert np.nanargmax(stop.mean) == truth and stop.low[truth] > 0.1
    assert abs(np.nanargmax(noise.mean) - truth) <= 1  # what is learned of a band reaches into the next
    # the gradient sees light and shade first, which the network adds up; the texture stands out from its neighbours
    gradient = found["sensitivity"].mean
    if truth > 3:
        assert gradient[truth] > gradient[truth - 1] and gradient[truth] > [*gradient, 0][truth + 1]


def test_bands_of_the_tests_are_within_one_ring():
    ring = ring_of(64, 64)
    assert ring[0, 14] == 5 and ring[0, 5] == 3
