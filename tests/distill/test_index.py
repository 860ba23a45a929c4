import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from segkd.distill import index
from segkd.distill.store import Store
from segkd.distill.teachers import retrieval
from segkd.distill.teachers.retrieval import Retrieval
from segkd.types import InputError, LayerPath


def directions(m: int, seed: int = 0) -> torch.Tensor:
    """Vectors of unit length in 8 dimensions without any clusters: the hardest for an index."""
    return F.normalize(torch.randn(m, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def kept(m: int) -> Store:
    return Store(directions(m).half(), torch.ones(m, 1).half(), torch.zeros(m, 4, dtype=torch.int64))


def asked() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    return directions(60, seed=7).view(2, 30, -1), torch.rand(2, 3000, generator=draw) < 0.3


def test_an_index_that_looks_everywhere_finds_what_a_full_search_finds(monkeypatch):
    monkeypatch.setattr(index, "SHARE", 1)
    store, (queries, barred) = kept(3000), asked()
    distance, at = store.nearest(queries, barred, 9)
    fast, there = store.indexed().nearest(queries, barred, 9)
    torch.testing.assert_close(fast, distance, atol=3e-4, rtol=0)  # faiss rounds queries to half precision, too
    assert (at == there).float().mean() > 0.98  # those as near as each other change places
    assert fast.dtype == torch.float32 and there.dtype == torch.int64


def test_an_index_finds_most_of_the_nearest_and_never_what_is_barred():
    store, (queries, barred) = kept(3000), asked()
    _, at = store.nearest(queries, barred, 9)
    fast, there = store.indexed().nearest(queries, barred, 9)
    right = (at.unsqueeze(3) == there.unsqueeze(2)).any(dim=3).float().mean()
    assert 0.3 < right < 1
    found = ~fast.isinf()
    assert not barred.unsqueeze(1).expand(-1, 30, -1).gather(2, there)[found].any()


def test_the_same_keys_make_the_same_index():
    (queries, barred), (one, two) = asked(), (kept(3000).indexed(), kept(3000).indexed())
    for a, b in zip(one.nearest(queries, barred, 5), two.nearest(queries, barred, 5)):
        assert torch.equal(a, b)


def test_where_no_more_is_open_the_rest_is_infinitely_far():
    queries, _ = asked()
    barred = torch.ones(2, 3000, dtype=torch.bool)
    barred[1, :2] = False
    distance, at = kept(3000).indexed().nearest(queries, barred, 5)
    assert distance[0].isinf().all() and distance[1, :, 2:].isinf().all() and (at >= 0).all()


def test_an_index_keeps_its_keys_where_they_are():
    store = kept(64).indexed()
    assert store.to(torch.device("meta")).keys.device.type == "cpu"
    assert replace(store, index=None).to(torch.device("meta")).keys.device.type == "meta"


def test_without_faiss_many_keys_are_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"keys: more than 1e6 need faiss: pip install 'segkd\[retrieval\]'"):
        Retrieval(LayerPath("run"), keys=retrieval.EXACT + 1)
    Retrieval(LayerPath("run"), keys=retrieval.EXACT)


def test_numbers_that_are_evenly_spread_lie_below_their_end_however_many_there_are():
    assert index.evenly(3, 2**24 + 4).tolist() == [0, 2**23 + 1, 2**24 + 3]
    assert index.evenly(9, 4).tolist() == [0, 1, 2, 3]
