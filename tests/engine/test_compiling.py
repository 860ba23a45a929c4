import copy

import pytest
import torch

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.distill.distiller import Distiller
from segkd.engine.compiling import compile_student, failed_to_compile
from segkd.engine.learner import Learner
from segkd.engine.step import train_step
from segkd.experiment.readiness import in_words
from segkd.models.fusion import FusionNet
from segkd.types import InputError
from tests.conftest import TINY
from tests.engine.test_recomputing import kept_bytes
from tests.engine.test_step import engine_of


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Calls that a compiled network would get; compiling itself takes minutes."""
    found = []

    def pretended(call, *, mode):
        def compiled(*args, **kwargs):
            found.append(mode)
            return call(*args, **kwargs)

        return compiled

    monkeypatch.setattr(torch, "compile", pretended)
    return found


def learner_of(how=False) -> Learner:
    torch.manual_seed(2)
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller(), average=0.9)
    compile_student(learner, how)
    return learner


def test_the_student_alone_is_compiled_and_its_tensors_keep_their_names(make_batch, calls):
    plain, learner = learner_of(), learner_of(True)
    for one in (plain, learner):
        train_step(engine_of(one), make_batch(b=2, size=(32, 32)))
    assert calls == ["default"]
    assert list(learner.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in learner.state_dict().items())
    learner.kept(torch.rand(2, 3, 32, 32)), copy.deepcopy(learner.student)(torch.rand(2, 3, 32, 32))
    assert calls == ["default"]


def test_more_kernels_are_tried_without_cuda_graphs_which_would_write_over_a_look(calls):
    learner = learner_of("max-autotune")
    learner.student(torch.rand(2, 3, 32, 32))
    assert calls == ["max-autotune-no-cudagraphs"]


def test_a_student_is_compiled_and_computed_again_at_once(make_batch, calls):
    batch, both = make_batch(b=2, size=(32, 32)), learner_of()
    compile_student(both, True, recompute=True)
    assert kept_bytes(both, batch) < 0.9 * kept_bytes(learner_of(), batch) and calls == ["default"]


def test_tapped_layers_are_refused(calls):
    learner = Learner(FusionNet(2, TINY, None, width=16), Distiller(features=["decoder"]))
    with pytest.raises(InputError, match=r"distiller\.features"):
        compile_student(learner, True)
    compile_student(learner, False)
    learner.student(torch.rand(2, 3, 32, 32))
    assert calls == []


@pytest.mark.parametrize("where", ["torch._dynamo.exc", "torch._inductor.exc"])
def test_a_failure_to_compile_becomes_a_sentence(where):
    kind = type("BackendCompilerFailed", (RuntimeError,), {"__module__": where})  # slow to import
    error = kind("no C++ compiler")
    assert failed_to_compile(error) and not failed_to_compile(RuntimeError("torch._dynamo"))
    with (
        pytest.raises(InputError, match=r"engine\.compile: torch could not compile"),
        in_words(Data(embedded=Embedded())),
    ):
        raise error
