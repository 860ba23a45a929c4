import pytest
import torch

from segkd import device
from segkd.device import Verdicts, constant, sent
from segkd.types import InputError


class Event:
    """Stands for that of an accelerator: what was handed in is there once `ready` is."""

    ready = False
    waited = 0

    def query(self):
        return Event.ready

    def synchronize(self):
        Event.waited += 1


@pytest.fixture
def behind(monkeypatch):
    """The CPU as if it worked behind the host."""
    monkeypatch.setattr(device, "at_once", lambda _: False)
    monkeypatch.setattr(device, "fetched", lambda numbers: (Event(), numbers.clone()))
    Event.ready, Event.waited = False, 0


def refuse(name):
    def judged(numbers):
        if numbers[0] > 1:
            raise InputError(f"{name}: found {numbers[0]:g}")

    return judged


def test_on_the_cpu_a_verdict_falls_at_once():
    with pytest.raises(InputError, match="here: found 3"):
        Verdicts().judge(torch.tensor([3.0]), refuse("here"))


def test_an_accelerator_is_waited_for_the_first_time_alone(behind):
    with pytest.raises(InputError, match="first"):
        Verdicts().judge(torch.tensor([3.0]), refuse("first"))
    verdicts = Verdicts()
    verdicts.judge(torch.tensor([0.0]), refuse("first"))
    Event.waited = 0
    verdicts.judge(torch.tensor([5.0]), refuse("second"))
    verdicts.judge(torch.tensor([0.0]), refuse("third"))
    assert Event.waited == 0 and len(verdicts.open) == 2
    Event.ready = True
    with pytest.raises(InputError, match="second: found 5"):
        verdicts.judge(torch.tensor([7.0]), refuse("fourth"))
    verdicts.settle()  # one fault is told once


def test_nothing_is_kept_before_all_verdicts_have_fallen(behind):
    verdicts = Verdicts()
    verdicts.judge(torch.tensor([0.0]), refuse("first"))
    verdicts.judge(torch.tensor([5.0]), refuse("second"))
    with pytest.raises(InputError, match="second"):
        verdicts.settle()


def test_a_constant_is_made_once_and_may_be_used_in_training_after_an_inference():
    rows = ((1.0, 2.0), (3.0, 4.0))
    with torch.inference_mode():
        one = constant(rows, torch.float64, torch.device("cpu"))
    assert constant(rows, torch.float64, torch.device("cpu")) is one and not one.is_inference()
    assert sent(one, torch.device("cpu")) is one
