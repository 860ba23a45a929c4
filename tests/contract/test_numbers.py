"""Numbers that are none, endless or negative: an option that takes a number refuses them, or means something by them.

A class that a configuration may name is under this contract without a line.
"""

import inspect
import re
from collections.abc import Iterator
from math import inf, nan

import pytest

from segkd.datasets.transforms import Augment
from segkd.distill.base import Term
from segkd.distill.distiller import Distiller
from segkd.distill.exits import Exits
from segkd.distill.knowledge.channel import ChannelWise
from segkd.distill.teachers.label import LabelTeacher
from segkd.distill.teachers.retrieval import Retrieval, Stage
from segkd.engine.optim import Optim
from segkd.experiment.classes import BASES, subclasses
from segkd.experiment.settings import Evaluation
from segkd.losses import CrossEntropy
from segkd.models.onnx import OnnxNetwork
from segkd.types import InputError, LayerPath

NAMED = {one for base in BASES.values() for one in subclasses(base) if one.__module__.startswith("segkd.")}
FAMILY = sorted(
    NAMED - {OnnxNetwork} | {Augment, Distiller, Evaluation, Exits, Optim, Stage, Term}, key=lambda one: one.__name__
)
NEEDED = {
    "FusionNet": {"classes": 2},
    "Retrieval": {"source": LayerPath("run")},
    "Sum": {"losses": [CrossEntropy(), CrossEntropy()]},
    "Term": {"knowledge": ChannelWise()},
    "WrappedNet": {"classes": 2, "network": "torch.nn.Identity"},
}
"""What cannot be left out."""
MEANT = {
    "Evaluation.every": {inf},  # validated at the end alone
    "Frozen.cache_gb": {inf},  # everything is kept
    "Optim.clip": {inf},  # nothing is scaled down
    "WrappedNet.mean": {-1.0},  # of a network that takes images in -1..1 or the like
}
"""What means something."""


def options() -> Iterator[tuple[type, inspect.Parameter]]:
    for one in FAMILY:
        for parameter in inspect.signature(one).parameters.values():
            if re.search(r"\bfloat\b", str(parameter.annotation)) and "list[str]" not in str(parameter.annotation):
                yield one, parameter


def values(parameter: inspect.Parameter, wrong: float) -> Iterator[object]:
    """Everything of the option's type that holds the wrong number at one place."""
    kinds = str(parameter.annotation)
    if found := re.search(r"tuple\[(float(?:, float)*)\]", kinds):
        for at in range(found[1].count("float")):
            yield tuple(wrong if i == at else one for i, one in enumerate(parameter.default))
    if "dict[str, float]" in kinds:
        yield {"one": wrong, "other": 1.0}
    if re.search(r"dict\[(int \| )?float, float\]", kinds):
        yield from ({0.0: wrong, 1.0: 1.0}, {0.0: 1.0, 1.0: wrong}, {wrong: 1.0})
    if "list[float]" in kinds or "Sequence[float]" in kinds:
        yield [1.0, wrong]
    if re.match(r"(<class ')?float", kinds):
        yield wrong


def built(one: type, name: str, value: object) -> object:
    """The object with one option, and where it is looked at elsewhere, what looks at it."""
    made = one(**NEEDED.get(one.__name__, {}), **{name: value})
    if isinstance(made, Stage):
        return Retrieval(source=LayerPath("run"), then=made)
    if isinstance(made, Term):
        return Distiller(teachers={"label": LabelTeacher()}, terms={"one": made})
    return made


@pytest.mark.parametrize(
    ("one", "parameter"),
    [pytest.param(one, parameter, id=f"{one.__name__}.{parameter.name}") for one, parameter in options()],
)
def test_numbers_that_mean_nothing_are_refused(one, parameter):
    for wrong in {nan, inf, -inf, -1.0} - MEANT.get(f"{one.__name__}.{parameter.name}", set()):
        for value in values(parameter, wrong):
            with pytest.raises(InputError, match=parameter.name):
                pytest.fail(f"{value} is taken: {built(one, parameter.name, value)}")


def test_every_option_is_looked_at():
    looked = {f"{one.__name__}.{parameter.name}" for one, parameter in options() if any(values(parameter, nan))}
    assert {"Response.temperature", "Structure.emphasis", "Term.weight", "BandStop.start", "Stage.at"} <= looked
    assert len(looked) == len(list(options()))
