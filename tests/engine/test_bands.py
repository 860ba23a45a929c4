import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from segkd.engine.bands import BandErrors, difference
from segkd.frequency.rings import EDGES, centred, ring_energy, ring_matrix
from segkd.types import IGNORE, Batch

SIZE = (40, 80)
"""Large enough for the lowest band, below 1/64."""
ACCELERATOR = Accelerator(cpu=True)


def errors_of(logits, *batches, bands=None) -> list[float]:
    """E_b of one network's `logits` (all images in a row) on batches of consecutive images."""
    bands = bands or BandErrors(tuple(batches[0].label.shape[1:]))
    for batch, part in zip(batches, logits.split([len(batch.label) for batch in batches])):
        bands(batch, part)
    return bands.take(ACCELERATOR)


def parts_of(batch: Batch, *sizes: int) -> list[Batch]:
    fields = zip(*(field.split(sizes) for field in (batch.image, batch.label)))
    ids = np.split(np.array(batch.ids), np.cumsum(sizes)[:-1])
    return [Batch(image, image, label, None, tuple(id)) for (image, label), id in zip(fields, ids)]


def witness(label: np.ndarray, logits: np.ndarray, classes: list[int]) -> list[float]:
    """E_b coefficient by coefficient of the full plane, in double precision, for some classes."""
    b, k, h, w = logits.shape
    p = np.exp(logits.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w)[None]
    band = sum((np.hypot(fy, fx) >= edge).astype(int) for edge in EDGES[1:-1])
    band[0, 0] = -1
    error, energy = np.zeros(8), np.zeros(8)
    for i in range(b):
        for c in classes:
            g, inside = (label[i] == c).astype(float), label[i] != IGNORE
            wrong, right = (
                np.abs(np.fft.fft2(np.where(inside, plane - plane[inside].mean(), 0))) ** 2
                for plane in (p[i, c] - g, g)
            )
            for number in range(8):
                error[number] += wrong[band == number].sum()
                energy[number] += right[band == number].sum()
    return np.sqrt(error / energy).tolist()


@pytest.mark.parametrize(("k", "classes"), [(2, [1]), (3, [0, 1, 2]), (5, [0, 1, 2, 3, 4])])
@pytest.mark.parametrize("size", [SIZE, (72, 72), (31, 90)])
def test_the_witness_on_the_full_plane(k, classes, size, make_batch):
    batch, logits = make_batch(k, b=3, size=size), 2 * torch.randn(3, k, *size)
    expected = witness(batch.label.numpy(), logits.numpy(), classes)
    assert errors_of(logits, batch) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_a_constant_prediction_per_image_knows_nothing_of_any_band(k, ignored, make_batch):
    batch, logits = make_batch(k, b=3, size=SIZE, ignored=ignored), torch.randn(3, k, 1, 1).expand(3, k, *SIZE)
    batch.label[:, :9] = IGNORE if ignored else batch.label[:, :9]  # the shape of what is ignored is of low frequency
    assert errors_of(logits, batch) == pytest.approx([1.0] * 8, rel=1e-5)


@pytest.mark.parametrize("k", [2, 4])
def test_a_perfect_prediction_has_no_error(k, make_batch):
    batch = make_batch(k, size=SIZE)
    right = torch.nn.functional.one_hot(batch.label.masked_fill(~batch.valid, 0), k).permute(0, 3, 1, 2)
    assert errors_of(200.0 * right, batch) == [0.0] * 8
    blurred = torch.nn.functional.avg_pool2d(8.0 * right, 3, 1, 1)
    found = errors_of(blurred, batch)
    assert 0 < found[0] < 1


def test_both_of_two_classes_have_the_same_error(make_batch):
    batch, logits = make_batch(size=SIZE, ignored=0.0), torch.randn(2, 2, *SIZE)
    swapped = Batch(batch.image, batch.image, 1 - batch.label, None, batch.ids)
    assert errors_of(logits, batch) == pytest.approx(errors_of(logits.flip(1), swapped), rel=1e-5)
    assert errors_of(logits, batch) == pytest.approx(witness(batch.label.numpy(), logits.numpy(), [0, 1]), rel=1e-5)


def test_the_error_of_class_0_has_the_same_energy_even_beside_ignored_pixels(make_batch):
    batch, logits = make_batch(size=SIZE, ignored=0.3), torch.randn(2, 2, *SIZE)
    other = (1 - logits.softmax(dim=1)[:, :1]) - (batch.label == 1).unsqueeze(1).float()
    other = centred(other, batch.valid.unsqueeze(1))
    matrix = ring_matrix(*SIZE)
    torch.testing.assert_close(ring_energy(difference(batch.label, logits), matrix), ring_energy(other, matrix))


@pytest.mark.parametrize("k", [2, 3])
def test_what_stands_on_ignored_pixels_has_no_influence(k, make_batch):
    batch, logits = make_batch(k, size=SIZE, ignored=0.3), torch.randn(2, k, *SIZE)
    other = torch.where(batch.valid.unsqueeze(1), logits, 5 * torch.randn_like(logits))
    assert not torch.equal(other, logits) and errors_of(other, batch) == errors_of(logits, batch)


@pytest.mark.parametrize("sizes", [(3, 3), (1, 5), (2, 2, 2)])
def test_parts_make_the_whole(sizes, make_batch):
    batch, logits = make_batch(3, b=6, size=SIZE), torch.randn(6, 3, *SIZE)
    assert errors_of(logits, *parts_of(batch, *sizes)) == pytest.approx(errors_of(logits, batch), rel=1e-6)


def test_sums_of_several_processes_are_added(make_batch, monkeypatch):
    """What two processes saw of a data set, gathered on each; tests/walk/test_launch.py starts real ones."""
    batch, logits = make_batch(b=5, size=SIZE), torch.randn(5, 2, *SIZE)
    ranks = [BandErrors(SIZE), BandErrors(SIZE)]
    for bands, part, share in zip(ranks, parts_of(batch, 2, 3), logits.split([2, 3])):
        bands(part, share)
    both = [bands.sums for bands in ranks]
    monkeypatch.setattr("segkd.engine.bands.gather_object", lambda mine: both)
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    found = [bands.take(ACCELERATOR) for bands in ranks]
    monkeypatch.undo()
    assert found[0] == found[1] == pytest.approx(errors_of(logits, batch), rel=1e-6)


def test_a_second_validation_begins_anew_and_knows_the_labels(make_batch, monkeypatch):
    batch, bands = make_batch(size=SIZE), BandErrors(SIZE)
    first = errors_of(torch.randn(2, 2, *SIZE), batch, bands=bands)
    logits = torch.randn(2, 2, *SIZE)
    expected = errors_of(logits, batch)
    monkeypatch.setattr("segkd.engine.bands.label_energy", lambda *_: pytest.fail("worked out again"))
    assert errors_of(logits, batch, bands=bands) == expected != first


def test_a_band_without_label_energy_has_no_error():
    h, w = 16, 32
    stripes = (torch.arange(w) % 8 < 4).long().expand(2, h, w)  # frequencies 1/8 and 3/8 alone
    image = torch.zeros(2, 3, h, w)
    found = errors_of(torch.randn(2, 2, h, w), Batch(image, image, stripes, None, ("a", "b")))
    assert [math.isnan(error) for error in found] == [band not in (4, 7) for band in range(8)]
    empty = Batch(image, image, torch.zeros(2, h, w).long(), None, ("a", "b"))
    assert all(map(math.isnan, errors_of(torch.randn(2, 2, h, w), empty)))
    assert all(map(math.isnan, BandErrors((h, w)).take(ACCELERATOR)))
