from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from segkd.datasets.data import Records
from segkd.datasets.loader import SegmentationDataset
from segkd.datasets.transforms import Transform
from segkd.engine.evaluate import count, evaluate
from segkd.models.network import Network
from segkd.types import IGNORE, InputError, Prediction


class Threshold(Network):
    """Foreground where red is above a half: perfect on the images below."""

    def __init__(self, classes=2):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(40.0))

    def forward(self, image):
        margin = self.scale * (image[:, :1] - 0.5)
        return Prediction(torch.cat([-margin, margin], dim=1))


def records(sizes) -> Records:
    arrays = []
    for height, width in sizes:
        label = np.zeros((height, width), np.uint8)
        label[height // 4 : height // 2, width // 4 :] = 1
        arrays.append((np.repeat(label[..., None] * np.uint8(255), 3, axis=2), label))
    return Records("val", tuple(f"i{n}" for n in range(len(sizes))), arrays.__getitem__)


@pytest.mark.parametrize("workers", [0, 2])
def test_scores_are_taken_at_each_labels_own_size(workers):
    some = replace(records([(32, 32), (64, 32), (48, 80)]), domains=("one", "two", "one"))
    dataset = SegmentationDataset(some, Transform((32, 32), None, 2, soft=False), seed=0)
    seen = []
    network = Threshold().train()
    meter = evaluate(
        network, dataset, ["a", "b"], Accelerator(cpu=True), batch_size=2, workers=workers, advance=seen.append
    )
    assert meter.confusion.sum() == 32 * 32 + 64 * 32 + 48 * 80
    assert meter.rows["i0"]["iou_fg_image"] == 1.0 and meter.scores()["miou_image"] > 0.9
    assert seen == [2, 1] and network.training
    assert {name: list(part.rows) for name, part in meter.parts.items()} == {"one": ["i0", "i2"], "two": ["i1"]}


def test_two_classes_count_as_the_softmax_of_enlarged_logits():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 7, 9, generator=draw)
    label = torch.randint(0, 2, (20, 31), generator=draw).numpy().astype(np.uint8)
    label[0] = IGNORE
    counts = count(logits, label, 0.5)
    full = torch.nn.functional.interpolate(logits[None], size=label.shape, mode="bilinear", align_corners=False)
    predicted = full.softmax(dim=1)[0, 1].numpy() >= 0.5
    for true in (0, 1):
        assert counts.confusion[true, 1] == (predicted & (label == true)).sum()


def test_more_classes_take_the_largest_logit():
    logits = torch.zeros(5, 4, 4)
    logits[3] = 1
    counts = count(logits, np.full((8, 8), 3, np.uint8), 0.5)
    assert counts.confusion[3, 3] == 64 and counts.histogram is None


class Small(Threshold):
    """As `Threshold`, on a machine that holds `most` images at a time, and none that is all white at its corner."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.calls = most, []

    def forward(self, image):
        self.calls.append(len(image))
        if len(image) > self.most or (image[:, :, 0, 0] == 1).all():
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return super().forward(image)


def test_an_image_that_does_not_fit_into_memory_loses_only_its_own_scores():
    some = records([(32, 32), (64, 32), (48, 80), (32, 32)])
    some.load(2)[0][:] = 255
    dataset = SegmentationDataset(some, Transform((32, 32), None, 2, soft=False), seed=0)
    lost: dict[str, str] = {}
    network = Small(most=2)
    meter = evaluate(network, dataset, ["a", "b"], Accelerator(cpu=True), batch_size=4, lost=lost)
    assert sorted(meter.rows) == ["i0", "i1", "i3"] and list(lost) == ["i2"] and "memory" in lost["i2"]
    assert network.calls == [4, 1, 1, 1, 1]
    whole = evaluate(Threshold(), dataset, ["a", "b"], Accelerator(cpu=True), batch_size=4)
    assert meter.rows["i1"] == whole.rows["i1"]
    with pytest.raises(RuntimeError, match="allocate"):
        evaluate(network, dataset, ["a", "b"], Accelerator(cpu=True), batch_size=4)


class Whitened(Threshold):
    """As `Threshold`, of an image divided by its deviation: NaN where it has none."""

    def forward(self, image):
        logits = super().forward(image).logits
        return Prediction(logits / image.std(dim=(1, 2, 3), keepdim=True) * image.std(dim=(1, 2, 3), keepdim=True))


def test_an_image_of_which_a_network_gives_nan_has_no_scores_and_is_named():
    some = records([(32, 32), (64, 32), (48, 80), (32, 32)])
    some.load(2)[0][:] = 0
    dataset = SegmentationDataset(some, Transform((32, 32), None, 2, soft=False), seed=0)
    lost: dict[str, str] = {}
    meter = evaluate(Whitened(), dataset, ["a", "b"], Accelerator(cpu=True), batch_size=4, lost=lost)
    assert sorted(meter.rows) == ["i0", "i1", "i3"] and list(lost) == ["i2"]
    assert lost["i2"].startswith("i2: the network gives NaN for 1024 of 1024 places")
    with pytest.raises(InputError, match="i2: the network gives NaN"):
        evaluate(Whitened(), dataset, ["a", "b"], Accelerator(cpu=True), batch_size=4)


def test_a_label_that_does_not_fit_into_memory_loses_only_its_own_scores(monkeypatch):
    dataset = SegmentationDataset(records([(32, 32), (64, 32)]), Transform((32, 32), None, 2, soft=False), seed=0)

    def scarce(logits, label, *rest):
        if label.shape == (64, 32):
            raise MemoryError
        return count(logits, label, *rest)

    monkeypatch.setattr("segkd.engine.evaluate.count", scarce)
    lost: dict[str, str] = {}
    meter = evaluate(Threshold(), dataset, ["a", "b"], Accelerator(cpu=True), batch_size=2, lost=lost)
    assert list(meter.rows) == ["i0"] and list(lost) == ["i1"]
