import pytest
import torch

from segkd.experiment import measuring
from segkd.types import InputError


def fits(most):
    def seconds(batch, size, classes, device):
        if batch > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return 0.5

    return seconds


def test_the_batch_is_halved_until_it_fits(monkeypatch):
    monkeypatch.setattr(measuring, "_seconds", fits(5))
    batch, said = measuring.measure_batch(16, (64, 64), 2)
    assert batch == 4 and "batch: 4 (16 do not fit), 500 ms a step" in said
    monkeypatch.setattr(measuring, "_seconds", fits(1))
    with pytest.raises(InputError, match="not even two images of 64x64"):
        measuring.measure_batch(16, (64, 64), 2)


def test_the_memory_is_that_of_the_batch_which_fits(monkeypatch):
    peak, fit = [0.0], fits(5)

    def seconds(batch, *rest):
        peak[0] = max(peak[0], batch * 1e9)
        return fit(batch, *rest)

    monkeypatch.setattr(measuring, "_seconds", seconds)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peak.__setitem__(0, 0.0))
    assert measuring.measure_batch(16, (64, 64), 2)[1].endswith("on a card, 4.0 GB")


def test_steps_are_taken():
    batch, said = measuring.measure_batch(2, (32, 32), 3)
    assert batch == 2 and "ms a step of FusionNet on " in said
