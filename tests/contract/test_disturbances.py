"""What every disturbance must keep: a later one adds a line to the table."""

import inspect
from dataclasses import replace

import pytest
import torch

from segkd.distill.distiller import Distiller
from segkd.engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from segkd.engine.learner import Learner
from segkd.engine.panels import disturbed_panel
from segkd.engine.step import train_step
from segkd.experiment import classes
from segkd.frequency.amplitude import APRP, APRS, FDA, AmpMix
from segkd.frequency.disturb import DctQuantization
from segkd.frequency.filters import BandStop, DctBandDrop, FrequencyDropout
from segkd.frequency.jpeg import RandomJpeg
from segkd.frequency.mix import CutMix
from segkd.frequency.rounding import Noise
from segkd.frequency.swap import SwapPatches
from segkd.frequency.tables import Flat
from segkd.models.fusion import FusionNet
from segkd.types import Disturbance, InputError
from tests.engine.test_step import make_engine

SIZE = (32, 32)
DISTURBANCES = {
    "dct_fixed": lambda: DctQuantization(Flat(0.2), "fixed"),
    "dct_random": lambda: DctQuantization(Flat(0.2), "random", probability=0.7),
    "dct_random_jitter": lambda: DctQuantization(Flat(0.2), "random", "image", jitter=1.0),
    "dct_image_cooperative": lambda: DctQuantization(Flat(0.2), "cooperative", "image"),
    "dct_image_adversarial": lambda: DctQuantization(Flat(0.2), "adversarial", "image", inner_steps=2),
    **{
        f"dct_{objective}_{granularity}_{color}": (
            lambda o=objective, g=granularity, c=color: DctQuantization(Flat(0.2), o, g, c, Noise(), size=SIZE)
        )
        for objective in ("cooperative", "adversarial")
        for granularity in ("coefficient", "pixel", "block")
        for color in ("rgb", "ycbcr420")
    },
    "fda": FDA,
    "apr_p": APRP,
    "apr_s": APRS,
    "ampmix": AmpMix,
    "band_stop": BandStop,
    "frequency_dropout": FrequencyDropout,
    "dct_band_drop": DctBandDrop,
    "jpeg_cv2": RandomJpeg,
    "jpeg_kornia": lambda: RandomJpeg(codec="kornia"),
    "cutmix": CutMix,
    "swap_patches": lambda: SwapPatches(4, 1.0),
}
every_disturbance = pytest.mark.parametrize("make", DISTURBANCES.values(), ids=DISTURBANCES)


def seen(disturbance: Disturbance, batch):
    return disturbance.seek(batch, lambda b: (b.image - b.clean).square().mean())


@pytest.mark.parametrize("make", DISTURBANCES.values(), ids=DISTURBANCES)
def test_images_stay_images_and_the_batch_given_is_not_touched(make, make_batch):
    batch, untouched = make_batch(b=8, size=SIZE), make_batch(b=8, size=SIZE)
    disturbance = make()
    out = seen(disturbance, batch)
    assert out.image.shape == batch.image.shape and out.image.isfinite().all() and out.image.dtype == torch.float32
    assert out.image.min() >= 0 and out.image.max() <= 1 and (out.image != batch.image).any()
    for name in ("image", "clean", "label", "soft"):
        assert torch.equal(getattr(batch, name), getattr(untouched, name)), name
    assert out.clean is batch.clean
    if not isinstance(disturbance, CutMix | SwapPatches):
        assert out.label is batch.label and out.soft is batch.soft


@every_disturbance
def test_sizes_that_no_block_fits_are_fine(make, make_batch):
    disturbance = make()
    odd = (29, 45)
    if isinstance(disturbance, DctQuantization) and disturbance.granularity in ("pixel", "block"):
        disturbance = DctQuantization(Flat(0.2), "cooperative", disturbance.granularity, disturbance.color, size=odd)
    assert seen(disturbance, make_batch(b=3, size=odd)).image.shape == (3, 3, *odd)


@every_disturbance
def test_autocast_changes_nothing(make, make_batch):
    disturbance, batch = make(), make_batch(b=6, size=SIZE)
    found = []
    for enabled in (False, True):
        torch.manual_seed(11)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(seen(disturbance, batch).image)
    assert found[1].dtype == torch.float32 and torch.equal(*found)


