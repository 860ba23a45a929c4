"""What the numbers of a knowledge may be: a negative weight would be climbed, a temperature of 0 divides by nothing."""

import pytest

from segkd.distill.knowledge.across import TeacherFree
from segkd.distill.knowledge.channel import ChannelWise, Correlation
from segkd.distill.knowledge.enhanced import Decoupled
from segkd.distill.knowledge.exits import AllPairs
from segkd.distill.knowledge.graph import GraphEdges
from segkd.distill.knowledge.masks import SoftMasks
from segkd.distill.knowledge.response import Response
from segkd.distill.knowledge.structured import StructuredAttention
from segkd.distill.knowledge.universal import Universal
from segkd.types import InputError

WEIGHTS = {
    Correlation: ("between", "within"),
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
    for wrong in ((-1.0, 2.0), (2.0, -1.0), (0.0, 0.0)):
        with pytest.raises(InputError, match=kind.__name__):
            kind(**dict(zip((first, second), wrong)))


@pytest.mark.parametrize("kind", [AllPairs, ChannelWise, Correlation, Decoupled, Response])
def test_a_temperature_is_above_zero(kind):
    kind(temperature=0.1)
    for wrong in (0.0, -1.0):
        with pytest.raises(InputError, match=f"{kind.__name__}.*above 0"):
            kind(temperature=wrong)


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"beta": -1.0}])
def test_decoupled_weights_are_not_negative(wrong):
    with pytest.raises(InputError, match="alpha and beta 0 or more"):
        Decoupled(**wrong)
