from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segkd.datasets.data import Data, Records
from segkd.datasets.embedded import Embedded
from segkd.datasets.loader import Item, SegmentationDataset, collate, evaluation_loader, train_loader
from segkd.datasets.opening import open_data
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Augment, Transform, View
from segkd.types import IGNORE


@pytest.fixture
def dataset():
    data = Data(embedded=Embedded(train=7, val=1, test=1, side=40))
    records, _ = open_data(data, ("train",), lambda n: None)
    return SegmentationDataset(records["train"], Transform((32, 32), Augment(), 2, soft=True), seed=3)


def batches(dataset, workers, number, start=0):
    return list(islice(train_loader(dataset, EpochBatches(7, 2, seed=3, start=start), workers), number))


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        assert one.ids == other.ids
        for name in ("image", "clean", "label", "soft"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_no_and_two_workers_give_the_same_batches_bit_for_bit(dataset):
    assert_same(batches(dataset, 0, 7), batches(dataset, 2, 7))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_starts_later_gives_the_tail(dataset, workers):
    assert_same(batches(dataset, workers, 3, start=4), batches(dataset, 0, 7)[4:])  # position 4 lies in epoch 1


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_global_random_streams_alone(dataset, workers):
    np.random.seed(0)  # noqa: NPY002 - the global stream is what is tested
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    batches(dataset, workers, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_an_item_is_the_same_in_any_order_and_differs_between_epochs(dataset):
    alone = dataset[(4, 2)].view.image
    others = [dataset[(epoch, 2)].view.image for epoch in (0, 3, 5)]
    np.testing.assert_array_equal(dataset[(4, 2)].view.image, alone)
    assert not any(np.array_equal(alone, other) for other in others)


def test_the_seed_changes_the_views(dataset):
    other = SegmentationDataset(dataset.records, dataset.transform, seed=4)
    assert not np.array_equal(dataset[(0, 0)].view.image, other[(0, 0)].view.image)


def test_collation_scales_images_widens_labels_and_moves_channels():
    draw = np.random.default_rng(0)
    items = []
    for name in "ab":
        image = draw.integers(0, 256, (4, 6, 3)).astype(np.uint8)
        label = draw.choice([0, 1, IGNORE], (4, 6)).astype(np.uint8)
        soft = draw.random((4, 6, 2)).astype(np.float32)
        items.append(Item(name, View(image, label, soft, np.eye(3)[:2]), label))
    batch = collate(items)
    assert batch.ids == ("a", "b") and batch.clean is batch.image and batch.label.dtype == torch.int64
    for i, item in enumerate(items):
        np.testing.assert_allclose(batch.image[i, 2, 1, 3], item.view.image[1, 3, 2] / 255, rtol=1e-6)
        np.testing.assert_array_equal(batch.image[i].permute(1, 2, 0) * 255, item.view.image)
        np.testing.assert_array_equal(batch.label[i], item.view.label)
        np.testing.assert_array_equal(batch.soft[i].permute(1, 2, 0), item.view.soft)
    assert torch.equal(batch.valid, batch.label != IGNORE)


def test_without_shares_a_batch_has_none(dataset):
    plain = SegmentationDataset(dataset.records, Transform((32, 32), None, 2, soft=False), seed=0)
    (batch,) = batches(plain, 0, 1)
    assert batch.soft is None


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_keeps_order_and_gives_labels_at_their_own_size(workers):
    sizes = [(40, 33), (36, 50), (64, 32), (33, 33), (50, 40)]
    labels = [np.full(size, i % 2, np.uint8) for i, size in enumerate(sizes)]
    records = Records("test", tuple("abcde"), lambda i: (np.full((*sizes[i], 3), 51 * i, np.uint8), labels[i]))
    dataset = SegmentationDataset(records, Transform((32, 32), None, 2, soft=False), seed=0)
    seen = list(evaluation_loader(dataset, [4, 0, 1, 3, 2], 2, workers))
    assert [batch.ids for batch, _ in seen] == [("e", "a"), ("b", "d"), ("c",)]
    assert [own.shape for _, originals in seen for own in originals] == [sizes[i] for i in (4, 0, 1, 3, 2)]
    assert [round(float(one.mean()) * 5) for batch, _ in seen for one in batch.image] == [4, 0, 1, 3, 2]
    assert all(batch.image.shape[2:] == (32, 32) for batch, _ in seen)


def test_evaluating_nothing_gives_nothing(dataset):
    assert list(evaluation_loader(dataset, [], 4, 0)) == []


def test_batches_through_pipes_are_the_same_bit_for_bit(dataset, monkeypatch):
    monkeypatch.setattr("segkd.datasets.feed.shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    loader = train_loader(dataset, EpochBatches(7, 2, seed=3), 2)
    assert "pipes" in loader.said and "shm-size" in loader.said
    assert_same(list(islice(loader, 7)), batches(dataset, 0, 7))
    some = evaluation_loader(dataset, range(5), 2, 2)
    assert some.said
    assert [batch.ids for batch, _ in some] == [
        ("train0000", "train0001"),
        ("train0002", "train0003"),
        ("train0004",),
    ]
