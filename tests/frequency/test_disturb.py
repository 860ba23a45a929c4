import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from segkd.frequency.disturb import DctQuantization
from segkd.frequency.rings import EDGES
from segkd.frequency.rounding import Tanh
from segkd.frequency.spectrum import psnr
from segkd.frequency.tables import Flat
from segkd.types import InputError

GRAINS = ("coefficient", "pixel", "block", "image")
COLORS = ("rgb", "ycbcr444", "ycbcr420")
every_grain = pytest.mark.parametrize("granularity", GRAINS)
learning = pytest.mark.parametrize("objective", ["cooperative", "adversarial"])
persistent = pytest.mark.parametrize("granularity", ["coefficient", "pixel", "block"])


def make(**settings) -> DctQuantization:
    return DctQuantization(**{"table": Flat(0.1), "size": (32, 32)} | settings)


def quality(batch) -> torch.Tensor:
    """A loss that likes images as they were, all but their blue."""
    weight = torch.tensor([1.0, 1.0, 0.01]).view(1, 3, 1, 1)
    return ((batch.image - batch.clean).square() * weight).mean()


def steps_of(stage: DctQuantization) -> torch.Tensor:
    return torch.cat([table.flatten() for table in stage.tables()])


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("objective", ["cooperative", "adversarial", "random", "fixed"])
def test_the_image_alone_is_quantised(objective, color, make_batch):
    batch = make_batch()
    out = make(objective=objective, color=color)(batch)
    assert (out.image != batch.image).any() and out.image.min() >= 0 and out.image.max() <= 1
    for name in ("clean", "label", "soft", "ids"):
        assert getattr(out, name) is getattr(batch, name)


@persistent
@learning
@pytest.mark.parametrize("color", COLORS)
def test_every_entry_gets_a_gradient(granularity, objective, color, make_batch):
    stage = make(granularity=granularity, objective=objective, color=color)
    quality(stage(make_batch(b=4))).backward()
    share = float((stage.theta.grad != 0).float().mean())
    assert stage.theta.grad.isfinite().all() and share > 0.9  # a saturated pixel gives none


@persistent
def test_adversarial_is_the_reverse_of_cooperative(granularity, make_batch):
    grads = []
    for objective in ("cooperative", "adversarial"):
        stage = make(granularity=granularity, objective=objective)
        quality(stage(make_batch())).backward()
        grads.append(stage.theta.grad)
    torch.testing.assert_close(grads[0], -grads[1], rtol=1e-4, atol=1e-9)  # a flat table: both budgets have one normal


