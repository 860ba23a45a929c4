import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkd.datasets.draws.domains import DomainSampler, held_out, quotas, updated
from segkd.datasets.sampler import EpochBatches
from segkd.types import InputError

losses = st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20), st.floats(0.01, 1)), min_size=2, max_size=6)
DOMAINS = ("one",) * 40 + ("two",) * 10 + ("three",) * 90
GROUPS = [f"image{i}" for i in range(len(DOMAINS))]


def met(batch=4, **settings):
    draw = DomainSampler(**settings)
    draw.meet(DOMAINS, GROUPS, batch)
    return draw


def shares_of(order):
    return dict(zip(*np.unique(np.array(DOMAINS)[order.ravel()], return_counts=True)))


@given(losses, st.floats(0.05, 1))
def test_weights_sum_to_one_and_keep_their_floor(case, alpha):
    student, teacher, weights = np.array(case).T
    found = updated(weights / weights.sum(), student, teacher, alpha)
    assert found.sum() == pytest.approx(1) and (found >= (1 - alpha) / len(found) - 1e-12).all()


def test_the_update_is_the_paper_s():
    student, teacher, weights = np.array([0.7, 0.4, 0.9]), np.array([0.1, 0.3, 0.2]), np.array([0.2, 0.5, 0.3])
    psi = [r * np.exp(np.exp(s) / np.exp(t)) for r, s, t in zip(weights, student, teacher)]
    expected = [0.3 * one / sum(psi) + 0.7 / 3 for one in psi]
    np.testing.assert_allclose(updated(weights, student, teacher, 0.3), expected)


def test_equal_ratios_leave_uniform_weights_and_lead_back_to_them():
    student, teacher = np.array([0.5, 1.5, 0.9]), np.array([0.1, 1.1, 0.5])  # hard domains, but as hard for the teacher
    weights = np.full(3, 1 / 3)
    np.testing.assert_allclose(updated(weights, student, teacher, 0.5), weights)
    weights = np.array([0.8, 0.15, 0.05])
    for _ in range(40):
        weights = updated(weights, student, teacher, 0.5)
    np.testing.assert_allclose(weights, 1 / 3, atol=1e-9)


@pytest.mark.parametrize("high", [5.0, 800.0])
def test_losses_far_apart_give_numbers(high):
    student, teacher, weights = np.array([high, 0.05]), np.array([0.05, 0.05]), np.full(2, 0.5)
    found = updated(weights, student, teacher, 0.5)
    np.testing.assert_allclose(found, [0.75, 0.25])
    for _ in range(3):
        found = updated(found, student, teacher, 1.0)
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-12)
    assert np.isfinite(updated(found, student, teacher, 1.0)).all()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.integers(1, 500))
def test_quotas_share_out_every_image(values, total):
    weights = (np.array(values) + 1e-3) / (np.array(values) + 1e-3).sum()
    found = quotas(weights, total)
    assert sum(found) == total and (np.abs(np.array(found) - weights * total) < 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "proportional"}, {"one": 40, "two": 10, "three": 90}),
        ({"kind": "uniform"}, {"one": 47, "two": 47, "three": 46}),
        ({"kind": "sqrt"}, {"one": 47, "two": 23, "three": 70}),
        ({"kind": "fixed", "weights": {"one": 1.0, "two": 0.0, "three": 3.0}}, {"one": 35, "three": 105}),
        ({"kind": "proportional", "probe": 2}, {"one": 40, "two": 8, "three": 92}),
    ],
)
def test_an_epoch_holds_each_domain_s_share_to_the_image(settings, expected):
    draw = met(**settings)
    order = EpochBatches(140, 4, 0, draw=draw).order(0)
    assert order.shape == (35, 1, 4) and shares_of(order) == expected
    assert not set(draw.held) & set(order.ravel().tolist())
    assert set(draw.drawn(GROUPS)) == set(GROUPS) - {GROUPS[i] for i in draw.held}
    times = np.bincount(order.ravel(), minlength=140)
    for name in set(DOMAINS):  # each image of a domain once before any comes again
        of = np.setdiff1d(np.flatnonzero(np.array(DOMAINS) == name), draw.held)
        assert times[of].max() - times[of].min() <= 1


