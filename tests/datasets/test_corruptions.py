import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from segkd.datasets.corruptions import CORRUPTIONS, SETTINGS, Corruption, Damaged
from segkd.datasets.data import Records
from segkd.datasets.loader import SegmentationDataset, evaluation_loader
from segkd.datasets.transforms import Transform
from tests.conftest import REPOSITORY

VIEW = Transform((33, 46), None, 2, soft=False)


def records(ids=("a", "b", "c")) -> Records:
    """A smooth picture with an object, the same for every id."""
    picture = np.full((60, 90, 3), (180, 120, 60), np.uint8)
    cv2.circle(picture, (40, 30), 18, (20, 60, 200), -1)
    cv2.putText(picture, "xy", (10, 50), cv2.FONT_HERSHEY_SIMPLEX, 1, (250, 250, 250), 2)
    label = np.zeros((60, 90), np.uint8)
    cv2.circle(label, (40, 30), 18, 1, -1)
    return Records("val", ids, lambda index: (picture, label))


def images(corruption: Corruption, ids=("a", "b", "c"), epoch=0) -> list[np.ndarray]:
    data = Damaged(records(ids), VIEW, corruption)
    return [data[epoch, i].view.image for i in range(len(ids))]


CLEAN = SegmentationDataset(records(), VIEW, 0)[0, 0].view.image


@pytest.mark.parametrize("name", SETTINGS)
def test_severities_go_further_and_further_from_the_image(name):
    apart = [0.0]
    for severity in (1, 2, 3):
        image = images(Corruption(name, severity))[0]
        assert image.dtype == np.uint8 and image.shape == (33, 46, 3)
        apart.append(float(np.abs(image.astype(float) - CLEAN).mean()))
    assert apart == sorted(apart) and apart[1] > 0.5


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: f"{one.name}-{one.severity}")
def test_draws_follow_the_image_s_id_and_nothing_else(corruption):
    first = images(corruption)
    turned = images(corruption, ("c", "a", "b"), epoch=5)  # another order, another epoch
    assert all(np.array_equal(first[i], turned[at]) for i, at in ((0, 1), (1, 2), (2, 0)))
    differs = not np.array_equal(first[0], first[1])
    assert differs == (corruption.name == "noise")  # the others have nothing to draw


def test_workers_make_the_same_images_and_labels_stay():
    data = Damaged(records(), VIEW, Corruption("noise", 2))
    alone, shared = (list(evaluation_loader(data, range(3), 2, workers)) for workers in (0, 2))
    for (batch, labels), (same, again) in zip(alone, shared, strict=True):
        assert np.array_equal(batch.image, same.image)
        assert all(np.array_equal(a, b) for a, b in zip(labels, again))
        assert np.array_equal(labels[0], records().load(0)[1])


def test_settings_are_those_of_the_docs():
    text = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, (_, settings) in SETTINGS.items():
        (said,) = re.findall(rf"^\| `{name}` \| (.*) \|$", text, re.MULTILINE)
        three = [float(number) for number in re.findall(r"[\d.]*\d", said)[:3]]
        np.testing.assert_allclose(three, np.array(settings) * (100 if name == "noise" else 1))


def test_settings_are_what_they_say():
    file = io.BytesIO()
    Image.fromarray(CLEAN).save(file, "JPEG", quality=25, subsampling="4:2:0")
    apart = np.abs(images(Corruption("jpeg", 2))[0].astype(int) - np.asarray(Image.open(file))).mean()
    assert apart < 0.5  # two builds of libjpeg; with red and blue exchanged it is above 5
    noise = images(Corruption("noise", 1))[0].astype(float) - CLEAN
    assert noise[(CLEAN > 50) & (CLEAN < 200)].std() == pytest.approx(0.03 * 255, rel=0.1)
    flat = images(Corruption("contrast", 1))[0]
    assert flat.std() == pytest.approx(CLEAN.std() / 2, rel=0.1)
    assert flat.mean() == pytest.approx(CLEAN.mean(), rel=0.1)
    blurred = cv2.GaussianBlur(CLEAN, (0, 0), 2.0)
    assert np.abs(images(Corruption("blur", 3))[0].astype(float) - blurred).mean() < 1
    assert Corruption("jpeg", 3).setting == "quality 10" and Corruption("downscale", 1).setting == "sides times 0.5"
