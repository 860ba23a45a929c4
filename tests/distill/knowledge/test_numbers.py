"""What the numbers of a knowledge may be: a negative weight would be climbed, a temperature of 0 divides by nothing,
and one that is no number ends a training at its first step as diverged."""

from math import inf, nan

import pytest
import torch

from segkd.distill.knowledge.across import TeacherFree
from segkd.distill.knowledge.channel import ChannelWise, Correlation
from segkd.distill.knowledge.enhanced import Decoupled, TargetEnhanced
from segkd.distill.knowledge.exits import AllPairs
from segkd.distill.knowledge.graph import GraphEdges
from segkd.distill.knowledge.logits import LogitHint
from segkd.distill.knowledge.masks import SoftMasks
from segkd.distill.knowledge.one_for_all import OneForAll
from segkd.distill.knowledge.response import Response
from segkd.distill.knowledge.structured import StructuredAttention
from segkd.distill.knowledge.universal import Universal
from segkd.types import InputError, Prediction

WEIGHTS = {
    Correlation: ("between", "within"),
    Decoupled: ("alpha", "beta"),
    GraphEdges: ("feature", "label"),
    SoftMasks: ("ssim", "gram"),
    StructuredAttention: ("spatial", "channel"),
    TeacherFree: ("within", "between"),
    Universal: ("target", "others"),
}
"""Knowledge of two parts, of which one may be left out."""


@pytest.mark.parametrize("kind", WEIGHTS)
def test_of_two_weights_none_is_negative_and_one_is_above_zero(kind):
    first, second = WEIGHTS[kind]
    for fine in ((1.0, 0.0), (0.0, 1.0), (2.0, 2.0)):
        kind(**dict(zip((first, second), fine)))
    for wrong in ((-1.0, 2.0), (2.0, -1.0), (0.0, 0.0), (nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf)):
        with pytest.raises(InputError, match=kind.__name__):
            kind(**dict(zip((first, second), wrong)))


@pytest.mark.parametrize("kind", [AllPairs, ChannelWise, Correlation, Decoupled, Response])
def test_a_temperature_is_above_zero(kind):
    kind(temperature=0.1)
    for wrong in (0.0, -1.0, nan, inf):
        with pytest.raises(InputError, match=f"{kind.__name__}: temperature must be a finite number above 0"):
            kind(temperature=wrong)


@pytest.mark.parametrize("kind", [TargetEnhanced, OneForAll])
def test_an_epsilon_is_one_or_more(kind):
    kind(epsilon=1.0)
    for wrong in (0.9, nan, inf):
        with pytest.raises(InputError, match=f"{kind.__name__}: epsilon must be a finite number of 1 or more"):
            kind(epsilon=wrong)


@pytest.mark.parametrize(
    "kind", [ChannelWise, Correlation, Decoupled, LogitHint, Response, SoftMasks, TargetEnhanced, Universal]
)
def test_half_precision_is_that_of_the_logits_alone(kind, make_batch):
    batch, sides = make_batch(5, size=(33, 47)), (3 * torch.randn(2, 2, 5, 33, 47)).bfloat16()
    half, whole = (
        kind()(*(Prediction(one, exits=(one.flip(1),)) for one in given), batch) for given in (sides, sides.float())
    )
    torch.testing.assert_close(half, whole, rtol=1e-6, atol=0)


def test_an_emphasis_is_zero_or_more():
    Response(emphasis=0.0)
    for wrong in (-1.0, nan, inf):
        with pytest.raises(InputError, match="Response: emphasis must be a finite number of 0 or more"):
            Response(emphasis=wrong)
