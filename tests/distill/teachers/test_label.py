import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segkd.distill.teachers.label import (
    LabelTeacher,
    boundary_confidence,
    boundary_pixels,
    confidence_rows,
    squared_distance,
    window_histogram,
)
from segkd.types import IGNORE, Batch, InputError, Prediction

KINDS = ["constant", "boundary", "window", "antialiased"]


def no_look(image: torch.Tensor) -> Prediction:
    raise AssertionError("a label teacher reads labels and nothing else")


def taught(teacher: LabelTeacher, batch: Batch, classes: int) -> torch.Tensor:
    student = Prediction(torch.zeros(len(batch.label), classes, *batch.label.shape[1:]))
    return teacher(batch, student, no_look).target.logits


def softened(a: float, classes: int, temperature: float, soften: str, times: int = 1) -> tuple[float, float]:
    """What a temperature makes of the teacher of eq. 8: its share for the label's class and for another one."""
    logits = taught(LabelTeacher("constant", a, soften=soften), flat(), classes)[0, :, 0, 0].double()
    for _ in range(times):
        shares = (logits / temperature).softmax(dim=0)
        logits = shares.log()
    return float(shares[0]), float(shares[1])


def flat() -> Batch:
    """One image of class 0."""
    image = torch.zeros(1, 3, 2, 2)
    return Batch(image, image, torch.zeros(1, 2, 2, dtype=torch.long), None, ("flat",))


def square(size: int = 24) -> Batch:
    """A square of class 1, with a blot of ignored pixels across one of its corners."""
    label = torch.zeros(1, size, size, dtype=torch.long)
    label[0, 6:15, 8:19] = 1
    label[0, 4:8, 5:10] = IGNORE
    image = torch.zeros(1, 3, size, size)
    return Batch(image, image, label, None, ("square",))


def test_a_binary_teacher_softened_once_and_twice():
    """ARCHITECTURE 5: .759 at a = .99, T = 4; .571 if both teacher and knowledge softened."""
    assert softened(0.99, 2, 4, "power")[0] == pytest.approx(0.759, abs=5e-4)
    assert softened(0.99, 2, 4, "power", times=2)[0] == pytest.approx(0.571, abs=5e-4)


@pytest.mark.parametrize(
    ("soften", "shares"), [("power", (0.990, 0.759, 0.557)), ("softmax_prob", (0.727, 0.561, 0.512))]
)
def test_the_two_softenings_of_a_binary_teacher(soften, shares):
    """METHODS 1.5, finding 3: a = .99 at T = 1, 4, 20."""
    assert [softened(0.99, 2, t, soften)[0] for t in (1, 4, 20)] == pytest.approx(shares, abs=5e-4)


@pytest.mark.parametrize(
    ("classes", "a", "soften", "pair"),
    [
        (10, 0.999, "power", (0.1491, 0.0945)),  # the paper's figure 3
        (10, 0.999, "softmax_prob", (0.1046, 0.0995)),  # the official code
        (19, 0.99, "power", (0.0747, 0.0514)),
        (21, 0.99, "power", (0.0681, 0.0466)),
    ],
)
def test_the_figures_of_the_paper_at_temperature_twenty(classes, a, soften, pair):
    assert softened(a, classes, 20, soften) == pytest.approx(pair, abs=6e-5)


@settings(max_examples=30, deadline=None)
@given(a=st.floats(0.2, 0.99), classes=st.integers(2, 12))
def test_rows_are_the_distributions_of_equation_8(a, classes):
    rows = confidence_rows(a, classes)
    naive = [[a if k == c else (1 - a) / (classes - 1) for k in range(classes)] for c in range(classes)]
    torch.testing.assert_close(rows, torch.tensor(naive))


@pytest.mark.parametrize("classes", [2, 11])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_positive_rows_that_sum_to_one(kind, classes, make_batch):
    batch = make_batch(classes)
    p = LabelTeacher(kind).distribution(batch, classes)
    kept = p.permute(0, 2, 3, 1)[batch.valid]
    torch.testing.assert_close(kept.sum(dim=1), torch.ones(len(kept)))
    assert (kept > 0).all()
    assert taught(LabelTeacher(kind), batch, classes).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_power_gives_the_logarithm_and_softmax_prob_the_probabilities(kind, make_batch):
    batch = make_batch(3, ignored=0.0)
    p = LabelTeacher(kind).distribution(batch, 3)
    torch.testing.assert_close(taught(LabelTeacher(kind, soften="power"), batch, 3), p.log())
    torch.testing.assert_close(taught(LabelTeacher(kind, soften="softmax_prob"), batch, 3), p)