@every_disturbance
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_image_keeps_its_type_and_a_half_one_is_worked_on_in_float32(make, dtype, make_batch):
    disturbance, batch = make(), make_batch(b=6, size=SIZE)
    batch = replace(batch, image=batch.image.to(torch.bfloat16), clean=batch.clean.to(torch.bfloat16))
    found = []
    for kind in (torch.float32, dtype):
        torch.manual_seed(11)
        found.append(seen(disturbance, replace(batch, image=batch.image.to(kind), clean=batch.clean.to(kind))).image)
    assert found[1].dtype == dtype
    moved = isinstance(disturbance, DctQuantization) and disturbance.learns and disturbance.granularity == "image"
    if dtype == torch.bfloat16 and not moved:  # by a loss of the rounded images
        assert torch.equal(found[0].to(dtype), found[1])


@every_disturbance
def test_draws_follow_the_seed(make, make_batch):
    disturbance, batch = make(), make_batch(b=6, size=SIZE)
    torch.manual_seed(11)
    one = seen(disturbance, batch)
    torch.manual_seed(11)
    two = seen(disturbance, batch)
    assert torch.equal(one.image, two.image) and torch.equal(one.label, two.label)


@every_disturbance
@pytest.mark.parametrize("wrong", [float("nan"), 200.0])
def test_bad_images_are_refused(make, wrong, make_batch):
    batch = make_batch(b=2, size=SIZE)
    batch.image[0, 0, 3, 3] = wrong
    with pytest.raises(InputError):
        seen(make(), batch)


@every_disturbance
def test_a_student_learns_through_it_and_what_it_learns_moves(make, make_batch):
    torch.manual_seed(1)
    batch, disturbance = make_batch(b=4, size=SIZE), make()
    before = {name: value.detach().clone() for name, value in disturbance.named_parameters()}
    learner = Learner(FusionNet(2, "test_efficientnet", None, 16), Distiller(), disturbance, total=10)
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for step in range(1, 9):
        torch.manual_seed(step)
        loss = learner(batch)["task"]
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.follow(step)
    assert losses[-1] < losses[0]
    for name, value in disturbance.named_parameters():
        assert value.grad.isfinite().all() and (value != before[name]).any()


@every_disturbance
def test_a_resumed_training_is_the_unbroken_one(make, make_batch, tmp_path):
    batch = make_batch(b=4, size=SIZE)
    whole = make_engine(disturbance=make())
    for _ in range(2):
        train_step(whole, batch)
    save_checkpoint(tmp_path / "last.pt", whole, Progress())
    train_step(whole, batch)
    other = make_engine(disturbance=make())
    load_checkpoint(tmp_path / "last.pt", other)
    assert other.bare.disturbance.progress == 0.2
    train_step(other, batch)
    for one, two in zip(whole.bare.state_dict().values(), other.bare.state_dict().values()):
        assert torch.equal(one, two)


@every_disturbance
def test_a_validation_can_show_it(make, make_batch):
    batch, disturbance = make_batch(b=4, size=SIZE), make()
    picture, scalars = disturbed_panel(disturbance, batch)
    assert picture.shape == (4 * 32, 2 * 32, 3)
    assert all(0 < value < 99 for value in scalars.values())
    disturbance.report(batch)


def test_every_disturbance_of_the_package_is_here_and_can_be_named():
    assert "frequency" in classes.ROOMS  # imported by scanning: a configuration names them without their path
    children = {c for c in Disturbance.__subclasses__() if c.__module__.startswith("segkd.")}
    assert children == {type(make()) for make in DISTURBANCES.values()}
    assert not any(inspect.isabstract(c) for c in children)


def test_inner_looks_leave_no_trace_in_the_student(make_batch):
    batch = make_batch(b=4, size=SIZE)
    states = []
    for inner in (1, 4):
        torch.manual_seed(1)
        stage = DctQuantization(Flat(0.2), "adversarial", "image", inner_steps=inner, inner_step=1e-6)
        learner = Learner(FusionNet(2, "test_efficientnet", None, 16), Distiller(), stage, total=10)
        learner(batch)
        assert learner.student.training and all(p.grad is None for p in learner.parameters())
        states.append([value for name, value in learner.state_dict().items() if "num_batches" in name])
    assert states[0] and all(torch.equal(a, b) for a, b in zip(*states)) and all((s == 1).all() for s in states[0])
