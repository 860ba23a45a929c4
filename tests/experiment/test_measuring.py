import pytest

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


def test_steps_are_taken():
    batch, said = measuring.measure_batch(2, (32, 32), 3)
    assert batch == 2 and "ms a step of FusionNet on " in said
