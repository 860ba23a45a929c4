"""What `DctQuantization` refuses."""

import math

import pytest
import torch

from segkd.frequency.disturb import DctQuantization
from segkd.frequency.tables import AnnexK
from segkd.types import InputError
from tests.frequency.test_disturb import make


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"block": 5}, "one of 4, 8, 16, 32; found 5"),
        ({"probability": 0.0}, "probability must be above 0"),
        ({"granularity": "pixel", "size": (0, 16)}, r"size is .* found \[0, 16\]"),
        ({"strength": -1.0}, "strength is a factor above 0, found -1.0"),
        ({"strength": {}}, "strength is a number or"),
        ({"strength": {5.0: 1.0}}, "progress in 0..1"),
        ({"strength": math.inf, "objective": "fixed"}, "found inf"),
        ({"strength": 100.0, "objective": "fixed"}, r"times strength has steps in 10..10, beyond the bounds"),
        ({"bounds": (0.01, math.inf)}, "bounds"),
        ({"objective": "random", "spread": math.inf}, "found inf"),
        ({"bounds": (0.5, 0.1)}, r"found \[0.5, 0.1\]"),
        ({"bounds": (0.2, 1.0)}, r"steps in 0.1..0.1, beyond the bounds 0.2..1.0"),
        ({"strength": {0.0: 1.0, 1.0: 50.0}}, "out of reach"),
        ({"strength": 50.0, "objective": "adversarial"}, "out of reach"),
        ({"objective": "random", "spread": 0.0}, "draws nothing"),
        ({"jitter": 1.0}, "jitter moves the entries of objective random, not of cooperative"),
        ({"inner_steps": 2}, "inner_steps are those of granularity image"),
        ({"objective": "random", "spread": -1.0}, "spread"),
        ({"objective": "fixed", "granularity": "pixel"}, "granularity pixel changes nothing with objective fixed"),
        ({"inner_steps": 0}, "inner_steps"),
        ({"inner_step": float("inf")}, "inner_step is"),
    ],
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(InputError, match=words):
        make(**settings)


@pytest.mark.parametrize("name", ["objective", "granularity", "color"])
def test_a_word_that_is_none_is_named_beside_those_that_are(name):
    stage = make()
    setattr(stage, name, "RGB")  # a call would be stopped by these tests' type checker
    with pytest.raises(InputError, match=f"{name} is one of .*, .*; found 'RGB'"):
        stage._refuse_settings()


def test_images_of_another_size_than_the_table_s_are_named(make_batch):
    with pytest.raises(InputError, match=r"table per pixel for images of \(32, 32\), found images of \(16, 32\)"):
        make(granularity="pixel")(make_batch(size=(16, 32)))


@pytest.mark.parametrize("wrong", [float("nan"), 255.0])
def test_images_that_are_not_in_0_to_1_are_named(wrong, make_batch):
    batch = make_batch()
    batch.image[0, 0, 0, 0] = wrong
    with pytest.raises(InputError, match="NaN" if math.isnan(wrong) else "Divide by 255"):
        make()(batch)


def test_the_default_is_jpeg_at_quality_50():
    assert torch.equal(DctQuantization().layout.groups[0].start[0], AnnexK(50.0).steps(8, False))