@pytest.mark.parametrize("kind", ["constant", "boundary", "window"])
def test_the_teacher_agrees_with_the_label_where_it_is_flat(kind):
    p = LabelTeacher(kind, confidence=0.9, sigma=1.0).distribution(square(), 2)
    assert p[0, 0, 20, 2] == pytest.approx(0.9 if kind != "window" else 0.95, abs=1e-3)
    assert p[0, 1, 10, 13] == pytest.approx(0.9 if kind != "window" else 0.95, abs=1e-2)


@pytest.mark.parametrize("kind", ["boundary", "window"])
def test_what_is_ignored_counts_as_neither_class(kind):
    """Whatever class the ignored blot really is, the teacher of the other pixels stays: it does not read it."""
    batch = square()
    whole = replace(batch, label=torch.zeros_like(batch.label))
    whole.label[0, :, 12:] = IGNORE
    p = LabelTeacher(kind, confidence=0.9).distribution(whole, 2)
    expected = 0.9 if kind == "boundary" else 0.95
    assert p[0, 0, :, :12].sub(expected).abs().max() < 1e-5  # no boundary, no other class: flat up to the border


def test_a_boundary_pixel_has_a_valid_neighbour_of_another_class():
    batch = square()
    label, valid = batch.label[0].tolist(), batch.valid
    naive = torch.zeros_like(valid)
    for y in range(24):
        for x in range(24):
            around = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
            others = [label[v][u] for v, u in around if 0 <= v < 24 and 0 <= u < 24]
            naive[0, y, x] = label[y][x] != IGNORE and any(o not in (label[y][x], IGNORE) for o in others)
    assert torch.equal(boundary_pixels(batch.label, valid), naive)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.integers(1, 9), share=st.sampled_from([0.01, 0.05, 0.5]))
def test_the_distance_is_euclid_s_up_to_the_radius(seed, radius, share):
    draw = np.random.default_rng(seed)
    seeds = draw.random((2, *draw.integers(1, 25, 2))) < share
    seeds[:, 0, 0] = True
    far = float((radius + 1) ** 2)
    naive = np.stack([np.minimum(scipy.ndimage.distance_transform_edt(~one) ** 2, far) for one in seeds])
    np.testing.assert_allclose(squared_distance(torch.from_numpy(seeds), radius).numpy(), naive, rtol=1e-5)


def test_without_a_seed_everything_is_far():
    assert (squared_distance(torch.zeros(1, 5, 6, dtype=torch.bool), 3) == 16).all()


def test_confidence_rises_with_the_distance_from_the_boundary():
    batch, sigma = square(), 1.5
    confidence = boundary_confidence(batch.label, batch.valid, 0.6, 0.95, sigma)
    edge = boundary_pixels(batch.label, batch.valid)
    distance2 = squared_distance(edge, 6)
    order = distance2.flatten().argsort()
    assert (confidence.flatten()[order].diff() >= 0).all()
    torch.testing.assert_close(confidence[edge], torch.full((int(edge.sum()),), 0.6))
    assert confidence.min() == pytest.approx(0.6) and confidence.max() == pytest.approx(0.95, abs=1e-3)
    naive = 0.6 + 0.35 * (1 - math.exp(-float(distance2[0, 2, 12]) / (2 * sigma**2)))
    assert float(confidence[0, 2, 12]) == pytest.approx(naive, rel=1e-5)