def descend(stage: DctQuantization, batch, steps: int = 40, lr: float = 0.1, sign: float = 1.0) -> list[float]:
    optimizer = torch.optim.Adam(stage.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        loss = sign * quality(stage(batch))
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stage.follow((step + 1) / steps)
    return losses


@persistent
def test_cooperative_holds_the_mean_of_log2_at_its_schedule_and_lowers_the_loss(granularity, make_batch):
    stage = make(granularity=granularity, strength={0.0: 1.0, 1.0: 0.5}, color="rgb")
    for progress in (0.0, 0.5, 1.0):
        stage.follow(progress)
        wanted = math.log2(0.1) + math.log2(1 - 0.5 * progress)
        assert float(steps_of(stage).log2().mean()) == pytest.approx(wanted, abs=2e-5)
    stage = make(granularity=granularity, color="rgb")
    losses = descend(stage, make_batch(size=(32, 32)))
    assert losses[-1] < 0.8 * losses[0]
    assert float(steps_of(stage).log2().mean()) == pytest.approx(math.log2(0.1), abs=2e-5)
    red, _, blue = stage.tables()[0].expand(1, 3, -1, -1, -1, -1)[0].log2().flatten(1).mean(dim=1)
    assert red < math.log2(0.1) < blue  # what the loss does not miss pays for what it does


@persistent
def test_adversarial_holds_the_distortion_and_raises_the_loss(granularity, make_batch):
    stage = make(granularity=granularity, objective="adversarial", color="rgb")
    losses = descend(stage, make_batch(size=(32, 32)))
    assert losses[-1] > 1.1 * losses[0]
    assert float(steps_of(stage).square().mean()) == pytest.approx(0.01, rel=1e-4)


@learning
def test_a_table_stays_within_its_bounds_and_comes_back_from_them(objective, make_batch):
    batch = make_batch(size=(32, 32))
    stage = make(objective=objective, bounds=(0.05, 0.2), color="rgb")
    descend(stage, batch, 60, lr=0.5)
    steps = steps_of(stage)
    assert steps.min() >= 0.05 * 0.999 and steps.max() <= 0.2 * 1.001
    at_edge = (stage.theta.detach() <= stage.low + 1e-4) | (stage.theta.detach() >= stage.high - 1e-4)
    assert at_edge.float().mean() > 0.3
    grads = []
    for sign in (1, -1):  # pulled both ways, an entry at its bound keeps its gradient
        stage.theta.grad = None
        (sign * quality(stage(batch))).backward()
        grads.append(stage.theta.grad[at_edge])
    assert (grads[0] == -grads[1]).all() and (grads[0] != 0).float().mean() > 0.9
    started = stage.theta.detach().clone()
    descend(stage, batch, 60, lr=0.5, sign=-1.0)  # pulled the other way, they leave it
    assert ((stage.theta.detach() - started).abs() > 0.5)[at_edge].float().mean() > 0.5


@pytest.mark.parametrize(("color", "factor"), [("rgb", 1.0), ("ycbcr444", 2.92)])
def test_distortion_is_what_images_lose_at_most_on_average(color, factor, make_batch):
    """An error in Y is one in R, G and B; Cb and Cr count 3.26 and 2.48 times over the mean of three channels."""
    from tests.frequency.test_image import natural, to_tensor

    image = to_tensor(natural(64, 0))
    batch = replace(make_batch(b=1, size=(64, 64)), image=image, clean=image)
    for step in (0.02, 0.1, 0.4):
        stage = DctQuantization(Flat(step), "fixed", color=color, faithful=False)
        lost = float((stage(batch).image - image).square().mean())
        assert lost <= 1.05 * factor * step**2 / 12


def test_random_draws_a_strength_per_image_and_follows_the_seed(make_batch):
    batch = make_batch(b=16)
    stage = make(objective="random", spread=3.0, color="rgb")
    torch.manual_seed(4)
    one = stage(batch).image
    torch.manual_seed(4)
    assert torch.equal(one, stage(batch).image)
    errors = (one - batch.clean).square().mean(dim=(1, 2, 3))
    assert errors.max() > 8 * errors.min() and not list(stage.parameters())
    bound = make(objective="random", spread=3.0, bounds=(0.05, 0.2))
    steps = torch.cat([table.flatten() for table in bound.layout.tables(bound.octaves(16))])
    assert float(steps.min()) == pytest.approx(0.05) and float(steps.max()) == pytest.approx(0.2)


@every_grain
def test_random_jitter_is_drawn_at_its_grain(granularity, make_batch):
    stage = make(objective="random", spread=0.0, jitter=1.0, granularity=granularity)
    rows = stage.octaves(4)
    assert rows.shape == (4 if granularity == "image" else 1, stage.layout.entries)
    assert rows.abs().max() <= 1 and rows.std() > 0.4
    stage(make_batch(b=4))


def test_strength_follows_its_schedule(make_batch):
    stage = make(objective="fixed", strength={0.0: 0.5, 1.0: 10.0})
    assert float(steps_of(stage).mean()) == pytest.approx(0.05)
    stage.follow(1.0)
    assert float(steps_of(stage).max()) == pytest.approx(1.0)


@learning
def test_a_table_per_image_moves_by_the_sign_of_the_loss_and_starts_anew(objective, make_batch):
    batch = make_batch(b=3)
    stage = make(granularity="image", objective=objective, inner_steps=3, inner_step=0.5, color="rgb")
    assert not list(stage.parameters())
    calls = []

    def loss(seen):
        calls.append(quality(seen))
        return calls[-1]

    with pytest.raises(InputError, match="seek"):  # it would train nothing
        stage(batch)
    with torch.no_grad():
        before = quality(stage(batch))
    out = stage.seek(batch, loss)
    assert len(calls) == 3 and not out.image.requires_grad
    assert (quality(out) < before) if objective == "cooperative" else (quality(out) > before)
    assert torch.equal(stage.seek(batch, loss).image, out.image)

    # likes every entry finer, which the budget has not: what counts is which one more
    sought = stage.seek(batch, lambda seen: (seen.image - seen.clean).square().mean())
    with torch.no_grad():
        start = stage(batch).image
    assert (sought.image - start).abs().max() > 0.01


def test_gradients_flow_under_no_grad_only_where_they_must(make_batch):
    def of_all(seen):  # whoever is drawn in the end
        assert (seen.image != seen.clean).flatten(1).any(dim=1).all()
        return quality(seen)

    with torch.no_grad():
        make(granularity="image", objective="adversarial", probability=0.1).seek(make_batch(), of_all)


def test_probability(make_batch):
    batch = make_batch(b=32, size=(16, 16))
    out = DctQuantization(Flat(0.3), "fixed", probability=0.5)(batch)
    moved = (out.image != batch.image).flatten(1).any(dim=1)
    assert 5 < moved.sum() < 27


@pytest.mark.parametrize("objective", ["cooperative", "random"])
def test_a_report_has_bits_and_pictures_and_a_record(objective, make_batch):
    report = make(objective=objective).report(make_batch())
    assert len(report.record["bits"]) == 8 and len(report.record["log2_steps"]) == 3
    assert "table" in report.pictures and "bits/band0" in report.scalars


@pytest.mark.parametrize("color", COLORS)
def test_the_bits_of_a_report_are_those_of_the_planes_that_are_quantised(color, make_batch):
    """Rounding to bytes is noise to a fine table: of a smooth image it is most of what the high bands hold."""
    batch, ramp = make_batch(), torch.linspace(0, 1, 32)
    smooth = (ramp * torch.tensor([0.9, 0.5, 0.7]).view(1, 3, 1, 1)).expand_as(batch.image).contiguous()
    reports = [
        make(objective="fixed", color=color, faithful=faithful, table=Flat(0.004)).report(replace(batch, image=smooth))
        for faithful in (True, False)
    ]
    bytes_, reals = (np.array(report.record["bits"]) for report in reports)
    assert (bytes_ == reals).all() if color == "rgb" else bytes_[-2:].sum() > reals[-2:].sum() + 0.05


def test_the_psnr_of_a_report_follows_the_table_and_not_who_is_drawn(make_batch):
    batch = make_batch()
    coarse, fine = (make(objective="fixed", probability=0.5, strength=factor) for factor in (2.0, 1.0))
    found = [stage.report(batch).record["psnr"] for stage in (coarse, coarse, fine)]
    assert found[0] == found[1] < found[2]
    sure = make(objective="fixed", strength=2.0)(batch).image
    assert found[0] == pytest.approx(float(psnr(sure, batch.image).mean()))


def test_a_report_has_the_mean_step_of_each_ring_of_the_first_plane(make_batch):
    report = make(objective="fixed").report(make_batch())
    table, found = np.array(report.record["log2_steps"])[0], report.record["log2_step_rings"]
    expected: list[list[float]] = [[] for _ in range(8)]
    for u in range(8):
        for v in range(8):
            if (u, v) != (0, 0):  # the mean is in no ring
                expected[sum(math.hypot(u, v) / 16 >= edge for edge in EDGES[1:-1])].append(table[u, v])
    for ring in range(8):
        if ring < 3:  # below 1/16 a block of 8 has nothing
            assert found[ring] is None and f"log2_step/ring{ring}" not in report.scalars
            continue
        assert found[ring] == pytest.approx(np.mean(expected[ring]), abs=2e-3)
        assert report.scalars[f"log2_step/ring{ring}"] == pytest.approx(np.mean(expected[ring]), abs=2e-3)


def test_sharpness_follows_the_training(make_batch):
    batch = make_batch()
    stage = make(rounding=Tanh({0.0: 2.0, 1.0: 20.0}))
    one = stage(batch).image
    stage.follow(1.0)
    assert (stage(batch).image != one).any()
