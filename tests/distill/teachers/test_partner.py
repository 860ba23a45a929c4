from dataclasses import replace

import pytest
import torch

from segkd.distill.base import Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.feature import class_centres
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.partner import Clean, SameClass, Twin
from segkd.engine.learner import Learner
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.frequency.disturb import DctQuantization
from segkd.frequency.mix import CutMix
from segkd.frequency.swap import SwapPatches
from segkd.types import IGNORE, Disturbance, InputError, Prediction
from tests.conftest import REPOSITORY
from tests.distill.teachers.stage import Pointwise, Tiny, met


class Brighter(Disturbance):
    """Adds a random light to every image."""

    def forward(self, batch):
        return replace(batch, image=batch.image + torch.rand(len(batch.image), 1, 1, 1))


@pytest.mark.parametrize("disturbance", [CutMix(probability=1.0), SwapPatches(4, 1.0)])
def test_of_a_pointwise_network_the_clean_lesson_of_mixed_images_is_the_mixed_lesson(disturbance, make_batch):
    """The clean look, moved as the pixels were, is the look at the moved pixels: nothing is taught at a wrong place."""
    batch, student = make_batch(3, b=4, ignored=0.0), Pointwise()
    mixed = disturbance(batch)
    assert not torch.equal(mixed.image, batch.image)
    target = Clean()(mixed, student(mixed.image), student).target
    torch.testing.assert_close(target.logits, student(mixed.image).logits)
    assert not target.logits.requires_grad


def test_a_twin_looks_with_gradient_at_another_disturbance(make_batch):
    batch, student = make_batch(3), Tiny()
    twin = met(Twin(Brighter()), student, batch)
    seen = student(batch.image)
    target = twin(batch, seen, student).target
    assert target.logits.requires_grad and not torch.equal(target.logits, seen.logits)
    twin.eval()
    with torch.no_grad():
        repeated = [twin(batch, seen, lambda image: Distiller().see(student, image)).target.logits for _ in range(2)]
    assert torch.equal(*repeated)


def test_every_second_view_of_ddgsd_is_distorted(make_batch):
    parser = training_parser()
    card = REPOSITORY / "configs" / "methods" / "ddgsd.yaml"
    recipe = instantiate(parser, parse(parser, ["--config", str(card), "--data.embedded", "{}"])).distiller
    batch = make_batch(2, b=12)
    looked = []
    recipe.teachers["twin"].train()(batch, Tiny(2)(batch.image), lambda image: looked.append(image) or Tiny(2)(image))
    assert all(not torch.equal(one, other) for one, other in zip(looked[0], batch.clean, strict=True))


def test_a_twin_refuses_what_moves_pixels_or_learns(make_batch):
    with pytest.raises(InputError, match="CutMix moves pixels"):
        met(Twin(CutMix()), Tiny(), make_batch(3))
    with pytest.raises(InputError, match="DctQuantization has a table that learns"):
        met(Twin(DctQuantization()), Tiny(), make_batch(3))
    with pytest.raises(InputError, match="DctQuantization has a table that learns"):  # without a parameter
        met(Twin(DctQuantization(objective="adversarial", granularity="image")), Tiny(), make_batch(3))


class Fading(Brighter):
    """Adds less light as the training goes on; notes how often it followed."""

    followed: tuple[float, ...] = ()

    def forward(self, batch):
        return replace(batch, image=batch.image + 1 - self.progress)

    def follow(self, progress):
        super().follow(progress)
        self.followed += (progress,)


def test_a_twin_s_disturbance_moves_on_with_the_training(make_batch):
    batch, student = make_batch(3), Pointwise()
    distiller = Distiller(teachers={"twin": Twin(Fading())}, terms={"kl": Term(Response())})
    learner = Learner(student, distiller, total=4)
    disturbance = distiller.teachers["twin"].disturbance
    learner.follow(3)
    assert disturbance.followed == (0.75,)
    target = distiller.teachers["twin"](batch, student(batch.image), student).target
    torch.testing.assert_close(target.logits, student(batch.clean + 0.25).logits)
    learner.arrive(1.0)  # a resumed run
    assert disturbance.progress == 1.0 and disturbance.followed == (0.75,)


def test_class_means_are_means_over_the_pixels_of_a_class(make_batch):
    batch = make_batch(3, b=2)
    shares = torch.rand(2, 3, 32, 32).softmax(dim=1)
    means, there = class_centres(shares, batch.label, 3)
    for i in range(2):
        for c in range(3):
            hit = batch.label[i] == c
            assert there[i, c] == hit.any()
            if hit.any():
                torch.testing.assert_close(means[i, c], shares[i][:, hit].mean(dim=1))


def test_pixels_learn_from_their_class_in_the_next_image_and_nothing_where_it_lacks_it(make_batch):
    batch = make_batch(3, b=3)
    batch.label[1][batch.label[1] == 2] = IGNORE
    student = Tiny()
    seen = student(batch.image)
    lesson = met(SameClass(), student, batch)(batch, seen, student)
    means, there = class_centres(seen.logits.softmax(dim=1), batch.label, 3)
    for i, nxt in ((0, 1), (1, 2), (2, 0)):
        for y, x in ((3, 4), (20, 9), (31, 31)):
            c = int(batch.label[i, y, x])
            if c != IGNORE:
                assert lesson.mask[i, y, x] == there[nxt, c]
                if there[nxt, c]:
                    torch.testing.assert_close(lesson.target.logits[i, :, y, x].exp(), means[nxt, c])
    assert not lesson.mask[0][batch.label[0] == 2].any() and not lesson.target.logits.requires_grad


def test_an_image_alone_has_no_next_one(make_batch):
    with pytest.raises(InputError, match=r"data\.batch_size to 2 or more"):
        met(SameClass(), Tiny(), make_batch(3, b=1))


def test_an_ignored_pixel_that_is_no_number_spoils_no_class_s_mean(make_batch):
    batch, student = make_batch(3), Tiny()
    batch.label[:, 0, 0] = IGNORE
    logits = torch.randn(2, 3, 32, 32)
    logits[:, :, 0, 0] = float("inf")
    lesson = met(SameClass(), student, batch)(batch, Prediction(logits), student)
    assert lesson.target.logits.isfinite().all()