def test_the_window_is_a_gaussian_mean_over_the_valid_pixels_around():
    label = torch.randint(0, 3, (1, 9, 11))
    label[0, 2:6, 3:7] = IGNORE
    sigma, radius = 0.8, 2
    shares = window_histogram(label, label != IGNORE, 3, sigma)
    for y, x in [(0, 0), (1, 4), (4, 5), (8, 10), (6, 7)]:
        mass = torch.zeros(3)
        for v in range(max(0, y - radius), min(9, y + radius + 1)):
            for u in range(max(0, x - radius), min(11, x + radius + 1)):
                if label[0, v, u] != IGNORE:
                    mass[label[0, v, u]] += math.exp(-((v - y) ** 2 + (u - x) ** 2) / (2 * sigma**2))
        torch.testing.assert_close(shares[0, :, y, x], mass / mass.sum())


def test_far_from_borders_the_window_is_scipy_s_gaussian_filter():
    label = torch.zeros(1, 31, 31, dtype=torch.long)
    label[0, 10:21, 12:19] = 1
    filtered = scipy.ndimage.gaussian_filter(label[0].double().numpy(), 2.0, truncate=3.0)
    shares = window_histogram(label, torch.ones_like(label, dtype=torch.bool), 2, 2.0)
    np.testing.assert_allclose(shares[0, 1, 7:24, 7:24].numpy(), filtered[7:24, 7:24], atol=1e-5)


def test_the_window_narrows_with_the_training():
    batch, teacher = square(), LabelTeacher("window", confidence=0.9, sigma={0.0: 4.0, 0.5: 1.0})
    for progress, sigma in [(0.0, 4.0), (0.25, 2.5), (0.5, 1.0), (1.0, 1.0)]:
        teacher.arrive(progress)
        still = LabelTeacher("window", confidence=0.9, sigma=sigma)
        torch.testing.assert_close(teacher.distribution(batch, 2), still.distribution(batch, 2), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["constant", "boundary", "window"])
def test_an_image_that_is_ignored_whole_leaves_a_finite_lesson(kind):
    batch = replace(square(), label=torch.full((1, 24, 24), IGNORE))
    assert taught(LabelTeacher(kind), batch, 2).isfinite().all()


def test_antialiased_blends_the_shares_of_the_batch_and_is_refused_without(make_batch):
    batch = make_batch(3)
    p = LabelTeacher("antialiased", confidence=0.9).distribution(batch, 3)
    torch.testing.assert_close(p, 0.9 * batch.soft + 0.1 / 3)
    with pytest.raises(InputError, match=r"antialiased reads Batch\.soft"):
        LabelTeacher("antialiased").distribution(make_batch(3, soft=False), 3)
    assert [LabelTeacher(kind).needs_soft for kind in KINDS] == [False, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"confidence": 1.0}, "confidence is a probability below 1.*found 1.0"),
        ({"confidence": 0.0}, "confidence.*found 0.0"),
        ({"boundary_confidence": 1.5}, "boundary_confidence.*found 1.5"),
        ({"kind": "boundary", "confidence": 0.8, "boundary_confidence": 0.9}, "lowest confidence, found 0.9 above"),
        ({"sigma": 0.0}, "sigma.*above 0, found 0.0"),
        ({"sigma": {0.0: 3.0, 1.0: 0.0}}, "sigma.*above 0, found {0.0: 3.0, 1.0: 0.0}"),
        ({"sigma": {2.0: 3.0}}, "sigma is a number or {progress"),
    ],
)
def test_numbers_that_make_no_distribution_are_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        LabelTeacher(**arguments)


@pytest.mark.parametrize("kind", [*KINDS, "smoothed"])
def test_a_confidence_at_chance_is_refused_where_it_would_be_taught(kind):
    """The lowest of "boundary" is a confidence of that kind alone."""
    with pytest.raises(InputError, match=r"must be above 1 / 2.*found 0\.5"):
        taught(LabelTeacher(kind, confidence=0.5, boundary_confidence=0.5), flat(), 2)
    low = LabelTeacher(kind, confidence=0.8, boundary_confidence=0.4)
    if kind == "boundary":
        with pytest.raises(InputError, match=r"must be above 1 / 2.*found 0\.4"):
            taught(low, flat(), 2)
    else:
        soft = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
        assert taught(low, replace(flat(), soft=soft), 2).isfinite().all()


def test_a_label_teacher_has_no_state_and_gives_logits_alone():
    teacher = LabelTeacher()
    assert not list(teacher.parameters()) and not teacher.state_dict()
    assert teacher.gives == {"logits"} and not teacher.learns
