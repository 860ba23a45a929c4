import csv
import io
import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from rich.console import Console

from segkd.datasets.corruptions import CORRUPTIONS, Corruption
from segkd.datasets.data import Data, Records
from segkd.datasets.loader import SegmentationDataset
from segkd.engine.evaluate import evaluate
from segkd.experiment.robustness import Robustness, print_robustness, score_corrupted
from segkd.experiment.scoring import Sight, score_network
from segkd.models.network import Network
from segkd.models.store import ModelCard
from segkd.types import Prediction
from tests.engine.test_evaluate import Threshold


def test_the_means_leave_jpeg_apart():
    readings = {one: 0.1 * one.severity if one.name == "jpeg" else 0.5 - 0.1 * one.severity for one in CORRUPTIONS}
    found = Robustness(0.8, readings, 7)
    assert found.mean() == pytest.approx(0.3) and found.mean("jpeg") == pytest.approx(0.2)
    content = found.content()
    assert content["mean_corrupted"] == pytest.approx(0.3) and content["mean_jpeg"] == pytest.approx(0.2)
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert len(rows) == 1 + 15 and rows[0]["corruption"] == "clean" and float(rows[0]["miou_image"]) == 0.8
    assert all(float(row["drop"]) == pytest.approx(0.8 - float(row["miou_image"])) for row in rows)
    console = Console(width=100, record=True, file=io.StringIO())
    print_robustness(console, found)
    said = console.export_text()
    assert "mean under corruptions 0.3000 (without JPEG), drop 0.5000; under JPEG 0.2000" in said
    (blur,) = (line.split() for line in said.splitlines() if line.startswith("blur"))
    assert blur[2] == "0.4000" and blur[-1] == "0.5000"  # the first reading, and the drop


def test_a_drop_that_rounds_to_nothing_has_no_sign():
    console = Console(width=100, record=True, file=io.StringIO())
    print_robustness(console, Robustness(0.8, dict.fromkeys(CORRUPTIONS, 0.80004), 7))
    said = console.export_text()
    assert "-0.0000" not in said and "drop 0.0000" in said


def some(void: bool) -> Records:
    """Dark squares on a bright ground in grey; the last image has no pixel that counts, if asked for."""
    arrays = []
    for number in range(3):
        label = np.zeros((40, 52), np.uint8)
        label[10:30, 8 + 4 * number : 30] = 1
        image = np.repeat((90 + 80 * label)[..., None].astype(np.uint8), 3, axis=2)
        arrays.append((image, np.full_like(label, 255) if void and number == 2 else label))
    return Records("val", ("a", "b", "c"), arrays.__getitem__)


def found(void: bool = False) -> Robustness:
    data, card = Data(batch_size=2, size=32, workers=0), ModelCard("", {}, ["ground", "object"], (32, 32))
    sight, accelerator = Sight(data, card, 0.5), Accelerator(cpu=True)
    clean = evaluate(
        Threshold(), SegmentationDataset(some(void), sight.transform, 0), card.classes, accelerator, batch_size=2
    )
    result = score_corrupted(Threshold(), some(void), accelerator, sight, clean)
    assert result.clean == clean.scores()["miou_image"]
    return result


def test_a_network_that_looks_at_brightness_loses_where_brightness_is_lost():
    result = found()
    assert list(result.readings) == list(CORRUPTIONS) and result.images == 3
    assert result.clean > 0.9 and result.readings == found().readings
    assert result.readings[Corruption("noise", 3)] < result.readings[Corruption("noise", 1)] < result.clean
    assert result.readings[Corruption("jpeg", 1)] > result.readings[Corruption("noise", 3)]


def test_an_image_without_a_pixel_that_counts_changes_no_mean():
    result = found(void=True)
    assert result.clean > 0.9 and not any(map(math.isnan, result.readings.values()))


class Lost(Threshold):
    """Gives no numbers for what is nearly one grey."""

    def forward(self, image):
        flat = image.flatten(1).std(dim=1) < 0.04
        return Prediction(super().forward(image).logits.masked_fill(flat[:, None, None, None], torch.nan))


def test_means_are_over_the_images_that_are_scored_in_every_pass():
    label = np.zeros((32, 32), np.uint8)
    label[8:24, 8:24] = 1
    greys = ((60, 120), (20, 220))  # at a contrast of .15 nothing is left of the first
    arrays = [(np.repeat(np.array(pair, np.uint8)[label][..., None], 3, axis=2), label) for pair in greys]
    two, card = (
        Records("val", ("faint", "clear"), arrays.__getitem__),
        ModelCard("", {}, ["ground", "object"], (32, 32)),
    )
    sight, accelerator = Sight(Data(batch_size=1, size=32, workers=0), card, 0.5), Accelerator(cpu=True)
    clean = score_network(Lost(), two, accelerator, sight)
    result = score_corrupted(Lost(), two, accelerator, sight, clean)
    assert len(clean.rows) == 2 and result.images == 1
    assert result.clean == clean.rows["clear"]["miou_image"] > clean.scores()["miou_image"]


class Nearest(Network):
    """Of three classes, that whose grey is nearest."""

    def forward(self, image):
        return Prediction(torch.cat([-(40 * (image[:, :1] - grey) ** 2) for grey in (0.2, 0.5, 0.8)], dim=1))


def test_more_classes_are_scored_alike():
    label = np.repeat(np.arange(3, dtype=np.uint8), 20)[None].repeat(40, axis=0)
    image = np.repeat((51 + 76.5 * label)[..., None].astype(np.uint8), 3, axis=2)
    some = Records("val", ("a",), lambda index: (image, label))
    card, accelerator = ModelCard("", {}, ["dark", "grey", "bright"], (32, 32)), Accelerator(cpu=True)
    sight = Sight(Data(classes=card.classes, batch_size=1, size=32, workers=0), card, 0.5)
    clean = score_network(Nearest(), some, accelerator, sight)
    result = score_corrupted(Nearest(), some, accelerator, sight, clean)
    assert result.clean > 0.9 > result.readings[Corruption("contrast", 3)]
