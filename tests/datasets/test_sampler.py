from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.datasets.sampler import EpochBatches, Overlap, visits_of
from segkd.types import InputError

numbers = st.tuples(
    st.integers(1, 60),  # samples
    st.integers(1, 8),  # batch size
    st.integers(1, 3),  # processes
    st.integers(1, 3),  # accumulation
    st.integers(0, 2**31),  # seed
)


def make(case, rank=0, start=0):
    n, batch_size, world, accumulate, seed = case
    return EpochBatches(n, batch_size, seed, rank=rank, world=world, accumulate=accumulate, start=start)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**31))
def test_an_epoch_that_divides_evenly_is_a_permutation(batches, batch_size, seed):
    n = batches * batch_size
    stream = iter(EpochBatches(n, batch_size, seed))
    for epoch in range(3):
        keys = [key for batch in islice(stream, batches) for key in batch]
        assert {(e, visit) for e, _, visit in keys} == {(epoch, 0)}
        assert sorted(i for _, i, _ in keys) == list(range(n))


@given(numbers)
def test_an_epoch_holds_each_sample_at_most_once_or_repeats_all_evenly(case):
    n, *_ = case
    sampler = make(case)
    for epoch in range(2):
        times = np.bincount(sampler.order(epoch).ravel(), minlength=n)
        assert len(times) == n and times.max() - times.min() <= 1


@given(numbers)
def test_only_the_incomplete_rest_is_left_out(case):
    n, batch_size, world, accumulate, _ = case
    taken = make(case).order(0).size
    step = batch_size * world * accumulate
    assert taken % step == 0 and make(case).per_epoch % accumulate == 0
    assert taken == step if n < step else 0 <= n - taken < step


@given(numbers)
def test_the_ranks_share_an_epoch_without_overlap(case):
    n, batch_size, world, *_ = case
    streams = [make(case, rank) for rank in range(world)]
    parts = [[i for batch in islice(s, s.per_epoch) for _, i, _ in batch] for s in streams]
    assert {len(part) for part in parts} == {streams[0].per_epoch * batch_size}
    together = [i for part in parts for i in part]
    assert sorted(together) == sorted(streams[0].order(0).ravel().tolist())
    if len(together) <= n:
        assert len(set(together)) == len(together)


@settings(deadline=None)
@given(numbers, st.integers(0, 40), st.integers(0, 2))
def test_a_stream_from_any_position_is_the_tail_of_the_whole(case, start, rank):
    rank %= case[2]
    whole = list(islice(make(case, rank), start + 8))
    assert list(islice(make(case, rank, start), 8)) == whole[start:]


def test_fewer_samples_than_a_batch_are_repeated():
    batch = next(iter(EpochBatches(3, 8, seed=0)))
    assert len(batch) == 8 and {i for _, i, _ in batch} == {0, 1, 2}
    assert len(set(batch)) == 8  # another visit is another view


def test_epochs_and_seeds_give_different_orders():
    orders = {tuple(EpochBatches(40, 4, seed).order(epoch).ravel()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@given(st.integers(2, 60), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**31))
def test_with_overlap_every_batch_begins_with_the_second_half_of_the_one_before(n, half, world, seed):
    sampler = EpochBatches(n, 2 * half, seed, world=world, draw=Overlap())
    order = sampler.order(0)
    assert order.shape == (sampler.per_epoch, world, 2 * half)
    assert (order[1:, :, :half] == order[:-1, :, half:]).all()
    visits = visits_of(order)
    times = dict(zip(*np.unique(order, return_counts=True)))
    assert all(sorted(visits[order == i]) == list(range(count)) for i, count in times.items())


def test_a_visit_is_counted_in_the_order_of_the_epoch():
    order, times = np.random.default_rng(0).integers(0, 7, (50, 2, 10)), Counter()
    for index, visit in zip(order.ravel().tolist(), visits_of(order).ravel().tolist()):
        assert visit == times[index]
        times[index] += 1


def test_half_a_batch_cannot_be_carried_over_from_an_odd_one():
    with pytest.raises(InputError, match=r"data\.batch_size must be even, found 3"):
        EpochBatches(9, 3, 0, draw=Overlap()).order(0)
    with pytest.raises(InputError, match=r"data\.batch_size must be even, found 3"):
        Overlap().rehearse(None, 3)
