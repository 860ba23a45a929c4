import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkd.distill import store
from segkd.distill.store import Origins, Store, gathered
from segkd.types import IGNORE, Batch, InputError

IDS = ["a_9", "a_10", "a_11", "b_1", "b_2"]


def random_store(m=50, d=6, k=3, images=5, seed=0) -> Store:
    draw = torch.Generator().manual_seed(seed)
    keys = F.normalize(torch.randn(m, d, generator=draw), dim=1).half()
    values = torch.eye(k)[torch.randint(0, k, (m,), generator=draw)].half()
    image = torch.randint(0, images, (m,), generator=draw)
    return Store(keys, values, torch.stack([image, image % 2, image // 2, image * 0], dim=1))


def found_slowly(queries, barred, keys, k):
    """(distance, number) of the nearest keys of each query, one at a time, in double precision."""
    answers = []
    for image, rows in enumerate(queries):
        for query in rows:
            pairs = []
            for number, key in enumerate(keys):
                if not barred[image, number]:
                    distance = 2 - 2 * sum(float(a) * float(b) for a, b in zip(query, key))
                    pairs.append((distance, number))
            answers.append(sorted(pairs)[:k])
    return answers


@pytest.mark.parametrize("chunk", [7, 8192])
def test_the_nearest_keys_are_those_of_a_search_one_by_one(monkeypatch, chunk):
    monkeypatch.setattr(store, "CHUNK", chunk)
    kept = random_store()
    draw = torch.Generator().manual_seed(1)
    queries = F.normalize(torch.randn(2, 4, 6, generator=draw), dim=2)
    barred = torch.rand(2, 50, generator=draw) < 0.4
    distance, at = kept.nearest(queries, barred, 9)
    expected = found_slowly(queries.tolist(), barred, kept.keys.tolist(), 9)
    for answer, distances, numbers in zip(expected, distance.flatten(0, 1), at.flatten(0, 1)):
        assert [number for _, number in answer] == numbers.tolist()
        assert distances.tolist() == pytest.approx([one for one, _ in answer], abs=1e-5)


def test_half_precision_keys_change_distances_by_their_rounding_alone():
    draw = torch.Generator().manual_seed(2)
    exact = F.normalize(torch.randn(400, 64, generator=draw), dim=1)
    kept = Store(exact.half(), torch.ones(400, 1).half(), torch.zeros(400, 4, dtype=torch.int64))
    queries = F.normalize(torch.randn(1, 30, 64, generator=draw), dim=2)
    distance, at = kept.nearest(queries, torch.zeros(1, 400, dtype=torch.bool), 5)
    true = (queries[0].unsqueeze(1) - exact).square().sum(dim=2)
    torch.testing.assert_close(distance[0], true.gather(1, at[0]), atol=2e-3, rtol=0)
    assert not torch.equal(exact.half().float(), exact)
    assert kept.nearest(exact.unsqueeze(0), torch.zeros(1, 400, dtype=torch.bool), 1)[0].min() >= 0  # its own key


def test_where_too_few_keys_are_left_the_rest_are_infinitely_far():
    kept = random_store(m=5)
    barred = torch.tensor([[True, True, False, True, True], [True] * 5])
    distance, at = kept.nearest(F.normalize(torch.randn(2, 1, 6), dim=2), barred, 3)
    assert int(at[0, 0, 0]) == 2 and distance[0, 0].isinf().tolist() == [False, True, True]
    assert distance[1].isinf().all()


def barred(origins: Origins, one: str) -> list[str]:
    return [name for name, hidden in zip(IDS, origins.barred(origins.of([one]), origins.of(IDS))[0]) if hidden]


def test_an_image_may_not_look_at_itself_its_sequence_or_its_near_frames():
    assert barred(Origins(IDS, None, None, None), "a_10") == ["a_10"]
    assert barred(Origins(IDS, "^(.)", None, None), "a_10") == ["a_9", "a_10", "a_11"]
    near = Origins(IDS, "^(.)", 1, None)
    assert barred(near, "a_9") == ["a_9", "a_10"]  # numbers in order: 10 follows 9
    assert barred(near, "b_1") == ["b_1", "b_2"]
    assert barred(Origins(IDS, None, 1, None), "a_11") == ["a_10", "a_11", "b_1"]  # all in one row
    assert barred(Origins(IDS, "^(.)", 0, None), "a_10") == ["a_10"]
    whole = Origins(IDS, "^(.)", None, None)
    assert barred(whole, "unknown") == [] and (whole.sequences, whole.domains) == (2, 1)


def test_groups_stand_for_an_expression_and_without_one_images_are_as_ever():
    groups = ["a", "a", "a", None, None]
    assert barred(Origins(IDS, None, None, None, groups), "a_10") == ["a_9", "a_10", "a_11"]
    assert barred(Origins(IDS, None, None, None, groups), "b_1") == ["b_1"]
    assert barred(Origins(IDS, None, 1, None, groups), "a_9") == ["a_9", "a_10"]
    assert barred(Origins(IDS, None, 1, None, groups), "b_1") == ["b_1", "b_2"]  # all without a group in one row
    assert barred(Origins(IDS, None, 1, None, [None] * 5), "a_11") == ["a_10", "a_11", "b_1"]


def test_only_keys_of_the_same_domain_are_asked():
    by_letter = Origins(IDS, None, None, "^(.)")
    assert barred(by_letter, "a_10") == ["a_10", "b_1", "b_2"]
    assert barred(by_letter, "unknown") == []


def test_an_expression_that_finds_nothing_is_refused():
    with pytest.raises(InputError, match=re.escape("group: 'x(.)' occurs in none of 5 names, the first of which are")):
        Origins(IDS, "x(.)", None, None)
    with pytest.raises(InputError, match="domain: expected a regular expression, found"):
        Origins(IDS, None, None, "(")


def colours(image):
    """Features of a quarter of the size: the mean colour and a constant."""
    small = F.avg_pool2d(image, 4)
    return torch.cat([small, torch.ones_like(small[:, :1])], dim=1)


def batches_of(n=12, size=2) -> list[Batch]:
    draw = torch.Generator().manual_seed(3)
    image = torch.rand(n, 3, 16, 16, generator=draw)
    label = torch.zeros(n, 16, 16, dtype=torch.int64)
    label[:, :, 8:] = 1
    label[: n // 3, :4, :4] = 2  # a rare class
    label[:, 12:, :4] = IGNORE
    ids = [f"image{i}" for i in range(n)]
    return [
        Batch(image[i : i + size], image[i : i + size], label[i : i + size], None, tuple(ids[i : i + size]))
        for i in range(0, n, size)
    ]


def test_the_store_is_balanced_and_holds_what_the_images_show():
    batches = batches_of()
    origins = Origins([one for batch in batches for one in batch.ids], None, None, None)
    kept, seen = gathered(batches, colours, origins, 3, 62)
    label = kept.values.argmax(dim=1)
    assert seen.tolist() == [12 * 7 - 4, 12 * 8, 4]  # 16 cells an image, one ignored
    assert label.bincount().tolist() == [20, 20, 4]  # a third of 62 each, and all of the rare one
    assert (kept.values.sum(dim=1) == 1).all() and kept.keys.dtype == torch.float16
    whole = torch.cat([colours(batch.clean) for batch in batches])
    for key, c, (image, *_) in zip(kept.keys, label, kept.origins):
        alike = key == F.normalize(whole[image].flatten(1).float(), dim=0).half().T
        (cell,) = alike.all(dim=1).nonzero()[:, 0].tolist()
        row, column = divmod(cell, 4)
        assert int(batches[image // 2].label[image % 2, 4 * row + 2, 4 * column + 2]) == int(c)
    few = gathered(batches, colours, origins, 3, 2)[0]
    assert few.values.argmax(dim=1).tolist() == [0, 1, 2]  # fewer keys than classes: one of each all the same
    assert len(kept.origins[label == 0, 0].unique()) > 8  # drawn from all images, not the first or the last


def test_the_store_is_the_same_every_time_whatever_the_batches():
    origins = Origins([f"image{i}" for i in range(12)], None, None, None)
    one, other = (gathered(batches_of(size=size), colours, origins, 3, 30)[0] for size in (2, 3))
    assert all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("keys", "values", "origins"))


def test_what_a_key_says_may_be_the_shares_of_its_area():
    image = torch.rand(1, 3, 8, 8)
    label = torch.zeros(1, 8, 8, dtype=torch.int64)
    label[0, 2, :4], label[0, 0, 0], label[0, 4:, 4:] = 1, IGNORE, 1
    batch = Batch(image, image, label, None, ("one",))
    kept, _ = gathered([batch], colours, Origins(["one"], None, None, None), 2, 100, "shares")
    order = np.argsort(kept.values[:, 0].tolist())
    expected = [[0.0, 1.0], [11 / 15, 4 / 15], [1.0, 0.0], [1.0, 0.0]]
    assert np.allclose(kept.values[order].float(), expected, atol=1e-3)
    whole, _ = gathered([batch], colours, Origins(["one"], None, None, None), 2, 100)
    assert set(whole.values.flatten().tolist()) == {0.0, 1.0}  # else that of its centre


def test_images_that_may_look_at_no_key_are_named():
    groups = ["a1", "a2", "a2", "b1", "b1"]
    by_letter = Origins(IDS, None, None, "^(.)", groups)
    (said,) = by_letter.doubts(by_letter.of(IDS))
    assert "nothing of 2 of 5 training images (b_1, b_2)" in said and "or frames: 30" in said
    assert "3 of 5 training images (a_9, b_1, b_2)" in by_letter.doubts(by_letter.of(["a_9", "b_1"]))[0]
    for origins in (Origins(IDS, None, None, None, groups), Origins(IDS, None, 1, "^(.)", groups)):
        assert origins.doubts(origins.of(IDS)) == ()