def test_a_draw_is_a_function_of_seed_round_and_weights():
    losses = {"one": (0.9, 0.1), "two": (0.5, 0.2), "three": (0.3, 0.2)}
    one, two = met(every=5, probe=3), met(every=5, probe=3)
    for told in range(3):
        batches, again = EpochBatches(140, 4, 7, draw=one), EpochBatches(140, 4, 7, draw=two)
        np.testing.assert_array_equal(batches.order(told), again.order(told))
        assert shares_of(batches.order(told)) == {n: c for n, c in zip(one.names, quotas(one.weights, 20)) if c}
        one.tell(losses, 20)
        other = DomainSampler(every=5, probe=3)
        other.meet(DOMAINS, GROUPS, 4)
        other.recall(one.state())  # all that it depends on is in the checkpoint
        assert (other.seen, other.round) == (one.seen, one.round)
        two = other
    assert (EpochBatches(140, 4, 7, draw=one).order(3) != EpochBatches(140, 4, 8, draw=one).order(3)).any()
    assert one.weights[0] > one.weights[1] > one.weights[2] and sum(one.seen.values()) == 60


def test_a_round_ends_the_stream_and_the_next_begins_where_the_training_stands():
    draw = met(every=3, probe=2)
    batches = EpochBatches(140, 4, 0, accumulate=2, draw=draw)
    first = list(batches)
    assert len(first) == batches.per_round == 6 and batches.per_epoch == 34
    batches.start = 4
    assert list(batches) == first[4:]
    draw.tell({name: (1.0, 0.5) for name in draw.names}, 24)
    batches.start = 6
    second = list(batches)
    assert len(second) == 6 and {key[0] for batch in second for key in batch} == {1}


def test_the_processes_share_a_round_without_overlap():
    draw = met(every=4, probe=2)
    streams = [list(EpochBatches(140, 4, 0, rank=rank, world=2, draw=draw)) for rank in range(2)]
    keys = [key for stream in streams for batch in stream for key in batch]
    assert len(set(keys)) == len(keys) == 2 * 4 * 4


def test_a_probe_takes_whole_groups():
    groups = ["a", "a", "b", "b", "c", "c"]
    found = held_out(np.arange(10, 16), groups, 3)
    assert len(found) == 4 and {groups[i - 10] for i in found} in ({"a", "b"}, {"a", "c"}, {"b", "c"})
    assert found == held_out(np.arange(10, 16), groups, 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alpha": 0.0}, "draw.alpha is a share above 0"),
        ({"every": 0}, "expected 1 or more for every and probe"),
        ({"probe": 0}, "expected 1 or more for every and probe"),
        ({"kind": "fixed"}, "draw.weights are those of kind: fixed"),
        ({"kind": "uniform", "weights": {"one": 1.0}}, "draw.weights are those of kind: fixed"),
        ({"kind": "fixed", "weights": {"one": -1.0}}, "expected {domain: 0 or more}"),
        ({"kind": "fixed", "weights": {"one": -1.0, "two": 3.0}}, "expected {domain: 0 or more}"),
        ({"kind": "fixed", "weights": {"one": float("inf"), "two": 3.0}}, "expected {domain: 0 or more}"),
        ({"kind": "fixed", "weights": {"one": 0.0}}, "not all 0"),
        ({"kind": "student_loss", "teacher": "slow"}, "draw.teacher is for kind: ddk"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        DomainSampler(**settings)


def test_names_and_numbers_that_do_not_fit_are_refused():
    fixed = DomainSampler(kind="fixed", weights={"one": 1.0, "two": 1.0, "four": 1.0})
    for refuse in (lambda: fixed.rehearse(["one", "two", "three"], 4), lambda: fixed.meet(DOMAINS, GROUPS, 4)):
        with pytest.raises(InputError, match="each of one, three, two; unknown: four; missing: three"):
            refuse()
    with pytest.raises(InputError, match="found only one"):
        DomainSampler().meet(DOMAINS[:40], GROUPS[:40], 4)
    with pytest.raises(InputError, match="found none"):
        DomainSampler().rehearse([], 4)
    DomainSampler().rehearse(None, 4)  # names of files will tell
    with pytest.raises(InputError, match="two has 10 training images, 8 of which are its probe: expected at least 6"):
        met(batch=16, probe=8)
