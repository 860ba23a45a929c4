"""A training step never waits for an accelerator: counted on the CPU, which is made to look like one.

What stems from the batch or from a parameter would lie on the device; whoever reads a number of it, or asks for a
result whose size depends on its values, waits for all that is queued. Only libjpeg, which works on the host, may.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segkd import device
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge import response
from segkd.engine.learner import Learner
from segkd.engine.step import train_step
from segkd.frequency import budget
from segkd.models.fusion import FusionNet
from segkd.types import IGNORE
from tests.conftest import TINY
from tests.contract.recipes import RECIPES, batch_of, built
from tests.contract.test_disturbances import DISTURBANCES, SIZE
from tests.engine.test_step import engine_of

WAIT = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "is_nonzero", "bincount",
        "_linalg_check_errors")  # fmt: skip


class Reads(TorchDispatchMode):
    """Collects the operations that would wait for the device on which `tensors` lie."""

    def __init__(self, tensors):
        super().__init__()
        self.alive, self.there, self.found = [], set(), []
        self.mark(tensors)

    def mark(self, values):
        for value in tree_leaves(values):
            if isinstance(value, torch.Tensor):
                self.alive.append(value)  # or another tensor would get its place
                self.there.add(value.untyped_storage()._cdata)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        there = any(value.untyped_storage()._cdata in self.there for value in inputs)
        name = func.overloadpacket.__name__
        chosen = name.startswith("index") and any(value.dtype == torch.bool for value in inputs[1:])
        if there and (name in WAIT or chosen):
            self.found.append(name)
        out = func(*args, **(kwargs or {}))
        if there:
            self.mark(out)
        return out


@pytest.fixture
def behind(monkeypatch):
    """The CPU as if it worked behind the host; what is handed in to be judged never arrives."""

    class Never:
        def query(self):
            return False

        def synchronize(self):
            pass

    for module in (device, budget, response):
        monkeypatch.setattr(module, "at_once", lambda _: False)
    monkeypatch.setattr(device, "fetched", lambda numbers: (Never(), torch.zeros(2)))
    monkeypatch.setattr(device.VALUES, "met", True)
    monkeypatch.setattr(device.VALUES, "open", [])


def reads(learner, batch) -> list[str]:
    engine = engine_of(learner)
    engine.verdicts.met = True
    train_step(engine, batch)  # what is looked up once, is looked up here
    with Reads([batch.image, batch.label, batch.soft, batch.warp, *learner.parameters(), *learner.buffers()]) as mode:
        train_step(engine, batch)
    return mode.found


def test_the_count_finds_a_read(make_batch, behind, monkeypatch):
    forward = Learner.forward

    def reading(self, batch):
        if (batch.label == IGNORE).any():
            batch.image[batch.label[:, None].expand_as(batch.image) == IGNORE]
        return forward(self, batch)

    monkeypatch.setattr(Learner, "forward", reading)
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller())
    assert reads(learner, make_batch(b=2, size=SIZE, ignored=0.5)) == ["_local_scalar_dense", "index"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_step_of_a_recipe_reads_nothing_from_the_device(recipe, make_batch, behind):
    batch = batch_of(recipe, make_batch)
    assert reads(built(recipe, batch), batch) == []


@pytest.mark.parametrize("name", [n for n in DISTURBANCES if n != "jpeg_cv2" and not n.endswith(("rgb", "block"))])
def test_a_disturbance_reads_nothing_from_the_device(name, make_batch, behind):
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller(), DISTURBANCES[name](), average=0.9)
    assert reads(learner, make_batch(b=2, size=SIZE)) == []
